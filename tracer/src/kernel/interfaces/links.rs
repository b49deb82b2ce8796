//! How interfaces stand upon one another, and prefixes that are the node's own without
//! an interface that holds them (rtnetlink(7)).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use ipnet::IpNet;
use nix::sys::socket::SockProtocol;
use tracer_common::config::Mac;

use crate::evidence::netlink::{Attributes, Failed, Request, Socket, address, u32_at};

/// Bytes of `struct ifinfomsg` and `struct rtmsg`.
const IFINFOMSG: usize = 16;
const RTMSG: usize = 12;
/// linux/if_link.h; not in libc.
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_BR_NF_CALL_IPTABLES: u16 = 36;
const IFLA_BR_NF_CALL_IP6TABLES: u16 = 37;
const IFLA_EXT_MASK: u16 = 29;
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;

/// Longest that reading all of them may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// One interface, as far as it matters who else sees its packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The interface that it is a port of: a bridge, a bond, a VRF.
    pub master: Option<u32>,
    /// What kind of interface was made (`bridge`, `bond`, `vlan`); empty: a device.
    pub kind: String,
    /// A bridge that has netfilter translate what it forwards, by its own option.
    translates: bool,
    /// Its hardware address.
    pub mac: Option<Mac>,
}

impl Link {
    /// A bridge at whose ports netfilter's hooks run, so that the bridge's own
    /// interface shows packets only after DNAT. `for_all`: the sysctl is set.
    pub fn is_translating_bridge(&self, for_all: bool) -> bool {
        self.kind == "bridge" && (for_all || self.translates)
    }
}

/// All interfaces by index.
pub fn links() -> Result<BTreeMap<u32, Link>, Failed> {
    let mask = RTEXT_FILTER_SKIP_STATS.to_ne_bytes();
    let request = Request::dump(libc::RTM_GETLINK, &[0; IFINFOMSG]).with(IFLA_EXT_MASK, &mask);
    let mut links = BTreeMap::new();
    let deadline = Instant::now() + PATIENCE;
    Socket::open(SockProtocol::NetlinkRoute)?.ask(&request, deadline, |_, payload| {
        links.extend(parse(payload));
    })?;
    Ok(links)
}

fn parse(payload: &[u8]) -> Option<(u32, Link)> {
    let index = u32_at(payload, 4)?;
    let attributes = Attributes::after(payload, IFINFOMSG);
    let info = attributes.find(IFLA_LINKINFO).unwrap_or_default();
    let info = Attributes::after(info, 0);
    let kind = info.find(IFLA_INFO_KIND).unwrap_or_default();
    let data = Attributes::after(info.find(IFLA_INFO_DATA).unwrap_or_default(), 0);
    let calls = |kind| {
        data.find(kind)
            .is_some_and(|value| value.first() == Some(&1))
    };
    let master = attributes.find(libc::IFLA_MASTER);
    Some((
        index,
        Link {
            master: master.and_then(|bytes| u32_at(bytes, 0)),
            kind: String::from_utf8_lossy(kind)
                .trim_end_matches('\0')
                .to_owned(),
            translates: calls(IFLA_BR_NF_CALL_IPTABLES) || calls(IFLA_BR_NF_CALL_IP6TABLES),
            mac: attributes.find(libc::IFLA_ADDRESS).and_then(mac),
        },
    ))
}

fn mac(bytes: &[u8]) -> Option<Mac> {
    let [a, b, c, d, e, f] = *<&[u8; 6]>::try_from(bytes).ok()?;
    Some(Mac::new(
        u32::from_ne_bytes([a, b, c, d]),
        u16::from_ne_bytes([e, f]),
    ))
}

/// Whether all bridges of this network namespace have netfilter translate what they
/// forward: `net.bridge.bridge-nf-call-iptables`, or the same for IPv6, is set.
pub fn bridges_translate() -> bool {
    ["iptables", "ip6tables"].iter().any(|tables| {
        let path = format!("/proc/sys/net/bridge/bridge-nf-call-{tables}");
        // Without br_netfilter there is no such file, and no such translation.
        fs::read_to_string(path).is_ok_and(|value| value.trim() == "1")
    })
}

/// Destinations of routes of type local, but for loopback and for `held`, the addresses
/// of interfaces.
pub fn prefixes(held: &BTreeMap<IpAddr, bool>) -> anyhow::Result<BTreeSet<IpNet>> {
    let mut prefixes = BTreeSet::new();
    let deadline = Instant::now() + PATIENCE;
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut head = [0; RTMSG];
        head[0] = family as u8;
        Socket::open(SockProtocol::NetlinkRoute)
            .and_then(|mut socket| {
                socket.ask(
                    &Request::dump(libc::RTM_GETROUTE, &head),
                    deadline,
                    |_, payload| {
                        prefixes.extend(parse_local(payload).filter(|net| is_anyip(net, held)));
                    },
                )
            })
            .map_err(|failed| anyhow::anyhow!("{failed}"))
            .context("read the routes of type local")?;
    }
    Ok(prefixes)
}

fn is_anyip(net: &IpNet, held: &BTreeMap<IpAddr, bool>) -> bool {
    let whole = net.prefix_len() == net.max_prefix_len();
    !net.network().is_loopback() && !(whole && held.contains_key(&net.network()))
}

/// The destination of RTM_NEWROUTE, if the route is of type local.
fn parse_local(payload: &[u8]) -> Option<IpNet> {
    let (bits, kind) = (*payload.get(1)?, *payload.get(7)?);
    let to = Attributes::after(payload, RTMSG).find(libc::RTA_DST)?;
    let net = IpNet::new(address(to)?, bits).ok()?;
    (kind == libc::RTN_LOCAL).then(|| net.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::netlink::{attribute, nested};

    #[test]
    fn bridges_and_their_ports() {
        let mut message = [&[0; 4][..], &7_u32.to_ne_bytes(), &[0; 8]].concat();
        message.extend(attribute(libc::IFLA_ADDRESS, &[2, 0, 0, 0, 0, 9]));
        message.extend(attribute(libc::IFLA_MASTER, &3_u32.to_ne_bytes()));
        let data = nested(IFLA_INFO_DATA, &[attribute(IFLA_BR_NF_CALL_IPTABLES, &[1])]);
        let kind = attribute(IFLA_INFO_KIND, b"bridge\0");
        message.extend(nested(IFLA_LINKINFO, &[kind, data]));
        let (index, link) = parse(&message).unwrap();
        assert_eq!(
            (index, link.master, link.kind.as_str()),
            (7, Some(3), "bridge")
        );
        assert!(link.is_translating_bridge(false));
        assert_eq!(link.mac, mac(&[2, 0, 0, 0, 0, 9]));
        for cut in 0..message.len() {
            let _ = parse(&message[..cut]);
        }
        let plain = Link {
            translates: false,
            ..link.clone()
        };
        assert!(!plain.is_translating_bridge(false) && plain.is_translating_bridge(true));
        let bond = Link {
            kind: "bond".into(),
            ..link
        };
        assert!(!bond.is_translating_bridge(true));
    }

    #[test]
    fn routes_of_type_local() {
        let route = |kind: u8, bits: u8, to: &[u8]| {
            let mut head = vec![0; RTMSG];
            (head[1], head[7]) = (bits, kind);
            head.extend(attribute(libc::RTA_DST, to));
            parse_local(&head)
        };
        let local = libc::RTN_LOCAL;
        let held = BTreeMap::from([([10, 0, 0, 1].into(), true)]);
        let anyip = |net: Option<IpNet>| net.is_some_and(|net| is_anyip(&net, &held));
        assert!(anyip(route(local, 24, &[10, 66, 0, 0])));
        assert!(
            anyip(route(local, 32, &[10, 66, 0, 1])),
            "no interface holds it"
        );
        assert!(
            !anyip(route(local, 32, &[10, 0, 0, 1])),
            "an interface holds it"
        );
        assert!(!anyip(route(local, 8, &[127, 0, 0, 0])));
        assert!(!anyip(route(libc::RTN_UNICAST, 24, &[10, 66, 0, 0])));
        assert_eq!(route(local, 200, &[10, 66, 0, 0]), None);
    }
}
