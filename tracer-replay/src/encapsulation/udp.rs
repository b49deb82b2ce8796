//! Encapsulations in UDP, known by the port that they are sent to.

use tracer_common::packet::ethertype;

use super::{
    BRIDGED, Captured, Encapsulation, Inside, Stop, Undecoded, ethernet, label, link, load,
    malformed, variant,
};
use crate::undecoded;

const VXLAN: u16 = 4_789;
/// Linux' own default, from before the assignment: flannel and Cilium use it.
const VXLAN_LINUX: u16 = 8_472;
const VXLAN_GPE: u16 = 4_790;
const GENEVE: u16 = 6_081;
const MPLS: u16 = 6_635;
const HEADER: u32 = 8;

/// What a UDP header at `at` encapsulates.
pub(super) fn inside(packet: &Captured<'_>, at: u32) -> Result<Option<Inside>, Stop> {
    let [_, _, port @ ..] = load::<4>(packet, at, "UDP header")?;
    let port = u16::from_be_bytes(port);
    let payload = at + HEADER;
    match port {
        VXLAN | VXLAN_LINUX => vxlan(packet, payload).map(Some),
        VXLAN_GPE => vxlan_gpe(packet, payload).map(Some),
        GENEVE => geneve(packet, payload).map(Some),
        MPLS => Ok(Some(Inside {
            link: label::mpls(packet, payload)?,
            what: Encapsulation::Mpls,
            id: 0,
        })),
        other if undecoded::udp(other).is_some() => Err(Stop::Undecoded(Undecoded::Udp(other))),
        _ if looks_like_vxlan(packet, payload) => vxlan(packet, payload).map(Some),
        _ => Ok(None),
    }
}

/// Some give VXLAN another port: all but the network identifier is given, and an Ethernet
/// frame with IP follows. Other bytes look so once in 2^55.
fn looks_like_vxlan(packet: &Captured<'_>, at: u32) -> bool {
    let head = packet.peek(at);
    let inner = packet.peek(at + 8 + 12).map(u16::from_be_bytes);
    matches!(head, Some([8, 0, 0, 0, _, _, _, 0]))
        && matches!(inner, Some(ethertype::IPV4 | ethertype::IPV6))
}

/// 8 bytes: flags, of which one says that the network identifier is valid; the
/// identifier, 24 bits.
fn vxlan(packet: &Captured<'_>, at: u32) -> Result<Inside, Stop> {
    const VALID: u8 = 0x08;
    let head: [u8; 8] = load(packet, at, "VXLAN header")?;
    let [flags, _, _, _, network @ ..] = head;
    if flags & VALID == 0 {
        return Err(malformed("VXLAN header"));
    }
    Ok(Inside {
        link: ethernet(packet, at + 8)?,
        what: Encapsulation::Vxlan,
        id: u32::from_be_bytes(network) >> 8,
    })
}

/// The same with a next protocol (draft-ietf-nvo3-vxlan-gpe).
fn vxlan_gpe(packet: &Captured<'_>, at: u32) -> Result<Inside, Stop> {
    const HAS_PROTOCOL: u8 = 0x04;
    let [flags, _, _, protocol, network @ ..] = load::<8>(packet, at, "VXLAN header")?;
    let inner = at + 8;
    let link = match protocol {
        _ if flags & HAS_PROTOCOL == 0 => ethernet(packet, inner)?,
        1 => link(ethertype::IPV4, inner),
        2 => link(ethertype::IPV6, inner),
        3 => ethernet(packet, inner)?,
        5 => label::mpls(packet, inner)?,
        _ => {
            return Err(variant(
                "VXLAN-GPE of other protocols than Ethernet, IP and MPLS",
            ));
        }
    };
    Ok(Inside {
        link,
        what: Encapsulation::Vxlan,
        id: u32::from_be_bytes(network) >> 8,
    })
}

/// Version and length of the options, 4 bytes each; protocol; network identifier.
fn geneve(packet: &Captured<'_>, at: u32) -> Result<Inside, Stop> {
    let head: [u8; 8] = load(packet, at, "Geneve header")?;
    let [first, _, high, low, network @ ..] = head;
    if first >> 6 != 0 {
        return Err(malformed("Geneve header"));
    }
    let inner = at + 8 + 4 * u32::from(first & 0x3f);
    let link = match u16::from_be_bytes([high, low]) {
        BRIDGED => ethernet(packet, inner)?,
        other => link(other, inner),
    };
    Ok(Inside {
        link,
        what: Encapsulation::Geneve,
        id: u32::from_be_bytes(network) >> 8,
    })
}
