//! GRE and what monitoring sessions put into it.

use tracer_common::packet::ethertype;

use super::{
    BRIDGED, Captured, Encapsulation, Inside, Stop, ethernet, link, load, malformed, variant,
};

/// Bits of the first 16 (RFC 2784, RFC 2890).
const CHECKSUM: u16 = 0x8000;
const ROUTING: u16 = 0x4000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;
const VERSION: u16 = 0x0007;

/// ERSPAN types I and II.
const ERSPAN: u16 = 0x88be;
const ERSPAN_III: u16 = 0x22eb;

/// A GRE header at `at`.
pub(super) fn inside(packet: &Captured<'_>, at: u32) -> Result<Inside, Stop> {
    let head: [u8; 4] = load(packet, at, "GRE header")?;
    let [high, low, protocol @ ..] = head;
    let flags = u16::from_be_bytes([high, low]);
    if flags & VERSION == 1 {
        return Err(variant("GRE version 1 (PPTP)"));
    }
    if flags & (ROUTING | VERSION) != 0 {
        return Err(malformed("GRE header"));
    }
    let mut offset = at + 4;
    if flags & CHECKSUM != 0 {
        offset += 4;
    }
    let mut id = 0;
    if flags & KEY != 0 {
        id = u32::from_be_bytes(load(packet, offset, "GRE header")?);
        offset += 4;
    }
    if flags & SEQUENCE != 0 {
        offset += 4;
    }
    let gre = |link| Inside {
        link,
        what: Encapsulation::Gre,
        id,
    };
    match u16::from_be_bytes(protocol) {
        // Type I has neither a sequence number nor a header.
        ERSPAN if flags & SEQUENCE == 0 => Ok(Inside {
            what: Encapsulation::Erspan,
            ..gre(ethernet(packet, offset)?)
        }),
        ERSPAN => erspan_ii(packet, offset),
        ERSPAN_III => erspan_iii(packet, offset),
        BRIDGED => Ok(gre(ethernet(packet, offset)?)),
        other => Ok(gre(link(other, offset))),
    }
}

/// 8 bytes: version 1, VLAN, session; index.
fn erspan_ii(packet: &Captured<'_>, at: u32) -> Result<Inside, Stop> {
    let head: [u8; 8] = load(packet, at, "ERSPAN header")?;
    let [version, _, high, low, ..] = head;
    if version >> 4 != 1 {
        return Err(malformed("ERSPAN header"));
    }
    Ok(Inside {
        link: ethernet(packet, at + 8)?,
        what: Encapsulation::Erspan,
        id: session(high, low),
    })
}

/// 12 bytes: version 2, VLAN, session; timestamp; security group, kind of frame, and
/// whether 8 bytes of the platform follow.
fn erspan_iii(packet: &Captured<'_>, at: u32) -> Result<Inside, Stop> {
    const FRAME_IS_ETHERNET: u8 = 0;
    const FRAME_IS_IP: u8 = 2;
    let head: [u8; 12] = load(packet, at, "ERSPAN header")?;
    let [version, _, high, low, _, _, _, _, _, _, kind, last] = head;
    if version >> 4 != 2 {
        return Err(malformed("ERSPAN header"));
    }
    let offset = at + if last & 1 == 0 { 12 } else { 20 };
    let link = match kind >> 2 & 0x1f {
        FRAME_IS_ETHERNET => ethernet(packet, offset)?,
        FRAME_IS_IP => match load(packet, offset, "IP header")? {
            [first] if first >> 4 == 6 => link(ethertype::IPV6, offset),
            [_] => link(ethertype::IPV4, offset),
        },
        _ => return Err(variant("ERSPAN of other frames than Ethernet")),
    };
    Ok(Inside {
        link,
        what: Encapsulation::Erspan,
        id: session(high, low),
    })
}

/// The lowest 10 bits.
const fn session(high: u8, low: u8) -> u32 {
    (high as u32 & 3) << 8 | low as u32
}
