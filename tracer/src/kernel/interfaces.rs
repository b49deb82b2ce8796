//! The node's interfaces and addresses, read afresh whenever the kernel says
//! that something about them has changed (rtnetlink(7)).

use std::{
    collections::BTreeMap,
    net::IpAddr,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
};

use anyhow::Context as _;
use nix::{
    ifaddrs::getifaddrs,
    net::if_::{InterfaceFlags, if_nametoindex},
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
    },
};
use tracer_common::flow::Addr;

/// An interface that packets of the outside world may come in by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Packets carry an Ethernet header (as opposed to tunnels of plain IP).
    pub ethernet: bool,
    /// It is up and holds an address that peers can send to.
    pub edge: bool,
}

/// What the node has at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Interfaces by index.
    pub interfaces: BTreeMap<u32, Interface>,
    /// All own addresses, and whether an interface that is up holds them which peers
    /// can send to.
    pub addresses: BTreeMap<IpAddr, bool>,
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
                edge: false,
            });
        let Some(address) = entry.address else {
            continue;
        };
        if let Some(link) = address.as_link_addr() {
            // The loopback interface has an Ethernet header, of zeros, as well.
            interface.ethernet =
                matches!(link.hatype(), libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK);
        }
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        let v6 = address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip()));
        if let Some(ip) = v4.or(v6) {
            let outer = entry.flags.contains(InterfaceFlags::IFF_UP) && reachable(ip);
            interface.edge |= outer;
            *inventory.addresses.entry(ip).or_default() |= outer;
        }
    }
    Ok(inventory)
}

/// Neither loopback nor link-local: every pod's veth has a link-local address.
fn reachable(ip: IpAddr) -> bool {
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
