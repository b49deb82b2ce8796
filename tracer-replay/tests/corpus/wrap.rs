//! Encapsulations around packets.

use super::write::{ETHERNET, Packet, framed};

/// Where outer packets come from and go to.
const OUTER: [[u8; 4]; 2] = [[10, 9, 0, 1], [10, 9, 0, 2]];
const GRE: u8 = 47;

/// An encapsulation: a packet from its IP header on, to an Ethernet frame.
pub type Wrap = fn(&Packet) -> Vec<u8>;

/// One of each that is decoded.
pub const ALL: [(&str, Wrap); 21] = [
    ("VXLAN", vxlan),
    ("VXLAN", |p| udp(8_472, &vxlan_header(), &ethernet(p))),
    ("VXLAN", |p| {
        udp(4_790, &[0x0c, 0, 0, 1, 0, 0, 7, 0], &p.bytes)
    }),
    ("VXLAN", |p| {
        ethernet_frame(
            0x0800,
            &outer_v4(17, &udp_header(4_789, &vxlan_header(), &tagged(p))),
        )
    }),
    ("VXLAN", |p| {
        ethernet_frame(
            0x86dd,
            &outer_v6(17, &udp_header(4_789, &vxlan_header(), &ethernet(p))),
        )
    }),
    ("VXLAN", nested),
    ("VXLAN", |p| udp(6_784, &vxlan_header(), &ethernet(p))),
    ("Geneve", |p| {
        udp(6_081, &[0, 0, 0x65, 0x58, 0, 0, 7, 0], &ethernet(p))
    }),
    ("Geneve", |p| {
        udp(
            6_081,
            &[2, 0, 8, 0, 0, 0, 7, 0, 1, 8, 1, 1, 0, 0, 0, 0],
            &p.bytes,
        )
    }),
    ("GRE", |p| ip(GRE, &[0, 0, 8, 0], &p.bytes)),
    ("GRE", |p| {
        ip(
            GRE,
            &[0xb0, 0, 0x65, 0x58, 1, 1, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1],
            &ethernet(p),
        )
    }),
    ("GRE", |p| {
        ip(GRE, &[0, 0, 0x88, 0x47, 0, 1, 1, 64], &p.bytes)
    }),
    ("ERSPAN", |p| ip(GRE, &[0, 0, 0x88, 0xbe], &ethernet(p))),
    ("ERSPAN", erspan_ii),
    ("ERSPAN", |p| erspan_iii(p, 0, &[])),
    ("ERSPAN", |p| erspan_iii(p, 1, &[0; 8])),
    ("IP in IP", |p| ip(4, &[], &p.bytes)),
    ("IP in IP", |p| {
        ethernet_frame(0x86dd, &outer_v6(4, &p.bytes))
    }),
    ("MPLS", |p| {
        ethernet_frame(
            0x8847,
            &[&[0, 1, 0, 64, 0, 2, 1, 64][..], &p.bytes].concat(),
        )
    }),
    ("MPLS", |p| {
        udp(6_635, &[0, 1, 1, 64, 0, 0, 0, 0], &ethernet(p))
    }),
    ("PPPoE", pppoe),
];

/// VXLAN of network 7.
pub fn vxlan(packet: &Packet) -> Vec<u8> {
    udp(4_789, &vxlan_header(), &ethernet(packet))
}

/// IP protocol 97 (RFC 3378), which is not decoded.
pub fn ether_ip(packet: &Packet) -> Vec<u8> {
    ip(97, &[0x30, 0], &ethernet(packet))
}

fn vxlan_header() -> [u8; 8] {
    [8, 0, 0, 0, 0, 0, 7, 0]
}

/// GRE in a VLAN's VXLAN.
fn nested(packet: &Packet) -> Vec<u8> {
    let inner = ip(GRE, &[0, 0, 8, 0], &packet.bytes);
    let vxlan = udp(4_789, &vxlan_header(), &inner);
    let (ends, rest) = vxlan.split_at(12);
    [ends, &[0x81, 0, 0, 9], rest].concat()
}

fn erspan_ii(packet: &Packet) -> Vec<u8> {
    let gre = [0x10, 0, 0x88, 0xbe, 0, 0, 0, 1];
    let head = [0x10, 7, 0, 33, 0, 0, 0, 0];
    ip(GRE, &[gre, head].concat(), &ethernet(packet))
}

/// With eight more bytes of the platform, should the last bit say so.
fn erspan_iii(packet: &Packet, more: u8, platform: &[u8]) -> Vec<u8> {
    let gre = [0x10, 0, 0x22, 0xeb, 0, 0, 0, 1];
    let head = [0x20, 7, 0, 33, 0, 0, 0, 0, 0, 0, 0, more];
    ip(
        GRE,
        &[&gre[..], &head, platform].concat(),
        &ethernet(packet),
    )
}

fn pppoe(packet: &Packet) -> Vec<u8> {
    let length = (packet.bytes.len() as u16 + 2).to_be_bytes();
    let head = [0x11, 0, 0, 5, length[0], length[1], 0, 0x21];
    ethernet_frame(0x8864, &[&head, &packet.bytes[..]].concat())
}

fn ethernet(packet: &Packet) -> Vec<u8> {
    framed(ETHERNET, packet, 2)
}

fn tagged(packet: &Packet) -> Vec<u8> {
    super::write::tagged(packet)
}

fn ethernet_frame(ethertype: u16, body: &[u8]) -> Vec<u8> {
    [&[0; 12][..], &ethertype.to_be_bytes(), body].concat()
}

fn ip(protocol: u8, head: &[u8], inner: &[u8]) -> Vec<u8> {
    ethernet_frame(0x0800, &outer_v4(protocol, &[head, inner].concat()))
}

fn udp(port: u16, head: &[u8], inner: &[u8]) -> Vec<u8> {
    ip(17, &[], &udp_header(port, head, inner))
}

fn udp_header(port: u16, head: &[u8], inner: &[u8]) -> Vec<u8> {
    let length = (8 + head.len() + inner.len()) as u16;
    let words = [40_000, port, length, 0].map(u16::to_be_bytes).concat();
    [&words, head, inner].concat()
}

fn outer_v4(protocol: u8, body: &[u8]) -> Vec<u8> {
    let total = (20 + body.len() as u16).to_be_bytes();
    let head = [0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, protocol, 0, 0];
    [&head, &OUTER.concat()[..], body].concat()
}

fn outer_v6(protocol: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16).to_be_bytes();
    let head = [0x60, 0, 0, 0, length[0], length[1], protocol, 64];
    [&head, &[0xfd; 32][..], body].concat()
}
