//! What changed, round by round, over the last minutes: packed, and bounded by
//! bytes and by age.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tracer_common::{
    failure::{Failure, FailureKey, Reply},
    words::Lost,
};

use super::{
    round::{Packer, outcomes},
    served::{Counts, Whose},
    top::step,
};
use crate::{
    counted::Counted,
    evidence::{InterfaceName, Sent},
    report::TopStep,
};

/// What one round added.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Port, position of the cell, what it rose by; no gauges.
    pub(super) cells: Vec<(u16, u16, u64)>,
    /// Failures by kind.
    pub(super) kinds: Vec<(Kind, u64)>,
    /// What each port's backends got.
    pub(super) sent: Vec<((u16, SocketAddr), Sent)>,
    /// Connections established.
    pub(super) served: Vec<(Whose, u64)>,
    /// SYNs to watched ports of addresses that are not the node's own.
    pub(super) elsewhere: Vec<(SocketAddr, u64)>,
    /// What was not taken into account.
    pub(super) lost: [u64; Lost::COUNT],
}

/// A [`FailureKey`] whose positions in tables, which are used again, are
/// replaced by what stood there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Kind {
    pub(super) node_port: u16,
    pub(super) dialled: Option<IpAddr>,
    /// By its name when it was counted.
    pub(super) interface: Option<InterfaceName>,
    pub(super) backend: Option<SocketAddr>,
    /// `slot`, `backend`, `address` and `interface` are 0.
    pub(super) key: FailureKey,
}

impl Kind {
    /// The least of those of a port.
    fn first_of(node_port: u16) -> Self {
        Self {
            node_port,
            dialled: None,
            interface: None,
            backend: None,
            key: FailureKey::default(),
        }
    }
}

/// The sum of several rounds.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// From the start of its first round to the end of its last.
    pub(super) length: Duration,
    /// The number of its first round.
    pub(super) first: u64,
    pub(super) ports: BTreeMap<u16, Counted>,
    pub(super) kinds: BTreeMap<Kind, u64>,
    pub(super) sent: BTreeMap<(u16, SocketAddr), Sent>,
    pub(super) served: Counts,
    pub(super) elsewhere: BTreeMap<SocketAddr, u64>,
    pub(super) lost: [u64; Lost::COUNT],
}

impl Window {
    /// The failures that were reported at a port.
    pub(super) fn reported(&self, port: u16) -> impl Iterator<Item = (Failure, Reply, u64)> {
        // Of a port all kinds stand together.
        let first = Kind::first_of(port);
        let its = self.kinds.range(first..);
        let its = its.take_while(move |(kind, _)| kind.node_port == port);
        its.filter_map(|(kind, count)| {
            let failure = *Failure::ALL.get(usize::from(kind.key.failure))?;
            let reply = *Reply::ALL.get(usize::from(kind.key.reply))?;
            Some((failure, reply, *count))
        })
    }
}

/// Sums by port and position of the cell.
pub(super) type Cells = BTreeMap<(u16, u16), u64>;

fn by_port(cells: &Cells) -> BTreeMap<u16, Counted> {
    let all = Vec::from_iter(cells);
    let ports = all.chunk_by(|((a, _), _), ((b, _), _)| a == b);
    let counted = ports.filter_map(|cells| {
        let ((port, _), _) = cells.first()?;
        let cells = cells.iter().map(|((_, cell), value)| (*cell, **value));
        Some((*port, cells.collect()))
    });
    counted.collect()
}

#[derive(Debug)]
struct Round {
    /// Its number.
    number: u64,
    /// When it began, nanoseconds of the monotonic clock.
    began: u64,
    packed: Box<[u8]>,
    /// Connections established, apart: they are also read by themselves.
    served: Box<[u8]>,
}

impl Round {
    /// Memory that it takes, the allocator's share included.
    fn bytes(&self) -> usize {
        self.packed.len() + self.served.len() + size_of::<Self>() + 32
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
    packer: Packer,
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
            packer: Packer::default(),
            begins: now,
        }
    }

    /// Adds a round that ends at `now`.
    pub(super) fn push(&mut self, now: u64, changes: &Changes) {
        let ended = now.max(self.begins);
        self.count += 1;
        self.packer.begin(self.count);
        let round = Round {
            number: self.count,
            began: self.begins,
            packed: self.packer.pack(changes),
            served: self.packer.pack_served(&changes.served),
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
            let large = self.bytes() > self.limit && self.rounds.len() > 1;
            if !large && first.began >= oldest {
                break;
            }
            self.bytes -= first.bytes();
            self.rounds.pop_front();
            let kept = self.oldest();
            self.packer.forget(kept);
        }
    }

    /// How far back windows can reach.
    pub(super) fn reach(&self) -> Duration {
        let first = self.rounds.front().map_or(self.begins, |r| r.began);
        Duration::from_nanos(self.begins - first)
    }

    /// Memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.packer.bytes()
    }

    /// The number of the round that comes next.
    pub(super) fn next(&self) -> u64 {
        self.count + 1
    }

    /// The number of the oldest round.
    pub(super) fn oldest(&self) -> u64 {
        self.rounds.front().map_or(self.count, |r| r.number)
    }

    /// The sum of the rounds that reach into the last `last`: all of it, and the first
    /// of them as a whole.
    pub(super) fn window(&self, last: Duration) -> Window {
        let from = self.begins.saturating_sub(nanos(last));
        let newest = self.count;
        let ends = self.rounds.iter().skip(1).map(|round| round.began);
        let rounds = self.rounds.iter().zip(ends.chain([self.begins]));
        let within = rounds.filter(|(round, end)| *end > from || round.number == newest);
        let mut window = Window {
            first: newest,
            ..Window::default()
        };
        let mut cells = Cells::new();
        let mut began = self.begins;
        for (round, _) in within {
            began = began.min(round.began);
            window.first = window.first.min(round.number);
            // Packed here: it has no end before its last value.
            let _ = self.packer.unpack(&round.packed, &mut cells, &mut window);
            let _ = self.packer.unpack_served(&round.served, &mut window.served);
        }
        window.ports = by_port(&cells);
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

    /// Shows each round from number `first` on: when it began, when it ended, and the
    /// connections that it brought, for those who ask.
    pub(super) fn each_served(
        &self,
        first: u64,
        mut see: impl FnMut(u64, u64, &dyn Fn() -> Counts),
    ) {
        let ends = self.rounds.iter().skip(1).map(|round| round.began);
        let rounds = self.rounds.iter().zip(ends.chain([self.begins]));
        for (round, ended) in rounds.filter(|(round, _)| round.number >= first) {
            if round.served.is_empty() {
                continue;
            }
            see(round.began, ended, &|| {
                let mut counts = Counts::new();
                // Packed here: it has no end before its last value.
                let _ = self.packer.unpack_served(&round.served, &mut counts);
                counts
            });
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
