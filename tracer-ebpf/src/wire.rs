//! The wire tap: every packet of an edge interface, both ways.

use aya_ebpf::{
    helpers::bpf_ktime_get_ns,
    macros::{classifier, socket_filter},
    programs::{SkBuffContext, TcContext},
};
use tracer_common::{
    config::Tail,
    counters::{Cell, Tally},
    flow::FlowKey,
    machine::{Fate, Now, Segment},
    packet::{self, Ip, Link, Packet as _, Skip, TcpHeader, ethertype},
    words::Lost,
};

use crate::{
    globals,
    maps::{self, Entry, Port, Work},
    skb::{Skb, SkbPayload},
    verifier::forget,
};

/// Verdict of a tcx program: on to the next one (include/uapi/linux/bpf.h).
const TCX_NEXT: i32 = -1;

/// tcx: packets that come in by an Ethernet interface.
#[classifier]
pub fn wire_in(ctx: TcContext) -> i32 {
    tap(&Skb::from(&ctx), true, true);
    TCX_NEXT
}

/// tcx: packets that leave by an Ethernet interface.
#[classifier]
pub fn wire_out(ctx: TcContext) -> i32 {
    tap(&Skb::from(&ctx), false, true);
    TCX_NEXT
}

/// tcx: packets that come in by an interface without link-layer header.
#[classifier]
pub fn wire_in_l3(ctx: TcContext) -> i32 {
    tap(&Skb::from(&ctx), true, false);
    TCX_NEXT
}

/// tcx: packets that leave by an interface without link-layer header.
#[classifier]
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
pub fn wire_packet_tail(ctx: SkBuffContext) -> i64 {
    let skb = Skb::from(&ctx);
    tap(&skb, !skb.outgoing(), true);
    0
}

/// What [`wire_packet_l3`] goes on with.
#[socket_filter]
pub fn wire_packet_l3_tail(ctx: SkBuffContext) -> i64 {
    let skb = Skb::from(&ctx);
    tap(&skb, !skb.outgoing(), false);
    0
}

/// Looks at one packet; whatever it is, it passes unaltered.
#[inline(always)]
fn tap<const DIRECT: bool>(skb: &Skb<DIRECT>, to_node: bool, has_link_header: bool) {
    let Some(work) = maps::work() else { return };
    let seen = read(skb, to_node, has_link_header, work);
    // From here on everything is read from `work` again: see there.
    forget();
    match seen {
        Seen::Segment => on_segment(skb, work),
        Seen::Unreachable => on_unreachable(work),
        Seen::Nothing => {}
        Seen::Lost(why) => maps::lost(why),
    }
}

/// What a packet is to us.
enum Seen {
    /// A segment to or from a watched port.
    Segment,
    /// ICMP destination unreachable that quotes a segment to a watched port.
    Unreachable,
    /// Not of interest.
    Nothing,
    /// Of interest, but it cannot be used.
    Lost(Lost),
}

#[inline(always)]
fn read<const DIRECT: bool>(
    skb: &Skb<DIRECT>,
    to_node: bool,
    has_link_header: bool,
    work: &mut Work,
) -> Seen {
    let link = if has_link_header {
        packet::ethernet(skb)
    } else {
        no_link_header(skb)
    };
    let ip = match link.and_then(|link| packet::ip(skb, link)) {
        Ok(ip) => ip,
        Err(Skip::Fragment) => return Seen::Lost(Lost::Fragment),
        Err(Skip::NotOurs | Skip::Malformed) => return Seen::Nothing,
    };
    match packet::tcp(skb, &ip) {
        Ok(header) => read_segment(skb, to_node, &ip, &header, work),
        Err(Skip::NotOurs) if !to_node => read_quote(skb, &ip, work),
        Err(Skip::Malformed) => Seen::Lost(Lost::Malformed),
        Err(Skip::NotOurs | Skip::Fragment) => Seen::Nothing,
    }
}

/// The IP version stands in the first four bits.
#[inline(always)]
fn no_link_header<const DIRECT: bool>(skb: &Skb<DIRECT>) -> Result<Link, Skip> {
    // The shortest IP header whole: asked for its first byte alone, LLVM makes
    // a comparison that the verifier does not take ("invalid access to packet").
    let header: [u8; 20] = skb.load(0).ok_or(Skip::NotOurs)?;
    let ethertype = if header[0] >> 4 == 4 {
        ethertype::IPV4
    } else {
        ethertype::IPV6
    };
    Ok(Link {
        ethertype,
        offset: 0,
    })
}

#[inline(always)]
fn read_segment<const DIRECT: bool>(
    skb: &Skb<DIRECT>,
    to_node: bool,
    ip: &Ip,
    header: &TcpHeader,
    work: &mut Work,
) -> Seen {
    let (client, node, client_port, node_port) = if to_node {
        (ip.src, ip.dst, header.src_port, header.dst_port)
    } else {
        (ip.dst, ip.src, header.dst_port, header.src_port)
    };
    let Some(slot) = maps::slot_of(node_port) else {
        return Seen::Nothing;
    };
    work.slot = slot;
    work.key = FlowKey {
        client,
        node,
        client_port,
        node_port,
    };
    work.payload = header.payload;
    work.segment = Segment {
        to_node,
        flags: header.flags,
        seq: header.seq,
        ack: header.ack,
        payload_len: header.payload_len,
        ifindex: skb.ifindex(),
        origin: skb.reset_origin(to_node),
        probe_source: false,
    };
    Seen::Segment
}

#[inline(always)]
fn read_quote<const DIRECT: bool>(skb: &Skb<DIRECT>, ip: &Ip, work: &mut Work) -> Seen {
    let Ok(quote) = packet::unreachable(skb, ip) else {
        return Seen::Nothing;
    };
    let Some(slot) = maps::slot_of(quote.dst_port) else {
        return Seen::Nothing;
    };
    work.slot = slot;
    work.key = FlowKey {
        client: quote.src,
        node: quote.dst,
        client_port: quote.src_port,
        node_port: quote.dst_port,
    };
    work.segment.seq = quote.seq;
    Seen::Unreachable
}

#[inline(always)]
fn on_segment<const DIRECT: bool>(skb: &Skb<DIRECT>, work: &mut Work) {
    let Some(mut port) = Port::at(work.slot) else {
        return;
    };
    let len = work.segment.payload_len;
    let payload = SkbPayload {
        skb,
        offset: work.payload,
        len,
    };
    if work.segment.to_node && work.segment.is_syn() {
        if !maps::is_local(&work.key.node) {
            return;
        }
        work.segment.probe_source =
            globals::has_probe_sources() && maps::is_probe_source(&work.key.client);
    } else {
        let Some(flow) = maps::peek(&work.key) else {
            return;
        };
        if flow.quick(&work.segment, &payload, maps::clock_s(), &mut port) {
            return;
        }
    }
    forget();
    on_handshake(work, &payload, &mut port);
}

/// A segment that may change the flow's state: under its lock.
#[inline(always)]
fn on_handshake<const DIRECT: bool>(
    work: &Work,
    payload: &SkbPayload<'_, DIRECT>,
    port: &mut Port,
) {
    let opens = work.segment.to_node && work.segment.is_syn();
    let Some(entry) = Entry::lock(&work.key) else {
        if opens {
            untracked(port);
        }
        return;
    };
    let flow = match entry.flow() {
        Some(flow) => flow,
        None if !opens => return,
        None => match entry.insert(work.slot) {
            Some(flow) => flow,
            None => return untracked(port),
        },
    };
    let fate = flow.step(&work.segment, payload, now(), &globals::limits(), port);
    if fate == Fate::Remove {
        entry.remove();
    }
}

/// A SYN that cannot be followed is an attempt all the same.
#[inline(always)]
fn untracked(port: &mut Port) {
    port.count(Cell::ATTEMPTS);
    port.count(Cell::UNTRACKED);
}

#[inline(always)]
fn on_unreachable(work: &Work) {
    let Some(mut port) = Port::at(work.slot) else {
        return;
    };
    let Some(entry) = Entry::lock(&work.key) else {
        return;
    };
    let Some(flow) = entry.flow() else { return };
    let limits = globals::limits();
    if flow.unreachable(work.segment.seq, now(), &limits, &mut port) == Fate::Remove {
        entry.remove();
    }
}

/// The time of a step.
#[inline(always)]
pub fn now() -> Now {
    // SAFETY: the helper has no arguments and no preconditions.
    Now {
        ns: unsafe { bpf_ktime_get_ns() },
        s: maps::clock_s(),
    }
}
