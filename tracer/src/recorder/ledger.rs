//! Failed attempts by verdict, and failures by backend: what the metrics show.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use tracer_common::{
    counters::{Cell, PortCounters},
    failure::Failure,
    words::{Outcome, Traffic},
};

use super::round::Place;
use crate::verdict::Verdict;

/// Counts by verdict.
pub type ByVerdict = [u64; Verdict::COUNT];
/// Counts by what went wrong.
pub type ByFailure = [u64; Failure::COUNT];

/// Failed attempts so far.
pub(super) fn failed(counters: &PortCounters) -> u64 {
    let outcomes = Outcome::ALL
        .iter()
        .filter(|o| !matches!(o, Outcome::Established | Outcome::HalfOpen));
    let cells = outcomes.flat_map(|o| Traffic::ALL.iter().map(|t| Cell::handshake(*o, *t)));
    cells.map(|cell| counters.get(cell)).sum()
}

/// Those of them that the kernel has reported by kind.
fn reported(counters: &PortCounters) -> u64 {
    failed(counters).saturating_sub(counters.get(Cell::UNREPORTED))
}

/// Verdicts on the failed attempts of each port. The outcome counters say how
/// many were reported; the failures by kind, which can be lost when their table
/// is full, say why. What only the former know is [`Verdict::Unexplained`], so
/// that both always agree.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    ports: BTreeMap<u16, Account>,
}

#[derive(Debug)]
struct Account {
    counted: ByVerdict,
    /// Judged, but not yet among the outcomes: read after them. Those of the
    /// round before come first, and are forgotten if still not needed: their
    /// outcomes were counted as unexplained before they were known.
    new: ByVerdict,
    old: ByVerdict,
}

impl Account {
    const EMPTY: Self = Self {
        counted: [0; Verdict::COUNT],
        new: [0; Verdict::COUNT],
        old: [0; Verdict::COUNT],
    };

    /// Makes the sum of the verdicts `total`, which never falls.
    fn settle(&mut self, total: u64) {
        let mut due = total.saturating_sub(self.counted.iter().sum());
        for judged in [&mut self.old, &mut self.new] {
            for (counted, judged) in self.counted.iter_mut().zip(judged) {
                let taken = due.min(*judged);
                *counted += taken;
                *judged -= taken;
                due -= taken;
            }
        }
        if let Some(unexplained) = self.counted.get_mut(Verdict::Unexplained.index()) {
            *unexplained += due;
        }
        self.old = std::mem::replace(&mut self.new, [0; Verdict::COUNT]);
    }
}

impl Ledger {
    /// Notes a verdict on `count` failed attempts.
    pub(super) fn judged(&mut self, port: u16, verdict: Verdict, count: u64) {
        let account = self.ports.entry(port).or_insert(Account::EMPTY);
        if let Some(judged) = account.new.get_mut(verdict.index()) {
            *judged = judged.saturating_add(count);
        }
    }

    /// Brings the counts in line with the outcome counters.
    pub(super) fn settle(&mut self, ports: &[(u16, PortCounters)]) {
        for (port, counters) in ports {
            let total = reported(counters);
            if total != 0 || self.ports.contains_key(port) {
                let account = self.ports.entry(*port).or_insert(Account::EMPTY);
                account.settle(total);
            }
        }
    }

    /// Counts of the ports that have failed attempts, ascending.
    pub(super) fn counts(&self) -> Vec<(u16, ByVerdict)> {
        let counted = self.ports.iter().map(|(port, a)| (*port, a.counted));
        counted.filter(|(_, c)| c.iter().any(|n| *n != 0)).collect()
    }
}

/// Failures by backend, of a limited number of backends per port.
#[derive(Debug)]
pub(super) struct BackendLedger {
    limit: usize,
    ports: BTreeMap<u16, Shares>,
}

#[derive(Debug)]
struct Shares {
    each: BTreeMap<SocketAddr, ByFailure>,
    other: ByFailure,
}

impl BackendLedger {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            ports: BTreeMap::new(),
        }
    }

    /// Counts failures of a backend: by itself while there is room, then with
    /// the others.
    pub(super) fn count(&mut self, (port, backend): Place, failure: Failure, count: u64) {
        let shares = self.ports.entry(port).or_insert(Shares {
            each: BTreeMap::new(),
            other: [0; Failure::COUNT],
        });
        let room = shares.each.len() < self.limit;
        let counts = match shares.each.get_mut(&backend) {
            Some(counts) => counts,
            None if room => shares.each.entry(backend).or_insert([0; Failure::COUNT]),
            None => &mut shares.other,
        };
        if let Some(counted) = counts.get_mut(failure.index()) {
            *counted += count;
        }
    }

    /// Forgets the backends that are gone.
    pub(super) fn retain(&mut self, known: &BTreeSet<Place>) {
        for (port, shares) in &mut self.ports {
            shares
                .each
                .retain(|backend, _| known.contains(&(*port, *backend)));
        }
    }

    /// Counts by port and backend; `None`: the other backends of the port.
    pub(super) fn counts(&self) -> Vec<(u16, Option<SocketAddr>, ByFailure)> {
        let mut counts = Vec::new();
        for (port, shares) in &self.ports {
            counts.extend(shares.each.iter().map(|(b, c)| (*port, Some(*b), *c)));
            if shares.other.iter().any(|n| *n != 0) {
                counts.push((*port, None, shares.other));
            }
        }
        counts
    }
}
