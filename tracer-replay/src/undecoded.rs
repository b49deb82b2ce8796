//! What a capture may hold that is not decoded here, with its name.

use std::fmt;

/// Ethernet frames with a length in place of an `EtherType` (IEEE 802.3, section 3.2.6).
pub(crate) const LENGTHS: u16 = 1_536;

/// Why a packet was not read to its TCP header. Ordered so that what names a protocol
/// comes before what names a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Undecoded {
    /// A link-layer header type (the registry of tcpdump.org).
    LinkType(u16),
    /// An `EtherType`; 0: the frame has a length in its place.
    EtherType(u16),
    /// A protocol in IP.
    Protocol(u8),
    /// An encapsulation in UDP, by the port that it is known by.
    Udp(u16),
    /// A protocol in PPP.
    Ppp(u16),
    /// An encapsulation whose header says that it is of a kind that is not decoded.
    Variant(&'static str),
    /// A later fragment of an encapsulated packet.
    Fragment,
    /// Another protocol than IP, of a link layer that holds IP alone.
    NotIp,
    /// More headers in each other than are followed.
    Nested,
    /// A header that cannot be.
    Malformed(&'static str),
}

impl Undecoded {
    /// Whether TCP to the node may be inside: what else is not decoded is part of any
    /// healthy network.
    #[must_use]
    pub fn may_hide_tcp(&self) -> bool {
        match *self {
            Self::EtherType(number) => number >= LENGTHS && plain_ethertype(number).is_none(),
            Self::Protocol(number) => plain_protocol(number).is_none(),
            // The first one has all headers.
            Self::Fragment => false,
            // Control protocols (RFC 1661, section 2).
            Self::Ppp(number) => number < 0x8000,
            _ => true,
        }
    }
}

impl fmt::Display for Undecoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::LinkType(number) => write!(f, "link type {number}"),
            Self::EtherType(number) if number < LENGTHS => write!(f, "IEEE 802.2 LLC"),
            Self::EtherType(number) => {
                named(f, &format!("EtherType 0x{number:04x}"), ethertype(number))
            }
            Self::Protocol(number) => named(f, &format!("IP protocol {number}"), protocol(number)),
            Self::Udp(port) => named(f, &format!("UDP port {port}"), udp(port)),
            Self::Ppp(number) => write!(f, "PPP protocol 0x{number:04x}"),
            Self::Variant(what) => write!(f, "{what}"),
            Self::Fragment => write!(f, "later IP fragments of other protocols than TCP"),
            Self::NotIp => write!(f, "another protocol than IP"),
            Self::Nested => write!(f, "headers nested too deeply"),
            Self::Malformed(what) => write!(f, "malformed {what}"),
        }
    }
}

fn named(f: &mut fmt::Formatter<'_>, number: &str, name: Option<&str>) -> fmt::Result {
    match name {
        Some(name) => write!(f, "{number} ({name})"),
        None => write!(f, "{number}"),
    }
}

/// `EtherTypes` that never carry the node's TCP (IEEE registration authority).
const fn plain_ethertype(number: u16) -> Option<&'static str> {
    Some(match number {
        0x0806 => "ARP",
        0x0842 => "Wake-on-LAN",
        0x22f0 => "AVTP",
        0x8035 => "RARP",
        0x8100..=0x8103 | 0x88a8 => "VLAN",
        0x8808 => "flow control",
        0x8809 => "slow protocols, LACP",
        0x8863 => "PPPoE discovery",
        0x888e => "EAPOL",
        0x88a2 => "ATA over Ethernet",
        0x88cc => "LLDP",
        0x88f7 => "PTP",
        0x8902 => "CFM",
        0x9000 => "loopback test",
        _ => return None,
    })
}

const fn ethertype(number: u16) -> Option<&'static str> {
    Some(match number {
        0x876b => "TCP/IP compression",
        0x880b => "PPP",
        0x8864 => "PPPoE",
        0x88e5 => "MACsec",
        0x88e7 => "provider backbone bridge",
        0x8906 => "FCoE",
        0x894f => "NSH",
        0x8909 => "Cisco metadata",
        0x22f3 => "TRILL",
        0x8926 => "VN-Tag",
        0x893f => "E-Tag",
        _ => return plain_ethertype(number),
    })
}

/// IP protocols that are no encapsulation, and so never carry the node's TCP (IANA,
/// Assigned Internet Protocol Numbers).
const fn plain_protocol(number: u8) -> Option<&'static str> {
    Some(match number {
        1 => "ICMP",
        2 => "IGMP",
        17 => "UDP",
        33 => "DCCP",
        46 => "RSVP",
        58 => "ICMPv6",
        59 => "no next header",
        88 => "EIGRP",
        89 => "OSPF",
        103 => "PIM",
        112 => "VRRP, CARP",
        132 => "SCTP",
        136 => "UDP-Lite",
        _ => return None,
    })
}

const fn protocol(number: u8) -> Option<&'static str> {
    Some(match number {
        4 => "IPv4 in IP",
        41 => "IPv6 in IP",
        47 => "GRE",
        50 => "ESP",
        51 => "AH",
        55 => "minimal encapsulation",
        94 => "IPIP of KA9Q",
        97 => "EtherIP",
        98 => "encapsulation header of RFC 1241",
        108 => "IPComp",
        115 => "L2TPv3",
        124 => "IS-IS",
        137 => "MPLS in IP",
        143 => "Ethernet of SRv6",
        _ => return plain_protocol(number),
    })
}

/// Encapsulations by their UDP port (IANA, Service Name and Port Number Registry).
pub(crate) const fn udp(port: u16) -> Option<&'static str> {
    Some(match port {
        1_194 => "OpenVPN",
        1_701 => "L2TP",
        2_152 => "GTP-U",
        3_544 => "Teredo",
        4_500 => "IPsec",
        4_789 | 8_472 => "VXLAN",
        4_790 => "VXLAN-GPE",
        6_080 => "GUE",
        6_081 => "Geneve",
        6_635 => "MPLS",
        37_008 => "TZSP",
        51_820 => "WireGuard",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_number_and_protocol() {
        for (what, name, hides) in [
            (Undecoded::Protocol(97), "IP protocol 97 (EtherIP)", true),
            (Undecoded::Protocol(200), "IP protocol 200", true),
            (Undecoded::Protocol(17), "IP protocol 17 (UDP)", false),
            (
                Undecoded::EtherType(0x0806),
                "EtherType 0x0806 (ARP)",
                false,
            ),
            (
                Undecoded::EtherType(0x88e5),
                "EtherType 0x88e5 (MACsec)",
                true,
            ),
            (Undecoded::EtherType(38), "IEEE 802.2 LLC", false),
            (Undecoded::Udp(51_820), "UDP port 51820 (WireGuard)", true),
            (
                Undecoded::Fragment,
                "later IP fragments of other protocols than TCP",
                false,
            ),
            (Undecoded::Ppp(0xc021), "PPP protocol 0xc021", false),
        ] {
            assert_eq!(
                (what.to_string().as_str(), what.may_hide_tcp()),
                (name, hides)
            );
        }
    }
}
