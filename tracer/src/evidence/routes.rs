//! How the node reaches a backend: its route and the neighbour entry of the
//! next hop (rtnetlink(7)).

use std::{collections::HashMap, net::IpAddr, time::Instant};

use nix::{errno::Errno, net::if_::if_indextoname, sys::socket::SockProtocol};

use super::{
    Route,
    netlink::{Attributes, Failed, Request, Socket, address, family, octets, u32_at},
};

/// Bytes of `struct rtmsg` and `struct ndmsg`.
const RTMSG: usize = 12;
const NDMSG: usize = 12;
/// linux/rtnetlink.h
const RTA_VIA: u16 = 18;
const NDA_DST: u16 = 1;
/// linux/neighbour.h: NUD_*, as ip-neighbour(8) names them.
const STATES: [(u16, &str); 8] = [
    (0x01, "INCOMPLETE"),
    (0x02, "REACHABLE"),
    (0x04, "STALE"),
    (0x08, "DELAY"),
    (0x10, "PROBE"),
    (0x20, "FAILED"),
    (0x40, "NOARP"),
    (0x80, "PERMANENT"),
];

/// Asks for routes of one namespace.
pub struct Routes {
    socket: Socket,
    /// By interface index and address.
    neighbours: HashMap<(u32, IpAddr), &'static str>,
}

/// What was found out.
#[derive(Debug, PartialEq, Eq)]
pub struct Way {
    /// The route.
    pub route: Route,
    /// State of the next hop's neighbour entry.
    pub neighbour: Option<&'static str>,
}

/// A route as the kernel's message tells it.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Is(Route),
    By { index: u32, via: Option<IpAddr> },
}

impl Routes {
    /// Opens it in the calling thread's network namespace, and reads all
    /// neighbours.
    pub fn open(deadline: Instant) -> Result<Self, Failed> {
        let mut socket = Socket::open(SockProtocol::NetlinkRoute)?;
        let mut neighbours = HashMap::new();
        let request = Request::dump(libc::RTM_GETNEIGH, &[0; NDMSG]);
        socket.ask(&request, deadline, |_, payload| {
            neighbours.extend(parse_neighbour(payload));
        })?;
        Ok(Self { socket, neighbours })
    }

    /// The way to an address. `None`: the kernel's answer is none of the known.
    pub fn to(&mut self, to: IpAddr, deadline: Instant) -> Result<Option<Way>, Failed> {
        let bytes = octets(to);
        let mut head = [0; RTMSG];
        head[0] = family(to);
        head[1] = if to.is_ipv4() { 32 } else { 128 };
        let request = Request::get(libc::RTM_GETROUTE, &head).with(libc::RTA_DST, &bytes);
        let mut answer = None;
        match self.socket.ask(&request, deadline, |_, payload| {
            answer = parse_route(payload);
        }) {
            Ok(()) => {}
            Err(Failed::Kernel(errno)) => answer = by_errno(errno).map(Answer::Is),
            Err(failed) => return Err(failed),
        }
        Ok(answer.map(|answer| self.way(answer, to)))
    }

    fn way(&self, answer: Answer, to: IpAddr) -> Way {
        match answer {
            Answer::Is(route) => Way {
                route,
                neighbour: None,
            },
            Answer::By { index, via } => Way {
                neighbour: self.neighbours.get(&(index, via.unwrap_or(to))).copied(),
                route: Route::Unicast {
                    dev: name(index),
                    via,
                },
            },
        }
    }
}

/// By its number when it has just gone.
fn name(index: u32) -> String {
    match if_indextoname(index) {
        Ok(name) => name.to_string_lossy().into_owned(),
        Err(_) => format!("if{index}"),
    }
}

/// What the kernel's look-up says of routes that lead nowhere
/// (net/ipv4/fib_semantics.c: `fib_props`).
fn by_errno(errno: Errno) -> Option<Route> {
    match errno {
        Errno::EINVAL => Some(Route::Blackhole),
        Errno::EHOSTUNREACH => Some(Route::Unreachable),
        Errno::EACCES => Some(Route::Prohibit),
        Errno::ENETUNREACH => Some(Route::Missing),
        _ => None,
    }
}

fn parse_route(payload: &[u8]) -> Option<Answer> {
    let attributes = Attributes::after(payload, RTMSG);
    match *payload.get(7)? {
        libc::RTN_LOCAL => Some(Answer::Is(Route::Local)),
        libc::RTN_BLACKHOLE => Some(Answer::Is(Route::Blackhole)),
        libc::RTN_UNREACHABLE => Some(Answer::Is(Route::Unreachable)),
        libc::RTN_PROHIBIT => Some(Answer::Is(Route::Prohibit)),
        libc::RTN_THROW => Some(Answer::Is(Route::Missing)),
        libc::RTN_UNICAST => {
            let gateway = attributes.find(libc::RTA_GATEWAY);
            // struct rtvia: family, then the address.
            let via = || attributes.find(RTA_VIA)?.get(2..);
            Some(Answer::By {
                index: u32_at(attributes.find(libc::RTA_OIF)?, 0)?,
                via: gateway.or_else(via).and_then(address),
            })
        }
        _ => None,
    }
}

/// Interface, address and state of RTM_NEWNEIGH.
fn parse_neighbour(payload: &[u8]) -> Option<((u32, IpAddr), &'static str)> {
    let index = u32_at(payload, 4)?;
    let state = u16::from_ne_bytes(*payload.get(8..)?.first_chunk()?);
    let to = address(Attributes::after(payload, NDMSG).find(NDA_DST)?)?;
    let (_, state) = STATES.iter().find(|(bit, _)| bit & state != 0)?;
    Some(((index, to), state))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::evidence::netlink::attribute;

    fn route(kind: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = vec![0; RTMSG];
        bytes[7] = kind;
        [bytes, attributes.concat()].concat()
    }

    #[test]
    fn routes_by_type() {
        let oif = attribute(libc::RTA_OIF, &4_u32.to_ne_bytes());
        let by = |via: Option<IpAddr>| Some(Answer::By { index: 4, via });
        let gateway = attribute(libc::RTA_GATEWAY, &[10, 0, 0, 1]);
        let via = attribute(RTA_VIA, &[&[10, 0][..], &[0xfe; 16]].concat());
        let unicast = libc::RTN_UNICAST;
        assert_eq!(
            parse_route(&route(unicast, std::slice::from_ref(&oif))),
            by(None)
        );
        assert_eq!(
            parse_route(&route(unicast, &[oif.clone(), gateway])),
            by(Some([10, 0, 0, 1].into()))
        );
        assert_eq!(
            parse_route(&route(unicast, &[oif, via])),
            by(Some([0xfe; 16].into()))
        );
        assert_eq!(
            parse_route(&route(libc::RTN_BLACKHOLE, &[])),
            Some(Answer::Is(Route::Blackhole))
        );
        assert_eq!(parse_route(&route(libc::RTN_MULTICAST, &[])), None);
    }

    #[test]
    fn refusals_are_routes_too() {
        assert_eq!(by_errno(Errno::EINVAL), Some(Route::Blackhole));
        assert_eq!(by_errno(Errno::EHOSTUNREACH), Some(Route::Unreachable));
        assert_eq!(by_errno(Errno::EACCES), Some(Route::Prohibit));
        assert_eq!(by_errno(Errno::ENETUNREACH), Some(Route::Missing));
        assert_eq!(by_errno(Errno::ENOMEM), None);
    }

    #[test]
    fn neighbours_by_interface_and_address() {
        let mut bytes = vec![0; NDMSG];
        bytes[4] = 4;
        bytes[8] = 0x20;
        assert_eq!(parse_neighbour(&bytes), None);
        bytes.extend(attribute(NDA_DST, &[10, 0, 0, 1]));
        let key = (4, IpAddr::from([10, 0, 0, 1]));
        assert_eq!(parse_neighbour(&bytes), Some((key, "FAILED")));
    }

    /// Needs no privilege.
    #[test]
    fn an_own_address_is_local() {
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut routes = Routes::open(deadline).unwrap();
        let way = routes.to([127, 0, 0, 1].into(), deadline).unwrap().unwrap();
        assert_eq!(way.route, Route::Local);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..150)) {
            parse_route(&bytes);
            parse_neighbour(&bytes);
        }
    }
}
