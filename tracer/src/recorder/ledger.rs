//! Failed attempts by verdict, and failures by backend: what the metrics show.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use tracer_common::{
    counters::Cell,
    failure::Failure,
    words::{Outcome, Traffic},
};

use super::round::Place;
use crate::{counted::Counted, verdict::Verdict};

/// Counts by verdict.
pub type ByVerdict = [u64; Verdict::COUNT];
/// Counts by what went wrong.
pub type ByFailure = [u64; Failure::COUNT];

/// Failed attempts so far.
pub(super) fn failed(counters: &Counted) -> u64 {
    let outcomes = Outcome::ALL
        .iter()
        .filter(|o| !matches!(o, Outcome::Established | Outcome::HalfOpen));
    let cells = outcomes.flat_map(|o| Traffic::ALL.iter().map(|t| Cell::handshake(*o, *t)));
    cells.map(|cell| counters.get(cell)).sum()
}

/// Those of them that the kernel has reported by kind.
fn reported(counters: &Counted) -> u64 {
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

/// Counts by verdict, of the few that a port has, ascending.
#[derive(Debug, Default)]
struct Few(Vec<(u8, u64)>);

impl Few {
    fn add(&mut self, verdict: u8, count: u64) {
        match self.0.binary_search_by_key(&verdict, |(of, _)| *of) {
            Ok(at) => {
                if let Some((_, counted)) = self.0.get_mut(at) {
                    *counted = counted.saturating_add(count);
                }
            }
            Err(at) => self.0.insert(at, (verdict, count)),
        }
    }

    fn sum(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    fn by_verdict(&self) -> ByVerdict {
        let mut all = [0; Verdict::COUNT];
        for (verdict, count) in &self.0 {
            if let Some(cell) = all.get_mut(usize::from(*verdict)) {
                *cell = *count;
            }
        }
        all
    }
}

#[derive(Debug, Default)]
struct Account {
    counted: Few,
    /// Judged, but not yet among the outcomes: read after them. Those of the
    /// round before come first, and are forgotten if still not needed: their
    /// outcomes were counted as unexplained before they were known.
    new: Few,
    old: Few,
}

impl Account {
    /// Makes the sum of the verdicts `total`, which never falls.
    fn settle(&mut self, total: u64) {
        let mut due = total.saturating_sub(self.counted.sum());
        for (verdict, judged) in self.old.0.iter_mut().chain(&mut self.new.0) {
            let taken = due.min(*judged);
            self.counted.add(*verdict, taken);
            *judged -= taken;
            due -= taken;
        }
        if due != 0 {
            self.counted.add(Verdict::Unexplained.index() as u8, due);
        }
        self.old = std::mem::take(&mut self.new);
        self.old.0.retain(|(_, count)| *count != 0);
    }
}

impl Ledger {
    /// Notes a verdict on `count` failed attempts.
    pub(super) fn judged(&mut self, port: u16, verdict: Verdict, count: u64) {
        let account = self.ports.entry(port).or_default();
        account.new.add(verdict.index() as u8, count);
    }

    /// Brings the counts in line with the outcome counters.
    pub(super) fn settle(&mut self, ports: &[(u16, Counted)]) {
        for (port, counters) in ports {
            let total = reported(counters);
            if total != 0 || self.ports.contains_key(port) {
                self.ports.entry(*port).or_default().settle(total);
            }
        }
    }

    /// Counts of the ports that have failed attempts, ascending.
    pub(super) fn counts(&self) -> Vec<(u16, ByVerdict)> {
        let counted = self.ports.iter();
        let counted = counted.map(|(port, account)| (*port, account.counted.by_verdict()));
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
