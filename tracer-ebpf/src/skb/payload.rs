//! A packet's TCP payload.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::bpf_skb_load_bytes;
use tracer_common::first_bytes::{CHUNK, Chunk, Payload};

use super::Skb;
use crate::verifier::opaque;

/// The TCP payload of an skb, paged or not.
pub struct SkbPayload<'a, const DIRECT: bool> {
    /// The packet.
    pub skb: &'a Skb<DIRECT>,
    /// Offset of the payload in the packet.
    pub offset: u32,
    /// Its length in bytes.
    pub len: u32,
}

impl<const DIRECT: bool> Payload for SkbPayload<'_, DIRECT> {
    #[inline(always)]
    fn len(&self) -> u32 {
        self.len
    }

    #[inline(always)]
    fn read(&self, offset: u32) -> Chunk {
        let left = self.len.saturating_sub(offset);
        if left == 0 {
            return Chunk::EMPTY;
        }
        // Bounded up here: behind the direct way, 6.1 walks a fifth more instructions.
        let last = if left < CHUNK as u32 {
            left - 1
        } else {
            CHUNK as u32 - 1
        };
        let len = (opaque(u64::from(last)) as u32 & (CHUNK as u32 - 1)) + 1;
        let at = self.offset.wrapping_add(offset);
        if left >= CHUNK as u32
            && let Some(words) = self.skb.longs(at)
        {
            return Chunk {
                words,
                len: CHUNK as u32,
            };
        }
        let mut words = MaybeUninit::<[u64; 4]>::uninit();
        let first = words.as_mut_ptr().cast::<u64>();
        zero(first);
        // SAFETY: `len` is 1 to CHUNK, the length of `words`.
        let failed = unsafe { bpf_skb_load_bytes(self.skb.0.cast(), at, first.cast(), len) };
        // SAFETY: all of it is written; after a failure it is zero.
        let [a, b, c, d] = unsafe { words.assume_init() };
        Chunk {
            words: [a, b, c, d],
            len: if failed == 0 { len } else { 0 },
        }
    }
}

/// Four stores of a word: of a constant the BPF linker would make a call of a
/// byte-wise `memset`, which the verifier walks through for every caller.
#[inline(always)]
fn zero(words: *mut u64) {
    for word in 0..4 {
        // SAFETY: the caller's four words.
        unsafe { words.wrapping_add(word).write_volatile(0) };
    }
}
