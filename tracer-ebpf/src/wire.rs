//! The wire tap: every packet of an edge interface, both ways.

use aya_ebpf::{
    helpers::bpf_ktime_get_ns,
    macros::{classifier, socket_filter},
    programs::{SkBuffContext, TcContext},
};
use tracer_common::{
    counters::{Cell, Tally},
    flow::FlowKey,
    machine::{Fate, Now, Segment},
    packet::{self, Ip, Link, Packet, Skip, TcpHeader, ethertype},
    words::Lost,
};

use crate::{
    globals,
    maps::{self, Entry, Port},
    skb::{Skb, SkbPayload},
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
#[socket_filter]
pub fn wire_packet(ctx: SkBuffContext) -> i64 {
    let skb = Skb::from(&ctx);
    tap(&skb, !skb.outgoing(), true);
    0
}

/// Packet socket on an interface without link-layer header, both ways.
#[socket_filter]
pub fn wire_packet_l3(ctx: SkBuffContext) -> i64 {
    let skb = Skb::from(&ctx);
    tap(&skb, !skb.outgoing(), false);
    0
}

/// Looks at one packet; whatever it is, it passes unaltered.
#[inline(always)]
fn tap<const DIRECT: bool>(skb: &Skb<DIRECT>, to_node: bool, has_link_header: bool) {
    let link = if has_link_header { packet::ethernet(skb) } else { no_link_header(skb) };
    match link.and_then(|link| packet::ip(skb, link)) {
        Ok(ip) => match packet::tcp(skb, &ip) {
            Ok(header) => on_tcp(skb, to_node, &ip, &header),
            Err(Skip::NotOurs) if !to_node => on_icmp(skb, &ip),
            Err(Skip::Malformed) => maps::lost(Lost::Malformed),
            Err(Skip::NotOurs | Skip::Fragment) => {}
        },
        Err(Skip::Fragment) => maps::lost(Lost::Fragment),
        Err(Skip::NotOurs | Skip::Malformed) => {}
    }
}

/// The IP version stands in the first four bits.
#[inline(always)]
fn no_link_header<const DIRECT: bool>(skb: &Skb<DIRECT>) -> Result<Link, Skip> {
    let [first] = skb.load(0).ok_or(Skip::NotOurs)?;
    let ethertype = if first >> 4 == 4 { ethertype::IPV4 } else { ethertype::IPV6 };
    Ok(Link { ethertype, offset: 0 })
}

#[inline(always)]
fn on_tcp<const DIRECT: bool>(skb: &Skb<DIRECT>, to_node: bool, ip: &Ip, header: &TcpHeader) {
    let (client, node, client_port, node_port) = if to_node {
        (ip.src, ip.dst, header.src_port, header.dst_port)
    } else {
        (ip.dst, ip.src, header.dst_port, header.src_port)
    };
    let Some(slot) = maps::slot_of(node_port) else { return };
    let Some(mut port) = Port::at(slot) else { return };
    let key = FlowKey { client, node, client_port, node_port };
    let payload = SkbPayload { skb, offset: header.payload, len: header.payload_len };
    let mut segment = Segment {
        to_node,
        flags: header.flags,
        seq: header.seq,
        ack: header.ack,
        payload_len: header.payload_len,
        ifindex: skb.ifindex(),
        origin: skb.reset_origin(to_node),
        probe_source: false,
    };
    let opens = to_node && segment.is_syn();
    if opens {
        if !maps::is_local(&node) {
            return;
        }
        segment.probe_source = globals::has_probe_sources() && maps::is_probe_source(&client);
    } else {
        let Some(flow) = maps::peek(&key) else { return };
        if flow.quick(&segment, &payload, maps::clock_s(), &mut port) {
            return;
        }
    }
    on_handshake(&key, slot, &segment, &payload, &mut port, opens);
}

/// A segment that may change the flow's state: under its lock.
#[inline(always)]
fn on_handshake<const DIRECT: bool>(
    key: &FlowKey,
    slot: u16,
    segment: &Segment,
    payload: &SkbPayload<'_, DIRECT>,
    port: &mut Port,
    opens: bool,
) {
    let Some(entry) = Entry::lock(key) else {
        if opens {
            untracked(port);
        }
        return;
    };
    let flow = match entry.flow() {
        Some(flow) => flow,
        None if !opens => return,
        None => match entry.insert(slot) {
            Some(flow) => flow,
            None => return untracked(port),
        },
    };
    let fate = flow.step(segment, payload, now(), &globals::limits(), port);
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
fn on_icmp<const DIRECT: bool>(skb: &Skb<DIRECT>, ip: &Ip) {
    let Ok(quote) = packet::unreachable(skb, ip) else { return };
    let Some(mut port) = maps::slot_of(quote.dst_port).and_then(Port::at) else { return };
    let key = FlowKey {
        client: quote.src,
        node: quote.dst,
        client_port: quote.src_port,
        node_port: quote.dst_port,
    };
    let Some(entry) = Entry::lock(&key) else { return };
    let Some(flow) = entry.flow() else { return };
    if flow.unreachable(quote.seq, now(), &globals::limits(), &mut port) == Fate::Remove {
        entry.remove();
    }
}

#[inline(always)]
pub fn now() -> Now {
    // SAFETY: the helper has no arguments and no preconditions.
    Now { ns: unsafe { bpf_ktime_get_ns() }, s: maps::clock_s() }
}
