//! What is kept of a failure: how it showed at the node's edge, and what the
//! kernel's own hooks noted about it. Counted by kind (never by client), so
//! that explaining needs no record that may be lost.

use crate::flow::{Addr, FlowKey};
use crate::words::words;

words! {
    /// What went wrong with an attempt or a connection.
    Failure {
        /// RST in answer to the SYN.
        Refused = "refused",
        /// ICMP or ICMPv6 destination unreachable in answer to the SYN.
        Unreachable = "unreachable",
        /// No answer to the SYN within the handshake timeout.
        TimedOut = "timed_out",
        /// SYN-ACK sent, nothing came back within the handshake timeout, or before the
        /// server's side sent a RST (the reply says whose).
        Unacked = "unacked",
        /// The client gave up before any answer.
        Cancelled = "cancelled",
        /// Half open, but the SYN-ACK had come only after another SYN: the
        /// client's RST says that it had given up.
        Abandoned = "abandoned",
        /// Established, but the SYN-ACK had come only after another SYN.
        Late = "late",
        /// Established; the client's first message had no reply by the close or
        /// within the idle threshold (a Thrift oneway call expects none).
        Unanswered = "unanswered",
        /// Established; the server closed first, within the idle threshold and
        /// before any payload of its own.
        ClosedAtOnce = "closed_at_once",
        /// Established; RST from the server's side after payload of its own.
        Reset = "reset",
    }
}

impl Failure {
    /// Whether the attempt has a failed outcome in `tracer_handshakes_total`.
    #[must_use]
    pub const fn is_attempt(self) -> bool {
        matches!(
            self,
            Self::Refused | Self::Unreachable | Self::TimedOut | Self::Unacked | Self::Cancelled
        )
    }
}

words! {
    /// What the client got in place of a connection.
    Reply {
        /// Nothing.
        None = "none",
        /// RST made on the node: by its TCP stack or a netfilter rule.
        NodeRst = "node_rst",
        /// RST forwarded from behind the node.
        BackendRst = "backend_rst",
        /// ICMP destination unreachable (RFC 792); the code is beside it.
        Icmp = "icmp",
        /// ICMPv6 destination unreachable (RFC 4443); the code is beside it.
        Icmpv6 = "icmpv6",
    }
}

/// What the client got, exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Got {
    /// Who answered.
    pub reply: Reply,
    /// ICMP code, when the reply is ICMP; else 0.
    pub code: u8,
}

impl Got {
    /// Nothing.
    pub const NOTHING: Self = Self {
        reply: Reply::None,
        code: 0,
    };
}

/// What the machine says when something fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// What went wrong.
    pub failure: Failure,
    /// What the client got.
    pub reply: Reply,
    /// ICMP code, when the reply is ICMP.
    pub code: u8,
    /// The class of the connection or attempt: a [`crate::words::Traffic`] by number.
    pub traffic: u8,
    /// The flow's backend: position in the table of backends plus one; 0: unknown.
    pub backend: u16,
    /// Index of the interface by which the attempt's SYN came in, in the node's network
    /// namespace; 0: not known, since the client has moved to another interface since,
    /// or the index does not fit.
    pub interface: u16,
    /// When the attempt's SYN came, nanoseconds of the monotonic clock.
    pub syn_at: u64,
    /// When it failed, by the same clock; 0: just now.
    pub at: u64,
}

/// The way of an attempt through the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// [`Failed::interface`]
    pub interface: u16,
    /// [`Failed::backend`]
    pub backend: u16,
}

/// Bits of [`Note::seen`] and [`FailureKey::seen`].
pub mod seen {
    /// This kernel dropped a SYN of the attempt, before or after DNAT.
    pub const DROPPED_SYN: u16 = 1;
    /// It dropped a SYN-ACK that answered the attempt.
    pub const DROPPED_SYN_ACK: u16 = 1 << 1;
    /// It dropped another segment from the client.
    pub const DROPPED_CLIENT: u16 = 1 << 2;
    /// It dropped another segment from the server.
    pub const DROPPED_SERVER: u16 = 1 << 3;
    /// A TCP stack of this kernel answered a segment of the client with RST:
    /// the backend's (the flow has one), else the node's.
    pub const RESET_CLIENT: u16 = 1 << 4;
    /// The node's own stack answered a segment of the backend with RST.
    pub const RESET_SERVER: u16 = 1 << 5;
    /// A socket of this kernel sent its SYN-ACK again.
    pub const SYN_ACK_AGAIN: u16 = 1 << 6;
    /// The SYN met a conntrack entry that was there before.
    pub const OLD_ENTRY: u16 = 1 << 7;
    /// The server's own socket made a RST, in answer to nothing: its process
    /// closed it with SO_LINGER 0 or with bytes unread, or the kernel gave it up.
    pub const RESET_PROCESS: u16 = 1 << 8;
    /// Any drop.
    pub const DROPPED: u16 = DROPPED_SYN | DROPPED_SYN_ACK | DROPPED_CLIENT | DROPPED_SERVER;
}

/// What the kernel's hooks noted about one flow; about an attempt only when
/// `at` is not before its SYN.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// When it was last added to, nanoseconds of the monotonic clock.
    pub at: u64,
    /// Where the first drop was: low half of the kernel text address, whose
    /// high half is all ones on x86-64.
    pub location: u32,
    /// Why: `enum skb_drop_reason` by this kernel's numbers; 0: it gives none.
    pub reason: u16,
    /// Why the RST was sent: `enum sk_rst_reason`; 0: it gives none.
    pub reset_reason: u16,
    /// Bits of [`seen`].
    pub seen: u16,
    /// Drops so far, up to 255.
    pub drops: u8,
    /// Explicit padding.
    pub pad: u8,
    /// Inode of the network namespace in which something was noted, if that is not
    /// the node's own; 0: in the node's own alone, or not known.
    pub netns: u32,
}

/// One kind of failure at one port: the key of a count.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FailureKey {
    /// [`Note::location`]
    pub location: u32,
    /// [`Note::reason`]
    pub reason: u16,
    /// [`Note::reset_reason`]
    pub reset_reason: u16,
    /// Position of the port's counters.
    pub slot: u16,
    /// [`Failed::backend`]
    pub backend: u16,
    /// Bits of [`seen`].
    pub seen: u16,
    /// A [`Failure`] by number.
    pub failure: u8,
    /// A [`Reply`] by number.
    pub reply: u8,
    /// ICMP code, when the reply is ICMP.
    pub code: u8,
    /// Which of the node's own addresses was dialled, by the daemon's numbers; 0: it
    /// has none.
    pub address: u8,
    /// [`Failed::interface`]
    pub interface: u16,
    /// [`Note::netns`]
    pub netns: u32,
}

/// Whose established connections are counted together: the key of a count.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServedKey {
    /// Address of the client; all zero: clients for which there was no room.
    pub client: Addr,
    /// The node's own address that it dialled.
    pub node: Addr,
    /// Position of the port's counters.
    pub slot: u16,
    /// [`Failed::backend`]
    pub backend: u16,
    /// [`Failed::interface`]
    pub interface: u16,
    /// Explicit padding.
    pub pad: [u8; 2],
}

/// A backend that NAT chose for a port.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backend {
    /// Its address.
    pub addr: Addr,
    /// Attempts that were sent to it.
    pub attempts: u64,
    /// Of these, handshakes that a socket of this kernel has completed as the
    /// server: its passive opens (RFC 4022, tcpPassiveOpens).
    pub passive_opens: u64,
    /// Last attempt, seconds of the coarse clock.
    pub seen_s: u32,
    /// Its port, host byte order; 0: this place is free.
    pub port: u16,
    /// Position of the node port's counters.
    pub slot: u16,
}

/// One failure, for those who want to see each.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// When it was decided, nanoseconds of the monotonic clock.
    pub at: u64,
    /// When the SYN came, nanoseconds of the monotonic clock.
    pub syn_at: u64,
    /// The flow.
    pub flow: FlowKey,
    /// What is known.
    pub key: FailureKey,
    /// [`Failed::traffic`]
    pub traffic: u8,
    /// Explicit padding.
    pub pad: [u8; 3],
}

/// Places in the table of backends.
pub const BACKENDS: u32 = 1024;
/// Kinds of failure that can be counted at once.
pub const FAILURES: u32 = 2048;
/// Places in the table of established connections, which each round empties.
pub const SERVED: u32 = 1024;
/// Bytes of the ring of [`Record`]s.
pub const RECORDS_BYTES: u32 = 256 * 1024;

const _: () = {
    assert!(size_of::<Note>() == 24);
    assert!(size_of::<FailureKey>() == 24);
    assert!(size_of::<ServedKey>() == 40);
    assert!(size_of::<Backend>() == 40);
    assert!(size_of::<Record>() == 80);
};
