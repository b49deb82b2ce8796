//! RSTs that dials made on this node send and receive, where the wire tap does
//! not follow the connection. Each RST is counted at the dial's end alone: one
//! that the node's stack or a local server sends to a local dial is counted as
//! the dial receives it, so that it does not matter that a RST without a socket
//! shows itself from 6.12 on only (with `sk` = NULL).

use aya_ebpf::{
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use tracer_common::{
    counters::{Cell, Tally},
    words::ResetOrigin,
};

use crate::{
    dials,
    kernel::{Sock, tcp},
    maps::{self, Port},
};

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
/// may be NULL or a short socket. `skb` is NULL when the process makes the RST.
#[btf_tracepoint]
pub fn send_reset(ctx: BtfTracePointContext) -> i32 {
    on_send_reset(Sock(ctx.arg(0)));
    0
}

/// [`send_reset`] without BTF.
#[raw_tracepoint]
pub fn send_reset_raw(ctx: RawTracePointContext) -> i32 {
    on_send_reset(Sock(ctx.arg(0)));
    0
}

#[inline(always)]
fn on_send_reset(sock: Sock) {
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
    if dials::followed(sock, &key) {
        return;
    }
    if let Some(mut port) = Port::at(slot) {
        port.count(Cell::reset(origin));
    }
}
