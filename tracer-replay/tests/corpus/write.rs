//! Writes captures: packets from headers up, and the containers around them.

use std::net::IpAddr;

use tracer_common::machine::tcp::{ACK, FIN, RST, SYN};

pub const CLIENT: [u8; 4] = [10, 0, 1, 9];
pub const NODE: [u8; 4] = [10, 0, 3, 17];
pub const PORT: u16 = 30_080;
pub const S: u64 = 1_000_000_000;
/// When the captures begin.
pub const START: u64 = 1_700_000_000 * S;

/// A packet, from its IP header on.
#[derive(Clone, Debug)]
pub struct Packet {
    pub at: u64,
    pub to_node: bool,
    pub bytes: Vec<u8>,
}

/// One TCP segment of the flow from `client_port`.
#[derive(Clone, Copy)]
pub struct Tcp<'a> {
    pub client_port: u16,
    pub flags: u8,
    pub seq: u32,
    pub ack: u32,
    pub payload: &'a [u8],
    pub ttl: u8,
}

pub fn tcp(at: u64, to_node: bool, segment: Tcp<'_>) -> Packet {
    let (src, dst) = if to_node {
        (CLIENT, NODE)
    } else {
        (NODE, CLIENT)
    };
    let ports = if to_node {
        [segment.client_port, PORT]
    } else {
        [PORT, segment.client_port]
    };
    let mut bytes = ipv4(src, dst, 6, segment.ttl, 20 + segment.payload.len());
    for port in ports {
        bytes.extend(port.to_be_bytes());
    }
    bytes.extend(segment.seq.to_be_bytes());
    bytes.extend(segment.ack.to_be_bytes());
    bytes.extend([0x50, segment.flags, 0xff, 0xff, 0, 0, 0, 0]);
    bytes.extend(segment.payload);
    Packet { at, to_node, bytes }
}

fn ipv4(src: [u8; 4], dst: [u8; 4], protocol: u8, ttl: u8, payload: usize) -> Vec<u8> {
    let total = u16::try_from(20 + payload).unwrap().to_be_bytes();
    let mut bytes = vec![
        0x45, 0, total[0], total[1], 0, 0, 0x40, 0, ttl, protocol, 0, 0,
    ];
    bytes.extend(src);
    bytes.extend(dst);
    bytes
}

/// ICMP port unreachable that quotes the SYN.
pub fn unreachable(at: u64, syn: &Packet) -> Packet {
    let mut bytes = ipv4(NODE, CLIENT, 1, 64, 8 + 28);
    bytes.extend([3, 3, 0, 0, 0, 0, 0, 0]);
    bytes.extend(&syn.bytes[..28]);
    Packet {
        at,
        to_node: false,
        bytes,
    }
}

fn segment(client_port: u16, flags: u8, seq: u32, ack: u32, payload: &[u8]) -> Tcp<'_> {
    Tcp {
        client_port,
        flags,
        seq,
        ack,
        payload,
        ttl: 64,
    }
}

pub fn syn(at: u64, client_port: u16) -> Packet {
    tcp(at, true, segment(client_port, SYN, 100, 0, b""))
}

/// A strict binary Thrift call of `ping` without arguments.
pub const CALL: &[u8] = b"\x80\x01\x00\x01\x00\x00\x00\x04ping\x00\x00\x00\x01\x00";
/// Its reply.
pub const REPLY: &[u8] = b"\x80\x01\x00\x02\x00\x00\x00\x04ping\x00\x00\x00\x01\x00";

/// A connection with a Thrift call; takes 8 ms.
pub fn call(at: u64, client_port: u16) -> Vec<Packet> {
    let end = 101 + CALL.len() as u32;
    let replied = 501 + REPLY.len() as u32;
    let steps: [(bool, u8, u32, u32, &[u8]); 8] = [
        (true, SYN, 100, 0, b""),
        (false, SYN | ACK, 500, 101, b""),
        (true, ACK, 101, 501, b""),
        (true, ACK, 101, 501, CALL),
        (false, ACK, 501, end, REPLY),
        (true, ACK | FIN, end, replied, b""),
        (false, ACK | FIN, replied, end + 1, b""),
        (true, ACK, end + 1, replied + 1, b""),
    ];
    let mut packets = Vec::new();
    for (ms, (to_node, flags, seq, ack, payload)) in steps.into_iter().enumerate() {
        let tcp_segment = segment(client_port, flags, seq, ack, payload);
        packets.push(tcp(at + ms as u64 * 1_000_000, to_node, tcp_segment));
    }
    packets
}

/// A refused attempt; `ttl` of the RST.
pub fn refused(at: u64, client_port: u16, ttl: u8) -> Vec<Packet> {
    let rst = Tcp {
        ttl,
        ..segment(client_port, RST | ACK, 0, 101, b"")
    };
    vec![syn(at, client_port), tcp(at + 300_000, false, rst)]
}

/// One of each outcome, and silence for 20 s before the last packet.
pub fn mixed() -> Vec<Packet> {
    let mut packets = call(START, 40_000);
    packets.extend(refused(START + S, 40_001, 64));
    packets.extend(refused(START + S + 10_000_000, 40_002, 63));
    let asked = syn(START + 2 * S, 40_003);
    packets.push(asked.clone());
    packets.push(unreachable(START + 2 * S + 1_000_000, &asked));
    packets.push(syn(START + 3 * S, 40_004));
    packets.push(syn(START + 4 * S, 40_004));
    packets.extend(call(START + 23 * S, 40_005));
    packets.sort_by_key(|packet| packet.at);
    packets
}

/// Link layers.
pub const ETHERNET: u16 = 1;
pub const SLL: u16 = 113;
pub const SLL2: u16 = 276;

/// The packet behind a link-layer header of its kind, as seen on `ifindex`.
pub fn framed(link_type: u16, packet: &Packet, ifindex: u32) -> Vec<u8> {
    let kind = if packet.to_node { 0 } else { 4 };
    let mut bytes = match link_type {
        ETHERNET => [&[0; 12][..], &[8, 0]].concat(),
        SLL => [&[0, kind, 0, 1, 0, 6][..], &[0; 8], &[8, 0]].concat(),
        SLL2 => {
            let ifindex = ifindex.to_be_bytes();
            [&[8, 0, 0, 0][..], &ifindex, &[0, 1, kind, 6], &[0; 8]].concat()
        }
        0 => vec![2, 0, 0, 0],
        108 => vec![0, 0, 0, 2],
        _ => Vec::new(),
    };
    bytes.extend(&packet.bytes);
    bytes
}

/// The packet behind an Ethernet header with VLAN tags.
pub fn tagged(packet: &Packet) -> Vec<u8> {
    let tags = [0x88, 0xa8, 0, 7, 0x81, 0, 0, 9, 8, 0];
    [&[0; 12][..], &tags, &packet.bytes].concat()
}

/// A container to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    pub ng: bool,
    pub big_endian: bool,
    pub nanoseconds: bool,
    pub link_type: u16,
    /// Bytes kept of each packet.
    pub snaplen: usize,
}

impl Form {
    pub const PLAIN: Self = Self {
        ng: false,
        big_endian: false,
        nanoseconds: false,
        link_type: ETHERNET,
        snaplen: usize::MAX,
    };

    fn u16(&self, out: &mut Vec<u8>, value: u16) {
        out.extend(if self.big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        });
    }

    fn u32(&self, out: &mut Vec<u8>, value: u32) {
        out.extend(if self.big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        });
    }

    pub fn header(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.ng {
            let magic = if self.nanoseconds {
                0xa1b2_3c4d
            } else {
                0xa1b2_c3d4
            };
            self.u32(&mut out, magic);
            self.u16(&mut out, 2);
            self.u16(&mut out, 4);
            for word in [0, 0, 65_535, u32::from(self.link_type)] {
                self.u32(&mut out, word);
            }
            return out;
        }
        let mut section = Vec::new();
        self.u32(&mut section, 0x1a2b_3c4d);
        self.u16(&mut section, 1);
        self.u16(&mut section, 0);
        section.extend([0xff; 8]);
        self.block(&mut out, 0x0a0d_0d0a, &section);
        let mut interface = Vec::new();
        self.u16(&mut interface, self.link_type);
        self.u16(&mut interface, 0);
        self.u32(&mut interface, 65_535);
        if self.nanoseconds {
            self.u16(&mut interface, 9);
            self.u16(&mut interface, 1);
            interface.extend([9, 0, 0, 0, 0, 0, 0, 0]);
        }
        self.block(&mut out, 1, &interface);
        out
    }

    fn block(&self, out: &mut Vec<u8>, kind: u32, body: &[u8]) {
        let size = 12 + body.len().next_multiple_of(4);
        self.u32(out, kind);
        self.u32(out, size as u32);
        out.extend(body);
        out.resize(out.len().next_multiple_of(4), 0);
        self.u32(out, size as u32);
    }

    pub fn record(&self, at: u64, frame: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let unit = if self.nanoseconds { 1 } else { 1_000 };
        let kept = &frame[..frame.len().min(self.snaplen)];
        let lengths = [kept.len() as u32, frame.len() as u32];
        if !self.ng {
            let (seconds, fraction) = (at / S, at % S / unit);
            for word in [seconds as u32, fraction as u32].iter().chain(&lengths) {
                self.u32(&mut out, *word);
            }
            out.extend(kept);
            return out;
        }
        let ticks = at / unit;
        let mut body = Vec::new();
        for word in [0, (ticks >> 32) as u32, ticks as u32]
            .iter()
            .chain(&lengths)
        {
            self.u32(&mut body, *word);
        }
        body.extend(kept);
        self.block(&mut out, 6, &body);
        out
    }

    /// A whole capture.
    pub fn capture(&self, packets: &[Packet]) -> Vec<u8> {
        let records = packets.iter().map(|packet| {
            let frame = framed(self.link_type, packet, 2);
            self.record(packet.at, &frame)
        });
        let records: Vec<u8> = records.flatten().collect();
        [self.header(), records].concat()
    }
}

pub fn ip(bytes: [u8; 4]) -> IpAddr {
    IpAddr::from(bytes)
}
