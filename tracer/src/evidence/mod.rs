//! What is known about one window of time: counts from the kernel programs and
//! facts from the system. Plain data; judging it is `verdict`'s business.

pub mod names;
pub mod rules;

mod collector;
mod conntrack;
mod counters;
mod gone;
mod history;
mod ipvs;
mod links;
mod look;
mod looks;
mod namespaces;
mod netlink;
mod node;
mod pods;
mod processes;
mod routes;
mod sockets;

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

pub use collector::{Asked, Collector};
pub use ipvs::VirtualServer;

use tracer_common::{
    counters::PortCounters,
    failure::{Failure, Reply},
};

use self::rules::RuleSets;
use crate::services::Table;

/// Everything that a judgement may rest on.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Length of the window.
    pub window: Duration,
    /// When it ended, nanoseconds of the monotonic clock; 0 in a replay.
    pub ended: u64,
    /// What each port's counters rose by within it; only ports with any attempt.
    /// Gauges are as they stand at its end.
    pub ports: Vec<(u16, PortCounters)>,
    /// Failures within it, by kind.
    pub rows: Vec<Row>,
    /// Where the last failed attempts at these ports came from.
    pub clients: Vec<Clients>,
    /// Connections established within the window, by whose they were.
    pub served: Vec<Served>,
    /// Namespaces whose notes do not count: see [`Evidence::believed`].
    pub strangers: BTreeSet<Stranger>,
    /// The backends of these ports.
    pub backends: Vec<Backend>,
    /// The node's own network namespace.
    pub node: Namespace,
    /// Sockets in the node's namespace that listen on a watched port.
    pub holders: Vec<Holder>,
    /// conntrack of the node's namespace; `None`: see `absent`.
    pub conntrack: Option<Conntrack>,
    /// conntrack entries of failed attempts whose backend the kernel programs
    /// do not know (older than the daemon), within a budget.
    pub entries: Vec<Entry>,
    /// IPVS's virtual servers at watched ports; `None`: IPVS is not in use.
    pub virtual_servers: Option<Vec<VirtualServer>>,
    /// The rule sets of the node's namespace; nothing is known of them unless failures
    /// called for it (see `absent` where they could not be read).
    pub rules: Arc<RuleSets>,
    /// What ports and pods are called.
    pub names: Arc<Table>,
    /// Sources that could not be asked, or not in full, each with its reason.
    pub absent: Vec<Absent>,
}

/// A network namespace by inode, and the backend whose it is not.
pub type Stranger = (u32, Option<SocketAddr>);

impl Evidence {
    /// The row without what was noted in a namespace that is neither the node's nor
    /// the backend's.
    #[must_use]
    pub fn believed(&self, row: Row) -> Row {
        if !self.strangers.contains(&(row.netns, row.backend)) {
            return row;
        }
        Row {
            seen: 0,
            netns: 0,
            reason: None,
            location: None,
            reset_reason: None,
            ..row
        }
    }
}

/// Failures of one kind at one port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Row {
    /// The port.
    pub node_port: u16,
    /// The node's own address that the clients dialled. `None`: not known, since the
    /// node has more addresses than are told apart.
    pub dialled: Option<IpAddr>,
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
}

impl Row {
    /// One failure of which nothing is known but what the client got.
    #[must_use]
    pub const fn new(node_port: u16, failure: Failure, reply: Reply) -> Self {
        Self {
            node_port,
            dialled: None,
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
        }
    }
}

/// Most clients that a row names.
pub const SOURCES: usize = 16;

/// Connections established at one port for one client, at one address of the node and
/// by one backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Served {
    /// The port.
    pub node_port: u16,
    /// The client's address; `None`: clients beyond those that are told apart.
    pub client: Option<IpAddr>,
    /// The node's own address that it dialled.
    pub dialled: IpAddr,
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

/// What a backend got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Attempts sent to it.
    pub attempts: u64,
    /// Handshakes that a socket of this kernel completed there.
    pub passive_opens: u64,
}

/// A backend of one port.
#[derive(Clone, Debug)]
pub struct Backend {
    /// The port it serves.
    pub node_port: u16,
    /// Its address and port.
    pub address: SocketAddr,
    /// Attempts sent to it within the window.
    pub attempts: u64,
    /// Handshakes that a socket of this kernel completed there within the window.
    pub passive_opens: u64,
    /// Where it is.
    pub place: Place,
    /// How the node reaches it.
    pub route: Option<Route>,
    /// State of the neighbour entry of the next hop, as `ip neigh` names it
    /// (`REACHABLE`, `FAILED`, …); `None`: there is none.
    pub neighbour: Option<String>,
    /// When a network namespace of this node that held its address was found gone,
    /// nanoseconds of the monotonic clock; `None`: none was, or one holds it now.
    pub gone_at: Option<u64>,
}

/// Where a backend is.
#[derive(Clone, Debug)]
pub enum Place {
    /// In a network namespace of this node.
    Here(Box<Pod>),
    /// No namespace of this node has its address.
    Beyond,
    /// The node's namespaces could not all be looked into (see `absent`).
    Unknown,
}

/// A backend's namespace, looked at on this node.
#[derive(Clone, Debug, Default)]
pub struct Pod {
    /// Its counters.
    pub namespace: Namespace,
    /// The socket that listens where NAT sends to, if any does.
    pub listener: Option<Listener>,
    /// Where NAT of its own sends what the node sends to the backend: a sidecar's REDIRECT.
    /// `None`: there is none, or its conntrack knows of none. Asked for as `unread` is.
    pub sent_on_to: Option<SocketAddr>,
    /// Ports on which something listens at an address that NAT could reach.
    pub listens_on: Vec<u16>,
    /// Something listens on the port, but at a loopback address only.
    pub loopback_only: bool,
    /// Connections at the backend's port that the process has not accepted.
    pub not_accepted: u32,
    /// Accepted connections there whose received bytes wait to be read
    /// (Recv-Q above 0). Counted only for backends that something failed at, or
    /// may have: failures without a backend count against all of their port.
    pub unread: u32,
    /// `net.ipv4.conf.{all,eth0…}.rp_filter`, the highest that applies.
    pub rp_filter: u8,
    /// Connections there that the process has accepted and not closed. Counted as `unread`
    /// is.
    pub accepted: u32,
    /// Handshakes at the backend's port that wait for their final ACK (SYN_RECV).
    /// Counted as `unread` is.
    pub syn_recv: u32,
    /// `net.ipv4.tcp_syncookies`; `None`: it could not be read.
    pub syncookies: Option<u8>,
    /// The accept queue was over its limit at a look within the window, or is now.
    pub was_full: bool,
    /// What [`Listener::drops`] rose by since the earliest look within the window;
    /// `None`: this is the only one.
    pub drops_rise: Option<u64>,
    /// What other listeners of the namespace have thrown away since they listen.
    pub drops_elsewhere: u64,
    /// Whether most of `unread` were unread at an earlier look too and had read nothing
    /// since. A single look may meet a server that is just reading.
    pub unread_for_long: bool,
    /// The connections behind `unread` as they were met: inode, and how many bytes the
    /// process has read.
    pub met_unread: Vec<(u32, u64)>,
}

/// A listening socket's accept queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Connections in the accept queue (`sk_ack_backlog`).
    pub queue: u32,
    /// Its limit (`sk_max_ack_backlog`); one more than that fits.
    pub limit: u32,
    /// SYNs and final ACKs that it has thrown away since it listens, modulo 2^32
    /// (`sk_drops`).
    pub drops: u32,
}

/// Counters of a network namespace (/proc/net/snmp, /proc/net/netstat): what
/// they rose by within the window, and a little before it, since a failure is
/// decided later than it is caused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// TcpExt ListenOverflows: accept queue full.
    pub listen_overflows: u64,
    /// TcpExt ListenDrops: SYNs dropped for any reason at the listener.
    pub listen_drops: u64,
    /// TcpExt TCPReqQFullDrop: SYN queue full, no cookies.
    pub req_q_full_drop: u64,
    /// TcpExt TCPReqQFullDoCookies: SYN queue full, cookies sent.
    pub req_q_full_cookies: u64,
    /// TcpExt SyncookiesSent
    pub syncookies_sent: u64,
    /// TcpExt PAWSPassive + PAWSActive + PAWSEstab + PAWSOldAck + PAWSTimewait,
    /// as far as the kernel has them.
    pub paws: u64,
    /// Tcp InCsumErrors
    pub checksum_errors: u64,
    /// TcpExt EmbryonicRsts
    pub embryonic_rsts: u64,
    /// TcpExt IPReversePathFilter
    pub reverse_path_filter: u64,
    /// Ip FragFails; in the node's namespace with Ip6FragFails.
    pub frag_fails: u64,
    /// Tcp OutRsts
    pub out_rsts: u64,
    /// Ip OutNoRoutes, with Ip6OutNoRoutes: packets of its own that no route led out.
    pub out_no_routes: u64,
    /// TcpExt TCPAbortOnMemory
    pub abort_on_memory: u64,
    /// Icmp OutRateLimitGlobal + OutRateLimitHost, in the node's namespace with
    /// Icmp6OutRateLimitHost: ICMP errors kept back. `None` before Linux 6.3.
    pub icmp_limited: Option<u64>,
}

/// A socket in the node's namespace that listens on a watched port, as
/// kube-proxy used to reserve NodePorts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The port.
    pub node_port: u16,
    /// Its queue.
    pub listener: Listener,
    /// Connections to it that no process has accepted.
    pub not_accepted: u32,
    /// Connections to it that a process has accepted and not closed yet.
    pub accepted: u32,
    /// Of those not accepted, in CLOSE_WAIT: the client has gone.
    pub close_wait: u32,
    /// Name of the process, when /proc shows it.
    pub process: Option<String>,
}

/// conntrack's statistics, summed over CPUs: what they rose by within the
/// window and a little before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conntrack {
    /// Entries now.
    pub count: u64,
    /// Most entries at any reading within the window and a little before it.
    pub peak: u64,
    /// nf_conntrack_max
    pub max: u64,
    /// insert_failed: clash, or no free tuple.
    pub insert_failed: u64,
    /// drop: no entry could be made, or it was refused.
    pub drop: u64,
    /// early_drop: entries displaced to make room.
    pub early_drop: u64,
    /// invalid: segments that fit no state.
    pub invalid: u64,
}

/// A conntrack entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Port of the original destination.
    pub node_port: u16,
    /// Source of the reply direction: the backend, or the node itself.
    pub backend: SocketAddr,
    /// TCP state of conntrack, as conntrack(8) names it (`ESTABLISHED`, …).
    pub state: String,
}

/// How the node's routing answers for an address (`ip route get`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// By this interface, to this next hop if it is not on the link.
    Unicast {
        /// Name of the interface.
        dev: String,
        /// Next hop.
        via: Option<IpAddr>,
    },
    /// An address of the node itself.
    Local,
    /// `blackhole`: dropped without a word.
    Blackhole,
    /// `unreachable`: ICMP host unreachable.
    Unreachable,
    /// `prohibit`: ICMP administratively prohibited.
    Prohibit,
    /// No route at all.
    Missing,
}

/// The source that is absent when nothing but packets is known: no counter, no
/// note of the kernel's hooks.
pub const PACKETS_ONLY: &str = "everything but packets";

/// A source of evidence that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// The source, e.g. `network namespaces`.
    pub source: &'static str,
    /// Why, and what would help.
    pub why: String,
}

impl Absent {
    /// Of one source.
    #[must_use]
    pub fn new(source: &'static str, why: String) -> Self {
        Self { source, why }
    }
}
