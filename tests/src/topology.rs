//! Load balancer, node and pods, each in its own namespace, joined by veth.
//!
//! ```text
//! client eth0 ──── eth0 node cbr0 ──┬── eth0 pod0
//! 10.60.0.10       10.60.0.1        └── eth0 pod1   10.244.0.2, .3, …
//!                  eth1 ──── eth0 node2 cbr0 ── eth0 pod   10.244.1.2
//!                  10.61.0.1      10.61.0.2
//! ```
//!
//! Every address has an IPv6 twin: 10.60.0.1 is fd00:60::1, 10.244.0.2 is
//! fd00:244::2, 10.244.1.2 is fd00:244:0:1::2. The whole of 172.16.0.0/12 and
//! fd00:60:1::/64 is routed to the client, whose kernel owns none of it: the
//! sources of [`crate::RawClient`], for which no kernel answers.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use crate::{
    addr::{CLIENT_MAC, NODE_MAC, client_v4, client_v6, pod_v4, pod_v6},
    netns::Netns,
};

/// How the pods of the first node are attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PodLink {
    /// Behind the bridge `cbr0`, as kubenet and the bridge CNI plugin do.
    #[default]
    Bridge,
    /// One routed veth pair a pod, as ptp, Calico and the AWS VPC CNI do.
    Veth,
}

/// The namespaces. Dropping it deletes them all.
#[derive(Debug)]
pub struct Topology {
    /// The load balancer.
    pub client: Netns,
    /// The node.
    pub node: Netns,
    /// The pods of the node.
    pub pods: Vec<Netns>,
    /// The second node and its one pod.
    pub beyond: Option<Beyond>,
}

/// A second node, reached through the first one's `eth1`.
#[derive(Debug)]
pub struct Beyond {
    /// The second node.
    pub node: Netns,
    /// Its pod.
    pub pod: Netns,
}

/// What to build.
#[derive(Debug, Clone)]
pub struct Builder {
    pods: usize,
    client_addresses: u8,
    link: PodLink,
    second_node: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            pods: 1,
            client_addresses: 1,
            link: PodLink::Bridge,
            second_node: false,
        }
    }
}

impl Builder {
    /// The number of pods on the node (default 1).
    #[must_use]
    pub fn pods(mut self, pods: usize) -> Self {
        self.pods = pods;
        self
    }

    /// The number of the client's addresses (default 1).
    #[must_use]
    pub fn client_addresses(mut self, addresses: u8) -> Self {
        self.client_addresses = addresses;
        self
    }

    /// How the pods are attached (default: bridge).
    #[must_use]
    pub fn pod_link(mut self, link: PodLink) -> Self {
        self.link = link;
        self
    }

    /// Adds a second node with one pod.
    #[must_use]
    pub fn second_node(mut self) -> Self {
        self.second_node = true;
        self
    }

    /// Makes the namespaces, links, addresses and routes.
    pub fn build(&self) -> Result<Topology> {
        let mut labels = vec!["client".to_owned(), "node".to_owned()];
        labels.extend((0..self.pods).map(|i| format!("pod{i}")));
        if self.second_node {
            labels.extend(["node2".to_owned(), "pod-far".to_owned()]);
        }
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let mut made = Netns::many(&labels)?.into_iter();
        let mut next = || made.next().context("too few namespaces");
        let topology = Topology {
            client: next()?,
            node: next()?,
            pods: (0..self.pods).map(|_| next()).collect::<Result<_>>()?,
            beyond: if self.second_node {
                let (node, pod) = (next()?, next()?);
                Some(Beyond { node, pod })
            } else {
                None
            },
        };
        self.configure(&topology).context("build the topology")?;
        Ok(topology)
    }

    fn configure(&self, t: &Topology) -> Result<()> {
        for ns in t.all() {
            ns.sysctls(BASE_SYSCTLS)?;
        }
        t.node.sysctls(ROUTER_SYSCTLS)?;
        t.client.ip(&self.client_batch(&t.node))?;
        t.node.ip(&self.node_batch(t))?;
        for (i, pod) in t.pods.iter().enumerate() {
            pod.ip(&self.pod_batch(i))?;
        }
        if let Some(beyond) = &t.beyond {
            beyond.node.sysctls(ROUTER_SYSCTLS)?;
            beyond.node.ip(&far_node_batch(&beyond.pod))?;
            beyond.pod.ip(FAR_POD_BATCH)?;
        }
        Ok(())
    }

    fn client_batch(&self, node: &Netns) -> String {
        let mut batch = format!(
            "link add eth0 address {} type veth peer name eth0 address {} netns {}\n\
             link set eth0 up\n",
            mac(CLIENT_MAC),
            mac(NODE_MAC),
            node.name()
        );
        for i in 0..self.client_addresses {
            let (v4, v6) = (client_v4(i), client_v6(i));
            let _ = writeln!(
                batch,
                "addr add {v4}/24 dev eth0\naddr add {v6}/64 dev eth0 nodad"
            );
        }
        batch + "route add default via 10.60.0.1\nroute add ::/0 via fd00:60::1\n"
    }

    fn node_batch(&self, t: &Topology) -> String {
        let mut batch = String::from(
            "link set eth0 up\n\
             addr add 10.60.0.1/24 dev eth0\n\
             addr add fd00:60::1/64 dev eth0 nodad\n\
             route add 172.16.0.0/12 via 10.60.0.10\n\
             route add fd00:60:1::/64 via fd00:60::10\n",
        );
        if self.link == PodLink::Bridge {
            batch.push_str(BRIDGE_BATCH);
        }
        for (i, pod) in t.pods.iter().enumerate() {
            let (pod, v4, v6) = (pod.name(), pod_v4(i), pod_v6(i));
            let _ = writeln!(
                batch,
                "link add veth{i} type veth peer name eth0 netns {pod}\nlink set veth{i} up"
            );
            let _ = match self.link {
                PodLink::Bridge => writeln!(batch, "link set veth{i} master cbr0"),
                PodLink::Veth => writeln!(
                    batch,
                    "addr add 10.244.0.1/32 dev veth{i}\n\
                     addr add fd00:244::1/128 dev veth{i} nodad\n\
                     route add {v4}/32 dev veth{i}\n\
                     route add {v6}/128 dev veth{i}"
                ),
            };
        }
        if let Some(beyond) = &t.beyond {
            let _ = write!(
                batch,
                "link add eth1 type veth peer name eth0 netns {}\n\
                 link set eth1 up\n\
                 addr add 10.61.0.1/24 dev eth1\n\
                 addr add fd00:61::1/64 dev eth1 nodad\n\
                 route add 10.244.1.0/24 via 10.61.0.2\n\
                 route add fd00:244:0:1::/64 via fd00:61::2\n",
                beyond.node.name()
            );
        }
        batch
    }

    fn pod_batch(&self, i: usize) -> String {
        let (bits4, bits6) = match self.link {
            PodLink::Bridge => (24, 64),
            PodLink::Veth => (32, 128),
        };
        format!(
            "link set eth0 up\n\
             addr add {}/{bits4} dev eth0\n\
             addr add {}/{bits6} dev eth0 nodad\n\
             route add default via 10.244.0.1 dev eth0 onlink\n\
             route add ::/0 via fd00:244::1 dev eth0 onlink\n",
            pod_v4(i),
            pod_v6(i)
        )
    }
}

/// No address detection, no router solicitation: addresses work at once.
pub(crate) const BASE_SYSCTLS: &[(&str, &str)] = &[
    ("?net/ipv6/conf/default/accept_dad", "0"),
    ("?net/ipv6/conf/default/accept_ra", "0"),
    ("?net/ipv6/conf/all/disable_ipv6", "0"),
    ("?net/ipv6/conf/default/disable_ipv6", "0"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
];

pub(crate) const ROUTER_SYSCTLS: &[(&str, &str)] = &[
    ("net/ipv4/ip_forward", "1"),
    // No ICMP error is kept back: of the first ones, should two CPUs send them at once,
    // the kernel's rate limits may keep back any, which no test could foresee.
    ("net/ipv4/icmp_ratemask", "0"),
    ("?net/ipv6/conf/all/forwarding", "1"),
];

const BRIDGE_BATCH: &str = "\
    link add cbr0 type bridge\n\
    link set cbr0 up\n\
    addr add 10.244.0.1/24 dev cbr0\n\
    addr add fd00:244::1/64 dev cbr0 nodad\n";

fn far_node_batch(pod: &Netns) -> String {
    format!(
        "link set eth0 up\n\
         addr add 10.61.0.2/24 dev eth0\n\
         addr add fd00:61::2/64 dev eth0 nodad\n\
         link add cbr0 type bridge\n\
         link set cbr0 up\n\
         addr add 10.244.1.1/24 dev cbr0\n\
         addr add fd00:244:0:1::1/64 dev cbr0 nodad\n\
         link add veth0 type veth peer name eth0 netns {}\n\
         link set veth0 up master cbr0\n\
         route add default via 10.61.0.1\n\
         route add ::/0 via fd00:61::1\n",
        pod.name()
    )
}

const FAR_POD_BATCH: &str = "\
    link set eth0 up\n\
    addr add 10.244.1.2/24 dev eth0\n\
    addr add fd00:244:0:1::2/64 dev eth0 nodad\n\
    route add default via 10.244.1.1\n\
    route add ::/0 via fd00:244:0:1::1\n";

impl Topology {
    /// A builder with one pod.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    fn all(&self) -> impl Iterator<Item = &Netns> {
        let beyond = self.beyond.iter().flat_map(|b| [&b.node, &b.pod]);
        [&self.client, &self.node]
            .into_iter()
            .chain(&self.pods)
            .chain(beyond)
    }
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|b| format!("{b:02x}")).join(":")
}
