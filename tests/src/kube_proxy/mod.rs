//! Service rules as kube-proxy 1.36 writes them (recorded rule sets of its
//! iptables and nftables modes are the pattern), for IPv4 and IPv6.

mod iptables;
mod nftables;
mod recorded;

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result};

use crate::{addr::is_local_pod, netns::Netns};

pub use recorded::Recorded;

/// Which rules, and through which kernel interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// iptables rules through the legacy x_tables interface.
    IptablesLegacy,
    /// iptables rules through nf_tables: what current distributions do.
    IptablesNft,
    /// kube-proxy's own nftables mode.
    Nftables,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::IptablesLegacy, Self::IptablesNft, Self::Nftables];
}

/// The Service's `externalTrafficPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Any endpoint; the source is masqueraded.
    Cluster,
    /// Only endpoints on this node, with the client's address; packets are
    /// dropped where there is none.
    Local,
}

/// One port of a Service of type NodePort or LoadBalancer.
#[derive(Debug, Clone)]
pub struct ServicePort {
    name: String,
    node_port: u16,
    backends: Vec<SocketAddr>,
    policy: Policy,
}

impl ServicePort {
    /// A port without endpoints, policy Cluster. `name` is
    /// `namespace/service:port`, as in kube-proxy's comments.
    #[must_use]
    pub fn new(name: &str, node_port: u16) -> Self {
        Self {
            name: name.to_owned(),
            node_port,
            backends: Vec::new(),
            policy: Policy::Cluster,
        }
    }

    /// Adds an endpoint. The Service is dual-stack if it has both kinds.
    #[must_use]
    pub fn backend(mut self, address: impl Into<SocketAddr>) -> Self {
        self.backends.push(address.into());
        self
    }

    /// Sets the external traffic policy.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// The endpoints of one family; `None` when the Service lacks the family.
    /// A Service without any endpoint has both.
    fn endpoints(&self, family: Family) -> Option<Vec<SocketAddr>> {
        let of_family: Vec<SocketAddr> = self
            .backends
            .iter()
            .copied()
            .filter(|b| b.is_ipv6() == (family == Family::V6))
            .collect();
        (self.backends.is_empty() || !of_family.is_empty()).then_some(of_family)
    }

    /// A stable name of `len` base-32 characters, as kube-proxy derives its
    /// chain names from a hash of the port's name (FNV-1a here).
    fn hash(&self, extra: &str, len: usize) -> String {
        let bytes = self.name.bytes().chain(extra.bytes());
        let mut hash = bytes.fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |h, b| {
            (h ^ u128::from(b)).wrapping_mul(0x0100_0000_0000_0000_0000_013b)
        });
        let mut name = String::new();
        for _ in 0..len {
            let digit = usize::try_from(hash & 31).unwrap_or(0);
            name.push(char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[digit]));
            hash >>= 5;
        }
        name
    }
}

/// The rules of one node.
#[derive(Debug, Clone)]
pub struct KubeProxy {
    mode: Mode,
    ports: Vec<ServicePort>,
}

impl KubeProxy {
    /// No Services yet.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            ports: Vec::new(),
        }
    }

    /// Adds a Service port.
    #[must_use]
    pub fn port(mut self, port: ServicePort) -> Self {
        self.ports.push(port);
        self
    }

    /// Writes the rules into the node's namespace, in place of those of an
    /// earlier call with the same mode.
    pub fn apply(&self, node: &Netns) -> Result<()> {
        for family in [Family::V4, Family::V6] {
            let (argv, text) = match self.mode {
                Mode::Nftables => (
                    vec!["nft", "-f", "-"],
                    nftables::ruleset(&self.ports, family),
                ),
                mode => (
                    restore(mode, family),
                    iptables::ruleset(&self.ports, family),
                ),
            };
            node.run_with(&argv, &text)
                .with_context(|| format!("write {:?} rules:\n{text}", self.mode))?;
        }
        Ok(())
    }
}

fn restore(mode: Mode, family: Family) -> Vec<&'static str> {
    match (mode, family) {
        // The lock file is shared by all namespaces of the machine: wait for it.
        (Mode::IptablesLegacy, Family::V4) => vec!["iptables-legacy-restore", "-w", "30"],
        (Mode::IptablesLegacy, Family::V6) => vec!["ip6tables-legacy-restore", "-w", "30"],
        (_, Family::V4) => vec!["iptables-nft-restore"],
        (_, Family::V6) => vec!["ip6tables-nft-restore"],
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    /// The pods' network.
    const fn cluster_cidr(self) -> &'static str {
        match self {
            Self::V4 => "10.244.0.0/16",
            Self::V6 => "fd00:244::/48",
        }
    }

    /// The cluster IP of Service port number `i`.
    fn cluster_ip(self, i: usize) -> String {
        match self {
            Self::V4 => format!("10.96.10.{}", 10 + i),
            Self::V6 => format!("fd00:96::{:x}", 10 + i),
        }
    }

    /// The length of a host prefix.
    const fn host_bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

/// What one Service port comes to in one family.
struct Rendered<'a> {
    port: &'a ServicePort,
    cluster_ip: String,
    endpoints: Vec<SocketAddr>,
    local: Vec<SocketAddr>,
}

impl<'a> Rendered<'a> {
    fn all(ports: &'a [ServicePort], family: Family) -> Vec<Self> {
        let with_family = ports.iter().enumerate().filter_map(|(i, port)| {
            let endpoints = port.endpoints(family)?;
            let is_local = |b: &SocketAddr| is_local_pod(b.ip());
            let local = endpoints.iter().copied().filter(is_local).collect();
            Some(Self {
                port,
                cluster_ip: family.cluster_ip(i),
                endpoints,
                local,
            })
        });
        with_family.collect()
    }

    fn is_local_policy(&self) -> bool {
        self.port.policy == Policy::Local
    }

    /// Endpoints elsewhere but none here, under policy Local.
    fn lacks_local(&self) -> bool {
        self.is_local_policy() && !self.endpoints.is_empty() && self.local.is_empty()
    }
}

/// `address:port` with brackets for IPv6, as DNAT targets are written.
fn target(endpoint: SocketAddr) -> String {
    match endpoint.ip() {
        IpAddr::V4(ip) => format!("{ip}:{}", endpoint.port()),
        IpAddr::V6(ip) => format!("[{ip}]:{}", endpoint.port()),
    }
}
