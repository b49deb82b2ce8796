//! Failures and successes of a window, by what they have in common.

use std::net::{IpAddr, SocketAddr};

use tracer_common::failure::{Failure, Reply};

use super::{Found, InterfaceName};

/// Failures of one kind at one port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Row {
    /// The port.
    pub node_port: u16,
    /// The node's own address that the clients dialled. `None`: not known, since the
    /// node has more addresses than are told apart.
    pub dialled: Option<IpAddr>,
    /// The interface of the node by which the SYNs came in, by its name then. `None`:
    /// not known, as where later segments of the client came by another.
    pub interface: Option<InterfaceName>,
    /// What went wrong.
    pub failure: Failure,
    /// What the client got.
    pub reply: Reply,
    /// ICMP code, when the reply is ICMP or ICMPv6.
    pub code: u8,
    /// Where NAT sent it.
    pub backend: Option<SocketAddr>,
    /// Bits of [`tracer_common::failure::seen`].
    pub seen: u16,
    /// Inode of the network namespace, other than the node's, in which some of that was
    /// seen; 0: none, or not known.
    pub netns: u32,
    /// Name of the first drop's reason without its prefix (`NETFILTER_DROP`).
    /// `None` without a drop, and on kernels that give no reasons (before 5.17).
    pub reason: Option<String>,
    /// Kernel function of the first drop. `None` without a drop, and when
    /// /proc/kallsyms cannot be read.
    pub location: Option<String>,
    /// Name of the reason of the RST without its prefix (`NO_SOCKET`); kernels
    /// from 6.12 on.
    pub reset_reason: Option<String>,
    /// How many.
    pub count: u64,
    /// Clients of those that are remembered one by one, and how many failures each
    /// had; most first, and at most [`SOURCES`]. Their sum is `count` when all
    /// are remembered.
    pub sources: Vec<(IpAddr, u64)>,
    /// When the first and the last of those that are remembered sent their first SYN,
    /// nanoseconds of the monotonic clock.
    pub span: Option<(u64, u64)>,
    /// Connections at the same port that were established in the midst of these
    /// failures: between two of them that are at most 10 s apart.
    pub amid: Vec<Served>,
    /// What was found when they were judged, that of the most failures first; at most
    /// [`super::FACTS`].
    pub found: Vec<Found>,
}

impl Row {
    /// One failure of which nothing is known but what the client got.
    #[must_use]
    pub const fn new(node_port: u16, failure: Failure, reply: Reply) -> Self {
        Self {
            node_port,
            dialled: None,
            interface: None,
            failure,
            reply,
            code: 0,
            backend: None,
            seen: 0,
            netns: 0,
            reason: None,
            location: None,
            reset_reason: None,
            count: 1,
            sources: Vec::new(),
            span: None,
            amid: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Whether two kinds of failure have all in common but the interface.
    #[must_use]
    pub fn differs_by_interface(&self, other: &Self) -> bool {
        let of = |row: &Self| (row.node_port, row.dialled, row.backend, row.netns);
        let how = |row: &Self| (row.failure, row.reply, row.code, row.seen);
        self.interface != other.interface
            && (of(self), how(self)) == (of(other), how(other))
            && self.reason == other.reason
            && self.location == other.location
            && self.reset_reason == other.reset_reason
    }
}

/// Most clients that a row names.
pub const SOURCES: usize = 16;

/// Connections established at one port for one client, at one address of the node, by one
/// interface and one backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Served {
    /// The port.
    pub node_port: u16,
    /// The client's address; `None`: clients beyond those that are told apart.
    pub client: Option<IpAddr>,
    /// The node's own address that it dialled.
    pub dialled: IpAddr,
    /// [`Row::interface`]
    pub interface: Option<InterfaceName>,
    /// Where NAT sent it; `None`: not known.
    pub backend: Option<SocketAddr>,
    /// How many.
    pub count: u64,
}

/// Who the last failed attempts at one port came from, as far as remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clients {
    /// The port.
    pub node_port: u16,
    /// Failed attempts that are remembered one by one.
    pub attempts: u64,
    /// Their different addresses.
    pub addresses: u64,
}
