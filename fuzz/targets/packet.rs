//! The packet parser: consistent with itself and with etherparse.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use tracer_common::packet::{self, Ip, Link, Packet, Skip, TcpHeader, ethertype};

/// Bytes of a packet that was longer on the wire by so many.
struct Cut<'a>(&'a [u8], u32);

impl Packet for Cut<'_> {
    fn half(&self, offset: u32) -> Option<u16> {
        packet::half(self.0, offset)
    }

    fn words<const N: usize>(&self, offset: u32) -> Option<[u32; N]> {
        packet::words(self.0, offset)
    }

    fn len(&self) -> u32 {
        self.0.len() as u32 + self.1
    }
}

fn parse(packet: &Cut<'_>, link: Link) -> Result<(Ip, TcpHeader), Skip> {
    let ip = packet::ip(packet, link)?;
    Ok((ip, packet::tcp(packet, &ip)?))
}

/// Bytes 0 and 1: link layer, and bytes that were cut off; then the packet.
pub fn run(data: &[u8]) {
    let [kind, cut, bytes @ ..] = data else {
        return;
    };
    let packet = Cut(bytes, u32::from(*cut));
    let link = match kind % 3 {
        0 => packet::ethernet(&packet),
        1 => Ok(Link {
            ethertype: ethertype::IPV4,
            offset: 0,
        }),
        _ => Ok(Link {
            ethertype: ethertype::IPV6,
            offset: 0,
        }),
    };
    let Ok(link) = link else { return };
    if let Ok(ip) = packet::ip(&packet, link) {
        let least = if link.ethertype == ethertype::IPV4 {
            20
        } else {
            40
        };
        assert!(ip.payload >= link.offset + least && ip.end >= ip.payload);
        let _ = packet::unreachable(&packet, &ip);
    }
    let Ok((ip, tcp)) = parse(&packet, link) else {
        return;
    };
    assert!(tcp.payload >= ip.payload + 20);
    assert_eq!(tcp.payload + tcp.payload_len, ip.end);
    if *cut == 0 {
        agrees(bytes, link, &ip, &tcp);
    }
}

/// What etherparse reads, where it reads TCP too, is the same.
fn agrees(bytes: &[u8], link: Link, ip: &Ip, tcp: &TcpHeader) {
    let Ok(other) = SlicedPacket::from_ip(&bytes[link.offset as usize..]) else {
        return;
    };
    let (Some(net), Some(TransportSlice::Tcp(seen))) = (&other.net, &other.transport) else {
        return;
    };
    let (src, dst) = match net {
        NetSlice::Ipv4(v4) => (
            v4.header().source_addr().into(),
            v4.header().destination_addr().into(),
        ),
        NetSlice::Ipv6(v6) => (
            v6.header().source_addr().into(),
            v6.header().destination_addr().into(),
        ),
        NetSlice::Arp(_) => return,
    };
    let canonical = |ip: std::net::IpAddr| ip.to_canonical();
    assert_eq!((ip.src.ip(), ip.dst.ip()), (canonical(src), canonical(dst)));
    assert_eq!(
        (tcp.src_port, tcp.dst_port, tcp.seq, tcp.ack),
        (
            seen.source_port(),
            seen.destination_port(),
            seen.sequence_number(),
            seen.acknowledgment_number()
        )
    );
    let flags = [seen.fin(), seen.syn(), seen.rst(), seen.psh(), seen.ack()];
    let ours = [0, 1, 2, 3, 4].map(|bit| tcp.flags >> bit & 1 == 1);
    assert_eq!(ours, flags);
    assert_eq!(tcp.payload_len as usize, seen.payload().len());
}
