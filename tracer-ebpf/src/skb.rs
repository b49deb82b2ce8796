//! The packet behind a program's context, as [`Packet`] and payload. With
//! `kernel.rs` the only place that touches memory which is not a map's.

mod loads;
mod payload;

use core::mem::MaybeUninit;

use aya_ebpf::{
    EbpfContext,
    bindings::__sk_buff,
    helpers::generated::bpf_skb_load_bytes,
    programs::{SkBuffContext, TcContext},
};
use tracer_common::{packet::Packet, words::ResetOrigin};

use self::loads::{half_at, long_at, word_at};
pub use self::payload::SkbPayload;
use crate::verifier::opaque;

/// Offsets that [`Skb::linear`] looks at, as a mask.
const FARTHEST: u32 = 0x3fff;

/// An skb. `DIRECT` programs may look at its linear part without a helper
/// call; packet-socket filters may not.
pub struct Skb<const DIRECT: bool>(*mut __sk_buff);

/// `PACKET_HOST` and the like (include/uapi/linux/if_packet.h).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Addressee {
    /// The interface.
    Host,
    /// Another one on the same link.
    OtherHost,
    /// It leaves by the interface.
    Outgoing,
    /// All, or a group.
    Many,
}

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

    /// The packet's mark; of a test run what the caller gave.
    #[inline(always)]
    pub fn mark(&self) -> u32 {
        // SAFETY: a field of the program's own context.
        unsafe { (*self.0).mark }
    }

    /// Whom the frame is for, as the driver found by its hardware address.
    #[inline(always)]
    pub fn addressee(&self) -> Addressee {
        // SAFETY: a field of the program's own context.
        match unsafe { (*self.0).pkt_type } {
            0 => Addressee::Host,
            3 => Addressee::OtherHost,
            4 => Addressee::Outgoing,
            _ => Addressee::Many,
        }
    }

    /// The VLAN of the tag that the kernel has taken off the frame; 0: none.
    #[inline(always)]
    pub fn vlan(&self) -> u32 {
        // SAFETY: a field of the program's own context.
        let present = unsafe { (*self.0).vlan_present };
        // SAFETY: as above.
        let tag = unsafe { (*self.0).vlan_tci };
        if present == 0 { 0 } else { tag & 0xfff }
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

    /// Copies from the packet, its linear part or not.
    #[inline(always)]
    pub fn copy<T>(&self, offset: u32) -> Option<T> {
        let mut value = MaybeUninit::<T>::uninit();
        let (to, len) = (value.as_mut_ptr().cast(), size_of::<T>() as u32);
        // SAFETY: `value` is `len` bytes long, and the context is the program's own.
        let failed = unsafe { bpf_skb_load_bytes(self.0.cast(), offset, to, len) };
        // SAFETY: the helper has filled it; `T` is of integers, for which any
        // bytes are valid.
        (failed == 0).then(|| unsafe { value.assume_init() })
    }

    /// Where `len` bytes from `offset` stand, if the linear part has them.
    #[inline(always)]
    fn linear(&self, offset: u32, len: usize) -> Option<u64> {
        if !DIRECT {
            return None;
        }
        // The verifier follows packet pointers only to offsets it can bound;
        // no header lies further in than this.
        let offset = (offset & FARTHEST) as usize;
        // SAFETY: a field of the program's own context.
        let data = unsafe { (*self.0).data } as usize;
        // SAFETY: as above.
        let end = unsafe { (*self.0).data_end } as usize;
        // Opaque, or LLVM adds `offset + len` first and the verifier cannot
        // relate the two sums ("invalid access to packet").
        let at = opaque((data + offset) as u64);
        (at as usize + len <= end).then_some(at)
    }

    /// 32 bytes from `offset` as they stand in memory, if the linear part has them.
    #[inline(always)]
    fn longs(&self, offset: u32) -> Option<[u64; 4]> {
        if offset > FARTHEST {
            return None;
        }
        let at = self.linear(offset, 32)?;
        let long = |n: u64| {
            // SAFETY: these bytes lie within the packet, as just checked.
            unsafe { long_at(at + n) }
        };
        Some([long(0), long(8), long(16), long(24)])
    }
}

impl<const DIRECT: bool> Packet for Skb<DIRECT> {
    #[inline(always)]
    fn half(&self, offset: u32) -> Option<u16> {
        match self.linear(offset, 2) {
            // SAFETY: these bytes lie within the packet, as just checked.
            Some(at) => Some(unsafe { half_at(at) }),
            None => self.copy(offset),
        }
    }

    #[inline(always)]
    fn words<const N: usize>(&self, offset: u32) -> Option<[u32; N]> {
        let Some(at) = self.linear(offset, 4 * N) else {
            return self.copy(offset);
        };
        let mut words = [0; N];
        for (word, place) in words.iter_mut().zip((at..).step_by(4)) {
            // SAFETY: these bytes lie within the packet, as just checked.
            *word = unsafe { word_at(place) };
        }
        Some(words)
    }

    #[inline(always)]
    fn len(&self) -> u32 {
        // SAFETY: a field of the program's own context.
        unsafe { (*self.0).len }
    }
}
