//! Several nodes behind several load balancers, each in its own namespace, on one network.
//!
//! ```text
//! lb0, lb1, …          10.60.1.10, .11, …   ─┐
//! monitor              10.60.2.1            ─┼─ bridge ─┬─ eth0 node0 pod0 ── eth0 pod
//!                                            │          │  10.60.0.1          10.244.0.2
//!                                            │          └─ eth0 node1 …       10.244.1.2
//! ```
//!
//! IPv4 only. Nodes route to each other's pods.
//!
//! All nodes share one kernel, as in kind: hooks at sockets see those of every node. What comes
//! from packets (attempts, outcomes, traffic, verdicts) is each node's own.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use anyhow::{Context as _, Result};

use crate::{
    netns::Netns,
    topology::{BASE_SYSCTLS, ROUTER_SYSCTLS},
};

/// The namespaces. Dropping it deletes them all.
#[derive(Debug)]
pub struct Cluster {
    /// The load balancer's own nodes.
    pub balancers: Vec<Netns>,
    /// Where Prometheus runs.
    pub monitor: Netns,
    /// The nodes of the cluster.
    pub nodes: Vec<Node>,
    _network: Netns,
}

/// A node and its pod.
#[derive(Debug)]
pub struct Node {
    /// The node.
    pub ns: Netns,
    /// Its pod.
    pub pod: Netns,
}

/// `port` of node `i`.
#[must_use]
pub fn node(i: usize, port: u16) -> SocketAddr {
    at([10, 60, 0, low_byte(i + 1)], port)
}

/// `port` of the pod on node `i`.
#[must_use]
pub fn pod(i: usize, port: u16) -> SocketAddr {
    at([10, 244, low_byte(i), 2], port)
}

fn at(ip: [u8; 4], port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from(ip)), port)
}

fn low_byte(i: usize) -> u8 {
    u8::try_from(i).unwrap_or(u8::MAX)
}

impl Cluster {
    /// Makes the namespaces, links, addresses and routes.
    pub fn new(nodes: usize, balancers: usize) -> Result<Self> {
        let mut labels = vec!["network".to_owned(), "monitor".to_owned()];
        labels.extend((0..balancers).map(|i| format!("lb{i}")));
        labels.extend((0..nodes).flat_map(|i| [format!("node{i}"), format!("pod{i}")]));
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let mut made = Netns::many(&labels)?.into_iter();
        let mut next = || made.next().context("too few namespaces");
        let (network, monitor) = (next()?, next()?);
        let balancers = (0..balancers).map(|_| next()).collect::<Result<_>>()?;
        let nodes = (0..nodes).map(|_| {
            let (ns, pod) = (next()?, next()?);
            Ok(Node { ns, pod })
        });
        let cluster = Self {
            balancers,
            monitor,
            nodes: nodes.collect::<Result<_>>()?,
            _network: network,
        };
        cluster.configure().context("build the cluster")?;
        Ok(cluster)
    }

    fn configure(&self) -> Result<()> {
        let nodes = self.nodes.iter().map(|node| &node.ns);
        let members: Vec<&Netns> = self
            .balancers
            .iter()
            .chain([&self.monitor])
            .chain(nodes)
            .collect();
        self._network.ip(&network_batch(&members))?;
        for member in &members {
            member.sysctls(BASE_SYSCTLS)?;
        }
        self.monitor.ip(&host_batch([10, 60, 2, 1]))?;
        for (i, balancer) in self.balancers.iter().enumerate() {
            balancer.ip(&host_batch([10, 60, 1, low_byte(i + 10)]))?;
        }
        for (i, node) in self.nodes.iter().enumerate() {
            node.ns.sysctls(ROUTER_SYSCTLS)?;
            node.ns.ip(&node_batch(i, self.nodes.len(), &node.pod))?;
            node.pod.ip(&pod_batch(i))?;
        }
        Ok(())
    }
}

fn network_batch(members: &[&Netns]) -> String {
    let mut batch = String::from("link add br0 type bridge\nlink set br0 up\n");
    for (i, member) in members.iter().enumerate() {
        let name = member.name();
        let _ = writeln!(
            batch,
            "link add port{i} type veth peer name eth0 netns {name}\nlink set port{i} up master br0"
        );
    }
    batch
}

fn host_batch(ip: [u8; 4]) -> String {
    let ip = Ipv4Addr::from(ip);
    format!("link set eth0 up\naddr add {ip}/16 dev eth0\n")
}

fn node_batch(i: usize, nodes: usize, its_pod: &Netns) -> String {
    let mut batch = host_batch([10, 60, 0, low_byte(i + 1)]);
    let _ = write!(
        batch,
        "link add pod0 type veth peer name eth0 netns {}\n\
         link set pod0 up\n\
         addr add 10.244.{i}.1/32 dev pod0\n\
         route add {}/32 dev pod0\n",
        its_pod.name(),
        pod(i, 0).ip()
    );
    for other in (0..nodes).filter(|other| *other != i) {
        let _ = writeln!(
            batch,
            "route add 10.244.{other}.0/24 via {}",
            node(other, 0).ip()
        );
    }
    batch
}

fn pod_batch(i: usize) -> String {
    format!(
        "link set eth0 up\n\
         addr add {}/32 dev eth0\n\
         route add default via 10.244.{i}.1 dev eth0 onlink\n",
        pod(i, 0).ip()
    )
}
