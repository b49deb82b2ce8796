//! The boundary between the kernel side and what shows its numbers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use tracer_common::{
    failure::{Backend, FailureKey, Record, ServedKey},
    flow::Addr,
    words::Lost,
};

use crate::{counted::Counted, evidence::InterfaceName};

/// State of one hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookStatus {
    /// The hook's name in metrics and messages, e.g. [`WIRE`].
    pub hook: &'static str,
    /// How it is attached: `tcx`, `packet`, `fentry`, `kprobe`, `tp_btf`,
    /// `raw_tp`, or `none`.
    pub mode: &'static str,
    /// Whether it is attached (`tracer check`: whether it can be).
    pub attached: bool,
    /// Where it is attached, or why it is not.
    pub detail: String,
}

/// Name of the hook that sees the packets of the node's edge interfaces.
pub const WIRE: &str = "wire";
/// Name of the hook that sees the state changes of this kernel's sockets.
pub const SOCKET_STATE: &str = "inet_sock_set_state";

impl HookStatus {
    /// Without a required hook `tracer run` does not start.
    #[must_use]
    pub fn required(&self) -> bool {
        [WIRE, SOCKET_STATE].contains(&self.hook)
    }
}

/// All numbers at one moment. For every port the accounting identity holds.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Counters of the ports that have any non-zero cell, ascending by port; those
    /// of ports that share a row stand first, as [`SHARED_PORT`].
    pub ports: Vec<(u16, Counted)>,
    /// Ports that were tried and have no counters of their own, ascending.
    pub sharing: Vec<u16>,
    /// What was not taken into account, by [`Lost`].
    pub lost: [u64; Lost::COUNT],
    /// How often the kernel left a program at a socket hook out.
    pub misses: u64,
    /// Own addresses of the node that attempts are counted at.
    pub addresses: u64,
    /// Flows in the flow table.
    pub flows: u64,
    /// Places in the flow table.
    pub flows_capacity: u64,
    /// State of every hook.
    pub hooks: Vec<HookStatus>,
}

impl Snapshot {
    /// The port that an attempt at this one is counted at: itself or [`SHARED_PORT`].
    #[must_use]
    pub fn counted_at(&self, port: u16) -> u16 {
        match self.sharing.binary_search(&port) {
            Ok(_) => SHARED_PORT,
            Err(_) => port,
        }
    }
}

/// Stands for all ports that have no counters of their own, which a scan of very many
/// watched ports makes: port 0 is never watched.
pub const SHARED_PORT: u16 = 0;

/// Failures since start by kind, and what stands at the positions in them.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    /// How often each kind was counted. `FailureKey::slot` is for
    /// [`Source::port_at`].
    pub kinds: Vec<(FailureKey, u64)>,
    /// What these name by positions in tables, as it is now.
    pub positions: Positions,
}

/// What the kernel programs name by positions in tables, which are used again.
#[derive(Clone, Debug, Default)]
pub struct Positions {
    /// Backends by [`FailureKey::backend`].
    pub backends: BTreeMap<u16, Backend>,
    /// The node's own addresses by [`FailureKey::address`].
    pub addresses: BTreeMap<u8, IpAddr>,
    /// Interfaces by [`FailureKey::interface`], those that are gone too.
    pub interfaces: BTreeMap<u16, InterfaceName>,
}

/// An attempt whose client is still known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Address of the client.
    pub client: Addr,
    /// Its port, host byte order.
    pub client_port: u16,
    /// When its SYN came, nanoseconds of the monotonic clock.
    pub syn_at: u64,
}

/// What the tap looks at now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// `tcx` or `packet`; empty: there is no tap.
    pub mode: &'static str,
    /// Ids of its own programs.
    pub programs: Vec<u32>,
    /// Interfaces that are to be tapped: index and name.
    pub interfaces: BTreeMap<u32, String>,
    /// How many are.
    pub tapped: usize,
    /// Own addresses of the node at which SYNs are counted.
    pub addresses: usize,
}

/// Where snapshots come from.
pub trait Source: Send + Sync + 'static {
    /// Reads all numbers.
    ///
    /// # Errors
    /// When a map cannot be read; a snapshot is whole or not at all.
    fn snapshot(&self) -> anyhow::Result<Snapshot>;

    /// Reads the failures by kind.
    ///
    /// # Errors
    /// When a map cannot be read.
    fn failures(&self) -> anyhow::Result<Failures>;

    /// Takes the records of single failures that have come since the last call.
    fn records(&self) -> Vec<Record>;

    /// Takes the connections that were established since the last call, by whose they
    /// were.
    fn served(&self) -> Vec<(ServedKey, u64)> {
        Vec::new()
    }

    /// Takes the SYNs to watched ports of addresses that are not the node's own, which
    /// came since the last call, by where they went: [`tracer_common::config::ELSEWHERE`]
    /// places at most.
    fn elsewhere(&self) -> Vec<(SocketAddr, u64)> {
        Vec::new()
    }

    /// What the tap looks at now.
    fn view(&self) -> View {
        View::default()
    }

    /// Attempts at a port whose clients are still known; one may be there twice.
    ///
    /// # Errors
    /// When a map cannot be read.
    fn arrivals(&self, port: u16) -> anyhow::Result<Vec<Arrival>> {
        let _ = port;
        Ok(Vec::new())
    }

    /// The port whose counters stand at a position ([`FailureKey::slot`]).
    fn port_at(&self, slot: u16) -> Option<u16>;

    /// Gives these ports counters of their own, as long as there are any: they are known
    /// to be somebody's. Those that have their own keep them.
    ///
    /// # Errors
    /// When a map cannot be written.
    fn give_rows(&self, ports: &[u16]) -> anyhow::Result<()> {
        let _ = ports;
        Ok(())
    }

    /// From now on takes the ports `unchecked`, ascending, for those that the load
    /// balancer's health check is known not to go to, and `addresses` for those of
    /// Services, to which dials made on this node count.
    ///
    /// # Errors
    /// When a map cannot be written.
    fn set_services(&self, unchecked: &[u16], addresses: &BTreeSet<IpAddr>) -> anyhow::Result<()>;

    /// Whether everything required is attached and works.
    ///
    /// # Errors
    /// The reason why not, one line.
    fn ready(&self) -> Result<(), String>;
}
