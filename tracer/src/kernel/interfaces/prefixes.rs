//! Prefixes that are the node's own without an interface that holds them (rtnetlink(7)).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use ipnet::IpNet;
use nix::sys::socket::SockProtocol;

use crate::evidence::netlink::{Attributes, Request, Socket, address};

/// Bytes of `struct rtmsg`.
const RTMSG: usize = 12;
/// Longest that reading them may take.
const PATIENCE: Duration = Duration::from_millis(500);

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
    let is_held = whole && held.contains_key(&net.network());
    !net.network().is_loopback() && !is_held
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
    use crate::evidence::netlink::attribute;

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
