//! Interfaces that stand alone. A packet that comes in by a bridge's port, or for a VLAN,
//! is seen at one interface and met by rules at another.

use std::{collections::BTreeSet, time::Instant};

use nix::sys::socket::SockProtocol;

use super::{
    Attributes, Failed, IFINFOMSG, IFLA_EXT_MASK, IFLA_INFO_KIND, IFLA_LINK_NETNSID, IFLA_LINKINFO,
    IFLA_MASTER, RTEXT_FILTER_SKIP_STATS, Request, Socket, name_of, u32_at,
};
use crate::evidence::InterfaceName;

/// linux/if_link.h
const IFLA_LINK: u16 = 5;

/// Kinds of links that name another one, and take from it none of the packets that a tap
/// there sees as TCP: tunnels unpack them first, and a veth's other end has its own.
const APART: &[&[u8]] = &[
    b"erspan",
    b"geneve",
    b"gre",
    b"gretap",
    b"ip6erspan",
    b"ip6gre",
    b"ip6gretap",
    b"ip6tnl",
    b"ipip",
    b"sit",
    b"veth",
    b"vti",
    b"vti6",
    b"vxlan",
    b"xfrm",
];

/// The interfaces of the calling thread's namespace which packets come in by and by no
/// other.
pub fn alone(deadline: Instant) -> Result<BTreeSet<InterfaceName>, Failed> {
    let mut links = Vec::new();
    let mask = RTEXT_FILTER_SKIP_STATS.to_ne_bytes();
    let request = Request::dump(libc::RTM_GETLINK, &[0; IFINFOMSG]).with(IFLA_EXT_MASK, &mask);
    Socket::open(SockProtocol::NetlinkRoute)?.ask(&request, deadline, |_, payload| {
        links.extend(parse(payload));
    })?;
    Ok(sift(&links))
}

#[derive(Debug, PartialEq, Eq)]
struct Link {
    index: u32,
    /// `None`: one that cannot be told.
    name: Option<InterfaceName>,
    /// A part of another: of a bridge, a bond, a VRF.
    is_part: bool,
    /// The link of the same namespace whose packets it may take.
    takes_from: Option<u32>,
}

fn sift(links: &[Link]) -> BTreeSet<InterfaceName> {
    let shared: BTreeSet<u32> = links.iter().filter_map(|link| link.takes_from).collect();
    let alone = |link: &&Link| !link.is_part && !shared.contains(&link.index);
    links
        .iter()
        .filter(alone)
        .filter_map(|link| link.name)
        .collect()
}

/// Of RTM_NEWLINK.
fn parse(payload: &[u8]) -> Option<Link> {
    let index = u32_at(payload, 4)?;
    let attributes = Attributes::after(payload, IFINFOMSG);
    let kind = attributes
        .find(IFLA_LINKINFO)
        .and_then(|info| Attributes::after(info, 0).find(IFLA_INFO_KIND))
        .map(|kind| kind.split(|byte| *byte == 0).next().unwrap_or_default());
    let here = attributes.find(IFLA_LINK_NETNSID).is_none();
    let takes = here && kind.is_none_or(|kind| !APART.contains(&kind));
    let below = attributes
        .find(IFLA_LINK)
        .and_then(|bytes| u32_at(bytes, 0));
    Some(Link {
        index,
        name: InterfaceName::new(&name_of(attributes)?),
        is_part: attributes.find(IFLA_MASTER).is_some(),
        takes_from: below.filter(|below| takes && *below != index && *below != 0),
    })
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::evidence::netlink::{attribute, nested};

    fn link(index: u32, name: &str, more: &[Vec<u8>]) -> Option<Link> {
        let mut payload = vec![0; IFINFOMSG];
        payload[4..8].copy_from_slice(&index.to_ne_bytes());
        payload.extend(attribute(libc::IFLA_IFNAME, format!("{name}\0").as_bytes()));
        payload.extend(more.concat());
        parse(&payload)
    }

    fn on(index: u32, kind: &str) -> Vec<u8> {
        let kind = attribute(IFLA_INFO_KIND, kind.as_bytes());
        let below = attribute(IFLA_LINK, &index.to_ne_bytes());
        [below, nested(IFLA_LINKINFO, &[kind])].concat()
    }

    fn names(links: impl IntoIterator<Item = Option<Link>>) -> Vec<String> {
        let links: Vec<Link> = links.into_iter().flatten().collect();
        sift(&links).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_part_of_another_or_shared_is_not_alone() {
        let master = attribute(IFLA_MASTER, &9_u32.to_ne_bytes());
        let elsewhere = attribute(IFLA_LINK_NETNSID, &0_i32.to_ne_bytes());
        let found = names([
            link(1, "lo", &[]),
            link(2, "eth0", &[]),
            link(3, "eth1", &[]),
            link(4, "eth2", &[master]),
            link(5, "eth1.100", &[on(3, "vlan\0")]),
            // A tunnel's packets leave as others, and a pod's interface is elsewhere.
            link(6, "flannel.1", &[on(2, "vxlan\0")]),
            link(7, "veth0", &[on(2, "veth\0"), elsewhere]),
            link(
                8,
                "mac0",
                &[on(2, "macvlan"), attribute(IFLA_LINK_NETNSID, &[0; 4])],
            ),
            link(9, "bond0", &[]),
        ]);
        assert_eq!(
            found,
            [
                "bond0",
                "eth0",
                "eth1.100",
                "flannel.1",
                "lo",
                "mac0",
                "veth0"
            ]
        );
        let found = names([link(2, "eth0", &[]), link(3, "mac0", &[on(2, "macvlan\0")])]);
        assert_eq!(found, ["mac0"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..100)) {
            parse(&bytes);
        }
    }
}
