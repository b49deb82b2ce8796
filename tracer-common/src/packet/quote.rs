//! ICMP errors and the segments that they quote.

use super::{Ip, Packet, Skip, TCP, be16, be32, extensions};
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
    let [kind, code] = packet.load(ip.payload).ok_or(Skip::NotOurs)?;
    let inner = ip.payload + 8;
    let (reply, src, dst, protocol, tcp) = match (ip.protocol, kind) {
        (ICMP, ICMP_UNREACHABLE) => {
            let h: [u8; 20] = packet.load(inner).ok_or(Skip::NotOurs)?;
            let header = u32::from(h[0] & 0xf) * 4;
            let src = Addr::v4([h[12], h[13], h[14], h[15]]);
            let dst = Addr::v4([h[16], h[17], h[18], h[19]]);
            (Reply::Icmp, src, dst, h[9], inner + header)
        }
        (ICMPV6, ICMPV6_UNREACHABLE) => {
            let h: [u8; 8] = packet.load(inner).ok_or(Skip::NotOurs)?;
            let src = Addr::v6(packet.load(inner + 8).ok_or(Skip::NotOurs)?);
            let dst = Addr::v6(packet.load(inner + 24).ok_or(Skip::NotOurs)?);
            let (protocol, tcp) = extensions(packet, h[6], inner + 40)?;
            (Reply::Icmpv6, src, dst, protocol, tcp)
        }
        _ => return Err(Skip::NotOurs),
    };
    if protocol != TCP {
        return Err(Skip::NotOurs);
    }
    // RFC 792 promises the first 8 bytes behind the quoted IP header.
    let h: [u8; 8] = packet.load(tcp).ok_or(Skip::NotOurs)?;
    Ok(Quote {
        src,
        dst,
        src_port: be16([h[0], h[1]]),
        dst_port: be16([h[2], h[3]]),
        seq: be32([h[4], h[5], h[6], h[7]]),
        got: Got { reply, code },
    })
}
