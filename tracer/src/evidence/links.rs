//! The addresses of a network namespace, and whether the links that hold them
//! lead straight to the node (rtnetlink(7)).

mod alone;
mod ports;

use std::{collections::BTreeMap, fs::File, net::IpAddr, os::fd::AsRawFd as _, time::Instant};

use nix::sys::socket::SockProtocol;

pub use self::{
    alone::alone,
    ports::{Port, bridges_translate, ports},
};
use super::netlink::{Attributes, Failed, Request, Socket, address, u32_at};

/// Bytes of `struct ifaddrmsg`, `struct ifinfomsg`, `struct rtgenmsg` (padded).
const IFADDRMSG: usize = 8;
const IFINFOMSG: usize = 16;
const RTGENMSG: usize = 4;
/// linux/net_namespace.h
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;
/// linux/if_link.h; not in libc.
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_MASTER: u16 = 10;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;

/// Most addresses, and links, of a pod's namespace: who made it may have made
/// thousands.
const MOST: usize = 256;

/// Where the other end of a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// In a namespace other than the node's; or there is none, and nothing else
    /// leads to this namespace either: whoever may make namespaces may have put any
    /// address on such a link (lo, dummy).
    Elsewhere,
    /// The link is a device (SR-IOV), which only the node's own root can have put
    /// here; or another link leads to the node.
    Unknown,
    /// In the node's namespace: of a veth the other end, of a macvlan or ipvlan what
    /// it was made on. Making one needs CAP_NET_ADMIN there.
    Node,
}

/// An address that peers can send to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The address.
    pub address: IpAddr,
    /// Name of its interface.
    pub interface: String,
    /// Where that leads to.
    pub peer: Peer,
}

/// The addresses of the calling thread's namespace; `node`: an open file of
/// the node's namespace, or `None` in the node's own.
pub fn held(node: Option<&File>, deadline: Instant) -> Result<Vec<Held>, Failed> {
    let mut socket = Socket::open(SockProtocol::NetlinkRoute)?;
    let most = node.map_or(usize::MAX, |_| MOST);
    let mut addresses = Vec::new();
    let request = Request::dump(libc::RTM_GETADDR, &[0; IFADDRMSG]);
    socket.ask(&request, deadline, |_, payload| {
        if addresses.len() < most {
            addresses.extend(parse_address(payload));
        }
    })?;
    let mut links = BTreeMap::new();
    let mask = RTEXT_FILTER_SKIP_STATS.to_ne_bytes();
    let request = Request::dump(libc::RTM_GETLINK, &[0; IFINFOMSG]).with(IFLA_EXT_MASK, &mask);
    socket.ask(&request, deadline, |_, payload| {
        if links.len() < most {
            links.extend(parse_link(payload));
        }
    })?;
    let node = match node {
        Some(file) => namespace_id(&mut socket, file, deadline)?,
        None => None,
    };
    let reached = links
        .values()
        .any(|link| link.is_device || (link.peer.is_some() && link.peer == node));
    Ok(addresses
        .into_iter()
        .filter(|(_, address)| !address.is_loopback())
        .filter_map(|(index, address)| {
            let link = links.get(&index)?;
            Some(Held {
                address,
                interface: link.name.clone(),
                peer: match link.peer {
                    None if reached => Peer::Unknown,
                    None => Peer::Elsewhere,
                    peer if peer == node => Peer::Node,
                    Some(_) => Peer::Elsewhere,
                },
            })
        })
        .collect())
}

/// The node's own addresses.
pub fn own(deadline: Instant) -> Result<Vec<IpAddr>, Failed> {
    let addresses = addresses(deadline)?.into_iter();
    Ok(addresses.map(|(_, address)| address).collect())
}

/// The same, each after the index of its interface.
pub fn addresses(deadline: Instant) -> Result<Vec<(u32, IpAddr)>, Failed> {
    let mut addresses = Vec::new();
    Socket::open(SockProtocol::NetlinkRoute)?.ask(
        &Request::dump(libc::RTM_GETADDR, &[0; IFADDRMSG]),
        deadline,
        |_, payload| addresses.extend(parse_address(payload)),
    )?;
    Ok(addresses)
}

/// The number by which the calling thread's namespace knows another.
fn namespace_id(
    socket: &mut Socket,
    file: &File,
    deadline: Instant,
) -> Result<Option<i32>, Failed> {
    let fd = file.as_raw_fd().to_ne_bytes();
    let request = Request::get(libc::RTM_GETNSID, &[0; RTGENMSG]).with(NETNSA_FD, &fd);
    let mut id = None;
    socket.ask(&request, deadline, |_, payload| {
        id = Attributes::after(payload, RTGENMSG)
            .find(NETNSA_NSID)
            .and_then(number);
    })?;
    // -1: it has none yet, so no link leads there.
    Ok(id.filter(|id| *id >= 0))
}

fn number(bytes: &[u8]) -> Option<i32> {
    u32_at(bytes, 0).map(u32::cast_signed)
}

/// Interface index and address of RTM_NEWADDR.
fn parse_address(payload: &[u8]) -> Option<(u32, IpAddr)> {
    let index = u32_at(payload, 4)?;
    let attributes = Attributes::after(payload, IFADDRMSG);
    // On a point-to-point link IFA_ADDRESS is the peer's.
    let own = attributes
        .find(libc::IFA_LOCAL)
        .or_else(|| attributes.find(libc::IFA_ADDRESS))?;
    Some((index, address(own)?))
}

#[derive(Debug, PartialEq, Eq)]
struct Link {
    name: String,
    /// Number of the namespace of its other end.
    peer: Option<i32>,
    /// No link that can be made: it has a driver of its own, and no kind.
    is_device: bool,
}

/// Interface index, name and other end of RTM_NEWLINK.
fn parse_link(payload: &[u8]) -> Option<(u32, Link)> {
    let index = u32_at(payload, 4)?;
    let attributes = Attributes::after(payload, IFINFOMSG);
    let name = name_of(attributes)?;
    let peer = attributes.find(IFLA_LINK_NETNSID).and_then(number);
    let loopback = u32_at(payload, 8)? & libc::IFF_LOOPBACK.cast_unsigned() != 0;
    let kind = attributes
        .find(IFLA_LINKINFO)
        .and_then(|info| Attributes::after(info, 0).find(IFLA_INFO_KIND));
    let link = Link {
        name,
        peer,
        is_device: kind.is_none() && !loopback,
    };
    Some((index, link))
}

fn name_of(attributes: Attributes<'_>) -> Option<String> {
    let name = attributes.find(libc::IFLA_IFNAME)?;
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    Some(String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::evidence::netlink::attribute;

    #[test]
    fn the_local_address_is_taken() {
        let payload = [
            vec![2, 24, 128, 0, 7, 0, 0, 0],
            attribute(libc::IFA_ADDRESS, &[10, 0, 0, 1]),
            attribute(libc::IFA_LOCAL, &[10, 0, 0, 2]),
        ]
        .concat();
        assert_eq!(parse_address(&payload), Some((7, [10, 0, 0, 2].into())));
        let payload = [
            vec![10, 64, 128, 0, 7, 0, 0, 0],
            attribute(libc::IFA_ADDRESS, &[0xfd; 16]),
        ]
        .concat();
        assert_eq!(parse_address(&payload), Some((7, [0xfd; 16].into())));
    }

    #[test]
    fn a_link_tells_its_name_and_other_end() {
        let mut payload = vec![0; IFINFOMSG];
        payload[4] = 3;
        payload.extend(attribute(libc::IFLA_IFNAME, b"eth0\0"));
        let link = |peer| Link {
            name: "eth0".into(),
            peer,
            is_device: true,
        };
        assert_eq!(parse_link(&payload), Some((3, link(None))));
        payload.extend(attribute(IFLA_LINK_NETNSID, &0_i32.to_ne_bytes()));
        assert_eq!(parse_link(&payload), Some((3, link(Some(0)))));
    }

    #[test]
    fn a_device_has_no_kind_and_is_not_the_loopback() {
        let mut payload = vec![0; IFINFOMSG];
        payload.extend(attribute(libc::IFLA_IFNAME, b"x\0"));
        let is_device = |payload: &[u8]| parse_link(payload).unwrap().1.is_device;
        assert!(is_device(&payload));
        let kind = attribute(IFLA_INFO_KIND, b"dummy\0");
        let made = [payload.clone(), attribute(IFLA_LINKINFO, &kind)].concat();
        assert!(!is_device(&made));
        payload[8] = libc::IFF_LOOPBACK as u8;
        assert!(!is_device(&payload));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..100)) {
            parse_address(&bytes);
            parse_link(&bytes);
        }
    }
}
