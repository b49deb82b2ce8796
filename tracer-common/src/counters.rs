//! Per-port counters: one fixed array of `u64` per watched port, an element of
//! a memory-mapped BPF array, so that reading is a copy and never a system call.

use crate::failure::{Failed, Way};
use crate::first_bytes::{MessageType, Protocol};
use crate::words::{Answer, Close, LocalOutcome, Outcome, ResetOrigin, Retransmit, Traffic};

/// Upper bounds of the answer latency buckets in nanoseconds; a last bucket is
/// unbounded. Dense below a millisecond, where refusals are; one bucket on each
/// side of the SYN retransmission steps 1, 3 and 7 s (RFC 6298, section 5).
pub const LATENCY_BOUNDS_NS: [u64; 15] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    100_000_000,
    250_000_000,
    900_000_000,
    1_500_000_000,
    2_900_000_000,
    3_500_000_000,
    7_500_000_000,
];
/// Buckets per answer, the unbounded one included.
pub const LATENCY_BUCKETS: usize = LATENCY_BOUNDS_NS.len() + 1;

const ATTEMPTS: usize = 0;
const UNTRACKED: usize = 1;
const PENDING: usize = 2;
const UNREPORTED: usize = 3;
const HANDSHAKES: usize = 4;
const CONNECTIONS: usize = HANDSHAKES + Outcome::COUNT * Traffic::COUNT;
const OPEN: usize = CONNECTIONS + Traffic::COUNT;
const CLOSES: usize = OPEN + Traffic::COUNT;
const RETRANSMITS: usize = CLOSES + Close::COUNT * Traffic::COUNT;
const RESETS: usize = RETRANSMITS + Retransmit::COUNT;
const LOCAL_CONNECTS: usize = RESETS + ResetOrigin::COUNT;
const MESSAGES: usize = LOCAL_CONNECTS + LocalOutcome::COUNT;
const LATENCY_SUM: usize = MESSAGES + MessageType::COUNT * Protocol::COUNT;
const LATENCY: usize = LATENCY_SUM + Answer::COUNT;
/// Number of `u64` cells per port.
pub const CELLS: usize = LATENCY + Answer::COUNT * LATENCY_BUCKETS;

/// One cell of a port's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell(usize);

impl Cell {
    /// SYNs that opened an attempt, tracked or not.
    pub const ATTEMPTS: Self = Self(ATTEMPTS);
    /// Attempts that could not be followed (flow table full, or its lock busy).
    pub const UNTRACKED: Self = Self(UNTRACKED);
    /// Gauge: attempts without a counted outcome.
    pub const PENDING: Self = Self(PENDING);
    /// Gauge: failed outcomes that are counted but not reported yet.
    pub const UNREPORTED: Self = Self(UNREPORTED);

    /// Attempts by outcome and class.
    #[must_use]
    #[inline(always)]
    pub const fn handshake(outcome: Outcome, traffic: Traffic) -> Self {
        Self(HANDSHAKES + outcome.index() * Traffic::COUNT + traffic.index())
    }
    /// Connections by final class.
    #[must_use]
    #[inline(always)]
    pub const fn connection(traffic: Traffic) -> Self {
        Self(CONNECTIONS + traffic.index())
    }
    /// Gauge: open connections by present class.
    #[must_use]
    #[inline(always)]
    pub const fn open(traffic: Traffic) -> Self {
        Self(OPEN + traffic.index())
    }
    /// Ended connections by class and how they ended.
    #[must_use]
    #[inline(always)]
    pub const fn close(close: Close, traffic: Traffic) -> Self {
        Self(CLOSES + close.index() * Traffic::COUNT + traffic.index())
    }
    /// Retransmissions by kind.
    #[must_use]
    #[inline(always)]
    pub const fn retransmit(kind: Retransmit) -> Self {
        Self(RETRANSMITS + kind.index())
    }
    /// RSTs by who made them.
    #[must_use]
    #[inline(always)]
    pub const fn reset(origin: ResetOrigin) -> Self {
        Self(RESETS + origin.index())
    }
    /// Dials made on this node by how they ended.
    #[must_use]
    #[inline(always)]
    pub const fn local_connect(outcome: LocalOutcome) -> Self {
        Self(LOCAL_CONNECTS + outcome.index())
    }
    /// Thrift messages by type and protocol.
    #[must_use]
    #[inline(always)]
    pub const fn message(kind: MessageType, protocol: Protocol) -> Self {
        Self(MESSAGES + kind.index() * Protocol::COUNT + protocol.index())
    }
    /// The same by [`Cell::number_of_message`].
    #[must_use]
    #[inline(always)]
    pub const fn message_number(number: u8) -> Self {
        let last = MessageType::COUNT * Protocol::COUNT - 1;
        let number = number as usize;
        Self(MESSAGES + if number > last { last } else { number })
    }
    /// A type and protocol as one small number.
    #[must_use]
    #[inline(always)]
    pub const fn number_of_message(kind: MessageType, protocol: Protocol) -> u8 {
        (kind.index() * Protocol::COUNT + protocol.index()) as u8
    }
    /// Sum of the answer latencies in nanoseconds.
    #[must_use]
    #[inline(always)]
    pub const fn latency_sum(answer: Answer) -> Self {
        Self(LATENCY_SUM + answer.index())
    }
    /// Answers within one latency bucket (not cumulative).
    #[must_use]
    #[inline(always)]
    pub const fn latency(answer: Answer, bucket: usize) -> Self {
        let last = LATENCY_BUCKETS - 1;
        let bucket = if bucket > last { last } else { bucket };
        Self(LATENCY + answer.index() * LATENCY_BUCKETS + bucket)
    }
    /// The position in [`PortCounters`], always below [`CELLS`].
    #[must_use]
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0
    }
}

/// The bucket that a latency in nanoseconds falls into.
#[must_use]
#[inline(always)]
pub fn latency_bucket(ns: u64) -> usize {
    // Branch-free on purpose: fifteen branches would multiply verifier states.
    let mut bucket = 0;
    for bound in LATENCY_BOUNDS_NS {
        bucket += usize::from(ns > bound);
    }
    bucket
}

/// All counters of one port. Gauges wrap: a cell is read as `u64` modulo 2^64.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortCounters(pub [u64; CELLS]);

impl PortCounters {
    /// All zero.
    pub const ZERO: Self = Self([0; CELLS]);

    /// Reads one cell.
    #[must_use]
    pub fn get(&self, cell: Cell) -> u64 {
        self.0.get(cell.0).copied().unwrap_or(0)
    }

    /// Sum of the counted outcomes over all classes.
    #[must_use]
    pub fn outcomes(&self) -> u64 {
        (0..Outcome::COUNT * Traffic::COUNT)
            .map(|i| self.get(Cell(HANDSHAKES + i)))
            .fold(0, u64::wrapping_add)
    }

    /// The accounting identity: attempts = outcomes + pending + untracked.
    #[must_use]
    pub fn balances(&self) -> bool {
        let accounted = self
            .outcomes()
            .wrapping_add(self.get(Cell::PENDING))
            .wrapping_add(self.get(Cell::UNTRACKED));
        self.get(Cell::ATTEMPTS) == accounted
    }
}

/// Where the handshake machine's effects go: kernel memory or a test's array.
pub trait Tally {
    /// Adds `delta` (−1 for gauges only) to a cell.
    fn add(&mut self, cell: Cell, delta: i64);

    /// Called where ways through the machine meet: the kernel makes the
    /// compiler read memory afresh there, for its verifier follows what
    /// registers hold, and would walk each way on from there apart.
    #[inline(always)]
    fn ways_meet(&mut self) {}

    /// Something failed; at most once per step of the machine.
    #[inline(always)]
    fn failed(&mut self, failed: Failed) {
        let _ = failed;
    }

    /// A handshake is complete, which went this way; at most once per step of the
    /// machine.
    #[inline(always)]
    fn established(&mut self, way: Way) {
        let _ = way;
    }

    /// An answer took so many nanoseconds; at most once per step of the machine.
    #[inline(always)]
    fn took(&mut self, ns: u64) {
        let _ = ns;
    }

    /// Adds one to a cell.
    #[inline(always)]
    fn count(&mut self, cell: Cell) {
        self.add(cell, 1);
    }

    /// Counts an answer with its latency in nanoseconds.
    #[inline(always)]
    fn answered(&mut self, answer: Answer, ns: u64) {
        self.count(Cell::latency(answer, latency_bucket(ns)));
        self.add(Cell::latency_sum(answer), ns.cast_signed());
        self.took(ns);
    }
}

impl Tally for PortCounters {
    fn add(&mut self, cell: Cell, delta: i64) {
        if let Some(value) = self.0.get_mut(cell.0) {
            *value = value.wrapping_add_signed(delta);
        }
    }
}
