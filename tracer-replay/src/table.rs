//! The flow table of a replay: what the kernel programs keep in maps, as are its
//! counters and its failures.

mod due;
mod failures;
mod flows;
mod ports;
#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may panic")]
mod tests;

use tracer_common::{
    counters::{Cell, PortCounters, Tally as _},
    first_bytes::Payload,
    flow::{Flow, FlowKey, mark, state},
    machine::{Fate, Limits, Now, Segment},
    packet::Quote,
};

pub use failures::Failures;
use flows::{Flows, Place};
pub use ports::Latencies;
use ports::Ports;

use super::clock;

/// Flows followed at once: with them a replay takes less than 256 MiB.
pub const FLOWS: usize = 1_500_000;
/// Longer than a refusal or reset waits for what kernel hooks would note of it.
const OWED_NS: u64 = 200_000_000;

/// The table.
pub struct Table {
    limits: Limits,
    flows: Flows,
    /// Flows that there is room for.
    room: usize,
    ports: Ports,
    /// What failed.
    pub failures: Failures,
    /// The second up to which time has decided what it decides.
    swept_s: u32,
    /// Flows of which time was asked so far.
    visits: u64,
}

impl Table {
    /// An empty table, with room for so many failures one by one.
    #[must_use]
    pub fn new(limits: Limits, watched: &[u16], records: usize) -> Self {
        Self {
            limits,
            flows: Flows::new(),
            room: FLOWS,
            ports: Ports::new(watched),
            failures: Failures::new(records),
            swept_s: 0,
            visits: 0,
        }
    }

    /// The same with room for so many flows, at most [`FLOWS`].
    #[must_use]
    pub fn with_room(mut self, flows: usize) -> Self {
        self.room = flows.min(FLOWS);
        self
    }

    /// Whether a port is watched.
    #[inline]
    pub(crate) fn watches(&self, port: u16) -> bool {
        self.ports.watches(port)
    }

    /// Applies a segment; false when it belongs to no flow and opens none.
    #[inline]
    pub(crate) fn segment<P: Payload + ?Sized>(
        &mut self,
        key: &FlowKey,
        segment: &Segment,
        payload: &P,
        now: Now,
    ) -> bool {
        let opens = segment.to_node && segment.is_syn();
        let place = match self.flows.find(key) {
            Some(place) if !opens && self.quick(place, segment, payload, now) => return true,
            Some(place) => place,
            None if !opens => return false,
            None => match self.open(key) {
                Some(place) => place,
                None => return true,
            },
        };
        self.change(place, now, |flow, limits, effects| {
            flow.step(segment, payload, now, limits, effects)
        });
        true
    }

    /// Almost every packet: true when it changes nothing else, see [`Flow::quick`].
    #[inline]
    fn quick<P: Payload + ?Sized>(
        &mut self,
        at: Place,
        segment: &Segment,
        payload: &P,
        now: Now,
    ) -> bool {
        let Some(entry) = self.flows.get_mut(at) else {
            return true;
        };
        let Some(mut effects) = self.ports.effects(entry.flow.row) else {
            return true;
        };
        let quiet_s = || self.limits.quiet_s();
        let flow = &mut entry.flow;
        flow.quick(segment, payload, now.s, quiet_s, &mut effects)
    }

    /// A place for a new flow; without one its attempt is not followed.
    fn open(&mut self, key: &FlowKey) -> Option<Place> {
        let slot = self.ports.slot(key.node_port);
        if self.flows.len() < self.room {
            let flow = Flow {
                row: slot,
                ..Flow::default()
            };
            return Some(self.flows.insert(*key, flow));
        }
        if let Some(mut effects) = self.ports.effects(slot) {
            effects.count(Cell::ATTEMPTS);
            effects.count(Cell::UNTRACKED);
        }
        None
    }

    /// Applies an ICMP error to the flow that it quotes.
    pub(crate) fn unreachable(&mut self, key: &FlowKey, quote: &Quote, now: Now) {
        let Some(place) = self.flows.find(key) else {
            return;
        };
        self.change(place, now, |flow, limits, effects| {
            flow.unreachable(quote.seq, quote.got, now, limits, effects)
        });
    }

    /// Changes a flow, counts what comes of that, and notes when time goes on with it.
    fn change(
        &mut self,
        at: Place,
        now: Now,
        apply: impl FnOnce(&mut Flow, &Limits, &mut ports::Effects<'_>) -> Fate,
    ) {
        let Some(entry) = self.flows.get_mut(at) else {
            return;
        };
        let slot = entry.flow.row;
        let Some(mut effects) = self.ports.effects(slot) else {
            return;
        };
        let fate = apply(&mut entry.flow, &self.limits, &mut effects);
        if let Some(failed) = effects.failed {
            self.failures.count(&entry.key, slot, &failed, now);
        }
        if fate == Fate::Remove {
            return self.flows.remove(at);
        }
        let after_s = now.s.max(self.swept_s);
        let due_s = due::at(&entry.flow, &self.limits, after_s, entry.due_s());
        if due_s != entry.due_s() {
            self.flows.schedule(at, due_s);
        }
    }

    /// Decides what time alone has decided until `now`, second by second as the
    /// daemon does.
    #[inline]
    pub(crate) fn pass(&mut self, now: Now) {
        if now.s > self.swept_s {
            self.sweep_until(now.s);
        }
    }

    fn sweep_until(&mut self, now_s: u32) {
        while let Some((place, s)) = self.flows.take_due(now_s) {
            self.swept_s = s;
            self.tick(place, clock::at_second(s));
        }
        self.swept_s = now_s;
    }

    fn tick(&mut self, at: Place, now: Now) {
        self.visits += 1;
        self.change(at, now, |flow, limits, effects| {
            flow.tick(now, limits, effects)
        });
    }

    /// Decides what time alone has decided until the very end, and reports the refusals
    /// and resets that were counted but not reported yet.
    pub(crate) fn finish(&mut self, now: Now) {
        let later = clock::now(now.ns.saturating_add(OWED_NS));
        for place in self.flows.places() {
            if self.marks(place).is_some() {
                self.tick(place, now);
            }
            if self
                .marks(place)
                .is_some_and(|marks| marks & mark::OWED != 0)
            {
                self.tick(place, later);
            }
        }
    }

    /// The marks of a flow, should there be one.
    fn marks(&mut self, at: Place) -> Option<u8> {
        let entry = self.flows.get_mut(at)?;
        (entry.flow.state != state::EMPTY).then_some(entry.flow.marks)
    }

    /// How often time was asked whether it has decided something of a flow.
    #[must_use]
    pub fn visits(&self) -> u64 {
        self.visits
    }

    /// Flows in the table.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    /// The port whose counters stand at a position.
    #[must_use]
    pub fn port_at(&self, slot: u16) -> Option<u16> {
        self.ports
            .counters()
            .get(usize::from(slot))
            .map(|(port, _)| *port)
    }

    /// Whether the accounting identity holds for every port.
    #[must_use]
    pub fn balances(&self) -> bool {
        let mut ports = self.ports.counters().iter();
        ports.all(|(_, counters)| counters.balances())
    }

    /// The answers of a port by fine cell, if it had an attempt.
    #[must_use]
    pub fn latencies(&self, port: u16) -> Option<&Latencies> {
        self.ports.latencies(port)
    }

    /// The counters of all ports that had an attempt, ascending.
    #[must_use]
    pub fn counters(&self) -> Vec<(u16, PortCounters)> {
        let mut counters = self.ports.counters().to_vec();
        counters.sort_unstable_by_key(|(port, _)| *port);
        counters
    }
}
