//! Which ports have series of their own. Whoever scans the node tries every port
//! once, and must not give each its series: but for the first of them, ports where
//! nobody has ever been seen, and nobody insists, count together ([`OTHER`]).

mod tries;

use std::collections::BTreeMap;

use tracer_common::{
    counters::{Cell, LATENCY_BUCKETS, PortCounters},
    words::{Answer, LocalOutcome, Traffic},
};

use self::tries::{Newcomers, Tries};
use super::ledger::ByVerdict;
use crate::{
    counted::Counted,
    snapshot::{SHARED_PORT, Snapshot},
    verdict::Verdict,
};

/// How many ports without a sign of anybody there have series of their own.
#[derive(Clone, Copy, Debug)]
struct Most {
    /// So many from their first attempt on: all that a scan can add. Where no more are
    /// watched, every port has.
    at_once: usize,
    /// So many with those that somebody goes on trying.
    insisted: usize,
}

const MOST: Most = Most {
    at_once: 64,
    insisted: 512,
};

/// The word for the ports that count together.
pub const OTHER: &str = "other";

/// What the metrics show of each port. The accounting identity holds in each row.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// Counters, ascending by port; `None`: those of all other ports together.
    pub ports: Vec<(Option<u16>, Counted)>,
    /// Failed attempts by verdict, of those that have any.
    pub verdicts: Vec<(Option<u16>, ByVerdict)>,
    /// How many ports count together; `None`: every port has its own series.
    pub others: Option<usize>,
}

impl Listed {
    /// Every port by itself.
    #[must_use]
    pub fn all(ports: &[(u16, Counted)], verdicts: &[(u16, ByVerdict)]) -> Self {
        Self {
            ports: ports
                .iter()
                .map(|(port, c)| (own(*port), c.clone()))
                .collect(),
            verdicts: verdicts.iter().map(|(port, v)| (own(*port), *v)).collect(),
            others: None,
        }
    }
}

fn own(port: u16) -> Option<u16> {
    (port != SHARED_PORT).then_some(port)
}

/// Numbers that are not 0, with their positions.
type Sparse = Box<[(u16, u64)]>;

fn sparse(numbers: &[u64]) -> Sparse {
    let numbers = (0..).zip(numbers.iter().copied());
    numbers.filter(|(_, number)| *number != 0).collect()
}

/// Takes from `numbers` what they were.
fn take(numbers: &mut [u64], base: &Sparse) {
    for (at, was) in base {
        if let Some(number) = numbers.get_mut(usize::from(*at)) {
            *number = number.wrapping_sub(*was);
        }
    }
}

fn add(sum: &mut [u64], numbers: &[u64]) {
    for (sum, number) in sum.iter_mut().zip(numbers) {
        *sum = sum.wrapping_add(*number);
    }
}

/// A port that has been tried.
#[derive(Debug, Default)]
struct Port {
    is_listed: bool,
    /// It is listed, though nobody has been seen there.
    is_unproven: bool,
    tries: Tries,
    /// What counts with the others, and stays there when the port is listed, for
    /// no counter may fall.
    counters: Sparse,
    verdicts: Sparse,
}

/// The state of all ports.
#[derive(Debug)]
pub(super) struct Listing {
    /// So few are watched that each has its own series.
    lists_all: bool,
    most: Most,
    ports: BTreeMap<u16, Port>,
    /// Listed ones at which nobody has been seen.
    unproven: usize,
    newcomers: Newcomers,
    other: PortCounters,
    other_verdicts: ByVerdict,
}

impl Listing {
    /// For so many watched ports.
    pub(super) fn new(watched: usize) -> Self {
        Self::with(watched, MOST)
    }

    fn with(watched: usize, most: Most) -> Self {
        Self {
            lists_all: watched <= most.at_once,
            most,
            ports: BTreeMap::new(),
            unproven: 0,
            newcomers: Newcomers::default(),
            other: PortCounters::ZERO,
            other_verdicts: [0; Verdict::COUNT],
        }
    }

    /// What to show at `now` (nanoseconds, monotonic) of the ports of a look, and the
    /// verdicts on their failed attempts, ascending. `is_known`: whether it is known
    /// otherwise that a port is somebody's.
    pub(super) fn look(
        &mut self,
        now: u64,
        snapshot: &Snapshot,
        verdicts: &[(u16, ByVerdict)],
        is_known: impl Fn(u16) -> bool,
    ) -> Listed {
        if self.lists_all {
            return Listed::all(&snapshot.ports, verdicts);
        }
        let mut listed = Listed::default();
        let mut shared = (PortCounters::ZERO, [0; Verdict::COUNT]);
        for (port, counters) in &snapshot.ports {
            let judged = verdicts.binary_search_by_key(port, |(of, _)| *of);
            let judged = judged.ok().and_then(|at| verdicts.get(at));
            let judged = judged.map_or([0; Verdict::COUNT], |(_, counts)| *counts);
            if *port == SHARED_PORT {
                shared = (PortCounters::from(counters), judged);
                continue;
            }
            let is_proven = has_answered(counters) || is_known(*port);
            if self.lists(*port, counters, is_proven, now) {
                self.own(*port, counters, judged, &mut listed);
            } else {
                self.share(*port, counters, judged);
            }
        }
        self.newcomers.tell(now);
        let (mut other, mut judged) = shared;
        add(&mut other.0, &self.other.0);
        add(&mut judged, &self.other_verdicts);
        listed.ports.push((None, Counted::from(&other)));
        listed.verdicts.push((None, judged));
        let unlisted = self.ports.values().filter(|port| !port.is_listed);
        listed.others = Some(unlisted.count() + snapshot.sharing.len());
        listed
    }

    /// Whether the port has its own series, from now on for good.
    fn lists(&mut self, number: u16, counters: &Counted, is_proven: bool, now: u64) -> bool {
        let port = self.ports.entry(number).or_default();
        if port.is_listed {
            // Its place is free for another.
            let was = is_proven && std::mem::take(&mut port.is_unproven);
            self.unproven -= usize::from(was);
            return true;
        }
        let is_new = port.tries.are_none();
        let insists = port.tries.see(tried(counters), now);
        let is_first = self.unproven < self.most.at_once && !port.tries.are_none();
        if insists && !is_proven && self.unproven >= self.most.insisted {
            self.newcomers.full(number, self.most.insisted);
        } else if is_proven || insists || is_first {
            (port.is_listed, port.is_unproven) = (true, !is_proven);
            self.unproven += usize::from(!is_proven);
        } else if is_new && !port.tries.are_none() {
            self.newcomers.come(now);
        }
        port.is_listed
    }

    /// What came since the port was listed.
    fn own(&self, number: u16, counters: &Counted, judged: ByVerdict, to: &mut Listed) {
        let mut judged = judged;
        let mut own = counters.clone();
        if let Some(port) = self.ports.get(&number) {
            if !port.counters.is_empty() {
                let mut all = PortCounters::from(counters);
                take(&mut all.0, &port.counters);
                own = Counted::from(&all);
            }
            take(&mut judged, &port.verdicts);
        }
        to.ports.push((Some(number), own));
        if judged.iter().any(|count| *count != 0) {
            to.verdicts.push((Some(number), judged));
        }
    }

    /// Counts with the others what is new, as soon as nothing of it is open: what
    /// has not ended yet can still go to the port's own series.
    fn share(&mut self, number: u16, counters: &Counted, judged: ByVerdict) {
        if !is_settled(counters) {
            return;
        }
        let Some(port) = self.ports.get_mut(&number) else {
            return;
        };
        let (mut rise, mut verdicts) = (PortCounters::from(counters), judged);
        take(&mut rise.0, &port.counters);
        take(&mut verdicts, &port.verdicts);
        add(&mut self.other.0, &rise.0);
        add(&mut self.other_verdicts, &verdicts);
        port.counters = counters.cells().collect();
        port.verdicts = sparse(&judged);
    }
}

/// Attempts and dials so far.
fn tried(counters: &Counted) -> u64 {
    let dials = LocalOutcome::ALL.iter();
    let dials = dials.map(|o| counters.get(Cell::local_connect(*o)));
    dials.fold(counters.get(Cell::ATTEMPTS), u64::saturating_add)
}

/// Whether somebody was there: a SYN-ACK has been seen, or a connection.
fn has_answered(counters: &Counted) -> bool {
    let answers = (0..LATENCY_BUCKETS).map(|i| Cell::latency(Answer::SynAck, i));
    let made = Traffic::ALL.iter().map(|t| Cell::connection(*t));
    let dialled = Cell::local_connect(LocalOutcome::Established);
    let mut cells = answers.chain(made).chain([dialled]);
    cells.any(|cell| counters.get(cell) != 0)
}

/// Whether no gauge has anything: each attempt has its outcome and its verdict.
fn is_settled(counters: &Counted) -> bool {
    let open = Traffic::ALL.iter().map(|t| Cell::open(*t));
    let mut gauges = open.chain([Cell::PENDING, Cell::UNREPORTED]);
    gauges.all(|cell| counters.get(cell) == 0)
}

#[cfg(test)]
mod tests;
