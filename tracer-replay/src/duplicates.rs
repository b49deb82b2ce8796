//! Packets that a capture of all interfaces has twice. Where it names the
//! interface (cooked v2), the machine's own rule holds: the interface that
//! first saw a SYN, or an answer, owns that direction. Cooked v1 names none;
//! there a segment is the same one, seen on another interface, when all of its
//! headers are the same and it comes within [`WITHIN`].

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher as _, RandomState},
};

use tracer_common::{flow::FlowKey, machine::Segment};

/// Nanoseconds: more than a packet needs through one host, less than any
/// retransmission timer waits.
const WITHIN: u64 = 5_000_000;
/// Segments remembered at once.
const REMEMBERED: usize = 1 << 16;

/// The segments of the last milliseconds.
#[derive(Default)]
pub(crate) struct Duplicates {
    order: VecDeque<(u64, u64)>,
    seen: HashMap<u64, u64>,
    state: RandomState,
    /// How many were left out.
    pub(crate) count: u64,
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
        while let Some((at, mark)) = self.order.front().copied() {
            if now_ns.saturating_sub(at) <= WITHIN && self.order.len() < REMEMBERED {
                break;
            }
            self.order.pop_front();
            if self.seen.get(&mark) == Some(&at) {
                self.seen.remove(&mark);
            }
        }
        let mark = self.state.hash_one((
            key,
            segment.to_node,
            (segment.seq, segment.ack, segment.flags),
            segment.payload_len,
            id,
        ));
        if self.seen.contains_key(&mark) {
            self.count += 1;
            return true;
        }
        self.seen.insert(mark, now_ns);
        self.order.push_back((now_ns, mark));
        false
    }
}
