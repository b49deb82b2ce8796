//! What is done with one packet: the order of the kernel's wire tap
//! (`tracer-ebpf/src/tap.rs`).

use std::collections::HashSet;

use ipnet::IpNet;
use tracer_common::{
    flow::{Addr, FlowKey},
    machine::{
        Now, Segment,
        tcp::{ACK, RST, SYN},
    },
    packet::{self, Ip, Skip, TcpHeader, ethertype},
    words::{Lost, ResetOrigin},
};

use super::{
    capture::{Direction, Record},
    clock::Clock,
    duplicates::{Duplicates, Way},
    encapsulation::{self, Stop},
    link::{self, Captured, Frame, NoFrame},
    seen::Seen,
    table::Table,
    undecoded::Undecoded,
};

/// Everything that a replay keeps.
pub struct Player {
    /// Flows and counters.
    pub table: Table,
    /// The time of the capture.
    pub clock: Clock,
    pub(crate) duplicates: Duplicates,
    /// What the capture had.
    pub seen: Seen,
    /// The node's addresses; empty: whatever SYNs to watched ports go to.
    nodes: HashSet<Addr>,
    probe_sources: Vec<IpNet>,
    /// Ports that the load balancer's health check is known not to go to.
    pub unchecked: HashSet<u16>,
}

impl Player {
    /// A player with these addresses as the node's (none: whatever SYNs to
    /// watched ports go to), and the sources whose connections are checks.
    #[must_use]
    pub fn new(table: Table, nodes: HashSet<Addr>, probe_sources: Vec<IpNet>) -> Self {
        Self {
            table,
            clock: Clock::default(),
            duplicates: Duplicates::default(),
            seen: Seen::default(),
            nodes,
            probe_sources,
            unchecked: HashSet::new(),
        }
    }

    /// Takes the next packet.
    #[inline]
    pub fn play(&mut self, record: &Record<'_>) {
        self.seen.packets += 1;
        self.seen.overlong += u64::from(record.overlong);
        self.seen.measure(record);
        let now = self.clock.advance(record.time);
        self.table.pass(now);
        match link::frame(record) {
            Ok(mut frame) => {
                self.look(&mut frame, now);
                self.seen.short += u64::from(frame.packet.was_short());
            }
            Err(NoFrame::Short) => self.seen.short += 1,
            Err(NoFrame::Loopback) => self.seen.loopback += 1,
            Err(NoFrame::LinkType(link_type)) => self.seen.pass(Undecoded::LinkType(link_type)),
            Err(NoFrame::NotIp) => self.seen.pass(Undecoded::NotIp),
        }
    }

    /// Segments that came again within 5 ms with the same headers, in captures of
    /// all interfaces that do not tell these apart.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.duplicates.count
    }

    /// SYNs that came again by another way, plain or encapsulated.
    #[must_use]
    pub fn mirrored(&self) -> u64 {
        self.duplicates.mirrored
    }

    /// Time has passed, and nothing more comes.
    pub fn finish(&mut self) {
        self.table.finish(self.clock.now());
    }

    #[inline]
    fn look(&mut self, frame: &mut Frame<'_>, now: Now) {
        let ip = match encapsulation::innermost(frame, &mut self.seen.encapsulated) {
            Ok(ip) => ip,
            Err(Stop::Fragment) => return self.seen.lose(Lost::Fragment),
            Err(Stop::Undecoded(what)) => return self.seen.pass(what),
            Err(Stop::Short) => return,
        };
        match packet::tcp(&frame.packet, &ip) {
            Ok(header) => self.segment(frame, &ip, &header, now),
            Err(Skip::NotOurs) => {
                let read =
                    frame.direction != Direction::In && self.unreachable(&frame.packet, &ip, now);
                if !read && !frame.packet.was_short() {
                    self.seen.pass(Undecoded::Protocol(ip.protocol));
                }
            }
            // What the capture lacks the node had.
            Err(_) if !frame.packet.was_short() => self.seen.lose(Lost::Malformed),
            Err(_) => {}
        }
    }

    /// Tries the segment as one to the node, then as one from it, as far as the
    /// capture leaves that open.
    #[inline]
    fn segment(&mut self, frame: &Frame<'_>, ip: &Ip, header: &TcpHeader, now: Now) {
        self.seen.segments += 1;
        let key = FlowKey {
            client: ip.src,
            node: ip.dst,
            client_port: header.src_port,
            node_port: header.dst_port,
        };
        if frame.direction != Direction::Out
            && self.table.watches(header.dst_port)
            && self.apply(frame, header, (key, true), now)
        {
            return;
        }
        if header.flags & (SYN | ACK | RST) == SYN {
            self.note_other(frame, &key, header.seq, now);
        }
        if frame.direction != Direction::In && self.table.watches(header.src_port) {
            let key = FlowKey {
                client: ip.dst,
                node: ip.src,
                client_port: header.dst_port,
                node_port: header.src_port,
            };
            self.apply(frame, header, (key, false), now);
        }
    }

    /// Applies the segment to the flow, if it has one or opens one.
    #[inline]
    fn apply(
        &mut self,
        frame: &Frame<'_>,
        header: &TcpHeader,
        (key, to_node): (FlowKey, bool),
        now: Now,
    ) -> bool {
        let mut segment = Segment {
            to_node,
            flags: header.flags,
            seq: header.seq,
            ack: header.ack,
            payload_len: header.payload_len,
            ifindex: frame.ifindex,
            origin: ResetOrigin::Client,
            probe_source: false,
            unchecked: false,
            routed: false,
        };
        let opens = to_node && segment.is_syn();
        if opens && !self.is_node(&key.node) {
            self.seen.elsewhere.note(key.node, key.node_port);
            return false;
        }
        if frame.any_interface {
            let id = identification(frame);
            if self.duplicates.is_again(&key, &segment, id, now.ns) {
                return true;
            }
        }
        if opens {
            let way = way(frame);
            if self.duplicates.is_mirrored(&key, segment.seq, way, now.ns) {
                return true;
            }
            self.seen.note_node(key.node);
            segment.probe_source = self.is_probe_source(&key);
            segment.unchecked = self.unchecked.contains(&key.node_port);
        } else if !to_node {
            segment.origin = origin(frame);
        }
        let payload = frame.packet.payload(header.payload, header.payload_len);
        let taken = self.table.segment(&key, &segment, &payload, now);
        if payload.was_missed() {
            self.seen.miss(header.payload);
        }
        taken
    }

    /// An opening SYN that is no attempt at a watched port of the node.
    fn note_other(&mut self, frame: &Frame<'_>, key: &FlowKey, isn: u32, now: Now) {
        let (to, port) = (key.node, key.node_port);
        if !self.table.watches(port) {
            self.seen.unwatched.note(to, port);
        } else if frame.direction == Direction::Out {
            // Should it leave in an encapsulation, that is this host's dial as well.
            let way = way(frame);
            if !self.duplicates.is_mirrored(key, isn, way, now.ns) {
                self.seen.dialled.note(to, port);
            }
        }
    }

    fn is_node(&self, address: &Addr) -> bool {
        self.nodes.is_empty() || self.nodes.contains(address)
    }

    fn is_probe_source(&self, key: &FlowKey) -> bool {
        if self.probe_sources.is_empty() {
            return false;
        }
        let client = key.client.ip();
        self.probe_sources.iter().any(|net| net.contains(&client))
    }

    /// Applies an ICMP error; false: it is none that quotes TCP.
    fn unreachable(&mut self, packet: &Captured<'_>, ip: &Ip, now: Now) -> bool {
        let Ok(quote) = packet::unreachable(packet, ip) else {
            return false;
        };
        if self.table.watches(quote.dst_port) {
            let key = FlowKey {
                client: quote.src,
                node: quote.dst,
                client_port: quote.src_port,
                node_port: quote.dst_port,
            };
            self.table.unreachable(&key, &quote, now);
        }
        true
    }
}

/// By which way a packet came.
fn way(frame: &Frame<'_>) -> Way {
    Way {
        ifindex: frame.ifindex,
        encapsulated: frame.encapsulated,
    }
}

/// Identification of an IPv4 header; IPv6 has none.
fn identification(frame: &Frame<'_>) -> u16 {
    let v4 = frame.link.ethertype == ethertype::IPV4;
    let id = v4.then(|| frame.packet.load(frame.link.offset + 4));
    id.flatten().map_or(0, u16::from_be_bytes)
}

/// Who made a RST that leaves the node: what was forwarded has lost at least
/// one of the hops that systems start with.
fn origin(frame: &Frame<'_>) -> ResetOrigin {
    let at = if frame.link.ethertype == ethertype::IPV4 {
        8
    } else {
        7
    };
    match frame.packet.load(frame.link.offset + at) {
        Some([64 | 128 | 255]) => ResetOrigin::Node,
        _ => ResetOrigin::Backend,
    }
}
