//! Links as places where packets come in: bridges, their ports, and XDP programs.

use std::{collections::BTreeMap, fs, time::Instant};

use nix::sys::socket::SockProtocol;
use tracer_common::config::Mac;

use super::{
    Attributes, Failed, IFINFOMSG, IFLA_EXT_MASK, IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_MASTER,
    RTEXT_FILTER_SKIP_STATS, Request, Socket, name_of, u32_at,
};

/// linux/if_link.h
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
/// linux/if_link.h; not in libc.
const IFLA_INFO_DATA: u16 = 2;
const IFLA_BR_NF_CALL_IPTABLES: u16 = 36;
const IFLA_BR_NF_CALL_IP6TABLES: u16 = 37;
/// `IFLA_XDP_PROG_ID` and those of each mode: driver, skb, hardware.
const IDS: [u16; 4] = [IFLA_XDP_PROG_ID, 5, 6, 7];

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// It is up (`IFF_UP`).
    pub is_up: bool,
    /// What was made (`bridge`, `bond`, `veth`: of a pod's pair, as a rule); empty: it is
    /// a device.
    pub kind: String,
    /// Index of the link that it is a port of: a bridge, a bond, a VRF.
    pub master: Option<u32>,
    /// A bridge whose own option has netfilter translate what it forwards.
    pub translates: bool,
    /// Its hardware address.
    pub mac: Option<Mac>,
    /// Id of its XDP program; 0: it has one, whose id is not told.
    pub xdp: Option<u32>,
}

impl Port {
    /// It is a bridge.
    pub fn is_bridge(&self) -> bool {
        self.kind == "bridge"
    }

    /// A bridge at whose ports netfilter's hooks run, so that its own interface shows
    /// packets only after DNAT. `all`: see [`bridges_translate`].
    pub fn is_translating_bridge(&self, all: bool) -> bool {
        self.is_bridge() && (all || self.translates)
    }
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

/// The links of the calling thread's namespace by index.
pub fn ports(deadline: Instant) -> Result<BTreeMap<u32, Port>, Failed> {
    let mut ports = BTreeMap::new();
    let mask = RTEXT_FILTER_SKIP_STATS.to_ne_bytes();
    let request = Request::dump(libc::RTM_GETLINK, &[0; IFINFOMSG]).with(IFLA_EXT_MASK, &mask);
    Socket::open(SockProtocol::NetlinkRoute)?.ask(&request, deadline, |_, payload| {
        ports.extend(parse(payload));
    })?;
    Ok(ports)
}

/// Of RTM_NEWLINK.
fn parse(payload: &[u8]) -> Option<(u32, Port)> {
    let index = u32_at(payload, 4)?;
    let attributes = Attributes::after(payload, IFINFOMSG);
    let info = attributes.find(IFLA_LINKINFO).unwrap_or_default();
    let info = Attributes::after(info, 0);
    let kind = String::from_utf8_lossy(info.find(IFLA_INFO_KIND).unwrap_or_default());
    let data = Attributes::after(info.find(IFLA_INFO_DATA).unwrap_or_default(), 0);
    let calls = |kind| data.find(kind).and_then(|on: &[u8]| on.first()) == Some(&1);
    let xdp = attributes
        .find(IFLA_XDP)
        .map(|xdp| Attributes::after(xdp, 0));
    let is_attached = |xdp: &Attributes<'_>| {
        let mode = xdp.find(IFLA_XDP_ATTACHED).and_then(|mode| mode.first());
        mode.is_some_and(|mode| *mode != 0)
    };
    let id = |xdp: Attributes<'_>| {
        let mut ids = IDS.iter().filter_map(|kind| u32_at(xdp.find(*kind)?, 0));
        ids.next().unwrap_or(0)
    };
    let port = Port {
        name: name_of(attributes)?,
        is_up: u32_at(payload, 8)? & libc::IFF_UP.cast_unsigned() != 0,
        kind: kind.trim_end_matches('\0').to_owned(),
        translates: calls(IFLA_BR_NF_CALL_IPTABLES) || calls(IFLA_BR_NF_CALL_IP6TABLES),
        mac: attributes.find(libc::IFLA_ADDRESS).and_then(mac),
        master: attributes
            .find(IFLA_MASTER)
            .and_then(|master| u32_at(master, 0)),
        xdp: xdp.filter(is_attached).map(id),
    };
    Some((index, port))
}

fn mac(bytes: &[u8]) -> Option<Mac> {
    let [a, b, c, d, e, f] = *<&[u8; 6]>::try_from(bytes).ok()?;
    Some(Mac::new(
        u32::from_ne_bytes([a, b, c, d]),
        u16::from_ne_bytes([e, f]),
    ))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::evidence::netlink::{attribute, nested};

    #[test]
    fn a_port_tells_its_bridge_and_its_program() {
        let mut payload = vec![0; IFINFOMSG];
        payload[4] = 3;
        payload[8] = libc::IFF_UP as u8;
        payload.extend(attribute(libc::IFLA_IFNAME, b"eth0\0"));
        payload.extend(attribute(IFLA_MASTER, &2_u32.to_ne_bytes()));
        let kind = attribute(IFLA_INFO_KIND, b"veth\0");
        payload.extend(nested(IFLA_LINKINFO, &[kind]));
        let none = nested(IFLA_XDP, &[attribute(IFLA_XDP_ATTACHED, &[0])]);
        let (index, port) = parse(&[payload.clone(), none].concat()).unwrap();
        assert_eq!((index, &*port.name, port.master), (3, "eth0", Some(2)));
        assert!(port.is_up && port.kind == "veth" && !port.is_bridge());
        assert_eq!(port.xdp, None);
        let some = nested(
            IFLA_XDP,
            &[
                attribute(IFLA_XDP_ATTACHED, &[1]),
                attribute(IFLA_XDP_PROG_ID, &7_u32.to_ne_bytes()),
            ],
        );
        assert_eq!(parse(&[payload, some].concat()).unwrap().1.xdp, Some(7));
    }

    #[test]
    fn a_bridge_tells_whether_it_translates() {
        let mut payload = vec![0; IFINFOMSG];
        payload.extend(attribute(libc::IFLA_IFNAME, b"br0\0"));
        payload.extend(attribute(libc::IFLA_ADDRESS, &[2, 0, 0, 0, 0, 9]));
        let data = nested(IFLA_INFO_DATA, &[attribute(IFLA_BR_NF_CALL_IPTABLES, &[1])]);
        let kind = attribute(IFLA_INFO_KIND, b"bridge\0");
        payload.extend(nested(IFLA_LINKINFO, &[kind, data]));
        let (_, port) = parse(&payload).unwrap();
        assert!(port.is_translating_bridge(false));
        assert_eq!(port.mac, mac(&[2, 0, 0, 0, 0, 9]));
        let translates = false;
        let plain = Port {
            translates,
            ..port.clone()
        };
        assert!(!plain.is_translating_bridge(false) && plain.is_translating_bridge(true));
        let kind = "bond".to_owned();
        assert!(!Port { kind, ..port }.is_translating_bridge(true));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..100)) {
            parse(&bytes);
        }
    }
}
