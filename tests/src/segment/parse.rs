//! Reading back plain TCP segments, enough for a raw client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::PROTO_TCP;

/// A TCP segment as seen in an IP packet without extension headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// Source address and port.
    pub src: SocketAddr,
    /// Destination address and port.
    pub dst: SocketAddr,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flag bits, see [`super::flags`].
    pub flags: u8,
    /// The bytes after the TCP header.
    pub payload: Vec<u8>,
}

/// The TCP segment in an IP packet; `None` for anything else.
#[must_use]
pub fn parse(ip: &[u8]) -> Option<Parsed> {
    let (src, dst, tcp): (IpAddr, IpAddr, &[u8]) = match ip.first()? >> 4 {
        4 if *ip.get(9)? == PROTO_TCP => {
            let header = usize::from(ip.first()? & 0x0f) * 4;
            let end = usize::from(be16(ip, 2)?);
            let at = |i: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(ip.get(i..i + 4)?).ok()?));
            (at(12)?.into(), at(16)?.into(), ip.get(header..end)?)
        }
        6 if *ip.get(6)? == PROTO_TCP => {
            let end = 40 + usize::from(be16(ip, 4)?);
            let at = |i: usize| {
                Some(Ipv6Addr::from(
                    <[u8; 16]>::try_from(ip.get(i..i + 16)?).ok()?,
                ))
            };
            (at(8)?.into(), at(24)?.into(), ip.get(40..end)?)
        }
        _ => return None,
    };
    let header = usize::from(tcp.get(12)? >> 4) * 4;
    Some(Parsed {
        src: SocketAddr::new(src, be16(tcp, 0)?),
        dst: SocketAddr::new(dst, be16(tcp, 2)?),
        seq: be32(tcp, 4)?,
        ack: be32(tcp, 8)?,
        flags: *tcp.get(13)?,
        payload: tcp.get(header..)?.to_vec(),
    })
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
