//! What is kept per followed attempt: the key and the value of the flow table.

use core::net::{IpAddr, Ipv6Addr};

use crate::first_bytes::FirstBytes;
use crate::words::{Close, Traffic};

/// An IP address as four 32-bit words in network byte order, as they stand in
/// memory; IPv4 is mapped (`::ffff:a.b.c.d`, RFC 4291, section 2.5.5.2).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Addr(pub [u32; 4]);

impl Addr {
    /// Maps an IPv4 address given as its four bytes in network byte order.
    #[must_use]
    #[inline(always)]
    pub const fn v4(bytes: [u8; 4]) -> Self {
        Self::mapped(u32::from_ne_bytes(bytes))
    }

    /// Maps an IPv4 address given as the word in which it stands in memory.
    #[must_use]
    #[inline(always)]
    pub const fn mapped(word: u32) -> Self {
        Self([0, 0, 0xffff_u32.to_be(), word])
    }

    /// Takes an IPv6 address given as its sixteen bytes in network byte order.
    #[must_use]
    #[inline(always)]
    pub const fn v6(b: [u8; 16]) -> Self {
        Self([
            u32::from_ne_bytes([b[0], b[1], b[2], b[3]]),
            u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
            u32::from_ne_bytes([b[8], b[9], b[10], b[11]]),
            u32::from_ne_bytes([b[12], b[13], b[14], b[15]]),
        ])
    }

    /// Within 127.0.0.0/8, or `::1`.
    #[must_use]
    #[inline(always)]
    pub const fn is_loopback(&self) -> bool {
        let [a, b, c, d] = self.0;
        let mapped = c == 0xffff_u32.to_be() && u32::from_be(d) >> 24 == 127;
        a == 0 && b == 0 && (mapped || c == 0 && d == 1_u32.to_be())
    }

    /// The address as people write it: mapped ones become IPv4.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        let mut bytes = [0; 16];
        for (to, word) in bytes.chunks_exact_mut(4).zip(self.0) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
    }
}

/// Identity of a flow at the node's edge, before DNAT: what the load balancer sees.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Address of the peer that sent the SYN.
    pub client: Addr,
    /// The node's own address.
    pub node: Addr,
    /// Port of the client, host byte order.
    pub client_port: u16,
    /// The watched port, host byte order.
    pub node_port: u16,
}

impl FlowKey {
    /// Spreads keys over `1 << bits` lock stripes.
    #[must_use]
    #[inline(always)]
    pub fn stripe(&self, bits: u32) -> u32 {
        let [a, b, c, d] = self.client.0;
        let ports = u32::from(self.client_port) << 16 | u32::from(self.node_port);
        let mixed = (a ^ b.rotate_left(7) ^ c.rotate_left(13) ^ d).wrapping_mul(0x85eb_ca6b);
        ((mixed ^ mixed >> 15 ^ ports).wrapping_mul(0x9e37_79b1)) >> (32 - bits)
    }
}

/// The state of one attempt; all zero: not in use. No implicit padding.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// When the first SYN came, nanoseconds of the monotonic clock.
    pub syn_at: u64,
    /// Nanoseconds: last SYN (unanswered), SYN-ACK (answered), completed
    /// handshake (established), last SYN or SYN-ACK or the deadline (decided),
    /// the server's RST (reset).
    pub since: u64,
    /// Initial sequence number of the client.
    pub isn: u32,
    /// Initial sequence number of the server.
    pub server_isn: u32,
    /// One past the highest sequence number taken from the client.
    pub client_next: u32,
    /// One past the highest sequence number seen from the server.
    pub server_next: u32,
    /// Interface that owns the client's side: what it brings counts.
    pub ifindex_in: u32,
    /// Interface that owns the server's side; 0: none has seen an answer.
    pub ifindex_out: u32,
    /// Last packet, in seconds of the coarse clock.
    pub seen_s: u32,
    /// The row of cells that the attempt is counted in, from its SYN on.
    pub row: u16,
    /// One of [`state`].
    pub state: u8,
    /// Bits of [`flag`].
    pub flags: u8,
    /// The present class: a [`Traffic`] by number.
    pub traffic: u8,
    /// A [`Close`] by number plus one: how the first side closed; 0: neither. Of a
    /// decided attempt that its client gave up, [`Close::ClientRst`].
    pub closer: u8,
    /// First message found in a SYN's payload, by number plus one; 0: none.
    pub syn_message: u8,
    /// Bits of [`mark`].
    pub marks: u8,
    /// The backend: position in the table of backends plus one; 0: unknown.
    pub backend: u16,
    /// What the client of an [`mark::OWED`] attempt or connection got: a
    /// [`crate::failure::Reply`] by number.
    pub reply: u8,
    /// ICMP code of that reply; of a connection, and of an attempt that was reset after
    /// its SYN-ACK, the [`crate::failure::Failure`] by number.
    pub code: u8,
    /// Established: when the client's message came, in 2^20 ns of the monotonic
    /// clock, modulo 2^32; set with class Thrift or other. Decided: how long
    /// after its SYN the reply of an [`mark::OWED`] attempt came, in 2^10 ns.
    pub asked_at: u32,
    /// The client's first bytes as far as they matter.
    pub first: FirstBytes,
}

/// Values of [`Flow::state`].
pub mod state {
    /// Not in use.
    pub const EMPTY: u8 = 0;
    /// SYN seen, no answer yet.
    pub const SYN_SEEN: u8 = 1;
    /// SYN-ACK seen, no final ACK yet.
    pub const ANSWERED: u8 = 2;
    /// Handshake complete, not yet closed by both sides.
    pub const ESTABLISHED: u8 = 3;
    /// A failed attempt, kept so that a late retransmission of its SYN is known.
    pub const DECIDED: u8 = 4;
    /// A connection that the server's RST has ended, kept until that is reported.
    pub const RESET: u8 = 5;
}

/// Bits of [`Flow::flags`].
pub mod flag {
    /// The handshake's outcome is counted.
    pub const COUNTED: u8 = 1;
    /// The class is final and the connection is counted.
    pub const FINAL: u8 = 1 << 1;
    /// The source is in a configured probe range.
    pub const PROBE_SOURCE: u8 = 1 << 2;
    /// FIN seen from the client.
    pub const FIN_CLIENT: u8 = 1 << 3;
    /// FIN seen from the server.
    pub const FIN_SERVER: u8 = 1 << 4;
    /// The client speaks Thrift: count messages.
    pub const THRIFT: u8 = 1 << 5;
    /// Payload came after a hole: what it belongs to cannot be told.
    pub const HOLE: u8 = 1 << 6;
    /// The SYN carried payload (TCP Fast Open, RFC 7413) not yet acknowledged.
    pub const SYN_DATA: u8 = 1 << 7;
}

/// Bits of [`Flow::marks`].
pub mod mark {
    /// The SYN came again before any answer.
    pub const SYN_AGAIN: u8 = 1;
    /// The first SYN-ACK came after [`SYN_AGAIN`].
    pub const LATE: u8 = 1 << 1;
    /// The client's first message is a Thrift oneway call.
    pub const ONEWAY: u8 = 1 << 2;
    /// The connection is reported as unanswered, closed at once or reset.
    pub const REPORTED: u8 = 1 << 3;
    /// The port is none that the load balancer's health check goes to.
    pub const UNCHECKED: u8 = 1 << 5;
    /// Where NAT has sent the last SYN is known: no other hop need look.
    pub const SENT_ON: u8 = 1 << 6;
    /// Refused, unreachable or reset, which is counted and will be reported:
    /// the kernel drops the SYN only after it has sent its answer, and what drops
    /// it says why; a socket's own RST has left when its hook tells of it.
    pub const OWED: u8 = 1 << 4;
    /// The client's side has come by another interface than the SYN since.
    pub const MOVED: u8 = 1 << 7;
}

impl Flow {
    /// Whether a flag is set.
    #[must_use]
    #[inline(always)]
    pub const fn has(&self, bit: u8) -> bool {
        self.flags & bit != 0
    }

    /// The present class.
    #[must_use]
    #[inline(always)]
    pub const fn class(&self) -> Traffic {
        match self.traffic {
            0 => Traffic::Thrift,
            1 => Traffic::Other,
            2 => Traffic::HealthCheck,
            3 => Traffic::Idle,
            _ => Traffic::Unknown,
        }
    }

    /// How the side that closed first did it.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn closer(&self) -> Close {
        match self.closer {
            1 => Close::ClientFin,
            2 => Close::ClientRst,
            3 => Close::ServerFin,
            4 => Close::ServerRst,
            _ => Close::TimeoutIdle,
        }
    }
}

/// An attempt that NAT has sent on, kept for as long as there is room.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// [`Flow::syn_at`]
    pub syn_at: u64,
    /// The flow.
    pub flow: FlowKey,
    /// [`Flow::isn`]: the flow may be gone when its backend opens the connection.
    pub isn: u32,
}

const _: () = {
    assert!(size_of::<Forwarded>() == 48);
    assert!(size_of::<FlowKey>() == 36 && align_of::<FlowKey>() == 4);
    assert!(Close::ClientFin as u8 + 1 == 1 && Close::ServerRst as u8 + 1 == 4);
    assert!(Traffic::Thrift as u8 == 0 && Traffic::Idle as u8 == 3);
    assert!(size_of::<Flow>() == 60 + size_of::<FirstBytes>());
    assert!(size_of::<Flow>() <= 96);
};
