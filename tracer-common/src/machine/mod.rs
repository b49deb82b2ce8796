//! The handshake machine: a pure function of (flow, segment, time) to (flow,
//! effects). The kernel program, replay and the tests all run this one.
//!
//! What is decided depends on packets and their times alone, never on when a
//! sweep runs: every step first applies what has become due by then.

mod belonging;
mod close;
mod connection;
mod failing;
mod handshake;
mod interfaces;

pub use belonging::Header;
pub use close::Fate;

use crate::counters::Tally;
use crate::first_bytes::{Payload, ProbeMethods};
use crate::flow::{Flow, state};
use crate::words::ResetOrigin;

/// TCP header flags (RFC 9293, section 3.1), byte 13 of the header.
pub mod tcp {
    /// No more data from the sender.
    pub const FIN: u8 = 1;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 1 << 1;
    /// Reset the connection.
    pub const RST: u8 = 1 << 2;
    /// The acknowledgment number is valid.
    pub const ACK: u8 = 1 << 4;
}

/// One TCP segment of a flow, as the tap saw it.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// True when it travels from the client to the node.
    pub to_node: bool,
    /// Bits of [`tcp`].
    pub flags: u8,
    /// Sequence number, host byte order.
    pub seq: u32,
    /// Acknowledgment number, host byte order.
    pub ack: u32,
    /// Payload length in bytes.
    pub payload_len: u32,
    /// Interface it was seen on.
    pub ifindex: u32,
    /// Who made it, should it be a RST.
    pub origin: ResetOrigin,
    /// The source is in a configured probe range (asked for SYNs only).
    pub probe_source: bool,
    /// The port is known to be none that the load balancer's health check goes to
    /// (asked for SYNs only).
    pub unchecked: bool,
    /// It came by the interface by which the node last answered its source (asked for
    /// SYNs only).
    pub routed: bool,
}

impl Segment {
    #[inline(always)]
    pub(crate) const fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    /// A SYN that asks for a connection: no ACK, no RST.
    #[must_use]
    #[inline(always)]
    pub const fn is_syn(&self) -> bool {
        self.flags & (tcp::SYN | tcp::ACK | tcp::RST) == tcp::SYN
    }

    /// Neither opens nor closes anything.
    #[must_use]
    #[inline(always)]
    pub const fn is_plain(&self) -> bool {
        !self.has(tcp::SYN | tcp::FIN | tcp::RST)
    }
}

/// The time of a step.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Nanoseconds of the monotonic clock.
    pub ns: u64,
    /// Seconds of the coarse clock, which the daemon keeps.
    pub s: u32,
}

/// Limits that the operator sets; read-only while programs run.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Nanoseconds without an answer (or a final ACK) until an attempt failed.
    pub handshake_timeout_ns: u64,
    /// Nanoseconds without payload until a connection is idle.
    pub idle_after_ns: u64,
    /// Seconds without a packet until a connection is given up.
    pub expire_after_s: u32,
    /// The same once one side has closed.
    pub half_closed_after_s: u32,
    /// Thrift methods whose calls are health checks.
    pub probes: ProbeMethods,
}

impl Limits {
    /// Seconds without a packet from which on time may have decided something of
    /// an established connection: see [`quiet_s`].
    #[must_use]
    pub const fn quiet_s(&self) -> u32 {
        quiet_s(
            self.idle_after_ns,
            self.half_closed_after_s,
            self.expire_after_s,
        )
    }
}

/// [`Limits::quiet_s`] of three limits: the shortest one, rounded down.
#[must_use]
#[inline(always)]
pub const fn quiet_s(idle_after_ns: u64, half_closed_after_s: u32, expire_after_s: u32) -> u32 {
    let idle_after_s = idle_after_ns / 1_000_000_000;
    let mut quiet = expire_after_s;
    if half_closed_after_s < quiet {
        quiet = half_closed_after_s;
    }
    if idle_after_s < quiet as u64 {
        quiet = idle_after_s as u32;
    }
    quiet
}

/// How long after its last SYN or SYN-ACK a failed attempt may see that again: the
/// longest retransmission timeout of Linux (`TCP_RTO_MAX`, 120 s) and a little more.
/// Nothing shorter will do for attempts whose first SYNs were not seen.
pub const SYN_RETRANSMIT_NS: u64 = 125_000_000_000;

/// The same of an attempt whose client has ended it itself, or while the flow table
/// has no room for more, beyond the time that its SYNs have spanned so far:
/// retransmission intervals at most double (RFC 6298, section 5.5), and start at 1 s
/// or, in old stacks, 3 s.
pub const SYN_RETRANSMIT_SLACK_NS: u64 = 4_000_000_000;

/// Distance within which a sequence number counts as belonging (1 MiB).
const WINDOW: u32 = 1 << 20;

/// `a` lies at or after `b` and less than 2^30 beyond it (RFC 9293, 3.4).
#[inline(always)]
const fn at_or_after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) < 1 << 30
}

/// `a` lies within [`WINDOW`] of `b`, on either side.
#[inline(always)]
const fn near(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).wrapping_add(WINDOW) < 2 * WINDOW
}

/// How far ahead of what came last a segment may lie at most: the largest window
/// (RFC 7323, section 2.3).
const LARGEST_WINDOW: u32 = 1 << 30;

impl Flow {
    /// Whether a segment `ahead` bytes beyond `next`, its side's, may be the
    /// connection's own. Most follow closely. After bytes that were not seen, it has
    /// at least to acknowledge what the other side has sent (RFC 5961, section 5).
    #[inline(always)]
    fn plausible(&self, segment: &Segment, next: u32, ahead: u32) -> bool {
        // Of the two the other one, without a branch that would double what follows.
        let other = self.client_next ^ self.server_next ^ next;
        // One condition: several would double what follows again.
        let acknowledges = segment.has(tcp::ACK) & near(segment.ack, other);
        (ahead < WINDOW) | ((ahead < LARGEST_WINDOW) & acknowledges)
    }

    /// Applies one segment. The flow is [`state::EMPTY`] if the caller has just
    /// made it, which it may only do for a SYN.
    #[inline(always)]
    pub fn step<P: Payload + ?Sized, T: Tally>(
        &mut self,
        segment: &Segment,
        payload: &P,
        now: Now,
        limits: &Limits,
        tally: &mut T,
    ) -> Fate {
        if self.tick(now, limits, tally) == Fate::Remove {
            self.state = state::EMPTY;
        }
        tally.ways_meet();
        let opens = segment.to_node && segment.is_syn();
        let streams = if opens {
            self.on_syn(segment, now, tally)
        } else {
            self.takes(segment) && self.on_answer(segment, now, tally)
        };
        tally.ways_meet();
        if streams {
            return self.on_stream(segment, payload, now, limits, tally);
        }
        if self.state == state::EMPTY {
            Fate::Remove
        } else {
            Fate::Keep
        }
    }

    /// Anything but an opening SYN; true when the connection is established.
    #[inline(always)]
    fn on_answer<T: Tally>(&mut self, segment: &Segment, now: Now, tally: &mut T) -> bool {
        self.seen_s = now.s;
        if segment.to_node {
            self.on_client(segment, now, tally);
        } else {
            self.on_server(segment, now, tally);
        }
        self.state == state::ESTABLISHED
    }
}
