//! What TCP sends again, where the wire tap does not follow the connection:
//! SYNs and payload of dials made on this node, SYN-ACKs of sockets that listen
//! on a watched port of a node address themselves (host network, or the socket
//! by which kube-proxy reserves the port). Where it does, a SYN-ACK that a socket
//! of this kernel sends again is noted for its flow.

use aya_ebpf::{
    Global,
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use tracer_common::{
    counters::{Cell, Tally},
    failure::seen,
    flow::FlowKey,
    words::Retransmit,
};

use crate::{
    dials, flows,
    kernel::{self, Sock, tcp},
    maps, nat,
    notes::{self, Subject},
    own,
    rows::Port,
};

/// 1 where `tcp_retransmit_skb` has its third argument.
#[unsafe(no_mangle)]
static RETRANSMIT_HAS_ERR: Global<u8> = Global::new(0);

/// C: void tcp_retransmit_skb(const struct sock *sk, const struct sk_buff *skb)
///
/// From 6.18 on a third argument, `int err`, and failed attempts show too.
#[btf_tracepoint]
pub fn retransmit_skb(ctx: BtfTracePointContext) -> i32 {
    if RETRANSMIT_HAS_ERR.load() == 0 || ctx.arg::<i32>(2) == 0 {
        on_retransmit(Sock(ctx.arg(0)), ctx.arg(1));
    }
    0
}

/// [`retransmit_skb`] without BTF.
#[raw_tracepoint]
pub fn retransmit_raw(ctx: RawTracePointContext) -> i32 {
    if RETRANSMIT_HAS_ERR.load() == 0 || ctx.arg::<i32>(2) == 0 {
        on_retransmit(Sock(ctx.arg(0)), ctx.arg(1));
    }
    0
}

/// C: void tcp_retransmit_synack(const struct sock *sk, const struct request_sock *req)
#[btf_tracepoint]
pub fn retrans_synack(ctx: BtfTracePointContext) -> i32 {
    on_synack(Sock(ctx.arg(1)));
    0
}

/// [`retrans_synack`] without BTF.
#[raw_tracepoint]
pub fn synack_raw(ctx: RawTracePointContext) -> i32 {
    on_synack(Sock(ctx.arg(1)));
    0
}

#[inline(always)]
fn on_retransmit(sock: Sock, skb: *const u8) {
    let Some(node_port) = sock.remote_port() else {
        return;
    };
    let Some(slot) = maps::slot_of(node_port) else {
        return;
    };
    let kind = if sock.state() == Some(tcp::SYN_SENT) {
        Retransmit::Syn
    } else {
        Retransmit::Data
    };
    // A FIN alone is neither, as on the wire.
    if kind == Retransmit::Data && kernel::segment_len(skb) == Some(0) {
        return;
    }
    let Some(key) = sock.dial_key(node_port) else {
        return;
    };
    if own::is_dialled(&key.node, sock) && !dials::followed(sock, &key) {
        count(slot, kind);
    }
}

#[inline(always)]
fn on_synack(request: Sock) {
    let Some(port) = request.request_port() else {
        return;
    };
    let Some(key) = request.server_key(port) else {
        return;
    };
    let netns = request.foreign_netns();
    if let Some(flow) = nat::flow_at(&key) {
        note_again(request, flow, netns);
    } else if let Some(slot) = maps::slot_of(port)
        // A pod may listen on a port of the same number, and whoever has a namespace
        // of its own at any address there.
        && netns == 0
        && own::is_local(&key.node)
    {
        count(slot, Retransmit::SynAck);
    }
}

/// The request is the attempt's if it began with the same number.
#[inline(always)]
fn note_again(request: Sock, flow: FlowKey, netns: u32) {
    let Some(known) = flows::peek(&flow) else {
        return;
    };
    if request.request_isn() == Some(known.isn) {
        let subject = Subject {
            flow,
            syn_at: known.syn_at,
            netns,
        };
        notes::note(&subject, seen::SYN_ACK_AGAIN, 0);
    }
}

#[inline(always)]
fn count(slot: u16, kind: Retransmit) {
    if let Some(mut port) = Port::of(slot) {
        port.count(Cell::retransmit(kind));
    }
}
