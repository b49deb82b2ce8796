//! The soak's traffic: of every kind, in an order that a seed decides, and counted by who makes it.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use fastrand::Rng;
use testbed::addr::{NODE_V4, NODE_V6, phantom_v4, phantom_v6, pod_v4, pod_v6};
use testbed::peer::{Behaviour, Dial, Server, thrift};
use testbed::raw::Answer;
use testbed::{KubeProxy, Mode, Netns, RawClient, ServicePort, Topology, flood, rules};

/// The watched ports. Programs at tracepoints see the sockets of every namespace: these ports are
/// the soak's.
pub(super) const PORTS: &str = "32601-32606";
/// A pod answers.
const OPEN: u16 = 32601;
/// A pod's kernel refuses.
const CLOSED: u16 = 32602;
/// The Service has no endpoints.
const EMPTY: u16 = 32603;
/// SYNs are dropped.
const SILENT: u16 = 32604;
/// SYN-ACKs are lost.
const DEAF: u16 = 32605;
/// A pod accepts and closes.
const HASTY: u16 = 32606;

/// An answer inside this machine takes that long only when it does not come.
const LIMIT: Duration = Duration::from_secs(30);
/// Longer than `--idle-after`.
const IDLE: Duration = Duration::from_secs(7);
/// SYNs of a burst, each from a source of its own, and how many a second.
const BURST: u32 = 20_000;
const BURST_RATE: u32 = 10_000;

/// Attempts by port and outcome.
pub(super) type Made = BTreeMap<(u16, &'static str), u64>;

/// The node with its Services, and what serves there.
pub(super) struct Scene {
    pub(super) bed: Topology,
    _servers: Vec<Server>,
}

impl Scene {
    /// Makes the namespaces, rules and servers.
    pub(super) fn new() -> Result<Self> {
        let bed = Topology::builder().build()?;
        let pod = &bed.pods[0];
        // Else the last SYN-ACK to nobody goes out after a minute.
        pod.sysctls(&[("net/ipv4/tcp_synack_retries", "2")])?;
        let mut servers = Vec::new();
        for (port, behaviour) in [(9090, Behaviour::Echo), (9091, Behaviour::Close)] {
            for ip in [IpAddr::from(pod_v4(0)), pod_v6(0).into()] {
                servers.push(Server::start(pod, (ip, port), behaviour.clone())?);
            }
        }
        let targets = [(OPEN, 9090), (DEAF, 9090), (HASTY, 9091), (CLOSED, 9099)];
        let mut rules = KubeProxy::new(Mode::Nftables);
        for (port, target) in targets {
            let service = ServicePort::new(&format!("soak/p{port}:thrift"), port);
            let service = service.backend((pod_v4(0), target));
            rules = rules.port(service.backend((pod_v6(0), target)));
        }
        rules
            .port(ServicePort::new("soak/empty:thrift", EMPTY))
            .apply(&bed.node)?;
        rules::drop_syns(&bed.node, SILENT)?;
        rules::drop_syn_acks_at_client(&bed.client, DEAF)?;
        Ok(Self {
            bed,
            _servers: servers,
        })
    }
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Call(fn(&thrift::Message<'static>) -> Vec<u8>),
    Web,
    Probe,
    ProbeWithReset,
    HalfOpen,
    Idle,
    Refused,
    Unreachable,
    TimedOut,
    Unacked,
    ClosedAtOnce,
}

/// Kinds with their weights.
const MIX: [(u32, Kind); 13] = [
    (20, Kind::Call(thrift::Message::strict)),
    (5, Kind::Call(thrift::Message::compact)),
    (5, Kind::Call(framed)),
    (5, Kind::Web),
    (10, Kind::Probe),
    (10, Kind::ProbeWithReset),
    (10, Kind::HalfOpen),
    (2, Kind::Idle),
    (10, Kind::Refused),
    (5, Kind::Unreachable),
    (5, Kind::TimedOut),
    (3, Kind::Unacked),
    (3, Kind::ClosedAtOnce),
];

fn framed(message: &thrift::Message<'static>) -> Vec<u8> {
    thrift::framed(&message.strict())
}

/// Who makes the traffic.
pub(super) struct Traffic<'a> {
    client: &'a Netns,
    raw: RawClient,
    rng: Rng,
    /// The number of the next source that no kernel owns.
    phantom: u32,
    idle: VecDeque<(Instant, TcpStream)>,
    made: Made,
}

impl<'a> Traffic<'a> {
    /// Nothing yet.
    pub(super) fn new(scene: &'a Scene, seed: u64) -> Result<Self> {
        Ok(Self {
            client: &scene.bed.client,
            raw: RawClient::open(&scene.bed.client)?,
            rng: Rng::with_seed(seed),
            phantom: 0,
            idle: VecDeque::new(),
            made: Made::new(),
        })
    }

    /// One attempt after the other, `rate` a second, until `stop`; with a burst of SYNs every
    /// `burst_every`. Returns what was made.
    pub(super) fn run(
        mut self,
        rate: f64,
        burst_every: Duration,
        stop: impl Fn() -> bool,
    ) -> Result<Made> {
        let mut burst = Instant::now() + burst_every;
        while !stop() {
            let start = Instant::now();
            self.next()?;
            self.end_idle()?;
            if Instant::now() >= burst {
                burst += burst_every;
                self.burst()?;
            }
            sleep(Duration::from_secs_f64(1.0 / rate).saturating_sub(start.elapsed()));
        }
        Ok(self.made)
    }

    fn next(&mut self) -> Result<()> {
        let all: u32 = MIX.iter().map(|(weight, _)| weight).sum();
        let mut ticket = self.rng.u32(..all);
        let drawn = MIX.iter().find(|(weight, _)| {
            let is_drawn = ticket < *weight;
            ticket = ticket.saturating_sub(*weight);
            is_drawn
        });
        let kind = drawn.map_or(Kind::Probe, |(_, kind)| *kind);
        let node: IpAddr = if self.rng.bool() {
            NODE_V4.into()
        } else {
            NODE_V6.into()
        };
        match kind {
            Kind::HalfOpen | Kind::TimedOut | Kind::Unacked => self.raw(kind, node),
            _ => self.dial(kind, node),
        }
    }

    fn count(&mut self, port: u16, outcome: &'static str, times: u64) {
        *self.made.entry((port, outcome)).or_default() += times;
    }

    /// Attempts by a client with a kernel.
    fn dial(&mut self, kind: Kind, node: IpAddr) -> Result<()> {
        let port = match kind {
            Kind::Refused => CLOSED,
            Kind::Unreachable => EMPTY,
            Kind::ClosedAtOnce => HASTY,
            _ => OPEN,
        };
        let dial = Dial::new(self.client, SocketAddr::new(node, port)).limit(LIMIT);
        if matches!(kind, Kind::ProbeWithReset) {
            dial.connect_rst()?;
            return self.counted(port, "established");
        }
        let stream = match (kind, dial.connect()?) {
            (Kind::Refused, Err(_)) => return self.counted(port, "refused"),
            (Kind::Unreachable, Err(_)) => return self.counted(port, "unreachable"),
            (_, stream) => stream?,
        };
        self.count(port, "established", 1);
        match kind {
            Kind::Call(encode) => echoed(stream, &encode(&thrift::Message::call("getUser")))?,
            Kind::Web => echoed(stream, b"GET / HTTP/1.1\r\n\r\n")?,
            Kind::Idle => self.idle.push_back((Instant::now() + IDLE, stream)),
            // Closed here, or by the server before.
            _ => {}
        }
        Ok(())
    }

    fn counted(&mut self, port: u16, outcome: &'static str) -> Result<()> {
        self.count(port, outcome, 1);
        Ok(())
    }

    /// Attempts from a source for which no kernel answers.
    fn raw(&mut self, kind: Kind, node: IpAddr) -> Result<()> {
        self.phantom += 1;
        let number = self.phantom;
        let ip = match node {
            IpAddr::V4(_) => IpAddr::from(phantom_v4(number)),
            IpAddr::V6(_) => phantom_v6(number).into(),
        };
        // A burst comes from ports above.
        let from = SocketAddr::new(ip, 1000);
        let to = |port| SocketAddr::new(node, port);
        match kind {
            Kind::HalfOpen => {
                // A socket of its own: the other one's queue is full of what nobody reads.
                let raw = RawClient::open(self.client)?;
                let outcome = match raw.half_open(from, to(OPEN), number)? {
                    Answer::SynAck(_) => "half_open",
                    // It came too late on a busy machine.
                    _ => "unacked",
                };
                self.counted(OPEN, outcome)
            }
            Kind::Unacked => {
                self.raw.syn_only(from, to(DEAF), number)?;
                self.counted(DEAF, "unacked")
            }
            _ => {
                self.raw.syn_only(from, to(SILENT), number)?;
                self.counted(SILENT, "timed_out")
            }
        }
    }

    /// Some use their connection at last, some just close it.
    fn end_idle(&mut self) -> Result<()> {
        while let Some((end, _)) = self.idle.front()
            && *end <= Instant::now()
        {
            if let Some((_, stream)) = self.idle.pop_front()
                && self.rng.bool()
            {
                echoed(stream, &thrift::Message::call("getUser").strict())?;
            }
        }
        Ok(())
    }

    /// A flood that the flow table can hold.
    fn burst(&mut self) -> Result<()> {
        let drops = self.client.send_drops("eth0")?;
        let to = SocketAddrV4::new(NODE_V4, SILENT);
        flood::syns(self.client, to, 0..BURST, BURST_RATE)?;
        let drops = self.client.send_drops("eth0")? - drops;
        self.count(SILENT, "timed_out", u64::from(BURST).saturating_sub(drops));
        Ok(())
    }
}

/// Sends a message, waits for its echo and closes.
fn echoed(mut stream: TcpStream, message: &[u8]) -> Result<()> {
    stream.write_all(message)?;
    let mut back = vec![0; message.len()];
    stream.read_exact(&mut back)?;
    ensure!(back == message, "the echo differs");
    Ok(())
}
