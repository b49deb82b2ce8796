//! PROXY protocol headers (HAProxy's specification proxy-protocol.txt, 2.1 and
//! 2.2), which a load balancer puts before the client's own bytes.

use super::window::{Window, low_bytes, min};
use super::{CHUNK, Decision, FirstBytes};

/// Nothing known yet: a PROXY header may come.
pub(super) const START: u8 = 0;
/// Inside the text of a version 1 line; `left` bytes of it may still come.
pub(super) const V1_TEXT: u8 = 1;
/// The line's CR was the last byte.
pub(super) const V1_LF: u8 = 2;
/// Inside a version 2 header, `left` bytes of it to come.
pub(super) const V2: u8 = 3;
/// After a PROXY header; no second one is accepted.
const CLIENT: u8 = 4;
/// Decided: a version 2 header with command LOCAL came.
pub(super) const LOCAL: u8 = 5;
/// Decided: the first message is old binary.
pub(super) const OLD_BINARY: u8 = 6;

const V1_TCP: u64 = u64::from_le_bytes(*b"PROXY TC");
const V1_UNKNOWN: u64 = u64::from_le_bytes(*b"PROXY UN");
/// Bytes of the line that are tested as a signature.
const V1_SIGNATURE: u32 = 8;
/// Longest line, CR LF included.
const V1_LINE: u16 = 107;
/// Rounds that a segment can take: signature, text of the longest line, its LF,
/// the client's bytes.
pub(super) const ROUNDS: u32 = 3 + (V1_LINE as u32 - V1_SIGNATURE).div_ceil(CHUNK as u32);

const V2_SIGNATURE: [u64; 2] = [
    u64::from_le_bytes(*b"\r\n\r\n\0\r\nQ"),
    u64::from_le_bytes(*b"UIT\n\0\0\0\0"),
];
/// Signature, version and command, family, length.
const V2_FIXED: u32 = 16;
/// Length of the addresses by family: none, IPv4, IPv6, unix.
const V2_ADDRESSES: u32 = u32::from_le_bytes([0, 12, 36, 216]);

/// What the first bytes say about a PROXY header.
pub(super) enum Header {
    /// There is none.
    Absent,
    /// More bytes are needed.
    Partial,
    /// It starts: this many bytes of it were tested.
    Begins(u32),
    /// Settled by the header alone.
    Settled(Decision),
}

impl FirstBytes {
    /// Looks for a PROXY header at the start and takes note of it.
    #[inline(always)]
    pub(super) fn detect(&mut self, window: &Window) -> Header {
        if self.stage != START {
            return Header::Absent;
        }
        let [first, second, ..] = window.words;
        let known = low_bytes(window.len);
        if (first ^ V1_TCP) & known == 0 || (first ^ V1_UNKNOWN) & known == 0 {
            if window.len < V1_SIGNATURE {
                return Header::Partial;
            }
            self.begin(V1_TEXT, V1_LINE - V1_SIGNATURE as u16);
            return Header::Begins(V1_SIGNATURE);
        }
        let known_second = low_bytes(min(window.len.saturating_sub(8), 4));
        let unlike =
            ((first ^ V2_SIGNATURE[0]) & known) | ((second ^ V2_SIGNATURE[1]) & known_second);
        if unlike != 0 {
            return Header::Absent;
        }
        if window.len < V2_FIXED {
            return Header::Partial;
        }
        self.detect_v2((second >> 32) as u32)
    }

    /// Judges the four bytes after the signature, given in little-endian order.
    #[inline(always)]
    fn detect_v2(&mut self, fields: u32) -> Header {
        let command = fields & 0xff;
        let family = (fields >> 12) & 0xf;
        let transport = (fields >> 8) & 0xf;
        let length = ((fields >> 16) as u16).swap_bytes();
        if command == 0x20 {
            self.begin(LOCAL, 0);
            return Header::Settled(Decision::HealthCheck);
        }
        if command != 0x21 || family > 3 || transport > 2 {
            return Header::Settled(Decision::Other);
        }
        if u32::from(length) < (V2_ADDRESSES >> (family * 8)) & 0xff {
            return Header::Settled(Decision::Other);
        }
        self.begin(V2, length);
        Header::Begins(V2_FIXED)
    }

    #[inline(always)]
    fn begin(&mut self, stage: u8, left: u16) {
        self.stage = stage;
        self.left = left;
        self.len = 0;
    }

    /// Passes over text of a version 1 line, up to its CR.
    #[inline(always)]
    pub(super) fn pass_v1_text(&mut self, at: u32, chunk: &Window) -> Option<Decision> {
        let text = chunk.printable();
        if text + 2 > u32::from(self.left) {
            return Some(Decision::Other);
        }
        self.left -= text as u16;
        if text == chunk.len {
            self.go_on(at + text);
            return if text == CHUNK as u32 {
                None
            } else {
                Some(Decision::Undecided)
            };
        }
        if chunk.byte(text) != b'\r' {
            return Some(Decision::Other);
        }
        self.stage = V1_LF;
        self.go_on(at + text + 1);
        None
    }

    /// Passes over the LF of a version 1 line.
    #[inline(always)]
    pub(super) fn pass_v1_lf(&mut self, at: u32, chunk: &Window) -> Option<Decision> {
        if chunk.byte(0) != b'\n' {
            return Some(Decision::Other);
        }
        self.stage = CLIENT;
        self.go_on(at + 1);
        None
    }

    /// Passes over the addresses and extensions of a version 2 header, of which
    /// `there` bytes are in the segment from `at` on.
    #[inline(always)]
    pub(super) fn pass_v2(&mut self, at: u32, there: u32) -> Option<Decision> {
        let here = min(u32::from(self.left), there);
        self.left -= here as u16;
        self.go_on(at + here);
        if self.left != 0 {
            return Some(Decision::Undecided);
        }
        self.stage = CLIENT;
        None
    }
}
