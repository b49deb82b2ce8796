//! A backend, where it is, and what a look into its namespace shows.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use super::{Namespace, Route, rules::RuleName};

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
    /// A path by which its network namespace can be entered (`nsenter --net=PATH`).
    pub entry: Option<PathBuf>,
    /// Its counters.
    pub namespace: Namespace,
    /// The socket that listens where NAT sends to, if any does.
    pub listener: Option<Listener>,
    /// Where NAT of its own sends what the node sends to the backend: a sidecar's REDIRECT.
    /// `None`: there is none, or neither its conntrack nor, where SYNs were refused, its
    /// rules tell of one. Asked for as `unread` is.
    pub sent_on_to: Option<SocketAddr>,
    /// The rule that does, looked for where SYNs were refused.
    pub sent_on_by: Option<RuleName>,
    /// Ports on which something listens at an address that NAT could reach.
    pub listens_on: Vec<u16>,
    /// Where something listens on the port when that is nowhere NAT could reach it: at
    /// loopback, at any address of the other family (`0.0.0.0`, `::`), or at another address.
    pub listens_only_at: Option<IpAddr>,
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
