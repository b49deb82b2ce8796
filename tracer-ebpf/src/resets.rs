//! RSTs that dials made on this node send and receive, where the wire tap does
//! not follow the connection. Each RST is counted at the dial's end alone: one
//! that the node's stack or a local server sends to a local dial is counted as
//! the dial receives it, so that it does not matter that a RST without a socket
//! shows itself from 6.12 on only (with `sk` = NULL).
//!
//! Where the wire tap does follow the connection, a RST that a TCP stack of this
//! kernel sends is noted for its flow: one that answers a segment, and one that a
//! socket makes by itself, for its process.

use aya_ebpf::{
    EbpfContext, Global,
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use tracer_common::{
    counters::{Cell, Tally},
    failure::seen,
    words::ResetOrigin,
};

use crate::{
    dials,
    drops::Owner,
    flows,
    kernel::{self, Sock, packet::SkBuff, tcp},
    maps, nat,
    notes::{self, Subject},
    own,
    rows::Port,
};

/// 1 where `tcp_send_reset` has its third argument.
#[unsafe(no_mangle)]
static SEND_RESET_HAS_REASON: Global<u8> = Global::new(0);

/// C: void tcp_receive_reset(struct sock *sk)
#[btf_tracepoint]
pub fn receive_reset(ctx: BtfTracePointContext) -> i32 {
    on_reset(Sock(ctx.arg(0)), ResetOrigin::Unknown);
    0
}

/// [`receive_reset`] without BTF.
#[raw_tracepoint]
pub fn receive_reset_raw(ctx: RawTracePointContext) -> i32 {
    on_reset(Sock(ctx.arg(0)), ResetOrigin::Unknown);
    0
}

/// C: void tcp_send_reset(const struct sock *sk, const struct sk_buff *skb)
///
/// From 6.12 on a third argument, `const enum sk_rst_reason reason`, and `sk`
/// may be NULL or a short socket. `skb` is what the RST answers; NULL when the
/// process makes the RST.
#[btf_tracepoint]
pub fn send_reset(ctx: BtfTracePointContext) -> i32 {
    let reason = if SEND_RESET_HAS_REASON.load() == 0 {
        0
    } else {
        ctx.arg::<u32>(2)
    };
    on_send_reset(&ctx, reason);
    0
}

/// [`send_reset`] without BTF.
#[raw_tracepoint]
pub fn send_reset_raw(ctx: RawTracePointContext) -> i32 {
    let reason = if SEND_RESET_HAS_REASON.load() == 0 {
        0
    } else {
        ctx.arg::<u32>(2)
    };
    on_send_reset(&ctx, reason);
    0
}

#[inline(always)]
fn on_send_reset(ctx: &impl EbpfContext, reason: u32) {
    let sock = Sock(kernel::nullable(ctx, 0));
    let skb = SkBuff(kernel::nullable(ctx, 1));
    // `enum sk_rst_reason` stays far below.
    let reason = reason.min(u32::from(u16::MAX)) as u16;
    if skb.0.is_null() {
        unasked(sock, reason);
    } else {
        answered(skb, reason);
    }
    count_for_dial(sock);
}

/// A RST that a socket made by itself (`tcp_send_active_reset`). It has left
/// already, through the wire tap, which waits for this before it reports.
#[inline(always)]
fn unasked(sock: Sock, reason: u16) {
    let Some(port) = sock.local_port() else {
        return;
    };
    let Some(ends) = sock.server_key(port) else {
        return;
    };
    let Some(flow) = nat::flow_at(&ends) else {
        return;
    };
    let (Some(known), Some(next)) = (flows::peek(&flow), sock.expects()) else {
        return;
    };
    if known.is_expected(next) {
        let subject = Subject {
            flow,
            syn_at: known.syn_at,
            netns: sock.foreign_netns(),
        };
        notes::note(&subject, seen::RESET_PROCESS, reason);
    }
}

/// A RST in answer to a segment.
#[inline(always)]
fn answered(skb: SkBuff, reason: u16) {
    let Some(found) = Owner::of(skb) else { return };
    let seen = if found.from_client {
        seen::RESET_CLIENT
    } else {
        seen::RESET_SERVER
    };
    notes::note(&found.subject, seen, reason);
}

#[inline(always)]
fn count_for_dial(sock: Sock) {
    if sock.0.is_null() {
        return;
    }
    // Before 6.12 the hook does not fire for short sockets.
    if let Some(tcp::TIME_WAIT | tcp::NEW_SYN_RECV) | None = sock.state() {
        return;
    }
    on_reset(sock, ResetOrigin::Client);
}

#[inline(always)]
fn on_reset(sock: Sock, origin: ResetOrigin) {
    let Some(node_port) = sock.remote_port() else {
        return;
    };
    let Some(slot) = maps::slot_of(node_port) else {
        return;
    };
    let Some(key) = sock.dial_key(node_port) else {
        return;
    };
    if !own::is_dialled(&key.node, sock) || dials::followed(sock, &key) {
        return;
    }
    if let Some(mut port) = Port::of(slot) {
        port.count(Cell::reset(origin));
    }
}
