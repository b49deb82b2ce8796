//! The packet behind a program's context, as [`Packet`] and [`Payload`]. With
//! `kernel.rs` the only place that touches memory which is not a map's.

use aya_ebpf::{
    EbpfContext,
    bindings::__sk_buff,
    helpers::generated::bpf_skb_load_bytes,
    programs::{SkBuffContext, TcContext},
};
use tracer_common::{
    first_bytes::{CHUNK, Payload},
    packet::Packet,
    words::ResetOrigin,
};

use crate::verifier::opaque;

/// An skb. `DIRECT` programs may look at its linear part without a helper
/// call; packet-socket filters may not.
pub struct Skb<const DIRECT: bool>(*mut __sk_buff);

impl From<&TcContext> for Skb<true> {
    #[inline(always)]
    fn from(ctx: &TcContext) -> Self {
        Self(ctx.as_ptr().cast())
    }
}

impl From<&SkBuffContext> for Skb<false> {
    #[inline(always)]
    fn from(ctx: &SkBuffContext) -> Self {
        Self(ctx.as_ptr().cast())
    }
}

impl<const DIRECT: bool> Skb<DIRECT> {
    /// The interface whose tap this is.
    #[inline(always)]
    pub fn ifindex(&self) -> u32 {
        // SAFETY: a field of the program's own context.
        unsafe { (*self.0).ifindex }
    }

    /// True when the packet leaves by the interface (`PACKET_OUTGOING`).
    #[inline(always)]
    pub fn outgoing(&self) -> bool {
        const PACKET_OUTGOING: u32 = 4;
        // SAFETY: a field of the program's own context.
        unsafe { (*self.0).pkt_type == PACKET_OUTGOING }
    }

    /// Who made a RST that leaves: a packet which came in by an interface was
    /// forwarded (`skb->skb_iif`); one that the node made itself has none.
    #[inline(always)]
    pub fn reset_origin(&self, to_node: bool) -> ResetOrigin {
        // SAFETY: a field of the program's own context.
        let came_in_by = unsafe { (*self.0).ingress_ifindex };
        match (to_node, came_in_by) {
            (true, _) => ResetOrigin::Client,
            (false, 0) => ResetOrigin::Node,
            (false, _) => ResetOrigin::Backend,
        }
    }

    #[inline(always)]
    pub fn load_by_helper<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let mut bytes = [0u8; N];
        // SAFETY: `bytes` is N bytes long, and the context is the program's own.
        let failed = unsafe {
            bpf_skb_load_bytes(self.0.cast(), offset, bytes.as_mut_ptr().cast(), N as u32)
        };
        (failed == 0).then_some(bytes)
    }
}

impl<const DIRECT: bool> Packet for Skb<DIRECT> {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        if DIRECT {
            // The verifier follows packet pointers only to offsets it can bound;
            // no header lies further in than this.
            let offset = (offset & 0x3fff) as usize;
            // SAFETY: a field of the program's own context.
            let data = unsafe { (*self.0).data } as usize;
            // SAFETY: as above.
            let end = unsafe { (*self.0).data_end } as usize;
            // Opaque, or LLVM adds `offset + N` first and the verifier cannot
            // relate the two sums ("invalid access to packet").
            let at = opaque((data + offset) as u64) as usize;
            if at + N <= end {
                // SAFETY: the N bytes at `at` lie within the packet, as just checked.
                return Some(unsafe { (at as *const [u8; N]).read_unaligned() });
            }
        }
        self.load_by_helper(offset)
    }

    #[inline(always)]
    fn len(&self) -> u32 {
        // SAFETY: a field of the program's own context.
        unsafe { (*self.0).len }
    }
}

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
