//! Up to 32 bytes held in four words, so that the BPF verifier sees plain
//! arithmetic where it would otherwise see a loop with a branch per byte.
//! (Linux 5.10 also refuses reads from the stack at a variable offset.)

use super::{CHUNK, Chunk, Payload};

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Bytes in little-endian words: byte 0 is the low byte of `words[0]`.
/// Bytes from `len` on are zero.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) words: [u64; 4],
    /// Bytes known.
    pub(super) len: u32,
    /// Bytes that can ever become known: 32, less what was skipped.
    pub(super) room: u32,
}

impl From<Chunk> for Window {
    #[inline(always)]
    fn from(chunk: Chunk) -> Self {
        Self {
            words: chunk.words,
            len: chunk.len,
            room: CHUNK as u32,
        }
    }
}

impl Window {
    pub(super) const EMPTY: Self = Self {
        words: [0; 4],
        len: 0,
        room: CHUNK as u32,
    };

    /// Reads the payload from `offset`. The flag is set when bytes that are
    /// there could not be read.
    #[inline(always)]
    pub(super) fn read<P: Payload + ?Sized>(payload: &P, offset: u32) -> (Self, bool) {
        let there = min(payload.len().saturating_sub(offset), CHUNK as u32);
        let chunk = payload.read(offset);
        (Self::from(chunk), chunk.len < there)
    }

    /// These bytes followed by those of `next`, as far as there is room.
    #[inline(always)]
    pub(super) fn append(&self, next: &Self) -> Self {
        let [a, b, c, d] = shift_up(&next.words, self.len);
        let [w, x, y, z] = self.words;
        Self {
            words: [w | a, x | b, y | c, z | d],
            len: min(self.len + next.len, CHUNK as u32),
            room: CHUNK as u32,
        }
    }

    /// The bytes from `n` on; `n` below 8.
    #[inline(always)]
    pub(super) fn skip(&self, n: u32) -> Self {
        let up = (n & 7) * 8;
        // Two shifts, since one by 64 is not defined.
        let down = |low: u64, high: u64| (low >> up) | ((high << 1) << (63 - up));
        let [w, x, y, z] = self.words;
        Self {
            words: [down(w, x), down(x, y), down(y, z), z >> up],
            len: self.len.saturating_sub(n),
            room: self.room.saturating_sub(n),
        }
    }

    /// The bytes from 8 on.
    #[inline(always)]
    pub(super) fn skip_word(&self) -> Self {
        let [_, x, y, z] = self.words;
        Self {
            words: [x, y, z, 0],
            len: self.len.saturating_sub(8),
            room: self.room.saturating_sub(8),
        }
    }

    /// Byte `i`; 0 when it is not known.
    #[inline(always)]
    pub(super) fn byte(&self, i: u32) -> u8 {
        let [w, x, y, z] = self.words;
        let word = match i >> 3 {
            0 => w,
            1 => x,
            2 => y,
            3 => z,
            _ => 0,
        };
        (word >> ((i & 7) * 8)) as u8
    }

    /// The first four bytes as a big-endian integer.
    #[inline(always)]
    pub(super) fn be32(&self) -> u32 {
        (self.words[0] as u32).swap_bytes()
    }

    /// True when the first `n` bytes, as far as there is room for them, are
    /// letters, digits or one of `_ . : - /`: the Thrift IDL's identifiers, and
    /// the `service:method` of the multiplexed protocol.
    #[inline(always)]
    pub(super) fn is_identifier(&self, n: u32) -> bool {
        let [w, x, y, z] = self.words;
        let bad = keep(
            &[
                not_identifier(w),
                not_identifier(x),
                not_identifier(y),
                not_identifier(z),
            ],
            min(n, CHUNK as u32),
        );
        let [w, x, y, z] = bad;
        w | x | y | z == 0
    }

    /// How many bytes from the start on are printable ASCII (0x20 to 0x7e).
    #[inline(always)]
    pub(super) fn printable(&self) -> u32 {
        let [w, x, y, z] = self.words;
        // The zero bytes past `len` are not printable and end the run.
        match (
            not_printable(w),
            not_printable(x),
            not_printable(y),
            not_printable(z),
        ) {
            (0, 0, 0, 0) => 32,
            (0, 0, 0, bad) => 24 + first(bad),
            (0, 0, bad, _) => 16 + first(bad),
            (0, bad, ..) => 8 + first(bad),
            (bad, ..) => first(bad),
        }
    }
}

#[inline(always)]
pub(super) fn min(a: u32, b: u32) -> u32 {
    if a < b { a } else { b }
}

/// A mask of the low `n` bytes of a word.
#[inline(always)]
pub(super) fn low_bytes(n: u32) -> u64 {
    if n >= 8 { u64::MAX } else { (1 << (n * 8)) - 1 }
}

/// Zeroes all bytes from `n` on.
#[inline(always)]
pub(super) fn keep(words: &[u64; 4], n: u32) -> [u64; 4] {
    let [w, x, y, z] = *words;
    [
        w & low_bytes(n),
        x & low_bytes(n.saturating_sub(8)),
        y & low_bytes(n.saturating_sub(16)),
        z & low_bytes(n.saturating_sub(24)),
    ]
}

/// Moves the bytes `n` places to higher positions; those past 32 fall off.
#[inline(always)]
fn shift_up(words: &[u64; 4], n: u32) -> [u64; 4] {
    let [mut w, mut x, mut y, mut z] = *words;
    if n & 16 != 0 {
        [w, x, y, z] = [0, 0, w, x];
    }
    if n & 8 != 0 {
        [w, x, y, z] = [0, w, x, y];
    }
    let up = (n & 7) * 8;
    let join = |low: u64, high: u64| (high << up) | ((low >> 1) >> (63 - up));
    [w << up, join(w, x), join(x, y), join(y, z)]
}

/// The high bit of each byte that is at least `c`; bytes and `c` below 0x80.
#[inline(always)]
fn at_least(word: u64, c: u8) -> u64 {
    word + ONES * (0x80 - u64::from(c))
}

/// The high bit of each byte that cannot be part of a method name.
#[inline(always)]
fn not_identifier(word: u64) -> u64 {
    let low = word & !HIGH;
    let folded = low | (ONES * 0x20);
    let letter = at_least(folded, b'a') & !at_least(folded, b'z' + 1);
    let mark_or_digit = at_least(low, b'-') & !at_least(low, b':' + 1);
    let underscore = at_least(low, b'_') & !at_least(low, b'_' + 1);
    (!(letter | mark_or_digit | underscore) | word) & HIGH
}

/// The high bit of each byte outside 0x20 to 0x7e.
#[inline(always)]
fn not_printable(word: u64) -> u64 {
    let low = word & !HIGH;
    (!(at_least(low, 0x20) & !at_least(low, 0x7f)) | word) & HIGH
}

/// Which byte (0 to 7) holds the lowest set bit of `bits`, of which only high
/// bits of bytes may be set. BPF has no instruction to count zeros: the
/// multiplication moves the byte's number into the top byte.
#[inline(always)]
fn first(bits: u64) -> u32 {
    let lowest = (bits & bits.wrapping_neg()) >> 7;
    (lowest.wrapping_mul(0x0001_0203_0405_0607) >> 56) as u32
}
