//! The node's interfaces and addresses, read afresh whenever the kernel says
//! that something about them has changed (rtnetlink(7)).

mod prefixes;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use ipnet::IpNet;
use nix::{
    ifaddrs::getifaddrs,
    net::if_::{InterfaceFlags, if_nametoindex},
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
    },
};
use tracer_common::{config::Mac, flow::Addr};

use self::prefixes::prefixes;
use crate::evidence::links::{Port, bridges_translate, ports};

/// An interface that packets of the outside world may come in by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Packets carry an Ethernet header (as opposed to tunnels of plain IP).
    pub ethernet: bool,
    /// It holds an address that peers can send to.
    pub has_address: bool,
    /// It is up, and SYNs for the node come by it before anything translates them; no
    /// other tapped interface shows the same packets earlier.
    pub edge: bool,
    /// How its packets start is known ([`libc::ARPHRD_ETHER`] and the like).
    readable: bool,
    up: bool,
}

/// Longest that reading how interfaces stand upon one another may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// What the node has at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Interfaces by index.
    pub interfaces: BTreeMap<u32, Interface>,
    /// All own addresses, and whether an interface that is up holds them which peers
    /// can send to.
    pub addresses: BTreeMap<IpAddr, bool>,
    /// Prefixes that routes of type local make the node's own without an interface that
    /// holds them (AnyIP).
    pub prefixes: BTreeSet<IpNet>,
    /// Hardware addresses of bridges whose ports are edges in their place.
    pub bridges: BTreeSet<Mac>,
}

/// Reads interfaces and addresses of the current network namespace.
pub fn inventory() -> anyhow::Result<Inventory> {
    let mut inventory = Inventory::default();
    for entry in getifaddrs().context("read the node's addresses (getifaddrs)")? {
        // Gone since: the next change notice brings us back here.
        let Ok(index) = if_nametoindex(entry.interface_name.as_str()) else {
            continue;
        };
        let interface = inventory
            .interfaces
            .entry(index)
            .or_insert_with(|| Interface {
                name: entry.interface_name.clone(),
                ethernet: false,
                has_address: false,
                edge: false,
                readable: false,
                up: false,
            });
        interface.up |= entry.flags.contains(InterfaceFlags::IFF_UP);
        let Some(address) = entry.address else {
            continue;
        };
        if let Some(link) = address.as_link_addr() {
            // The loopback interface has an Ethernet header, of zeros, as well.
            let kind = link.hatype();
            interface.ethernet = matches!(kind, libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK);
            interface.readable = kind == libc::ARPHRD_ETHER || PLAIN_IP.contains(&kind);
        }
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        let v6 = address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip()));
        if let Some(ip) = v4.or(v6) {
            let outer = entry.flags.contains(InterfaceFlags::IFF_UP) && reachable(ip);
            interface.has_address |= outer;
            *inventory.addresses.entry(ip).or_default() |= outer;
        }
    }
    inventory.prefixes = prefixes(&inventory.addresses)?;
    let links = ports(Instant::now() + PATIENCE).map_err(|failed| anyhow::anyhow!("{failed}"));
    let links = links.context("read how interfaces stand upon one another")?;
    inventory.find_edges(&links, bridges_translate());
    Ok(inventory)
}

impl Inventory {
    /// Which interfaces see SYNs first and as they were sent. Whether they hold an
    /// address does not matter: the kernel takes what is for any of the node's own by
    /// whatever interface it comes.
    fn find_edges(&mut self, links: &BTreeMap<u32, Port>, for_all: bool) {
        let translates = |index: u32| {
            let link = links.get(&index);
            link.is_some_and(|link| link.is_translating_bridge(for_all))
        };
        for (index, interface) in &mut self.interfaces {
            let link = links.get(index);
            let master = link.and_then(|link| link.master);
            let above = master.and_then(|master| links.get(&master));
            let first = match (master, above.map(|above| above.kind.as_str())) {
                (Some(master), Some("bridge")) => translates(master),
                // A bond, a team, Open vSwitch: it shows what its ports bring.
                (Some(_), kind) => kind == Some("vrf"),
                (None, _) => !translates(*index),
            };
            let readable = interface.readable || interface.has_address;
            interface.edge = interface.up && readable && first;
        }
        let bridges = links.iter().filter(|(index, _)| translates(**index));
        self.bridges = bridges.filter_map(|(_, link)| link.mac).collect();
    }
}

/// Types of interfaces whose packets start with the IP header (if_arp.h): PPP, tunnels of
/// IP in IP, SIT, GRE, raw IP, and those of no type (WireGuard, tun).
const PLAIN_IP: [u16; 8] = [
    libc::ARPHRD_PPP,
    libc::ARPHRD_TUNNEL,
    libc::ARPHRD_TUNNEL6,
    libc::ARPHRD_SIT,
    libc::ARPHRD_IPGRE,
    ARPHRD_IP6GRE,
    ARPHRD_RAWIP,
    libc::ARPHRD_NONE,
];
/// linux/if_arp.h; not in libc.
const ARPHRD_IP6GRE: u16 = 823;
const ARPHRD_RAWIP: u16 = 519;

/// Neither loopback nor link-local: every pod's veth has a link-local address.
pub fn reachable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    }
}

/// An address as the kernel programs have it.
pub fn addr(ip: IpAddr) -> Addr {
    match ip {
        IpAddr::V4(ip) => Addr::v4(ip.octets()),
        IpAddr::V6(ip) => Addr::v6(ip.octets()),
    }
}

/// Hears of changes; what changed is then read afresh, so that a lost notice
/// (ENOBUFS) is as good as a received one.
pub struct Changes(OwnedFd);

impl Changes {
    /// Starts listening in the current network namespace.
    pub fn listen() -> anyhow::Result<Self> {
        const GROUPS: i32 = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            flags,
            SockProtocol::NetlinkRoute,
        )
        .context("open a netlink socket")?;
        bind(
            socket.as_raw_fd(),
            &NetlinkAddr::new(0, GROUPS.cast_unsigned()),
        )
        .context("subscribe to changes of links and addresses")?;
        Ok(Self(socket))
    }

    /// Throws the notices away; true when there was any.
    pub fn drain(&self) -> bool {
        let mut buffer = [0; 16 * 1024];
        let mut any = false;
        loop {
            match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(_) | Err(nix::Error::ENOBUFS) => any = true,
                Err(nix::Error::EINTR) => {}
                Err(_) => return any,
            }
        }
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
