//! A node with a port that works, one that refuses and one without endpoints.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;
use serde::Deserialize;
use std::collections::BTreeMap;
use testbed::{
    KubeProxy, Mode, ServicePort, Topology, Tracer,
    addr::{NODE_V4, pod_v4},
    peer::{Behaviour, Dial, Server},
    process::poll_until,
};

/// The hooks see the sockets of every namespace: these are this test's.
pub const PORTS: &str = "31900-31919";
pub const LIMIT: Duration = Duration::from_secs(30);

pub struct Scene {
    pub bed: Topology,
    pub open: u16,
    pub closed: u16,
    _server: Server,
}

impl Scene {
    /// With ports `open` and `open + 1`.
    pub fn new(open: u16) -> Result<Self> {
        let bed = Topology::builder().build()?;
        let server = Server::start(&bed.pods[0], (pod_v4(0), 9090), Behaviour::Echo)?;
        let closed = open + 1;
        let port =
            |name: &str, node_port| ServicePort::new(&format!("shop/{name}:thrift"), node_port);
        KubeProxy::new(Mode::Nftables)
            .port(port("users", open).backend((pod_v4(0), 9090)))
            .port(port("search", closed).backend((pod_v4(0), 9099)))
            .apply(&bed.node)?;
        Ok(Self {
            bed,
            open,
            closed,
            _server: server,
        })
    }

    pub fn trace(&self) -> Result<Tracer<'_>> {
        Tracer::start(&self.bed.node, &["--node-ports", PORTS])
    }

    fn dial(&self, port: u16) -> Dial<'_> {
        Dial::new(&self.bed.client, SocketAddr::from((NODE_V4, port)))
    }

    /// `count` connections that are opened and closed.
    pub fn checks(&self, count: usize) -> Result<()> {
        (0..count).try_for_each(|_| self.dial(self.open).connect_fin())
    }

    /// `count` dials that are refused.
    pub fn refused(&self, count: usize) -> Result<()> {
        for _ in 0..count {
            let ended = self.dial(self.closed).connect()?.err();
            ensure!(
                ended == Some(Errno::ECONNREFUSED),
                "a dial ended with {ended:?}"
            );
        }
        Ok(())
    }

    /// An open connection.
    pub fn held(&self) -> Result<std::net::TcpStream> {
        self.dial(self.open).stream()
    }

    /// `tracer top` with these arguments, to its end.
    pub fn top(&self, tracer: &Tracer<'_>, args: &[&str]) -> Result<String> {
        let mut command = self.bed.node.command(Tracer::binary()?)?;
        command.arg("top").arg("--socket").arg(tracer.socket());
        command.args(args);
        let mut process = self.bed.node.spawn(command)?;
        let status = process.wait(LIMIT)?;
        ensure!(status.success(), "{status}: {}", process.stderr());
        Ok(process.stdout())
    }

    /// One refresh.
    pub fn refresh(&self, tracer: &Tracer<'_>, args: &[&str]) -> Result<Top> {
        let out = self.top(tracer, &[&["-o", "json"], args].concat())?;
        serde_json::from_str(&out).with_context(|| out.clone())
    }

    /// Refreshes until `done` likes one.
    pub fn refresh_when(&self, tracer: &Tracer<'_>, done: impl Fn(&Top) -> bool) -> Result<Top> {
        let mut last = None;
        let found = poll_until(LIMIT, "top does not show it", || {
            let top = self.refresh(tracer, &[])?;
            let good = done(&top);
            last = Some(top.clone());
            Ok(good.then_some(top))
        });
        found.with_context(|| format!("the last refresh: {last:?}"))
    }
}

/// A line of `tracer top -o json`, as far as it is looked at.
#[derive(Clone, Debug, Deserialize)]
pub struct Top {
    pub window_s: f64,
    pub ports: Vec<Port>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Port {
    pub node_port: u16,
    pub recent: Numbers,
    pub total: Numbers,
    pub open: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Numbers {
    pub attempts: u64,
    pub outcomes: BTreeMap<String, u64>,
    pub traffic: BTreeMap<String, u64>,
}

impl Top {
    pub fn port(&self, node_port: u16) -> Port {
        let found = self.ports.iter().find(|p| p.node_port == node_port);
        found.cloned().unwrap_or_default()
    }
}
