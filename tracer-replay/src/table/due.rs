//! When time goes on with a flow. The machine alone knows what it decides when, so it
//! is asked: what is due at some time stays due at any later one.

use tracer_common::{
    counters::{Cell, Tally},
    flow::Flow,
    machine::{Fate, Limits},
};

use crate::clock;

/// Counts nothing.
struct Nothing;

impl Tally for Nothing {
    fn add(&mut self, _cell: Cell, _delta: i64) {}
}

/// Whether time has decided something of the flow by the beginning of a second.
fn is_due(flow: &Flow, limits: &Limits, s: u32) -> bool {
    let mut after = *flow;
    let fate = after.tick(clock::at_second(s), limits, &mut Nothing);
    fate == Fate::Remove || after != *flow
}

/// The first second after `after_s` in which something is due, or an earlier one that is
/// `planned` already: whether it really is then, is looked at then.
pub(super) fn at(flow: &Flow, limits: &Limits, after_s: u32, planned: Option<u32>) -> Option<u32> {
    if let Some(planned) = planned
        && (planned <= after_s.saturating_add(1) || !is_due(flow, limits, planned - 1))
    {
        return Some(planned);
    }
    // Not due in the second `low`, as far as that matters; due in `high`.
    let (mut low, mut step) = (after_s, 1);
    let mut high = low.checked_add(step)?;
    while !is_due(flow, limits, high) {
        low = high;
        step *= 2;
        high = high.checked_add(step)?;
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if is_due(flow, limits, middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high)
}
