//! What the machine reports of a failure, besides counting it.

use super::{Limits, Now, Segment, tcp};
use crate::counters::{Cell, Tally};
use crate::failure::{Failed, Failure, Got, Reply};
use crate::flow::{Flow, flag, mark, state};
use crate::words::{ResetOrigin, Traffic};

impl Flow {
    /// Reports a failure of this attempt or connection. Its callers leave the
    /// state that they report from, or set [`mark::REPORTED`], so that a step
    /// never reports twice.
    #[inline(always)]
    pub(super) fn fail<T: Tally>(
        &self,
        failure: Failure,
        got: Got,
        traffic: Traffic,
        tally: &mut T,
    ) {
        tally.failed(Failed {
            failure,
            reply: got.reply,
            code: got.code,
            traffic: traffic as u8,
            backend: self.backend,
            interface: self.interface(),
            syn_at: self.syn_at,
            at: 0,
        });
    }

    /// Puts off the report of a refused, torn down or unreachable attempt: see
    /// [`mark::OWED`].
    #[inline(always)]
    pub(super) fn owe<T: Tally>(&mut self, got: Got, now: Now, tally: &mut T) {
        self.marks |= mark::OWED;
        self.reply = got.reply as u8;
        self.code = got.code;
        self.asked_at = (now.ns.saturating_sub(self.syn_at) >> REPLY_BITS) as u32;
        tally.add(Cell::UNREPORTED, 1);
    }

    /// Reports it, should it be owed.
    #[inline(always)]
    pub(super) fn pay<T: Tally>(&mut self, tally: &mut T) {
        if !self.marked(mark::OWED) {
            return;
        }
        self.marks &= !mark::OWED;
        tally.add(Cell::UNREPORTED, -1);
        let torn_down = self.reply <= Reply::BackendRst as u8 && self.code == UNACKED;
        let (failure, reply) = match self.reply {
            1 if torn_down => (Failure::Unacked, Reply::NodeRst),
            2 if torn_down => (Failure::Unacked, Reply::BackendRst),
            1 => (Failure::Refused, Reply::NodeRst),
            2 => (Failure::Refused, Reply::BackendRst),
            3 => (Failure::Unreachable, Reply::Icmp),
            4 => (Failure::Unreachable, Reply::Icmpv6),
            _ => (Failure::Refused, Reply::None),
        };
        tally.failed(Failed {
            failure,
            reply,
            code: if torn_down { 0 } else { self.code },
            traffic: self.class_of_attempt() as u8,
            backend: self.backend,
            interface: self.interface(),
            syn_at: self.syn_at,
            at: self.replied_at(),
        });
    }

    /// Puts off the report of a connection that the server's RST ends.
    #[inline(always)]
    fn owe_connection(&mut self, failure: Failure, got: Got, now: Now) {
        self.marks |= mark::REPORTED | mark::OWED;
        self.reply = got.reply as u8;
        self.code = failure as u8;
        self.since = now.ns;
    }

    /// Reports it.
    #[inline(always)]
    pub(super) fn pay_connection<T: Tally>(&mut self, tally: &mut T) {
        self.marks &= !mark::OWED;
        let failure = match self.code {
            UNANSWERED => Failure::Unanswered,
            CLOSED_AT_ONCE => Failure::ClosedAtOnce,
            _ => Failure::Reset,
        };
        let reply = match self.reply {
            1 => Reply::NodeRst,
            2 => Reply::BackendRst,
            _ => Reply::None,
        };
        tally.failed(Failed {
            failure,
            reply,
            code: 0,
            traffic: self.class() as u8,
            backend: self.backend,
            interface: self.interface(),
            syn_at: self.syn_at,
            at: self.since,
        });
    }

    /// Whether what is owed has waited long enough.
    #[inline(always)]
    pub(super) const fn payable(&self, now: Now) -> bool {
        self.marked(mark::OWED) && now.ns.saturating_sub(self.replied_at()) >= OWED_NS
    }

    /// When the reply of an owed attempt or connection came, nanoseconds.
    #[inline(always)]
    const fn replied_at(&self) -> u64 {
        if self.state == state::RESET {
            return self.since;
        }
        self.syn_at
            .wrapping_add((self.asked_at as u64) << REPLY_BITS)
    }

    /// The class of an attempt that became no connection.
    #[inline(always)]
    pub(super) const fn class_of_attempt(&self) -> Traffic {
        if self.has(flag::PROBE_SOURCE) {
            Traffic::HealthCheck
        } else {
            Traffic::Unknown
        }
    }

    /// The class of what looks like a health check: short, and without a byte.
    #[inline(always)]
    pub(super) const fn class_of_silence(&self) -> Traffic {
        if self.marked(mark::UNCHECKED) && !self.has(flag::PROBE_SOURCE) {
            Traffic::Unknown
        } else {
            Traffic::HealthCheck
        }
    }

    /// The same of a connection, which is reported once.
    #[inline(always)]
    pub(super) fn fail_connection<T: Tally>(&mut self, failure: Failure, got: Got, tally: &mut T) {
        self.marks |= mark::REPORTED;
        self.fail(failure, got, self.class(), tally);
    }

    #[inline(always)]
    pub(super) const fn marked(&self, bits: u8) -> bool {
        self.marks & bits != 0
    }

    /// The client has sent a message, no reply has come, and that was not
    /// reported yet. Without any segment of the server nothing can be said.
    #[inline(always)]
    pub(super) const fn unanswered(&self) -> bool {
        let asked = matches!(self.class(), Traffic::Thrift | Traffic::Other);
        asked
            && !self.marked(mark::ONEWAY | mark::REPORTED)
            && self.ifindex_out != 0
            && self.server_next == self.server_isn.wrapping_add(1)
    }

    /// The message came longer ago than the idle threshold, and for as long
    /// nothing at all came: a long upload is not waiting yet.
    #[inline(always)]
    pub(super) fn unanswered_for_long(&self, now: Now, limits: &Limits) -> bool {
        const NS_PER_S: u64 = 1_000_000_000;
        let waited = u64::from(units(now).wrapping_sub(self.asked_at)) << UNIT_BITS;
        let silent = u64::from(now.s.saturating_sub(self.seen_s)) * NS_PER_S;
        self.unanswered() && waited >= limits.idle_after_ns && silent >= limits.idle_after_ns
    }

    /// The client's message is there: from now on it waits for a reply.
    #[inline(always)]
    pub(super) fn asks(&mut self, now: Now) {
        self.asked_at = units(now);
    }

    /// What is wrong with the end of a connection that a FIN or RST brings:
    /// `first` when no side has closed before, `over` when both have now.
    #[inline(always)]
    pub(super) fn report_end<T: Tally>(
        &mut self,
        segment: &Segment,
        (first, over): (bool, bool),
        now: Now,
        limits: &Limits,
        tally: &mut T,
    ) {
        if self.marked(mark::REPORTED) {
            return;
        }
        let young = now.ns.saturating_sub(self.since) < limits.idle_after_ns;
        let by_server = first && !segment.to_node;
        let spoke = self.server_spoke(segment);
        let reset = segment.has(tcp::RST);
        let failure = if by_server && !spoke && young && !self.has(flag::PROBE_SOURCE) {
            Failure::ClosedAtOnce
        } else if by_server && spoke && reset {
            Failure::Reset
        } else if over && self.unanswered() {
            Failure::Unanswered
        } else {
            return;
        };
        if reset && !segment.to_node {
            self.owe_connection(failure, segment.got(), now);
        } else {
            self.fail_connection(failure, Got::NOTHING, tally);
        }
    }

    /// The server has sent payload, some of which may have been missed.
    #[inline(always)]
    const fn server_spoke(&self, segment: &Segment) -> bool {
        let first = self.server_isn.wrapping_add(1);
        let end = segment.seq.wrapping_add(segment.payload_len);
        self.server_next != first || !segment.to_node && end.wrapping_sub(first).cast_signed() > 0
    }
}

/// How long a refusal or reset waits for what the kernel's hooks note of it.
const OWED_NS: u64 = 100_000_000;

/// [`Flow::asked_at`] of a refusal counts 2^10 ns, about a microsecond.
const REPLY_BITS: u32 = 10;

const _: () = assert!(Reply::NodeRst as u8 == 1 && Reply::Icmpv6 as u8 == 4);

/// [`Flow::code`] of an attempt that the server's RST ended after its SYN-ACK.
pub(super) const UNACKED: u8 = Failure::Unacked as u8;

/// [`Flow::code`] of a connection that is owed, if it is no [`Failure::Reset`].
const UNANSWERED: u8 = Failure::Unanswered as u8;
const CLOSED_AT_ONCE: u8 = Failure::ClosedAtOnce as u8;

/// [`Flow::asked_at`] of a connection counts 2^20 ns, about a millisecond.
const UNIT_BITS: u32 = 20;

#[inline(always)]
const fn units(now: Now) -> u32 {
    (now.ns >> UNIT_BITS) as u32
}

impl Segment {
    /// What the client got with this segment, should it be the server's RST.
    #[inline(always)]
    pub(super) const fn got(&self) -> Got {
        let reply = match self.origin {
            ResetOrigin::Node if self.has(tcp::RST) => Reply::NodeRst,
            ResetOrigin::Backend if self.has(tcp::RST) => Reply::BackendRst,
            _ => Reply::None,
        };
        Got { reply, code: 0 }
    }
}
