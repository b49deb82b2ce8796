//! What judging found of the same failures when they came: facts that may be gone since.

use std::net::SocketAddr;

use super::{Verdict, backend, case::Case, rules};
use crate::evidence::{Evidence, Fact, Found, Row, rules::Stop};

/// What the system shows now stands for failures that are no older, nanoseconds.
const RECENT: u64 = 60_000_000_000;

/// What a verdict on a row rests on that may be gone by the time somebody asks.
pub(super) fn facts(verdict: Verdict, row: &Row, evidence: &Evidence) -> Vec<Fact> {
    let case = Case::new(row, evidence);
    let rule = by_a_rule(verdict).then(|| rules::live(&case).culprit);
    let rule = rule.flatten().map(|culprit| Fact::Rule {
        stop: culprit.stop,
        sure: culprit.sure,
    });
    let dead = case.backend.and_then(|backend| {
        let state = backend::dead_neighbour(backend)?.to_owned();
        Some((backend.address, state))
    });
    let neighbour = dead.map(|(backend, state)| Fact::Neighbour { backend, state });
    rule.into_iter().chain(neighbour).collect()
}

/// Whether the rule sets were asked for it.
const fn by_a_rule(verdict: Verdict) -> bool {
    matches!(
        verdict,
        Verdict::NoEndpoints
            | Verdict::NoLocalEndpoint
            | Verdict::NoServiceRule
            | Verdict::RejectedByRule
            | Verdict::DroppedByRule
    )
}

/// It was found of at least half of the failures.
pub(super) fn is_of_most(row: &Row, found: &Found) -> bool {
    found.count.saturating_mul(2) >= row.count
}

/// The backend that conntrack knew when these were judged, and whose next hop they waited
/// for.
pub(super) fn held_back(row: &Row) -> Option<SocketAddr> {
    let mut found = row.found.iter().filter(|found| is_of_most(row, found));
    found.find_map(|found| match found.fact {
        Fact::Neighbour { backend, .. } => Some(backend),
        Fact::Rule { .. } => None,
    })
}

impl<'a> Case<'a> {
    /// The rule that took the most of these when they were judged, and whether it surely did.
    pub(super) fn rule_then(&self) -> Option<(&'a Stop, bool, &'a Found)> {
        self.row.found.iter().find_map(|found| match &found.fact {
            Fact::Rule { stop, sure } => Some((stop, *sure, found)),
            Fact::Neighbour { .. } => None,
        })
    }

    /// The state of the neighbour entry when most of these were judged.
    pub(super) fn neighbour_then(&self) -> Option<(&'a str, &'a Found)> {
        let mut found = self.row.found.iter();
        let state = found.find_map(|found| match &found.fact {
            Fact::Neighbour { backend, state } if Some(*backend) == self.address() => {
                Some((state.as_str(), found))
            }
            _ => None,
        });
        state.filter(|(_, found)| is_of_most(self.row, found))
    }

    /// The failures go on, or ended not long ago: what shows now was so then, as far as
    /// nothing says otherwise.
    pub(super) fn is_recent(&self) -> bool {
        let last = self.row.span.map(|(_, last)| last);
        last.is_none_or(|last| last.saturating_add(RECENT) >= self.evidence.ended)
    }
}
