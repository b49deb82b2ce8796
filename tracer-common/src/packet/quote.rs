//! ICMP errors and the segments that they quote.

use super::{Ip, Packet, Skip, TCP, extensions};
use crate::failure::{Got, Reply};
use crate::flow::Addr;

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const ICMP_UNREACHABLE: u8 = 3;
const ICMPV6_UNREACHABLE: u8 = 1;

/// The TCP segment that an ICMP error quotes, in its original direction.
#[derive(Clone, Copy, Debug)]
pub struct Quote {
    /// Source address of the quoted segment: the client.
    pub src: Addr,
    /// Destination address of the quoted segment: the node.
    pub dst: Addr,
    /// Source port, host byte order.
    pub src_port: u16,
    /// Destination port, host byte order.
    pub dst_port: u16,
    /// Sequence number, host byte order.
    pub seq: u32,
    /// The error around it.
    pub got: Got,
}

/// Reads the quote of an ICMP (RFC 792, type 3) or ICMPv6 (RFC 4443, type 1)
/// destination unreachable of any code.
///
/// # Errors
/// A [`Skip`] when it is anything else or quotes anything but TCP.
#[inline(always)]
pub fn unreachable<P: Packet>(packet: &P, ip: &Ip) -> Result<Quote, Skip> {
    let [kind, code] = packet.half(ip.payload).ok_or(Skip::NotOurs)?.to_ne_bytes();
    let inner = ip.payload + 8;
    let (reply, src, dst, protocol, tcp) = match (ip.protocol, kind) {
        (ICMP, ICMP_UNREACHABLE) => {
            let [version, _, ttl, src, dst] = packet.words(inner).ok_or(Skip::NotOurs)?;
            let header = (u32::from_be(version) >> 24 & 0xf) * 4;
            let protocol = (u32::from_be(ttl) >> 16) as u8;
            let (src, dst) = (Addr::mapped(src), Addr::mapped(dst));
            (Reply::Icmp, src, dst, protocol, inner + header)
        }
        (ICMPV6, ICMPV6_UNREACHABLE) => {
            let [_, lengths] = packet.words(inner).ok_or(Skip::NotOurs)?;
            let src = Addr(packet.words(inner + 8).ok_or(Skip::NotOurs)?);
            let dst = Addr(packet.words(inner + 24).ok_or(Skip::NotOurs)?);
            let next = (u32::from_be(lengths) >> 8) as u8;
            let (protocol, tcp) = extensions(packet, next, inner + 40)?;
            (Reply::Icmpv6, src, dst, protocol, tcp)
        }
        _ => return Err(Skip::NotOurs),
    };
    if protocol != TCP {
        return Err(Skip::NotOurs);
    }
    // RFC 792 promises the first 8 bytes behind the quoted IP header.
    let [ports, seq] = packet.words(tcp).ok_or(Skip::NotOurs)?;
    let ports = u32::from_be(ports);
    Ok(Quote {
        src,
        dst,
        src_port: (ports >> 16) as u16,
        dst_port: ports as u16,
        seq: u32::from_be(seq),
        got: Got { reply, code },
    })
}
