//! The demo's cluster: six Services, of which three answer.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::addr::{NODE_V4, client_v4, pod_v4};
use testbed::peer::Dial;
use testbed::peers::haproxy::{Check, Haproxy, Listener};
use testbed::peers::thrift::{self, Client, Load, Wire};
use testbed::{KubeProxy, Mode, Netns, ServicePort, Topology, Tracer, rules};

use crate::explain::explain;

/// A classic load balancer checks every 10 s; five times as fast here, so that a short demo sees
/// some of it. HAProxy's dials for checks last no longer than this: less than 1 s would hide the
/// answer to a retransmitted SYN.
const CHECK_EVERY: Duration = Duration::from_secs(2);
/// The daemon's options. HAProxy gives up a dial after 2 s; a handshake that takes 3 s is lost,
/// and an idle connection shows as such while the demo runs.
const TRACER_ARGS: &[&str] = &[
    "--interface",
    "eth0",
    "--node-ports",
    "30101-30120",
    "--handshake-timeout",
    "3s",
    "--idle-after",
    "3s",
];
/// The longest window of `tracer explain`.
const REMEMBERED_S: u64 = 15 * 60;
/// Connections that the load balancer opens to `thrift/users` and leaves silent, like the spare
/// connections of a classic ELB.
const IDLE_CONNECTIONS: usize = 3;

/// A Service of the demo.
pub(super) struct Service {
    /// `namespace/name`.
    pub(super) name: &'static str,
    /// Its NodePort; the load balancer listens at this number less 21000.
    pub(super) node_port: u16,
    /// The ports of its endpoints: pod number and target port.
    endpoints: &'static [(usize, u16)],
    /// What its server speaks; `None` where nothing listens.
    server: Option<Wire>,
    /// Clients that call it through the load balancer, and their pause between connections.
    clients: &'static [Duration],
    check: Check,
    /// What is to be seen.
    pub(super) story: &'static str,
}

/// HAProxy 2.6 spins from an ICMP error that comes back inside connect(2), as it does between
/// namespaces, to the answer to the retransmitted SYN one second later: less often, then.
const RARELY_HALF_OPEN: Check = Check::HalfOpen(Duration::from_secs(5));
const HALF_OPEN: Check = Check::HalfOpen(CHECK_EVERY);
const FULL: Check = Check::Full(CHECK_EVERY);
const OFTEN: Duration = Duration::from_millis(100);
const SELDOM: Duration = Duration::from_millis(500);

/// All of them.
pub(super) const SERVICES: [Service; 6] = [
    Service {
        name: "thrift/users",
        node_port: 30101,
        endpoints: &[(0, 9090), (1, 9090)],
        server: Some(Wire::Binary),
        clients: &[OFTEN, OFTEN],
        check: HALF_OPEN,
        story: "answers (binary); some connections stay idle",
    },
    Service {
        name: "thrift/search",
        node_port: 30102,
        endpoints: &[(0, 9092)],
        server: None,
        clients: &[SELDOM],
        check: Check::Track("thrift-users"),
        story: "nothing listens on the target port; only users' port is checked, as a classic ELB does",
    },
    Service {
        name: "thrift/mail",
        node_port: 30107,
        endpoints: &[],
        server: None,
        clients: &[],
        check: RARELY_HALF_OPEN,
        story: "no endpoints: kube-proxy's REJECT",
    },
    Service {
        name: "thrift/billing",
        node_port: 30110,
        endpoints: &[(0, 9091)],
        server: Some(Wire::Framed),
        clients: &[OFTEN],
        check: FULL,
        story: "answers (framed); checked by full handshakes",
    },
    Service {
        name: "thrift/feed",
        node_port: 30111,
        endpoints: &[(1, 9093)],
        server: Some(Wire::Compact),
        clients: &[OFTEN],
        check: HALF_OPEN,
        story: "answers (compact)",
    },
    Service {
        name: "thrift/geo",
        node_port: 30113,
        endpoints: &[(1, 9095)],
        server: None,
        clients: &[],
        check: HALF_OPEN,
        story: "SYNs are dropped silently",
    },
];

impl Service {
    /// Where clients reach it at the load balancer.
    fn front(&self) -> SocketAddr {
        at(client_v4(0), self.node_port - 21_000)
    }
}

fn at(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into(), port)
}

/// Load balancer, node and two pods, with kube-proxy's rules for [`SERVICES`].
pub(super) fn topology() -> Result<Topology> {
    let topology = Topology::builder().pods(2).build()?;
    let mut kube_proxy = KubeProxy::new(Mode::IptablesNft);
    for service in &SERVICES {
        let mut port = ServicePort::new(&format!("{}:thrift", service.name), service.node_port);
        for (pod, target) in service.endpoints {
            port = port.backend(at(pod_v4(*pod), *target));
        }
        kube_proxy = kube_proxy.port(port);
    }
    kube_proxy.apply(&topology.node)?;
    rules::drop_syns(&topology.node, 30113)?;
    Ok(topology)
}

/// What runs in the topology; all of it ends when this is dropped.
pub(super) struct Stage<'a> {
    clients: Vec<(&'static str, Client)>,
    _idle: Vec<TcpStream>,
    /// The load balancer.
    pub(super) haproxy: Haproxy,
    /// The daemon in the node's namespace.
    pub(super) tracer: Tracer<'a>,
    binary: &'a Path,
    node: &'a Netns,
    _servers: Vec<thrift::Server>,
}

impl<'a> Stage<'a> {
    /// Starts the servers, then tracer, so that it sees the first packet, then the traffic.
    pub(super) fn start(topology: &'a Topology, binary: &'a Path, python: &Path) -> Result<Self> {
        let servers = start_servers(topology, python)?;
        let tracer = Tracer::start_binary(&topology.node, binary, TRACER_ARGS)?;
        let listeners: Vec<Listener> = SERVICES.iter().map(listener).collect();
        let haproxy = Haproxy::start(&topology.client, &listeners)?;
        let users = SERVICES[0].front();
        let idle = (0..IDLE_CONNECTIONS).map(|_| Dial::new(&topology.client, users).stream());
        Ok(Self {
            _idle: idle.collect::<Result<_>>()?,
            clients: start_clients(topology, python)?,
            haproxy,
            tracer,
            binary,
            node: &topology.node,
            _servers: servers,
        })
    }

    /// What `tracer explain` prints about the last seconds, or as many as it remembers.
    pub(super) fn explain(&self, seconds: u64, more: &[&str]) -> Result<String> {
        let last = format!("{}s", seconds.min(REMEMBERED_S));
        let args = [&["--last", &last], more].concat();
        explain(self.node, self.binary, &self.tracer, &args)
    }

    /// What another command prints at the node, asking the daemon.
    pub(super) fn ask(&self, args: &[&str]) -> Result<String> {
        let mut command = self.node.command(self.binary)?;
        command
            .args(args)
            .env("TRACER_SOCKET", self.tracer.socket());
        let output = command.output().context("run tracer")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "tracer {}: {said}", args.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// What the Thrift clients have counted, by Service.
    pub(super) fn client_counts(&self) -> Result<BTreeMap<&'static str, thrift::Counts>> {
        let mut all: BTreeMap<&'static str, thrift::Counts> = BTreeMap::new();
        for (service, client) in &self.clients {
            let counts = client.counts().with_context(|| (*service).to_owned())?;
            let sum = all.entry(service).or_default();
            sum.connections += counts.connections;
            sum.ok += counts.ok;
            sum.failed += counts.failed;
        }
        Ok(all)
    }
}

fn start_servers(topology: &Topology, python: &Path) -> Result<Vec<thrift::Server>> {
    let mut servers = Vec::new();
    for service in &SERVICES {
        let Some(wire) = service.server else { continue };
        for (pod, port) in service.endpoints {
            let address = at(pod_v4(*pod), *port);
            servers.push(thrift::Server::start(
                &topology.pods[*pod],
                python,
                address,
                wire,
            )?);
        }
    }
    Ok(servers)
}

fn start_clients(topology: &Topology, python: &Path) -> Result<Vec<(&'static str, Client)>> {
    let mut clients = Vec::new();
    for service in &SERVICES {
        for pause in service.clients {
            let load = Load {
                wire: service.server.unwrap_or(Wire::Binary),
                connections: None,
                calls: 3,
                pause: *pause,
            };
            let client = Client::start(&topology.client, python, service.front(), load)?;
            clients.push((service.name, client));
        }
    }
    Ok(clients)
}

fn listener(service: &Service) -> Listener {
    Listener {
        name: service.name.replace('/', "-"),
        bind: service.front(),
        target: at(NODE_V4, service.node_port),
        source: None,
        check: service.check,
    }
}
