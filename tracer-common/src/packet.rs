//! Reads Ethernet, VLAN, IP, TCP and ICMP headers from untrusted bytes: an skb
//! in the kernel, a slice in userspace.

mod quote;

pub use quote::{Quote, unreachable};

use crate::flow::Addr;

/// Random access to a packet's bytes, by whole words: byte by byte a kernel
/// program needs many times the instructions.
pub trait Packet {
    /// 2 bytes from `offset` as they stand in memory; `None` past the end.
    fn half(&self, offset: u32) -> Option<u16>;
    /// 4 * `N` bytes from `offset` as they stand in memory; `None` past the end.
    fn words<const N: usize>(&self, offset: u32) -> Option<[u32; N]>;
    /// Length in bytes from offset 0.
    fn len(&self) -> u32;
    /// No bytes at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Why a packet is not looked at any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// Neither IPv4 nor IPv6, or another protocol inside.
    NotOurs,
    /// A fragment of a TCP packet.
    Fragment,
    /// Headers cut short or inconsistent.
    Malformed,
}

/// EtherTypes (IEEE 802, RFC 9542), host byte order.
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// IEEE 802.1Q tag.
    pub const VLAN: u16 = 0x8100;
    /// IEEE 802.1ad service tag.
    pub const QINQ: u16 = 0x88a8;
}

const TCP: u8 = 6;
/// VLAN tags followed (802.1ad inside 802.1Q).
const MAX_TAGS: usize = 2;
/// IPv6 extension headers followed.
const MAX_EXTENSIONS: usize = 4;

/// Where the IP header starts, and which.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// EtherType of what follows.
    pub ethertype: u16,
    /// Offset of the IP header in bytes.
    pub offset: u32,
}

/// Reads the Ethernet header and its VLAN tags.
///
/// # Errors
/// [`Skip::NotOurs`] when cut short.
#[inline(always)]
pub fn ethernet<P: Packet>(packet: &P) -> Result<Link, Skip> {
    let mut link = Link {
        ethertype: u16::from_be(packet.half(12).ok_or(Skip::NotOurs)?),
        offset: 14,
    };
    for _ in 0..MAX_TAGS {
        if link.ethertype != ethertype::VLAN && link.ethertype != ethertype::QINQ {
            break;
        }
        let next = packet.half(link.offset + 2).ok_or(Skip::NotOurs)?;
        link = Link {
            ethertype: u16::from_be(next),
            offset: link.offset + 4,
        };
    }
    Ok(link)
}

/// Whether a tag within the frame names a VLAN other than 0, which is none.
#[inline(always)]
pub fn is_in_vlan<P: Packet>(packet: &P, link: &Link) -> bool {
    (0..MAX_TAGS as u32).any(|i| {
        let tag = 14 + 4 * i;
        let control = if tag < link.offset {
            packet.half(tag)
        } else {
            None
        };
        control.is_some_and(|control| u16::from_be(control) & 0xfff != 0)
    })
}

/// What the IP header says.
#[derive(Clone, Copy, Debug)]
pub struct Ip {
    /// Source address.
    pub src: Addr,
    /// Destination address.
    pub dst: Addr,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Offset of the payload in bytes.
    pub payload: u32,
    /// Offset one past the payload, without link-layer padding.
    pub end: u32,
}

/// Reads an IPv4 header with options, or an IPv6 header with extension headers.
///
/// # Errors
/// A [`Skip`] for anything but an unfragmented IP packet.
#[inline(always)]
pub fn ip<P: Packet>(packet: &P, link: Link) -> Result<Ip, Skip> {
    match link.ethertype {
        ethertype::IPV4 => ipv4(packet, link.offset),
        ethertype::IPV6 => ipv6(packet, link.offset),
        _ => Err(Skip::NotOurs),
    }
}

/// RFC 791, section 3.1.
#[inline(always)]
fn ipv4<P: Packet>(packet: &P, offset: u32) -> Result<Ip, Skip> {
    // Version to total length; identification to fragment offset; TTL to checksum.
    let [version, fragment, ttl, src, dst] = packet.words(offset).ok_or(Skip::NotOurs)?;
    let (version, fragment) = (u32::from_be(version), u32::from_be(fragment));
    let protocol = (u32::from_be(ttl) >> 16) as u8;
    let header = (version >> 24 & 0xf) * 4;
    let total = version & 0xffff;
    if protocol == TCP && fragment & 0x3fff != 0 {
        return Err(Skip::Fragment);
    }
    // The kernel writes 0 for packets above 64 KiB (BIG TCP).
    let end = if total == 0 {
        packet.len()
    } else {
        offset + total
    };
    if version >> 28 != 4 || header < 20 || end < offset + header {
        return Err(Skip::Malformed);
    }
    Ok(Ip {
        src: Addr::mapped(src),
        dst: Addr::mapped(dst),
        protocol,
        payload: offset + header,
        end,
    })
}

/// RFC 8200, sections 3 and 4.
#[inline(always)]
fn ipv6<P: Packet>(packet: &P, offset: u32) -> Result<Ip, Skip> {
    // Version to flow label; payload length, next header, hop limit.
    let [version, lengths] = packet.words(offset).ok_or(Skip::NotOurs)?;
    let (version, lengths) = (u32::from_be(version), u32::from_be(lengths));
    if version >> 28 != 6 {
        return Err(Skip::Malformed);
    }
    let src = packet.words(offset + 8).ok_or(Skip::Malformed)?;
    let dst = packet.words(offset + 24).ok_or(Skip::Malformed)?;
    let length = lengths >> 16;
    // 0 stands for a jumbogram (RFC 2675) or BIG TCP.
    let end = if length == 0 {
        packet.len()
    } else {
        offset + 40 + length
    };
    let (protocol, payload) = extensions(packet, (lengths >> 8) as u8, offset + 40)?;
    if end < payload {
        return Err(Skip::Malformed);
    }
    Ok(Ip {
        src: Addr(src),
        dst: Addr(dst),
        protocol,
        payload,
        end,
    })
}

/// Follows IPv6 extension headers from the one named `next` at `offset`.
#[inline(always)]
fn extensions<P: Packet>(packet: &P, next: u8, offset: u32) -> Result<(u8, u32), Skip> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION: u8 = 60;
    let (mut next, mut offset) = (next, offset);
    for _ in 0..MAX_EXTENSIONS {
        if next != HOP_BY_HOP && next != ROUTING && next != DESTINATION && next != FRAGMENT {
            return Ok((next, offset));
        }
        let [header] = packet.words(offset).ok_or(Skip::Malformed)?;
        let header = u32::from_be(header);
        let after = (header >> 24) as u8;
        if next == FRAGMENT {
            // An atomic fragment (RFC 6946) is a whole packet.
            let atomic = header & 0xfff9 == 0;
            if !atomic {
                return Err(if after == TCP {
                    Skip::Fragment
                } else {
                    Skip::NotOurs
                });
            }
            offset += 8;
        } else {
            offset += ((header >> 16 & 0xff) + 1) * 8;
        }
        next = after;
    }
    Ok((next, offset))
}

/// What the TCP header says; ports and numbers in host byte order.
#[derive(Clone, Copy, Debug)]
pub struct TcpHeader {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// Flags, byte 13 of the header.
    pub flags: u8,
    /// Offset of the payload in bytes.
    pub payload: u32,
    /// Length of the payload in bytes.
    pub payload_len: u32,
}

/// Reads the TCP header (RFC 9293, section 3.1).
///
/// # Errors
/// [`Skip::NotOurs`] when it is not TCP, [`Skip::Malformed`] when cut short.
#[inline(always)]
pub fn tcp<P: Packet>(packet: &P, ip: &Ip) -> Result<TcpHeader, Skip> {
    if ip.protocol != TCP {
        return Err(Skip::NotOurs);
    }
    let [ports, seq, ack, rest] = packet.words(ip.payload).ok_or(Skip::Malformed)?;
    let (ports, rest) = (u32::from_be(ports), u32::from_be(rest));
    let header = (rest >> 28) * 4;
    let payload = ip.payload + header;
    if header < 20 || ip.end < payload {
        return Err(Skip::Malformed);
    }
    Ok(TcpHeader {
        src_port: (ports >> 16) as u16,
        dst_port: ports as u16,
        seq: u32::from_be(seq),
        ack: u32::from_be(ack),
        flags: (rest >> 16) as u8,
        payload,
        payload_len: ip.end - payload,
    })
}

/// [`Packet::half`] of bytes that are all there.
#[must_use]
pub fn half(bytes: &[u8], offset: u32) -> Option<u16> {
    let bytes = bytes.get(offset as usize..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*bytes))
}

/// [`Packet::words`] of bytes that are all there.
#[must_use]
pub fn words<const N: usize>(bytes: &[u8], offset: u32) -> Option<[u32; N]> {
    let bytes = bytes.get(offset as usize..)?.get(..4 * N)?;
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u32::from_ne_bytes(*bytes);
    }
    Some(words)
}
