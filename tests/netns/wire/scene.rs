//! The node of these tests, a daemon on it, and exact expectations.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::Result;
use nix::errno::Errno;
use testbed::{
    KubeProxy, Metrics, Mode, Netns, RawClient, ServicePort, Topology, Tracer,
    addr::{pod_v4, pod_v6},
    peer::{Behaviour, Dial, Server},
    raw::Answer,
    rules,
    topology::Builder,
};

/// The watched ports; the hooks see the sockets of every namespace, so that no
/// other test may use them.
pub mod port {
    pub const ALL: &str = "31200-31209";
    /// A Service with a server that echoes.
    pub const OPEN: u16 = 31200;
    /// Nothing listens: the node refuses.
    pub const CLOSED: u16 = 31201;
    /// The node drops what comes.
    pub const SILENT: u16 = 31202;
    /// Refuses, too: reached last, to know that all before has been seen.
    pub const LAST: u16 = 31203;
    /// Not watched.
    pub const OUTSIDE: u16 = 31210;
}

pub const LIMIT: Duration = Duration::from_secs(30);
/// Both ways of seeing packets, where the kernel has both.
pub const TAPS: [&str; 2] = ["auto", "packet"];

pub fn at(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into(), port)
}

/// A node with one Service and a silent port, and a raw client.
pub struct Scene {
    pub bed: Topology,
    pub raw: RawClient,
    _servers: Vec<Server>,
}

impl Scene {
    pub fn new() -> Result<Self> {
        Self::build(&Topology::builder())
    }

    pub fn build(builder: &Builder) -> Result<Self> {
        let bed = builder.build()?;
        let pod = &bed.pods[0];
        let servers = vec![
            Server::start(pod, at(pod_v4(0), 9090), Behaviour::Echo)?,
            Server::start(pod, at(pod_v6(0), 9090), Behaviour::Echo)?,
        ];
        let open = ServicePort::new("default/shop:thrift", port::OPEN)
            .backend(at(pod_v4(0), 9090))
            .backend(at(pod_v6(0), 9090));
        KubeProxy::new(Mode::Nftables).port(open).apply(&bed.node)?;
        rules::drop_syns(&bed.node, port::SILENT)?;
        let raw = RawClient::open(&bed.client)?;
        Ok(Self {
            bed,
            raw,
            _servers: servers,
        })
    }

    /// Starts the daemon with the wire tap `tap` on all of [`port::ALL`].
    pub fn trace(&self, tap: &str, args: &[&str]) -> Result<Tracer<'_>> {
        self.trace_ports(port::ALL, tap, args)
    }

    pub fn trace_ports(&self, ports: &str, tap: &str, args: &[&str]) -> Result<Tracer<'_>> {
        let all = [&["--node-ports", ports, "--wire-tap", tap][..], args].concat();
        Tracer::start(&self.bed.node, &all)
    }

    /// Waits until the daemon has seen a SYN that was sent after all others.
    pub fn settle(&self, tracer: &Tracer<'_>, from: IpAddr, to: IpAddr) -> Result<Metrics> {
        let before = attempts(&tracer.metrics()?, port::LAST);
        let isn = 1_000_000 * (u32::try_from(before)? + 1);
        let answer = self.raw.syn(at(from, 999), at(to, port::LAST), isn)?;
        assert_eq!(answer, Answer::Rst);
        tracer.metrics_when(LIMIT, "the last SYN was not counted", |metrics| {
            attempts(metrics, port::LAST) == before + 1
        })
    }
}

/// Dials a port that refuses.
pub fn refused(client: &Netns, to: SocketAddr) -> Result<()> {
    let ended = Dial::new(client, to).connect()?.err();
    assert_eq!(ended, Some(Errno::ECONNREFUSED), "{to}");
    Ok(())
}

fn whole(value: f64) -> u64 {
    assert!(value >= 0.0 && value.fract() == 0.0, "{value}");
    value as u64
}

/// The sum of a family over one port and these labels.
pub fn sum(metrics: &Metrics, name: &str, port: u16, labels: &[(&str, &str)]) -> u64 {
    let port = port.to_string();
    let labels = [&[("node_port", port.as_str())][..], labels].concat();
    whole(metrics.sum(name, &labels))
}

pub fn attempts(metrics: &Metrics, port: u16) -> u64 {
    sum(metrics, "tracer_attempts_total", port, &[])
}

/// Packets not taken into account.
pub fn lost(metrics: &Metrics, stage: &str) -> u64 {
    whole(metrics.sum("tracer_events_lost_total", &[("stage", stage)]))
}

/// Handshakes of a port by `outcome traffic`; zeros are left out.
pub fn handshakes(metrics: &Metrics, port: u16) -> BTreeMap<String, u64> {
    let port = port.to_string();
    let labels = [("node_port", port.as_str())];
    let series = metrics.series("tracer_handshakes_total", &labels);
    series
        .filter(|(_, count)| *count != 0.0)
        .map(|(of, count)| (format!("{} {}", of["outcome"], of["traffic"]), whole(count)))
        .collect()
}

/// Waits until nothing is pending on `port`, then compares its handshakes and
/// checks that attempts are exactly these.
pub fn expect(tracer: &Tracer<'_>, port: u16, wanted: &[(&str, u64)]) -> Result<Metrics> {
    let all: u64 = wanted.iter().map(|(_, count)| count).sum();
    let metrics = tracer.metrics_when(LIMIT, "still pending", |metrics| {
        attempts(metrics, port) >= all
            && sum(metrics, "tracer_handshakes_pending", port, &[]) == 0
            && sum(metrics, "tracer_connections_open", port, &[]) == 0
    })?;
    let wanted: BTreeMap<_, _> = wanted.iter().map(|(k, n)| ((*k).to_owned(), *n)).collect();
    assert_eq!(handshakes(&metrics, port), wanted, "{port}");
    assert_eq!(attempts(&metrics, port), all, "{port}");
    Ok(metrics)
}

/// Nothing was sent twice on these tests' ports, and no packet was skipped.
pub fn nothing_else(metrics: &Metrics) {
    for port in 31200..31210 {
        assert_eq!(
            sum(metrics, "tracer_retransmits_total", port, &[]),
            0,
            "{port}"
        );
    }
    assert_eq!(metrics.sum("tracer_events_lost_total", &[]), 0.0);
}
