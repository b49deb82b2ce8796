//! A flow at several interfaces. Where a bridge and its port are both tapped, each
//! packet shows twice and must count once; where routes change or share the
//! load, one direction moves from interface to interface; and a raw socket of a pod
//! sends what claims to be the client's by an interface that is not the client's.

use super::belonging::close;
use super::{Segment, at_or_after, tcp};
use crate::counters::{Cell, Tally};
use crate::flow::{Flow, flag, mark, state};

impl Flow {
    /// Whether the segment counts: it came by the interface that owns its direction,
    /// or it is new, and its interface owns the direction from now on. The first
    /// interface to see a SYN, or an answer, owns it at first. A copy of what was seen
    /// is no retransmission.
    #[inline(always)]
    pub(super) fn takes(&mut self, segment: &Segment) -> bool {
        let owner = if segment.to_node {
            self.ifindex_in
        } else {
            self.ifindex_out
        };
        if owner == segment.ifindex {
            return true;
        }
        if owner != 0 && !self.is_new(segment) {
            return false;
        }
        if segment.to_node {
            self.ifindex_in = segment.ifindex;
            self.marks |= mark::MOVED;
        } else {
            self.ifindex_out = segment.ifindex;
        }
        true
    }

    /// Advances the handshake or the stream. The segment's numbers have to lie close,
    /// for its interface is no witness: a guess of both hits once in 2^30.
    #[inline(always)]
    fn is_new(&self, segment: &Segment) -> bool {
        if self.state == state::ESTABLISHED {
            return self.is_beyond(segment);
        }
        if !segment.to_node {
            // What says no ends these states; its numbers are looked at there.
            let open = self.state == state::SYN_SEEN || self.state == state::ANSWERED;
            return open && segment.has(tcp::RST);
        }
        let follows = segment.seq == self.isn.wrapping_add(1) && !segment.has(tcp::SYN);
        let acks = segment.has(tcp::ACK)
            && close(segment.ack, self.server_isn.wrapping_add(1))
            && at_or_after(segment.ack, self.server_isn.wrapping_add(1));
        // The same segments as `on_client` acts on: one that changed nothing would look
        // as new again, and two interfaces would take the flow from each other.
        match self.state {
            state::SYN_SEEN => follows && segment.has(tcp::ACK | tcp::RST | tcp::FIN),
            state::ANSWERED => follows && (acks || segment.has(tcp::RST)),
            _ => false,
        }
    }

    /// The same of an established connection: bytes that were not seen, or an end.
    #[inline(always)]
    pub(super) fn is_beyond(&self, segment: &Segment) -> bool {
        let (next, other, fin) = if segment.to_node {
            (self.client_next, self.server_next, flag::FIN_CLIENT)
        } else {
            (self.server_next, self.client_next, flag::FIN_SERVER)
        };
        let fits = if segment.has(tcp::ACK) {
            close(segment.seq, next) && close(segment.ack, other)
        } else {
            segment.seq == next
        };
        let end = segment.seq.wrapping_add(segment.payload_len);
        let ends = segment.has(tcp::RST) || segment.has(tcp::FIN) && !self.has(fin);
        // First bytes beyond a hole, and a FIN there, do not move what is next, so that
        // their copy would look as new as they do.
        let whole = self.flags & (flag::FINAL | flag::HOLE) == flag::FINAL;
        let joins = !segment.to_node || whole || segment.seq.wrapping_sub(next).cast_signed() <= 0;
        let advances = segment.payload_len > 0 && end.wrapping_sub(next).cast_signed() > 0;
        fits && (ends || advances && joins)
    }

    /// The interface by which the SYN came in: see [`crate::failure::Failed::interface`].
    #[inline(always)]
    pub(super) const fn interface(&self) -> u16 {
        if self.marked(mark::MOVED) || self.ifindex_in > u16::MAX as u32 {
            return 0;
        }
        self.ifindex_in as u16
    }

    /// A SYN with another number leaves the flow alone: it came by another
    /// interface, and not by the one that leads to the client, which somebody else
    /// may have sent. The client itself, when it uses its port again, comes by the
    /// same interface.
    #[inline(always)]
    pub(super) const fn withstands(&self, segment: &Segment) -> bool {
        let live = matches!(
            self.state,
            state::SYN_SEEN | state::ANSWERED | state::ESTABLISHED | state::DECIDED
        );
        live && self.ifindex_in != segment.ifindex && !segment.routed
    }

    /// A pending attempt gives way to a SYN by the interface that leads to the
    /// client, having come by another: whose it was, and how it would have ended,
    /// cannot be told.
    #[inline(always)]
    pub(super) fn yields<T: Tally>(&mut self, segment: &Segment, tally: &mut T) -> bool {
        let pending = self.state == state::SYN_SEEN || self.state == state::ANSWERED;
        if !pending || self.ifindex_in == segment.ifindex {
            return false;
        }
        tally.add(Cell::PENDING, -1);
        tally.count(Cell::UNTRACKED);
        true
    }
}
