//! TCP segments byte by byte: IPv4 and IPv6, VLAN tags, IP options, extension
//! headers, fragments. All multi-byte fields are in network byte order.

mod icmp;
mod parse;

use std::net::{IpAddr, SocketAddr};

pub use icmp::unreachable;
pub use parse::{Parsed, parse};

/// TCP flag bits (RFC 9293, 3.1).
pub mod flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement field counts.
    pub const ACK: u8 = 0x10;
}

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const PROTO_TCP: u8 = 6;
const PROTO_FRAGMENT: u8 = 44;

/// A TCP segment to be built. Checksums are right unless
/// [`Segment::bad_checksum`] is set.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Source address and port; of the same family as `dst`.
    pub src: SocketAddr,
    /// Destination address and port.
    pub dst: SocketAddr,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number, written whether or not ACK is set.
    pub ack: u32,
    /// Flag bits, see [`flags`].
    pub flags: u8,
    /// Receive window, unscaled.
    pub window: u16,
    /// TCP options; padded to a multiple of four with end-of-options.
    pub tcp_options: Vec<u8>,
    /// What follows the TCP header.
    pub payload: Vec<u8>,
    /// IPv4 TTL or IPv6 hop limit.
    pub ttl: u8,
    /// IPv4 or fragment-header identification.
    pub ident: u16,
    /// IPv4 options; padded to a multiple of four.
    pub ip_options: Vec<u8>,
    /// IPv6 extension headers before TCP: protocol number of the header and
    /// its bytes from the second on (the first, next header, is filled in).
    /// The length has to be right for the header, a multiple of 8 less 1.
    pub ext_headers: Vec<(u8, Vec<u8>)>,
    /// Tag control fields of VLAN tags, outermost first (802.1Q).
    pub vlan: Vec<u16>,
    /// Spoil the TCP checksum.
    pub bad_checksum: bool,
}

impl Segment {
    /// A bare segment without options or payload, TTL 64, window 64240.
    #[must_use]
    pub fn new(src: SocketAddr, dst: SocketAddr, flags: u8, seq: u32, ack: u32) -> Self {
        Self {
            src,
            dst,
            seq,
            ack,
            flags,
            window: 64240,
            tcp_options: Vec::new(),
            payload: Vec::new(),
            ttl: 64,
            ident: 0,
            ip_options: Vec::new(),
            ext_headers: Vec::new(),
            vlan: Vec::new(),
            bad_checksum: false,
        }
    }

    /// A SYN with an MSS option of 1460.
    #[must_use]
    pub fn syn(src: SocketAddr, dst: SocketAddr, isn: u32) -> Self {
        let mut segment = Self::new(src, dst, flags::SYN, isn, 0);
        segment.tcp_options = vec![2, 4, 0x05, 0xb4];
        segment
    }

    /// Sets the payload.
    #[must_use]
    pub fn with_payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// The TCP header and payload.
    #[must_use]
    pub fn tcp_bytes(&self) -> Vec<u8> {
        let options = padded(&self.tcp_options);
        let words = u8::try_from(5 + options.len() / 4).unwrap_or(15);
        let mut tcp = Vec::with_capacity(20 + options.len() + self.payload.len());
        tcp.extend(self.src.port().to_be_bytes());
        tcp.extend(self.dst.port().to_be_bytes());
        tcp.extend(self.seq.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        tcp.extend([words << 4, self.flags]);
        tcp.extend(self.window.to_be_bytes());
        tcp.extend([0; 4]);
        tcp.extend(options);
        tcp.extend(&self.payload);
        let mut sum = transport_checksum(self.src.ip(), self.dst.ip(), PROTO_TCP, &tcp);
        if self.bad_checksum {
            sum = !sum;
        }
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        tcp
    }

    /// The IP packet.
    #[must_use]
    pub fn ip_bytes(&self) -> Vec<u8> {
        match (self.src.ip(), self.dst.ip()) {
            (IpAddr::V6(_), _) | (_, IpAddr::V6(_)) => {
                let (first, mut body) = self.extension_chain(PROTO_TCP);
                body.extend(self.tcp_bytes());
                self.ipv6(first, &body)
            }
            _ => self.ipv4(&self.tcp_bytes(), 0x4000),
        }
    }

    /// The IP packet cut into fragments that carry `size` bytes each, a
    /// multiple of 8. The extension headers go into every fragment, before
    /// the fragment header.
    #[must_use]
    pub fn fragments(&self, size: usize) -> Vec<Vec<u8>> {
        let tcp = self.tcp_bytes();
        let count = tcp.len().div_ceil(size);
        let cut = |(i, part): (usize, &[u8])| {
            let more = u16::from(i + 1 < count);
            let offset = u16::try_from(i * size / 8).unwrap_or(0x1fff);
            if self.src.is_ipv4() {
                return self.ipv4(part, (more << 13) | offset);
            }
            let (first, mut body) = self.extension_chain(PROTO_FRAGMENT);
            body.extend([PROTO_TCP, 0]);
            body.extend(((offset << 3) | more).to_be_bytes());
            body.extend(u32::from(self.ident).to_be_bytes());
            body.extend(part);
            self.ipv6(first, &body)
        };
        tcp.chunks(size).enumerate().map(cut).collect()
    }

    /// The Ethernet frame, with its VLAN tags.
    #[must_use]
    pub fn frame(&self, dst: [u8; 6], src: [u8; 6]) -> Vec<u8> {
        frame(dst, src, &self.vlan, &self.ip_bytes())
    }

    /// The extension headers, ending in `last`: the first protocol number and
    /// the bytes.
    fn extension_chain(&self, last: u8) -> (u8, Vec<u8>) {
        let following = self.ext_headers.iter().skip(1).map(|h| h.0);
        let mut bytes = Vec::new();
        for ((_, body), next) in self.ext_headers.iter().zip(following.chain([last])) {
            bytes.push(next);
            bytes.extend(body);
        }
        (self.ext_headers.first().map_or(last, |h| h.0), bytes)
    }

    fn ipv4(&self, body: &[u8], fragment: u16) -> Vec<u8> {
        let options = padded(&self.ip_options);
        let header = 20 + options.len();
        let words = u8::try_from(header / 4).unwrap_or(15);
        let mut ip = vec![0x40 | words, 0];
        ip.extend(len16(header + body.len()));
        ip.extend(self.ident.to_be_bytes());
        ip.extend(fragment.to_be_bytes());
        ip.extend([self.ttl, PROTO_TCP, 0, 0]);
        ip.extend(octets(self.src.ip()));
        ip.extend(octets(self.dst.ip()));
        ip.extend(options);
        let sum = checksum(&[&ip]);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        ip.extend(body);
        ip
    }

    fn ipv6(&self, next: u8, body: &[u8]) -> Vec<u8> {
        ipv6_packet(self.src.ip(), self.dst.ip(), next, self.ttl, body)
    }
}

/// An Ethernet frame around an IP packet; the type follows from its version.
#[must_use]
pub fn frame(dst: [u8; 6], src: [u8; 6], vlan: &[u16], ip: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(18 + ip.len());
    frame.extend(dst);
    frame.extend(src);
    for (i, tag) in vlan.iter().enumerate() {
        // All but the innermost tag are service tags (802.1ad).
        let ethertype: u16 = if i + 1 < vlan.len() { 0x88a8 } else { 0x8100 };
        frame.extend(ethertype.to_be_bytes());
        frame.extend(tag.to_be_bytes());
    }
    let is_v6 = ip.first().is_some_and(|b| b >> 4 == 6);
    let ethertype = if is_v6 {
        ETHERTYPE_IPV6
    } else {
        ETHERTYPE_IPV4
    };
    frame.extend(ethertype.to_be_bytes());
    frame.extend(ip);
    frame
}

fn ipv6_packet(src: IpAddr, dst: IpAddr, next: u8, hops: u8, body: &[u8]) -> Vec<u8> {
    let mut ip = vec![0x60, 0, 0, 0];
    ip.extend(len16(body.len()));
    ip.extend([next, hops]);
    ip.extend(octets(src));
    ip.extend(octets(dst));
    ip.extend(body);
    ip
}

fn len16(len: usize) -> [u8; 2] {
    u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes()
}

fn padded(options: &[u8]) -> Vec<u8> {
    let mut bytes = options.to_vec();
    bytes.resize(options.len().next_multiple_of(4), 0);
    bytes
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// The checksum of TCP or ICMPv6 with its pseudo header (RFC 9293, RFC 8200).
fn transport_checksum(src: IpAddr, dst: IpAddr, protocol: u8, body: &[u8]) -> u16 {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    checksum(&[&octets(src), &octets(dst), &[0, protocol], &length, body])
}

/// The internet checksum (RFC 1071) of `parts` in a row; all but the last have
/// an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u32 = words
        .map(|w| u32::from(w[0]) << 8 | u32::from(w.get(1).copied().unwrap_or(0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}
