//! A packet's TCP payload.

use aya_ebpf::helpers::generated::bpf_skb_load_bytes;
use tracer_common::first_bytes::{CHUNK, Payload};

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
    fn read(&self, offset: u32, out: &mut [u8; CHUNK]) -> u32 {
        let left = self.len.saturating_sub(offset);
        if left == 0 {
            return 0;
        }
        let last = if left < CHUNK as u32 {
            left - 1
        } else {
            CHUNK as u32 - 1
        };
        let want = (opaque(u64::from(last)) as u32 & (CHUNK as u32 - 1)) + 1;
        let at = self.offset.wrapping_add(offset);
        let out = out.as_mut_ptr().cast();
        // SAFETY: `want` is 1 to CHUNK, the length of `out`.
        let failed = unsafe { bpf_skb_load_bytes(self.skb.0.cast(), at, out, want) };
        if failed == 0 { want } else { 0 }
    }
}
