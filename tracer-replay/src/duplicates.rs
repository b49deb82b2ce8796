//! Packets that a capture has twice. Where it names the interface (cooked v2), the
//! machine's own rule holds: the interface that first saw a SYN, or an answer, owns
//! that direction. Cooked v1 names none; there a segment is the same one, seen on
//! another interface, when all of its headers are the same and it comes within
//! [`WITHIN`]. A mirror's copy may come when its connection has long ended.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher as _, Hash, RandomState},
};

use tracer_common::{flow::FlowKey, machine::Segment};

/// Nanoseconds: more than a packet needs through one host, less than any
/// retransmission timer waits.
const WITHIN: u64 = 5_000_000;
/// Nanoseconds that a mirror's copy may be late. No host takes the same number for
/// another SYN of the same ports so soon (RFC 6528).
const MIRRORED_WITHIN: u64 = 10_000_000_000;
/// Segments, and SYNs, remembered at once.
const REMEMBERED: usize = 1 << 16;

/// The segments of the last milliseconds, and the SYNs of the last seconds.
pub(crate) struct Duplicates {
    segments: Recent<()>,
    syns: Recent<Way>,
    /// How many segments were left out.
    pub(crate) count: u64,
    /// How many SYNs were left out that had come by another way already.
    pub(crate) mirrored: u64,
}

/// By which way a SYN came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    /// The interface, or what stands for the whole way.
    pub(crate) ifindex: u32,
    /// It was inside another packet.
    pub(crate) encapsulated: bool,
}

impl Default for Duplicates {
    fn default() -> Self {
        Self {
            segments: Recent::new(WITHIN),
            syns: Recent::new(MIRRORED_WITHIN),
            count: 0,
            mirrored: 0,
        }
    }
}

impl Duplicates {
    /// Whether the segment was seen just now; `id` is the IPv4 header's
    /// identification.
    pub(crate) fn is_again(
        &mut self,
        key: &FlowKey,
        segment: &Segment,
        id: u16,
        now_ns: u64,
    ) -> bool {
        let numbers = (segment.seq, segment.ack, segment.flags);
        let what = (key, segment.to_node, numbers, segment.payload_len, id);
        let again = self.segments.note(what, (), now_ns).is_some();
        self.count += u64::from(again);
        again
    }

    /// Whether the SYN was seen a moment ago by another way, of which at least one is
    /// an encapsulation.
    pub(crate) fn is_mirrored(&mut self, key: &FlowKey, isn: u32, way: Way, now_ns: u64) -> bool {
        let first = self.syns.note((key, isn), way, now_ns);
        let mirrored = first.is_some_and(|first| {
            first.ifindex != way.ifindex && (first.encapsulated || way.encapsulated)
        });
        self.mirrored += u64::from(mirrored);
        mirrored
    }
}

/// What was seen within some time, as far as there is room.
struct Recent<V> {
    within: u64,
    order: VecDeque<(u64, u64)>,
    seen: HashMap<u64, V>,
    state: RandomState,
}

impl<V: Copy> Recent<V> {
    fn new(within: u64) -> Self {
        Self {
            within,
            order: VecDeque::new(),
            seen: HashMap::new(),
            state: RandomState::new(),
        }
    }

    /// Remembers `what` with its value, unless it is remembered already: then that
    /// value is returned.
    fn note(&mut self, what: impl Hash, value: V, now_ns: u64) -> Option<V> {
        while let Some((at, mark)) = self.order.front().copied() {
            if now_ns.saturating_sub(at) <= self.within && self.order.len() < REMEMBERED {
                break;
            }
            self.order.pop_front();
            self.seen.remove(&mark);
        }
        let mark = self.state.hash_one(what);
        if let Some(first) = self.seen.get(&mark) {
            return Some(*first);
        }
        self.seen.insert(mark, value);
        self.order.push_back((now_ns, mark));
        None
    }
}
