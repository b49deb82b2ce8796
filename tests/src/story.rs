//! The story that tracer is for, replayed: 20 NodePorts of one Service behind a load balancer that
//! has several nodes of its own, one health check on the first port, dead listeners that the load
//! balancer tries once per check interval, and nobody who calls. With E load-balancer nodes,
//! L dead listeners and N registered nodes it counts N x E x L x 6 connection errors a minute: 324
//! with three nodes, 972 with nine, and the health checks are a sixth of that and all succeed.
//!
//! Time is compressed: [`EVERY`] stands for the 10 s between two checks.

mod balancer;

use std::{collections::BTreeMap, path::PathBuf, thread, time::Duration};

use anyhow::{Context as _, Result};

use crate::{
    KubeProxy, Mode, ServicePort, Tracer,
    cleanup::ScratchDir,
    cluster::{self, Cluster},
    peer::{Behaviour, Server},
    peers::Prometheus,
};

pub use balancer::{Balancer, Counted};

/// The NodePorts, the first of which is checked.
pub const PORTS: std::ops::RangeInclusive<u16> = 30101..=30120;
/// The Service that has them, and its namespace.
pub const SERVICE: (&str, &str) = ("thrift", "apps");
/// The NodePort of the health check.
pub const CHECKED: u16 = 30101;
/// Their `targetPort` is one that no process listens on.
pub const WRONG_TARGET: [u16; 4] = [30102, 30107, 30113, 30120];
/// Their `targetPort` is a name that no pod has.
pub const NO_ENDPOINTS: [u16; 2] = [30105, 30116];
/// Nodes of the load balancer: each checks and tries by itself.
pub const BALANCERS: usize = 3;
/// Nodes that are registered with it at first, and at last.
pub const NODES: [usize; 2] = [3, 9];
/// What 10 s are compressed to. An ICMP error that arrives inside connect(2), as it does between
/// namespaces, is heard with the second SYN, after 1 s: shorter would not do.
pub const EVERY: Duration = Duration::from_secs(2);
/// Intervals of a minute.
pub const ROUNDS: u64 = 6;
/// Nodes with a replica.
const REPLICAS: usize = 2;
/// Where tracer serves on each node.
const METRICS_PORT: u16 = 9400;

/// Why a listener is dead; `None` when it is not.
#[must_use]
pub fn fault(port: u16) -> Option<&'static str> {
    if WRONG_TARGET.contains(&port) {
        Some("nothing_listens")
    } else if NO_ENDPOINTS.contains(&port) {
        Some("no_endpoints")
    } else {
        None
    }
}

/// All dead listeners.
pub fn dead() -> impl Iterator<Item = u16> {
    PORTS.filter(|port| fault(*port).is_some())
}

/// What failures.md's arithmetic says the load balancer counts in a minute.
#[must_use]
pub fn errors_a_minute(nodes: usize) -> u64 {
    let pairs = nodes * BALANCERS * dead().count();
    u64::try_from(pairs).unwrap_or(u64::MAX) * ROUNDS
}

/// Name of a port in its Service.
#[must_use]
pub fn port_name(port: u16) -> String {
    format!("app-{}", port - PORTS.start() + 1)
}

/// `namespace/service:port`, as kube-proxy and tracer write it.
#[must_use]
pub fn full_name(port: u16) -> String {
    format!("{}/{}:{}", SERVICE.0, SERVICE.1, port_name(port))
}

/// The cluster with its Service; servers run, the load balancer does nothing yet.
#[derive(Debug)]
pub struct Story {
    /// The namespaces.
    pub cluster: Cluster,
    _servers: Vec<Server>,
    dir: ScratchDir,
}

impl Story {
    /// Builds it with as many nodes as are registered at last.
    pub fn new() -> Result<Self> {
        let cluster = Cluster::new(NODES[1], BALANCERS)?;
        let mut rules = KubeProxy::new(Mode::IptablesNft);
        let mut servers = Vec::new();
        for port in PORTS {
            let mut service = ServicePort::new(&full_name(port), port);
            for replica in 0..REPLICAS {
                let target = cluster::pod(replica, target_port(port));
                if !NO_ENDPOINTS.contains(&port) {
                    service = service.backend(target);
                }
                if fault(port).is_none() {
                    let pod = &cluster.nodes[replica].pod;
                    servers.push(Server::start(pod, target, Behaviour::Echo)?);
                }
            }
            rules = rules.port(service);
        }
        for node in &cluster.nodes {
            // One ICMP error a second for each peer would be enough in uncompressed time.
            node.ns.sysctls(&[("net/ipv4/icmp_ratelimit", "0")])?;
            rules.apply(&node.ns)?;
        }
        Ok(Self {
            cluster,
            _servers: servers,
            dir: ScratchDir::new()?,
        })
    }

    /// Starts a daemon on every node, all at once.
    pub fn trace(&self, binary: &std::path::Path) -> Result<Vec<Tracer<'_>>> {
        let names = self.names()?;
        let start = |i: usize| {
            let ports = format!("{}-{}", PORTS.start(), PORTS.end());
            let names = names.to_string_lossy();
            let options = [
                "--interface",
                "eth0",
                "--node-ports",
                &ports,
                "--services",
                &names,
                "--idle-after",
                "2s",
            ];
            let at = cluster::node(i, METRICS_PORT);
            Tracer::start_at(&self.cluster.nodes[i].ns, binary, at, &options)
                .with_context(|| format!("tracer on node {i}"))
        };
        thread::scope(|scope| {
            let start = &start;
            let nodes = 0..self.cluster.nodes.len();
            let threads: Vec<_> = nodes.map(|i| scope.spawn(move || start(i))).collect();
            let joined = threads.into_iter().map(|thread| match thread.join() {
                Ok(started) => started,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            joined.collect()
        })
    }

    /// Starts Prometheus, which scrapes every node and has the rule files `rules`.
    pub fn watch(&self, rules: &[PathBuf]) -> Result<Prometheus<'_>> {
        let targets: Vec<_> = (0..self.cluster.nodes.len())
            .map(|i| cluster::node(i, METRICS_PORT))
            .collect();
        Prometheus::start(&self.cluster.monitor, &targets, rules)
    }

    /// The load balancer.
    pub fn balancer(&self) -> Balancer<'_> {
        Balancer::new(&self.cluster)
    }

    /// Failed connects of all load-balancer nodes as their kernel counts them.
    pub fn kernel_failures(&self) -> Result<u64> {
        let balancers = self.cluster.balancers.iter();
        balancers.map(|ns| ns.counter("Tcp", "AttemptFails")).sum()
    }

    /// A file of names for `--services`.
    fn names(&self) -> Result<PathBuf> {
        let mut text = String::from("ports:\n");
        for port in PORTS {
            let (namespace, service) = SERVICE;
            let name = port_name(port);
            text.push_str(&format!(
                "  - {{node_port: {port}, namespace: {namespace}, service: {service}, port_name: {name}}}\n"
            ));
        }
        self.dir.write("services.yaml", &text)
    }
}

/// Containers listen at 9101 and on; where `targetPort` is wrong, nothing does.
fn target_port(port: u16) -> u16 {
    port - 21_000
}

/// Counts by registered node and port.
pub type Counts = BTreeMap<(usize, u16), Counted>;
