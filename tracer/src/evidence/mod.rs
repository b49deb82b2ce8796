//! What is known about one window of time: counts from the kernel programs and
//! facts from the system. Plain data; judging it is `verdict`'s business.

pub mod names;
pub mod rules;

mod asked;
mod backend;
mod collector;
mod conntrack;
mod counters;
mod found;
mod gone;
mod history;
mod interface;
mod ipvs;
pub mod links;
mod look;
mod looks;
mod namespaces;
pub mod netlink;
mod node;
mod pods;
mod processes;
mod redirects;
mod routes;
mod row;
mod sight;
mod sockets;

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

pub use asked::Asked;
pub use backend::{Backend, Listener, Place, Pod, Sent};
pub use collector::Collector;
pub use found::{FACTS, Fact, Found};
pub use interface::InterfaceName;
pub use ipvs::VirtualServer;
pub use row::{Clients, Row, SOURCES, Served};
pub use sight::Obstacle;

use self::rules::RuleSets;
use crate::{counted::Counted, services::Table};

/// Everything that a judgement may rest on.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Length of the window.
    pub window: Duration,
    /// When it ended, nanoseconds of the monotonic clock; 0 in a replay.
    pub ended: u64,
    /// What each port's counters rose by within it; only ports with any attempt.
    /// Gauges are as they stand at its end.
    pub ports: Vec<(u16, Counted)>,
    /// Failures within it, by kind.
    pub rows: Vec<Row>,
    /// Where the last failed attempts at these ports came from.
    pub clients: Vec<Clients>,
    /// Connections established within the window, by whose they were.
    pub served: Vec<Served>,
    /// Further ones of which it is not known whose they were: the kernel's table was full.
    pub untold: u64,
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
    /// What keeps the tap from seeing all; `None`: it was not asked.
    pub obstacles: Option<Vec<Obstacle>>,
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
