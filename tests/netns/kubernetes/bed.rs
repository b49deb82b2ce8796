//! The node of these tests, and the calls to it.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::SocketAddr,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::errno::Errno;
use testbed::{
    Policy, Proc, Topology, Tracer,
    addr::{NODE_V4, pod_v4},
    kubernetes::{Kubernetes, NODE, objects},
    peer::{Behaviour, Dial, Server, thrift::Message},
    process::poll_until,
};

use super::{HANDSHAKES, LIMIT, OTHER, PORT, access, full_name};

const SOON: Duration = Duration::from_millis(700);
/// An ICMP error that arrives inside connect(2) is heard with the second SYN.
const PATIENCE: Duration = Duration::from_millis(2500);

/// A node with two pods that serve, and the API.
pub struct Bed<'a> {
    pub topology: &'a Topology,
    pub kubernetes: Kubernetes<'a>,
    _servers: Vec<Server>,
    _pods: Vec<Proc>,
}

pub fn pod(i: usize) -> SocketAddr {
    SocketAddr::new(pod_v4(i).into(), 9090)
}

pub fn elsewhere() -> SocketAddr {
    SocketAddr::from(([10, 244, 9, 9], 9090))
}

impl<'a> Bed<'a> {
    pub fn new(topology: &'a Topology) -> Result<Self> {
        let pods = topology.pods.iter();
        let servers = pods.clone().enumerate();
        let servers = servers.map(|(i, ns)| Server::start(ns, pod(i), Behaviour::Echo));
        let servers = servers.collect::<Result<_>>()?;
        let bed = Self {
            _servers: servers,
            _pods: pods
                .map(|ns| ns.start(&["sleep", "600"]))
                .collect::<Result<_>>()?,
            kubernetes: Kubernetes::start(&topology.node, NODE_V4)?,
            topology,
        };
        bed.kubernetes.apply(&objects::namespace())?;
        bed.kubernetes.apply(&access()?)?;
        Ok(bed)
    }

    pub fn trace(&self, user: &str) -> Result<Tracer<'a>> {
        let file = self.kubernetes.kubeconfig(user);
        let ports = format!("{PORT}-{OTHER}");
        let options = [
            "--kubeconfig",
            &file.to_string_lossy(),
            "--node-ports",
            &ports,
            "--handshake-timeout",
            "1s",
            "--idle-after",
            "1s",
        ];
        Tracer::start(&self.topology.node, &options)
    }

    /// A Service with both pods.
    pub fn publish(&self, name: &str, port: u16) -> Result<()> {
        let api = &self.kubernetes;
        api.apply(&objects::service(name, port, Policy::Cluster))?;
        api.apply(&objects::endpoints(name, NODE, &[pod(0), pod(1)]))
    }

    pub fn withdraw(&self, name: &str) -> Result<()> {
        self.kubernetes.delete(&format!("service/{name}"))?;
        self.kubernetes.delete(&format!("endpointslice/{name}"))
    }

    /// Waits until kube-proxy's rules for [`PORT`] are those of the Service, all tables of them.
    /// (A dial would not do: its second SYN may find other rules than its first.)
    pub fn ruled(&self, service: &str, end: End) -> Result<()> {
        let (name, port) = (full_name(service), format!("--dport {PORT} "));
        let mut rules = String::new();
        let followed = poll_until(LIMIT, "kube-proxy does not follow", || {
            rules = self.topology.node.run(&["iptables-save"])?;
            let has = |words: &[&str]| {
                let mut lines = rules.lines();
                lines.any(|line| words.iter().all(|word| line.contains(word)))
            };
            let rejects = has(&[&name, &port, "REJECT"]);
            let drops = has(&[&name, "has no local endpoints"]);
            let target = format!("--to-destination {}", pod(0));
            let forwards = has(&[&name, &target]) && has(&["KUBE-NODEPORTS", &name, &port]);
            Ok(match end {
                End::Answered => forwards && !rejects && !drops,
                End::Refused => rejects && !forwards,
                End::Held | End::Silent => drops && !rejects,
            }
            .then_some(()))
        });
        followed.with_context(|| format!("{end:?} at {name}:\n{rules}"))
    }

    /// A call, by a client of the load balancer.
    pub fn call(&self, port: u16) -> Result<End> {
        let to = SocketAddr::new(NODE_V4.into(), port);
        let dial = Dial::new(&self.topology.client, to).limit(PATIENCE);
        let mut stream = match dial.connect()? {
            Ok(stream) => stream,
            Err(Errno::ECONNREFUSED) => return Ok(End::Refused),
            Err(Errno::EINPROGRESS) => return Ok(End::Silent),
            Err(other) => bail!("a dial ended with {other}"),
        };
        stream.set_read_timeout(Some(SOON))?;
        let request = Message::call("ping").strict();
        stream.write_all(&request)?;
        let told = stream.read_exact(&mut vec![0; request.len()]);
        Ok(if told.is_ok() {
            End::Answered
        } else {
            End::Held
        })
    }
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    Answered,
    /// Connected, and nobody said anything.
    Held,
    /// By RST or ICMP.
    Refused,
    /// No answer to any SYN.
    Silent,
}

/// All calls so far, by their end.
#[derive(Debug, Default)]
pub struct Ends(BTreeMap<End, u64>);

impl Ends {
    /// One more call to [`PORT`].
    pub fn call(&mut self, bed: &Bed<'_>) -> Result<End> {
        let end = bed.call(PORT)?;
        *self.0.entry(end).or_default() += 1;
        Ok(end)
    }

    /// Waits until kube-proxy has rules by which calls end so, and makes three.
    pub fn until(&mut self, bed: &Bed<'_>, service: &str, wanted: End) -> Result<()> {
        bed.ruled(service, wanted)?;
        for _ in 0..3 {
            let end = self.call(bed)?;
            ensure!(end == wanted, "{end:?}, expected {wanted:?}: {self:?}");
        }
        Ok(())
    }

    pub fn of(&self, ends: &[End]) -> f64 {
        ends.iter().filter_map(|end| self.0.get(end)).sum::<u64>() as f64
    }

    /// The daemon has counted the same, in series whose labels have no name.
    pub fn agree(&self, tracer: &Tracer<'_>) -> Result<()> {
        let metrics = tracer.metrics_when(LIMIT, "still pending", |metrics| {
            metrics.sum("tracer_handshakes_pending", &[]) == 0.0
        })?;
        let sum = |outcomes: &[&str]| -> f64 {
            let sum = |outcome| metrics.sum(HANDSHAKES, &[("outcome", outcome)]);
            outcomes.iter().copied().map(sum).sum()
        };
        let counted = [
            sum(&["established"]),
            sum(&["refused", "unreachable"]),
            sum(&["timed_out"]),
        ];
        let made = [
            self.of(&[End::Answered, End::Held]),
            self.of(&[End::Refused]),
            self.of(&[End::Silent]),
        ];
        ensure!(counted == made, "counted {counted:?}, made {self:?}");
        for (labels, _) in metrics.series(HANDSHAKES, &[]) {
            let names: Vec<&str> = labels.keys().map(String::as_str).collect();
            ensure!(names == ["node_port", "outcome", "traffic"], "{names:?}");
        }
        Ok(())
    }
}
