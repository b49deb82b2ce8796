//! What changed, round by round, over the last minutes: packed, and bounded by
//! bytes and by age.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use tracer_common::{
    counters::{CELLS, Cell, PortCounters},
    failure::FailureKey,
    words::{Lost, Outcome, Traffic},
};

use super::{backends::Backends, packing::Reader, packing::Writer, top::step};
use crate::{evidence::Sent, report::TopStep};

/// What one round added.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Port, position of the cell, what it rose by; no gauges.
    pub(super) cells: Vec<(u16, u16, u64)>,
    /// Failures by kind.
    pub(super) kinds: Vec<(Kind, u64)>,
    /// What each port's backends got.
    pub(super) sent: Vec<((u16, SocketAddr), Sent)>,
    /// What was not taken into account.
    pub(super) lost: [u64; Lost::COUNT],
}

/// A [`FailureKey`] whose positions in tables, which are used again, are
/// replaced by what stood there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Kind {
    pub(super) node_port: u16,
    pub(super) backend: Option<SocketAddr>,
    /// `slot` and `backend` are 0.
    pub(super) key: FailureKey,
}

/// The sum of several rounds.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// From the start of its first round to the end of its last.
    pub(super) length: Duration,
    pub(super) ports: BTreeMap<u16, PortCounters>,
    pub(super) kinds: BTreeMap<Kind, u64>,
    pub(super) sent: BTreeMap<(u16, SocketAddr), Sent>,
    pub(super) lost: [u64; Lost::COUNT],
}

#[derive(Debug)]
struct Round {
    /// Its number.
    number: u64,
    /// When it began, nanoseconds of the monotonic clock.
    began: u64,
    packed: Box<[u8]>,
}

impl Round {
    /// Memory that it takes, the allocator's share included.
    fn bytes(&self) -> usize {
        self.packed.len() + size_of::<Self>() + 16
    }
}

/// The rounds, oldest first.
#[derive(Debug)]
pub(super) struct History {
    limit: usize,
    age: Duration,
    rounds: VecDeque<Round>,
    bytes: usize,
    /// Rounds so far.
    count: u64,
    backends: Backends,
    /// When the next round begins.
    begins: u64,
}

impl History {
    /// An empty history that begins at `now` (nanoseconds, monotonic) and takes
    /// about `limit` bytes.
    pub(super) fn new(now: u64, limit: usize, age: Duration) -> Self {
        Self {
            limit,
            age,
            rounds: VecDeque::new(),
            bytes: 0,
            count: 0,
            backends: Backends::default(),
            begins: now,
        }
    }

    /// Adds a round that ends at `now`.
    pub(super) fn push(&mut self, now: u64, changes: &Changes) {
        let ended = now.max(self.begins);
        self.count += 1;
        let round = Round {
            number: self.count,
            began: self.begins,
            packed: self.pack(changes),
        };
        self.begins = ended;
        self.bytes += round.bytes();
        self.rounds.push_back(round);
        self.forget();
    }

    /// Lets the oldest go until the rest is young and small enough.
    fn forget(&mut self) {
        let oldest = self.begins.saturating_sub(nanos(self.age));
        while let Some(first) = self.rounds.front() {
            let large = self.bytes + self.backends.bytes() > self.limit && self.rounds.len() > 1;
            if !large && first.began >= oldest {
                break;
            }
            self.bytes -= first.bytes();
            self.rounds.pop_front();
            let kept = self.rounds.front().map_or(self.count, |r| r.number);
            self.backends.forget(kept);
        }
    }

    /// How far back windows can reach.
    pub(super) fn reach(&self) -> Duration {
        let first = self.rounds.front().map_or(self.begins, |r| r.began);
        Duration::from_nanos(self.begins - first)
    }

    /// Memory that it takes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.backends.bytes()
    }

    /// The sum of the rounds that lie within the last `last`; at least of the
    /// newest one, which may have taken longer.
    pub(super) fn window(&self, last: Duration) -> Window {
        let from = self.begins.saturating_sub(nanos(last));
        let newest = self.count;
        let within = self
            .rounds
            .iter()
            .filter(|r| r.began >= from || r.number == newest);
        let mut window = Window::default();
        let mut began = self.begins;
        for round in within {
            began = began.min(round.began);
            // Packed here: it has no end before its last value.
            let _ = self.unpack(&round.packed, &mut window);
        }
        window.length = Duration::from_nanos(self.begins - began);
        window
    }

    /// Outcomes by port and step, from step `from` on; a round belongs to the step
    /// in which it ended.
    pub(super) fn steps(&self, from: u64) -> Vec<TopStep> {
        let ends = self.rounds.iter().skip(1).map(|round| round.began);
        let rounds = self.rounds.iter().zip(ends.chain([self.begins]));
        let mut steps: Vec<TopStep> = Vec::new();
        for (round, end) in rounds {
            let number = step(end);
            if number < from {
                continue;
            }
            if steps.last().is_none_or(|last| last.step != number) {
                let step = number;
                steps.push(TopStep {
                    step,
                    ..TopStep::default()
                });
            }
            if let Some(last) = steps.last_mut() {
                // Packed here: it has no end before its last value.
                let _ = outcomes(&round.packed, last);
            }
        }
        steps.retain(|step| !step.ports.is_empty());
        steps
    }

    fn pack(&mut self, changes: &Changes) -> Box<[u8]> {
        let mut to = Writer::default();
        to.length(changes.cells.len());
        for (port, cell, value) in &changes.cells {
            to.put(u64::from(*port));
            to.put(u64::from(*cell));
            to.put(*value);
        }
        to.length(changes.kinds.len());
        for (kind, value) in &changes.kinds {
            to.put(u64::from(kind.node_port));
            let place = kind.backend.map(|b| (kind.node_port, b));
            to.put(place.map_or(0, |place| 1 + self.backends.number(place, self.count)));
            to.key(&kind.key);
            to.put(*value);
        }
        to.length(changes.sent.len());
        for (place, sent) in &changes.sent {
            to.put(self.backends.number(*place, self.count));
            to.put(sent.attempts);
            to.put(sent.passive_opens);
        }
        for lost in changes.lost {
            to.put(lost);
        }
        to.into()
    }

    fn unpack(&self, packed: &[u8], to: &mut Window) -> Option<()> {
        let mut from = Reader::new(packed);
        for _ in 0..from.take()? {
            let (port, cell, value) = (from.number()?, from.number::<usize>()?, from.take()?);
            let counters = to.ports.entry(port).or_insert(PortCounters([0; CELLS]));
            let cell = counters.0.get_mut(cell)?;
            *cell = cell.wrapping_add(value);
        }
        for _ in 0..from.take()? {
            let node_port = from.number()?;
            let backend = match from.take()?.checked_sub(1) {
                Some(number) => Some(self.backends.at(number)?.1),
                None => None,
            };
            let key = from.key()?;
            let kind = Kind {
                node_port,
                backend,
                key,
            };
            *to.kinds.entry(kind).or_default() += from.take()?;
        }
        for _ in 0..from.take()? {
            let place = self.backends.at(from.take()?)?;
            let sent = to.sent.entry(place).or_default();
            sent.attempts += from.take()?;
            sent.passive_opens += from.take()?;
        }
        for lost in &mut to.lost {
            *lost += from.take()?;
        }
        Some(())
    }
}

/// Adds the outcomes of a round to its step.
fn outcomes(packed: &[u8], to: &mut TopStep) -> Option<()> {
    let mut from = Reader::new(packed);
    for _ in 0..from.take()? {
        let (port, cell, value) = (from.number::<u16>()?, from.number::<usize>()?, from.take()?);
        let Some(place) =
            cell.checked_sub(Cell::handshake(Outcome::Established, Traffic::Thrift).index())
        else {
            continue;
        };
        let Some(outcome) = Outcome::ALL.get(place / Traffic::COUNT) else {
            continue;
        };
        let counts = to.ports.entry(port).or_default();
        *counts.entry(outcome.as_str().to_owned()).or_default() += value;
    }
    Some(())
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
