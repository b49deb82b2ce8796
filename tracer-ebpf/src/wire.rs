//! The wire tap: every packet of an edge interface, both ways.
//!
//! The attribute `inline(always)` saves a call: the verifier of 5.10 charges each
//! 32 bytes of the 512 that the stack has ("combined stack size of 3 calls").

use aya_ebpf::{
    macros::{classifier, socket_filter},
    programs::{SkBuffContext, TcContext},
};
use tracer_common::config::Tail;

use crate::{
    maps,
    skb::{Addressee, Skb},
    tap::tap,
};

/// Verdict of a tcx program: on to the next one (include/uapi/linux/bpf.h).
const TCX_NEXT: i32 = -1;

/// tcx: packets that come in by an Ethernet interface.
#[classifier]
#[inline(always)]
pub fn wire_in(ctx: TcContext) -> i32 {
    tap(&Skb::from(&ctx), true, true);
    TCX_NEXT
}

/// tcx: packets that leave by an Ethernet interface.
#[classifier]
#[inline(always)]
pub fn wire_out(ctx: TcContext) -> i32 {
    tap(&Skb::from(&ctx), false, true);
    TCX_NEXT
}

/// tcx: packets that come in by an interface without link-layer header.
#[classifier]
#[inline(always)]
pub fn wire_in_l3(ctx: TcContext) -> i32 {
    tap(&Skb::from(&ctx), true, false);
    TCX_NEXT
}

/// tcx: packets that leave by an interface without link-layer header.
#[classifier]
#[inline(always)]
pub fn wire_out_l3(ctx: TcContext) -> i32 {
    tap(&Skb::from(&ctx), false, false);
    TCX_NEXT
}

/// Packet socket on an Ethernet interface, both ways; keeps no packet (0 bytes).
///
/// Only a step to the program that does the work: the kernel charges a socket
/// for its filter's length and refuses more than `net.core.optmem_max` ("Cannot
/// allocate memory"), 20 KiB before 6.7, but not for where the filter goes.
#[socket_filter]
pub fn wire_packet(ctx: SkBuffContext) -> i64 {
    maps::tail_call(&ctx, Tail::Packet);
    0
}

/// Packet socket on an interface without link-layer header, both ways.
#[socket_filter]
pub fn wire_packet_l3(ctx: SkBuffContext) -> i64 {
    maps::tail_call(&ctx, Tail::PacketL3);
    0
}

/// What [`wire_packet`] goes on with.
#[socket_filter]
#[inline(always)]
pub fn wire_packet_tail(ctx: SkBuffContext) -> i64 {
    let skb = Skb::from(&ctx);
    tap(&skb, skb.addressee() != Addressee::Outgoing, true);
    0
}

/// What [`wire_packet_l3`] goes on with.
#[socket_filter]
#[inline(always)]
pub fn wire_packet_l3_tail(ctx: SkBuffContext) -> i64 {
    let skb = Skb::from(&ctx);
    tap(&skb, skb.addressee() != Addressee::Outgoing, false);
    0
}
