//! What the wire tap does with one packet: read it, find its flow, run the
//! machine.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use tracer_common::{
    counters::{Cell, Tally},
    flow::FlowKey,
    machine::{Fate, Now, Segment},
    packet::{self, Ip, Link, Packet as _, Skip, TcpHeader, ethertype},
    words::Lost,
};

use crate::{
    elsewhere,
    failures::{Effects, Scratch},
    flows::{self, Entry},
    globals,
    maps::{self, Work},
    own, routes,
    rows::{self, Port},
    skb::{Skb, SkbPayload},
    verifier::forget,
};

/// Looks at one packet; whatever it is, it passes unaltered.
#[inline(always)]
pub fn tap<const DIRECT: bool>(skb: &Skb<DIRECT>, to_node: bool, has_link_header: bool) {
    match read(skb, to_node, has_link_header) {
        Seen::Segment(work) => {
            // From here on everything is read from `work` again: see there.
            forget();
            on_segment(skb, has_link_header, work);
        }
        Seen::Unreachable(work) => {
            forget();
            on_unreachable(work);
        }
        Seen::Nothing => {}
        Seen::Lost(why) => maps::lost(why),
    }
}

/// What a packet is to us.
enum Seen {
    /// A segment to or from a watched port.
    Segment(&'static mut Work),
    /// ICMP destination unreachable that quotes a segment to a watched port.
    Unreachable(&'static mut Work),
    /// Not of interest.
    Nothing,
    /// Of interest, but it cannot be used.
    Lost(Lost),
}

#[inline(always)]
fn read<const DIRECT: bool>(skb: &Skb<DIRECT>, to_node: bool, has_link_header: bool) -> Seen {
    let link = if has_link_header {
        packet::ethernet(skb)
    } else {
        no_link_header(skb)
    };
    if link.is_ok_and(|link| own::is_in_vlan(skb, &link)) {
        return Seen::Nothing;
    }
    let ip = match link.and_then(|link| packet::ip(skb, link)) {
        Ok(ip) => ip,
        Err(Skip::Fragment) => return Seen::Lost(Lost::Fragment),
        Err(Skip::NotOurs | Skip::Malformed) => return Seen::Nothing,
    };
    match packet::tcp(skb, &ip) {
        Ok(header) => read_segment(skb, to_node, &ip, &header),
        Err(Skip::NotOurs) if !to_node => read_quote(skb, &ip),
        Err(Skip::Malformed) => Seen::Lost(Lost::Malformed),
        Err(Skip::NotOurs | Skip::Fragment) => Seen::Nothing,
    }
}

/// The IP version stands in the first four bits.
#[inline(always)]
fn no_link_header<const DIRECT: bool>(skb: &Skb<DIRECT>) -> Result<Link, Skip> {
    let [first] = skb.words(0).ok_or(Skip::NotOurs)?;
    let ethertype = if u32::from_be(first) >> 28 == 4 {
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
) -> Seen {
    let (client, node, client_port, node_port) = if to_node {
        (ip.src, ip.dst, header.src_port, header.dst_port)
    } else {
        (ip.dst, ip.src, header.dst_port, header.src_port)
    };
    let Some(slot) = maps::slot_of(node_port) else {
        return Seen::Nothing;
    };
    let Some(work) = maps::work() else {
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
        unchecked: false,
        routed: false,
    };
    Seen::Segment(work)
}

#[inline(always)]
fn read_quote<const DIRECT: bool>(skb: &Skb<DIRECT>, ip: &Ip) -> Seen {
    let Ok(quote) = packet::unreachable(skb, ip) else {
        return Seen::Nothing;
    };
    let Some(slot) = maps::slot_of(quote.dst_port) else {
        return Seen::Nothing;
    };
    let Some(work) = maps::work() else {
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
    work.got = quote.got;
    Seen::Unreachable(work)
}

#[inline(always)]
fn on_segment<const DIRECT: bool>(skb: &Skb<DIRECT>, has_link_header: bool, work: &mut Work) {
    let len = work.segment.payload_len;
    let payload = SkbPayload {
        skb,
        offset: work.payload,
        len,
    };
    if work.segment.to_node && work.segment.is_syn() {
        let takes = own::takes(skb, has_link_header);
        if !own::is_local(&work.key.node) {
            if takes {
                elsewhere::count(&mut work.key);
            }
            return;
        }
        if !takes {
            return;
        }
        work.segment.probe_source =
            globals::has_probe_sources() && maps::is_probe_source(&work.key.client);
        work.segment.unchecked = maps::is_unchecked(work.key.node_port);
        work.segment.routed = routes::leads_to(&work.key.client, work.segment.ifindex);
        work.unused.row = rows::row_of(work.slot);
    } else if work.segment.is_plain() {
        let Some(flow) = flows::peek(&work.key) else {
            return;
        };
        let Some(mut port) = Port::at(flow.row) else {
            return;
        };
        let now_s = maps::clock_s();
        if flow.quick(&work.segment, &payload, now_s, globals::quiet_s, &mut port) {
            return;
        }
    } else if !work.segment.to_node {
        routes::learn(&work.key, work.segment.ifindex);
    }
    forget();
    on_handshake(work, &payload);
}

/// A segment that may change the flow's state: under its lock.
#[inline(always)]
fn on_handshake<const DIRECT: bool>(work: &Work, payload: &SkbPayload<'_, DIRECT>) {
    let Some(mut effects) = Effects::of(Scratch::Tap) else {
        return;
    };
    step(work, payload, &mut effects);
    effects.time();
    effects.serve(&work.key, work.slot);
    effects.report(&work.key, work.slot);
}

#[inline(always)]
fn step<const DIRECT: bool>(work: &Work, payload: &SkbPayload<'_, DIRECT>, effects: &mut Effects) {
    let opens = work.segment.to_node && work.segment.is_syn();
    let Some(entry) = Entry::lock(&work.key) else {
        if opens {
            untracked(work, effects);
        }
        return;
    };
    let flow = match entry.flow() {
        Some(flow) => flow,
        None if !opens => return,
        None => match entry.insert(&work.unused) {
            Some(flow) => flow,
            None => return untracked(work, effects),
        },
    };
    if effects.go_to(flow.row).is_none() {
        return;
    }
    let limits = globals::limits();
    let fate = flow.step(&work.segment, payload, now(), &limits, effects);
    if fate == Fate::Remove {
        entry.remove();
    }
}

/// A SYN that cannot be followed is an attempt all the same.
#[inline(always)]
fn untracked(work: &Work, effects: &mut Effects) {
    if effects.go_to(work.unused.row).is_some() {
        effects.count(Cell::ATTEMPTS);
        effects.count(Cell::UNTRACKED);
    }
}

#[inline(always)]
fn on_unreachable(work: &Work) {
    let Some(mut effects) = Effects::of(Scratch::Tap) else {
        return;
    };
    unreachable(work, &mut effects);
    effects.time();
    effects.report(&work.key, work.slot);
}

#[inline(always)]
fn unreachable(work: &Work, effects: &mut Effects) {
    let Some(entry) = Entry::lock(&work.key) else {
        return;
    };
    let Some(flow) = entry.flow() else { return };
    if effects.go_to(flow.row).is_none() {
        return;
    }
    let (seq, limits) = (work.segment.seq, globals::limits());
    if flow.unreachable(seq, work.got, now(), &limits, effects) == Fate::Remove {
        entry.remove();
    }
}

/// The time of a step.
#[inline(always)]
pub fn now() -> Now {
    // SAFETY: the helper has no arguments and no preconditions.
    let ns = unsafe { bpf_ktime_get_ns() };
    let s = maps::clock_s();
    Now { ns, s }
}
