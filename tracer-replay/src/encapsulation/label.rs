//! Headers of providers' networks: MPLS and PPPoE.

use tracer_common::packet::{Link, ethertype};

use super::{Captured, MPLS, Stop, Undecoded, ethernet, link, load, malformed, variant};

/// Labels of a stack that are followed.
const LABELS: u32 = 16;

/// A label stack at `offset` (RFC 3032): what is behind it only its first bits tell.
pub(super) fn mpls(packet: &Captured<'_>, offset: u32) -> Result<Link, Stop> {
    let labels = (0..LABELS).map(|label| offset.saturating_add(4 * label));
    for at in labels {
        let [_, _, bottom, _] = load(packet, at, "MPLS label")?;
        if bottom & 1 != 0 {
            return bottom_of_stack(packet, at + 4);
        }
    }
    Err(Stop::Undecoded(Undecoded::Nested))
}

fn bottom_of_stack(packet: &Captured<'_>, offset: u32) -> Result<Link, Stop> {
    let [first] = load(packet, offset, "MPLS payload")?;
    let ethernets: &[u32] = match first >> 4 {
        4 => return Ok(link(ethertype::IPV4, offset)),
        6 => return Ok(link(ethertype::IPV6, offset)),
        // A pseudowire's control word begins with 0 (RFC 4385), an address may too.
        0 => &[4, 0],
        _ => &[0],
    };
    for skipped in ethernets {
        let inner = ethernet(packet, offset + skipped)?;
        if is_common(inner.ethertype) {
            return Ok(inner);
        }
    }
    Err(variant("MPLS with another payload than IP or Ethernet"))
}

const fn is_common(number: u16) -> bool {
    const ARP: u16 = 0x0806;
    matches!(
        number,
        ethertype::IPV4 | ethertype::IPV6 | ethertype::VLAN | ethertype::QINQ | ARP
    )
}

/// A session's header at `offset` (RFC 2516) and the protocol of PPP behind it.
pub(super) fn pppoe(packet: &Captured<'_>, offset: u32) -> Result<Link, Stop> {
    const IPV4: u16 = 0x0021;
    const IPV6: u16 = 0x0057;
    const MPLS_UNICAST: u16 = 0x0281;
    let head: [u8; 8] = load(packet, offset, "PPPoE header")?;
    let [version, code, _, _, _, _, high, low] = head;
    if version != 0x11 || code != 0 {
        return Err(malformed("PPPoE header"));
    }
    // An odd first byte is all of the protocol's number (RFC 1661, section 6.5).
    let (protocol, behind) = if high & 1 == 0 {
        (u16::from_be_bytes([high, low]), offset + 8)
    } else {
        (u16::from(high), offset + 7)
    };
    match protocol {
        IPV4 => Ok(link(ethertype::IPV4, behind)),
        IPV6 => Ok(link(ethertype::IPV6, behind)),
        MPLS_UNICAST => Ok(link(MPLS, behind)),
        other => Err(Stop::Undecoded(Undecoded::Ppp(other))),
    }
}
