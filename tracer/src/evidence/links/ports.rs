//! Links as places where packets come in: bridges, their ports, and XDP programs.

use std::{collections::BTreeMap, time::Instant};

use nix::sys::socket::SockProtocol;

use super::{
    Attributes, Failed, IFINFOMSG, IFLA_EXT_MASK, IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_MASTER,
    RTEXT_FILTER_SKIP_STATS, Request, Socket, name_of, u32_at,
};

/// linux/if_link.h
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
/// `IFLA_XDP_PROG_ID` and those of each mode: driver, skb, hardware.
const IDS: [u16; 4] = [IFLA_XDP_PROG_ID, 5, 6, 7];

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// It is up (`IFF_UP`).
    pub is_up: bool,
    /// It is a bridge.
    pub is_bridge: bool,
    /// It is a veth: of a pod's pair, as a rule.
    pub is_veth: bool,
    /// Index of the link that it is a port of.
    pub master: Option<u32>,
    /// Id of its XDP program; 0: it has one, whose id is not told.
    pub xdp: Option<u32>,
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
    let info = attributes.find(IFLA_LINKINFO);
    let kind = info.and_then(|info| Attributes::after(info, 0).find(IFLA_INFO_KIND));
    let is = |wanted: &[u8]| kind.is_some_and(|kind| kind.strip_suffix(&[0]) == Some(wanted));
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
        is_bridge: is(b"bridge"),
        is_veth: is(b"veth"),
        master: attributes
            .find(IFLA_MASTER)
            .and_then(|master| u32_at(master, 0)),
        xdp: xdp.filter(is_attached).map(id),
    };
    Some((index, port))
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
        assert!(port.is_up && port.is_veth && !port.is_bridge);
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

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..100)) {
            parse(&bytes);
        }
    }
}
