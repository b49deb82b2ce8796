//! What a drop's reason and location mean.
//!
//! Reasons are named from 5.17 on, and kernels keep adding some; where there is
//! none, the function that freed the packet has to do. Sources:
//! `include/net/dropreason-core.h` and the functions named.

use crate::evidence::Row;

/// What a drop says about its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// A rule of nf_tables (iptables-nft too), decided in `nft_do_chain`; or one that hands
    /// packets to a program (NFQUEUE) which is not there.
    Rule,
    /// Freed by the caller of netfilter's hooks: a rule of iptables-legacy, any
    /// rule before 6.7, or conntrack and NAT themselves.
    Hook,
    /// Reverse path filter.
    ReversePath,
    /// Freed where the reverse path filter and the check for foreign (martian)
    /// sources free; the kernel gives no reason.
    Source,
    /// The next hop has no link-layer address.
    Neighbour,
    /// Routing refused it, without a reason: blackhole, or an ICMP that the
    /// rate limit held back.
    Route,
    /// Routing refused it: no route.
    NoRoute,
    /// A checksum is wrong.
    Checksum,
    /// Timestamp older than the connection's last.
    Paws,
    /// No socket for it.
    NoSocket,
    /// Freed in TCP's receive function; the kernel gives no reason.
    Stack,
    /// The accept queue was full at the final ACK.
    Overflow,
    /// Larger than the MTU ahead, and not to be fragmented.
    TooBig,
    /// It came in with an own address as its source.
    LocalSource,
    /// A copy of the segment: of a capture that ended, which its packet socket had
    /// queued, or one that a bridge flooded to others. Says nothing of the segment.
    Copy,
    /// A reason that belongs to none of these.
    Other,
    /// Neither reason nor location is known.
    Unnamed,
}

impl Cause {
    /// Of a row with a drop.
    pub(super) fn of(row: &Row) -> Self {
        let location = row.location.as_deref().map(plain);
        match row.reason.as_deref() {
            None | Some("NOT_SPECIFIED") => Self::by_location(location),
            Some(reason) => Self::by_reason(reason, location),
        }
    }

    fn by_reason(reason: &str, location: Option<&str>) -> Self {
        match reason {
            "NETFILTER_DROP" if location == Some("nft_do_chain") => Self::Rule,
            "NETFILTER_DROP" => Self::Hook,
            "IP_RPFILTER" => Self::ReversePath,
            "IP_INNOROUTES" | "IP_OUTNOROUTES" => Self::NoRoute,
            "IP_LOCAL_SOURCE" => Self::LocalSource,
            "TCP_LISTEN_OVERFLOW" => Self::Overflow,
            "PKT_TOO_BIG" => Self::TooBig,
            // A bridge floods what leads to a MAC that is gone, and the stacks behind
            // its other ports free their copies.
            "OTHERHOST" => Self::Copy,
            "QUEUE_PURGE" if location.is_some_and(is_purge) => Self::Copy,
            // The listener refused the connection that the cookie stands for.
            "NO_SOCKET" if location.is_some_and(is_cookie_check) => Self::Overflow,
            "NO_SOCKET" => Self::NoSocket,
            _ if reason.starts_with("NEIGH_") || location.is_some_and(is_neighbour) => {
                Self::Neighbour
            }
            _ if reason.ends_with("_CSUM") => Self::Checksum,
            _ if reason.contains("PAWS") => Self::Paws,
            _ => Self::Other,
        }
    }

    fn by_location(location: Option<&str>) -> Self {
        match location {
            None => Self::Unnamed,
            Some("nft_do_chain" | "nf_queue" | "__nf_queue") => Self::Rule,
            Some(name) if name.starts_with("nf_hook") => Self::Hook,
            Some("ip_error" | "dst_discard" | "dst_discard_out" | "ip6_pkt_drop") => Self::Route,
            Some("arp_error_report" | "ndisc_error_report" | "arp_solicit") => Self::Neighbour,
            Some(name) if is_neighbour(name) => Self::Neighbour,
            Some("ip_rcv_finish" | "ip_rcv_finish_core") => Self::Source,
            Some("tcp_v4_rcv" | "tcp_v6_rcv") => Self::Stack,
            Some(name) if is_cookie_check(name) => Self::Overflow,
            Some("ip_forward" | "ip6_forward") => Self::TooBig,
            Some(_) => Self::Other,
        }
    }

    /// Dropped by netfilter, whoever decided it.
    pub(super) const fn is_netfilter(self) -> bool {
        matches!(self, Self::Rule | Self::Hook)
    }
}

fn is_purge(name: &str) -> bool {
    name.starts_with("skb_queue_purge")
}

/// `neigh_invalidate` gives up on one packet (NEIGH_FAILED) and purges the queue
/// of the others (QUEUE_PURGE).
fn is_neighbour(name: &str) -> bool {
    name.trim_start_matches('_').starts_with("neigh_")
}

fn is_cookie_check(name: &str) -> bool {
    matches!(name, "cookie_v4_check" | "cookie_v6_check")
}

/// A symbol without what compilers and kallsyms add (`.isra.0`, `+0x1c`, ` [module]`).
fn plain(symbol: &str) -> &str {
    symbol.split(['.', '+', ' ', '[']).next().unwrap_or(symbol)
}

/// `REASON at function`, as far as the kernel tells.
pub(super) fn name(row: &Row) -> String {
    match (row.reason.as_deref(), row.location.as_deref()) {
        (Some(reason), Some(location)) => format!("{reason} at {location}"),
        (Some(reason), None) => {
            format!("{reason} (where: unknown, /proc/kallsyms is not readable)")
        }
        (None, Some(location)) => format!("in {location} (this kernel names no reason)"),
        (None, None) => "this kernel names no reason, and /proc/kallsyms is not readable".into(),
    }
}
