//! Whether what the kernel's hooks show belongs to a flow: addresses and ports
//! can be had in any network namespace, and by any raw socket; the numbers of the
//! attempt are known only to who sees its packets. No NAT changes a client's
//! numbers: netfilter's helpers that do (FTP, SIP) rewrite other protocols'
//! streams, and SYNPROXY repeats the client's.

use super::tcp;
use crate::flow::Flow;

/// What a TCP header tells of whose segment it is.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Bits of [`tcp`].
    pub flags: u8,
    /// Sequence number, host byte order.
    pub seq: u32,
    /// Acknowledgment number, host byte order.
    pub ack: u32,
}

impl Header {
    #[inline(always)]
    const fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }
}

/// How far from the flow's numbers a segment may lie (64 KiB). The tap has seen it a
/// moment before the hooks do, so that only what is sent again or overtaken
/// differs, by about a window without scaling. A blind guess hits once in 2^15.
const CLOSE: u32 = 1 << 16;

/// `a` lies within [`CLOSE`] of `b`, on either side.
#[inline(always)]
pub(super) const fn close(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).wrapping_add(CLOSE) < 2 * CLOSE
}

impl Flow {
    /// Whether a segment between the flow's ends, in either direction, has the
    /// flow's numbers. Those of a SYN, and of its answer, are exact.
    #[must_use]
    #[inline(always)]
    pub const fn owns(&self, from_client: bool, header: &Header) -> bool {
        let opens = header.has(tcp::SYN);
        if from_client {
            if opens {
                return header.seq == self.isn;
            }
            return close(header.seq, self.client_next);
        }
        if opens {
            // Of Fast Open's payload any part may be acknowledged.
            let payload = header.ack.wrapping_sub(self.isn.wrapping_add(1));
            return payload < CLOSE && close(header.ack, self.client_next);
        }
        if header.has(tcp::ACK) {
            return close(header.ack, self.client_next);
        }
        // A RST that answers an ACK.
        self.server_next != 0 && close(header.seq, self.server_next)
    }

    /// Whether a server's socket that expects this number next
    /// (`tcp_sock.rcv_nxt`) is the flow's.
    #[must_use]
    #[inline(always)]
    pub const fn is_expected(&self, rcv_nxt: u32) -> bool {
        close(rcv_nxt, self.client_next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow() -> Flow {
        Flow {
            isn: 0xffff_fff0,
            client_next: 100,
            server_isn: 7_000_000,
            server_next: 7_000_500,
            ..Flow::default()
        }
    }

    fn owns(from_client: bool, flags: u8, seq: u32, ack: u32) -> bool {
        flow().owns(from_client, &Header { flags, seq, ack })
    }

    #[test]
    fn a_syn_has_the_number_and_its_answer_the_next() {
        assert!(owns(true, tcp::SYN, 0xffff_fff0, 0));
        assert!(!owns(true, tcp::SYN, 0xffff_fff1, 0));
        let answer = tcp::SYN | tcp::ACK;
        assert!(owns(false, answer, 1, 0xffff_fff1));
        // Payload in the SYN, which was acknowledged.
        assert!(owns(false, answer, 1, 100));
        assert!(!owns(false, answer, 1, 0xffff_fff0));
    }

    #[test]
    fn other_segments_lie_close() {
        for (flags, from_client) in [(tcp::ACK, true), (tcp::RST, true), (tcp::ACK, false)] {
            for (by, expected) in [(0, true), (CLOSE - 1, true), (CLOSE, false)] {
                let number = 100_u32.wrapping_add(by);
                assert_eq!(owns(from_client, flags, number, number), expected);
            }
            let below = 100_u32.wrapping_sub(CLOSE);
            assert!(owns(from_client, flags, below, below));
            assert!(!owns(from_client, flags, below - 1, below - 1));
        }
        assert!(owns(false, tcp::RST, 7_000_500, 0));
        assert!(!owns(false, tcp::RST, 100, 100));
    }

    #[test]
    fn a_socket_expects_what_the_client_sends_next() {
        assert!(flow().is_expected(100) && flow().is_expected(0xffff_fff1));
        assert!(!flow().is_expected(100 + CLOSE));
    }
}
