//! The counts of a port's row, which add up at any window: an attempt begins before it
//! fails, and the daemon hears why it failed up to two seconds after it was counted.

use std::collections::BTreeMap;

use tracer_common::{
    counters::Cell,
    failure::{Failure, Reply},
    words::{Outcome, Traffic},
};

use crate::{counted::Counted, report::PortRow};

/// Attempts of one port that were under way within a window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tried {
    /// All of them: those with an outcome in the window, those that were never followed,
    /// and those that are not decided yet.
    pub(super) attempts: u64,
    /// SYNs that opened an attempt within the window.
    pub(super) begun: u64,
    /// Those of `attempts` that were not followed and so have no outcome.
    pub(super) untracked: u64,
    /// Those of `attempts` that have no outcome yet.
    pub(super) undecided: u64,
    /// Those of `attempts` that failed: the sum of `answered_by`.
    pub(super) failed: u64,
    /// By outcome: all seven words.
    pub(super) outcomes: BTreeMap<String, u64>,
    /// Those with an outcome by class: all five words.
    pub(super) traffic: BTreeMap<String, u64>,
    /// Those that failed by what the client got; without zeros.
    pub(super) answered_by: BTreeMap<String, u64>,
}

impl Tried {
    /// Of what the counters of a port rose by within the window, its gauges as they stand
    /// at the end, and the failures that were reported within it.
    pub(super) fn new(
        counters: &Counted,
        reported: impl IntoIterator<Item = (Failure, Reply, u64)>,
    ) -> Self {
        let mut tried = Self {
            begun: counters.get(Cell::ATTEMPTS),
            untracked: counters.get(Cell::UNTRACKED),
            undecided: counters.get(Cell::PENDING),
            outcomes: by_outcome(counters),
            traffic: by_traffic(counters),
            ..Self::default()
        };
        tried.reconcile(reported);
        let ended = tried.outcomes.values().copied();
        let ended = ended.fold(0, u64::saturating_add);
        tried.attempts = ended
            .saturating_add(tried.untracked)
            .saturating_add(tried.undecided);
        tried
    }

    /// Brings failed outcomes and reported failures together. A failure that was counted
    /// before the window and reported within it is one of the window's; one that is counted
    /// and not reported yet (or lost on the way) got an answer that is not known.
    fn reconcile(&mut self, reported: impl IntoIterator<Item = (Failure, Reply, u64)>) {
        let mut by_failure: BTreeMap<&'static str, u64> = BTreeMap::new();
        for (failure, reply, count) in reported {
            if failure.is_attempt() {
                add(by_failure.entry(failure.as_str()).or_default(), count);
                add(
                    self.answered_by.entry(reply.as_str().into()).or_default(),
                    count,
                );
            }
        }
        for outcome in Outcome::ALL.iter().filter(|outcome| is_failed(**outcome)) {
            let counted = self.outcomes.entry(outcome.as_str().into()).or_default();
            let reported = by_failure.get(outcome.as_str()).copied().unwrap_or(0);
            if reported > *counted {
                // Its class was counted with it, before the window.
                let class = Traffic::Unknown.as_str().to_owned();
                add(self.traffic.entry(class).or_default(), reported - *counted);
                *counted = reported;
            } else if reported < *counted {
                let unknown = self
                    .answered_by
                    .entry(PortRow::NOT_REPORTED.into())
                    .or_default();
                add(unknown, *counted - reported);
            }
            add(&mut self.failed, *counted);
        }
        self.answered_by.retain(|_, count| *count != 0);
    }
}

fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

/// Whether an attempt with this outcome failed.
fn is_failed(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::Established | Outcome::HalfOpen)
}

/// Attempts by outcome: all words.
pub(super) fn by_outcome(counters: &Counted) -> BTreeMap<String, u64> {
    let count = |o: &Outcome| {
        let cells = Traffic::ALL.iter().map(|t| Cell::handshake(*o, *t));
        let sum = cells.map(|cell| counters.get(cell)).sum();
        (o.as_str().to_owned(), sum)
    };
    Outcome::ALL.iter().map(count).collect()
}

/// Attempts by class: all words.
fn by_traffic(counters: &Counted) -> BTreeMap<String, u64> {
    let count = |t: &Traffic| {
        let cells = Outcome::ALL.iter().map(|o| Cell::handshake(*o, *t));
        let sum = cells.map(|cell| counters.get(cell)).sum();
        (t.as_str().to_owned(), sum)
    };
    Traffic::ALL.iter().map(count).collect()
}
