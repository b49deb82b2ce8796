//! ICMP and ICMPv6 destination unreachable.

use std::net::IpAddr;

use super::{checksum, ipv6_packet, len16, octets, transport_checksum};

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// The IP packet of a destination unreachable with `code` that quotes the IP
/// packet `quoted`: type 3 (RFC 792) with its IP header and 8 more bytes, or
/// type 1 (RFC 4443) with up to 1232 bytes. The family is that of `src`.
#[must_use]
pub fn unreachable(src: IpAddr, dst: IpAddr, code: u8, quoted: &[u8]) -> Vec<u8> {
    if src.is_ipv6() {
        let mut body = vec![1, code, 0, 0, 0, 0, 0, 0];
        body.extend(&quoted[..quoted.len().min(1232)]);
        let sum = transport_checksum(src, dst, ICMPV6, &body);
        body[2..4].copy_from_slice(&sum.to_be_bytes());
        return ipv6_packet(src, dst, ICMPV6, 64, &body);
    }
    let header = quoted.first().map_or(20, |b| usize::from(b & 0x0f) * 4);
    let mut body = vec![3, code, 0, 0, 0, 0, 0, 0];
    body.extend(&quoted[..quoted.len().min(header + 8)]);
    let sum = checksum(&[&body]);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut ip = vec![0x45, 0xc0];
    ip.extend(len16(20 + body.len()));
    ip.extend([0, 0, 0, 0, 64, ICMP, 0, 0]);
    ip.extend(octets(src));
    ip.extend(octets(dst));
    let sum = checksum(&[&ip]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    ip.extend(body);
    ip
}
