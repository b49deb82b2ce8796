//! From a packet's outermost header to the innermost IP header: VLAN, MPLS, PPPoE,
//! IP in IP, GRE, ERSPAN, VXLAN and Geneve, in each other too. The kernel's wire
//! tap reads no tunnels; captures of mirrored traffic are made of nothing else.

mod gre;
mod label;
mod udp;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use tracer_common::packet::{self, Ip, Link, Skip, ethertype};

use super::{
    capture::Direction,
    link::{Captured, Frame},
    undecoded::{LENGTHS, Undecoded},
};

/// Headers that are followed in one packet.
const HEADERS: u32 = 16;
/// What was used for 802.1ad tags before that was a standard.
const OLD_QINQ: u16 = 0x9100;
const PPPOE: u16 = 0x8864;
const MPLS: u16 = 0x8847;
const MPLS_MULTICAST: u16 = 0x8848;
/// Transparent Ethernet bridging (RFC 1701): an Ethernet frame.
const BRIDGED: u16 = 0x6558;

const IP_IN_IP: u8 = 4;
const UDP: u8 = 17;
const IPV6_IN_IP: u8 = 41;
const GRE: u8 = 47;
const MPLS_IN_IP: u8 = 137;

/// An encapsulation that is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encapsulation {
    /// VXLAN (RFC 7348), as of VPC traffic mirroring; its generic protocol extension too.
    Vxlan,
    /// Geneve (RFC 8926).
    Geneve,
    /// GRE (RFC 2784, RFC 2890), NVGRE too.
    Gre,
    /// ERSPAN types I, II and III (draft-foschiano-erspan).
    Erspan,
    /// IPv4 or IPv6 in IPv4 or IPv6 (RFC 2003, RFC 4213, RFC 2473).
    IpInIp,
    /// MPLS (RFC 3032), in IP or UDP too (RFC 4023, RFC 7510).
    Mpls,
    /// PPPoE (RFC 2516).
    Pppoe,
}

impl Encapsulation {
    /// How many there are.
    pub const COUNT: usize = 7;
    /// All, in their order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Vxlan,
        Self::Geneve,
        Self::Gre,
        Self::Erspan,
        Self::IpInIp,
        Self::Mpls,
        Self::Pppoe,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vxlan => "VXLAN",
            Self::Geneve => "Geneve",
            Self::Gre => "GRE",
            Self::Erspan => "ERSPAN",
            Self::IpInIp => "IP in IP",
            Self::Mpls => "MPLS",
            Self::Pppoe => "PPPoE",
        }
    }
}

/// Why no innermost IP header was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It is something that is not decoded.
    Undecoded(Undecoded),
    /// Cut short by the capture.
    Short,
    /// A fragment of a TCP segment.
    Fragment,
}

/// What is inside an IP header.
struct Inside {
    link: Link,
    what: Encapsulation,
    /// Network identifier, key or session; 0: it has none.
    id: u32,
}

/// Follows encapsulations to the innermost IP header, where `frame` then stands.
/// Counts the outermost one in `seen`.
#[inline]
pub(super) fn innermost(
    frame: &mut Frame<'_>,
    seen: &mut [u64; Encapsulation::COUNT],
) -> Result<Ip, Stop> {
    let mut outermost = None;
    for _ in 0..HEADERS {
        if !matches!(frame.link.ethertype, ethertype::IPV4 | ethertype::IPV6) {
            let (link, what) = behind(&frame.packet, frame.link)?;
            outermost = outermost.or(what);
            frame.link = link;
            continue;
        }
        let ip = ip(frame)?;
        match inside(frame, &ip)? {
            None => {
                count(outermost, seen);
                return Ok(ip);
            }
            Some(inside) => {
                outermost = outermost.or(Some(inside.what));
                enter(frame, &ip, &inside);
            }
        }
    }
    Err(Stop::Undecoded(Undecoded::Nested))
}

fn count(what: Option<Encapsulation>, seen: &mut [u64; Encapsulation::COUNT]) {
    if let Some(count) = what.and_then(|what| seen.get_mut(what as usize)) {
        *count += 1;
    }
}

/// The IP header. One that is encapsulated may say that its packet is longer than what
/// there is of it: mirrors cut packets too.
#[inline]
fn ip(frame: &mut Frame<'_>) -> Result<Ip, Stop> {
    match packet::ip(&frame.packet, frame.link) {
        Ok(ip) => {
            if frame.encapsulated {
                frame.packet.reaches(ip.end);
            }
            Ok(ip)
        }
        Err(Skip::Fragment) => Err(Stop::Fragment),
        Err(_) if frame.packet.was_short() => Err(Stop::Short),
        // Long enough for its header: a fragment header came, and behind it no TCP.
        Err(Skip::NotOurs) if frame.link.ethertype == ethertype::IPV6 => {
            Err(Stop::Undecoded(Undecoded::Fragment))
        }
        Err(_) => Err(malformed("IP header")),
    }
}

/// What is behind a header below IP.
fn behind(packet: &Captured<'_>, at: Link) -> Result<(Link, Option<Encapsulation>), Stop> {
    let offset = at.offset;
    match at.ethertype {
        ethertype::VLAN | ethertype::QINQ | OLD_QINQ => {
            let [_, _, next @ ..] = load::<4>(packet, offset, "VLAN tag")?;
            Ok((link(u16::from_be_bytes(next), offset + 4), None))
        }
        BRIDGED => Ok((ethernet(packet, offset)?, None)),
        MPLS | MPLS_MULTICAST => Ok((label::mpls(packet, offset)?, Some(Encapsulation::Mpls))),
        PPPOE => Ok((label::pppoe(packet, offset)?, Some(Encapsulation::Pppoe))),
        // A length is as good as another.
        ..LENGTHS => Err(Stop::Undecoded(Undecoded::EtherType(0))),
        other => Err(Stop::Undecoded(Undecoded::EtherType(other))),
    }
}

/// What is inside an IP header, if that is an encapsulation.
#[inline]
fn inside(frame: &Frame<'_>, ip: &Ip) -> Result<Option<Inside>, Stop> {
    let (packet, at) = (&frame.packet, ip.payload);
    if !matches!(ip.protocol, IP_IN_IP | IPV6_IN_IP | GRE | UDP | MPLS_IN_IP) {
        return Ok(None);
    }
    if is_later_fragment(frame) {
        return Err(Stop::Undecoded(Undecoded::Fragment));
    }
    let plain = |ethertype| {
        Some(Inside {
            link: link(ethertype, at),
            what: Encapsulation::IpInIp,
            id: 0,
        })
    };
    Ok(match ip.protocol {
        IP_IN_IP => plain(ethertype::IPV4),
        IPV6_IN_IP => plain(ethertype::IPV6),
        GRE => Some(gre::inside(packet, at)?),
        UDP => udp::inside(packet, at)?,
        _ => Some(Inside {
            link: label::mpls(packet, at)?,
            what: Encapsulation::Mpls,
            id: 0,
        }),
    })
}

/// Only the first fragment has the header of what is inside; the others of IPv6 are
/// known by [`ip`].
fn is_later_fragment(frame: &Frame<'_>) -> bool {
    let v4 = frame.link.ethertype == ethertype::IPV4;
    let offset = v4
        .then(|| frame.packet.load(frame.link.offset + 6))
        .flatten();
    offset.is_some_and(|bytes| u16::from_be_bytes(bytes) & 0x1fff != 0)
}

/// Goes on inside. The way by which a packet came is an interface of its own from
/// then on: a packet that was captured plain and encapsulated, or from two mirrors,
/// counts as one that two interfaces saw.
fn enter(frame: &mut Frame<'_>, ip: &Ip, inside: &Inside) {
    let mut way = DefaultHasher::new();
    (frame.ifindex, inside.what, inside.id, ip.src, ip.dst).hash(&mut way);
    // Above all numbers of interfaces, of which the kernel uses 31 bits.
    frame.ifindex = way.finish() as u32 | 1 << 31;
    frame.encapsulated = true;
    // Whether the outer packet came or went says nothing about the inner one.
    frame.direction = Direction::Unknown;
    frame.packet.ends(ip.end);
    frame.link = inside.link;
}

const fn link(ethertype: u16, offset: u32) -> Link {
    Link { ethertype, offset }
}

/// An Ethernet header at `offset`.
fn ethernet(packet: &Captured<'_>, offset: u32) -> Result<Link, Stop> {
    let ethertype = load(packet, offset.saturating_add(12), "Ethernet header")?;
    Ok(link(u16::from_be_bytes(ethertype), offset + 14))
}

/// `N` bytes of a header at `offset`.
fn load<const N: usize>(
    packet: &Captured<'_>,
    offset: u32,
    what: &'static str,
) -> Result<[u8; N], Stop> {
    match packet.load(offset) {
        Some(bytes) => Ok(bytes),
        None if packet.was_short() => Err(Stop::Short),
        None => Err(malformed(what)),
    }
}

const fn malformed(what: &'static str) -> Stop {
    Stop::Undecoded(Undecoded::Malformed(what))
}

const fn variant(what: &'static str) -> Stop {
    Stop::Undecoded(Undecoded::Variant(what))
}
