//! Healthy traffic of every kind, beside counters that move for reasons of their own: no
//! problem. For 15 s; with `TRACER_LONG=1` for 10 minutes.

use std::{
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;
use testbed::{
    RawClient, ServicePort, Topology,
    addr::client_v4,
    peer::{Behaviour, Dial, Server, thrift::Message},
    raw::Answer,
    segment::{Segment, flags},
};

use super::{
    amid::end,
    other_movers::two_source_ports,
    scenario::Scenario,
    scene::{Reply, SOON, Scene, call},
};

const ECHO: u16 = 31880;
const ONE_WAY: u16 = 31882;
const PUSH: u16 = 31883;
/// One worker, which accepts the next connection when the one before is closed.
const SLOW: u16 = 31884;
/// The same, a process on the node itself.
const ON_NODE: u16 = 31885;
/// Accepts and closes, which is all that its clients ask.
const HEALTH: u16 = 31886;
const RESTARTS: u16 = 31887;
/// Outside of node ports.
const ELSEWHERE: u16 = 9999;
const FULL: u16 = 9191;

const WORK: Duration = Duration::from_millis(60);
/// Longer than the idle threshold.
const LONG: Duration = Duration::from_millis(1700);
const PAUSE: Duration = Duration::from_millis(100);

fn lasts() -> Duration {
    let long = std::env::var_os("TRACER_LONG").is_some();
    Duration::from_secs(if long { 600 } else { 15 })
}

fn dial(s: &Scene, port: u16) -> Dial<'_> {
    Dial::new(&s.bed.client, s.node_port(port)).limit(Duration::from_secs(4))
}

/// The Services; that which restarts has its pod here.
fn services(s: &Scene, restarted: usize) -> Vec<ServicePort> {
    let backends = [(ONE_WAY, 9091), (PUSH, 9092), (SLOW, 9093), (HEALTH, 9094)];
    let backends = backends.map(|(port, to)| s.service_at(port).backend(s.pod(0, to)));
    let own = [
        s.service().backend(s.pod(0, 9090)),
        s.service_at(RESTARTS).backend(s.pod(restarted, 9095)),
    ];
    own.into_iter().chain(backends).collect()
}

fn servers(s: &Scene) -> Result<()> {
    s.serve(0, 9090, Behaviour::Echo)?;
    s.serve(0, 9091, Behaviour::Sink)?;
    s.serve(0, 9092, Behaviour::Push(PAUSE))?;
    let late = Behaviour::EchoAfter(WORK);
    let slow = Server::start_with(&s.bed.pods[0], s.pod(0, 9093), late.clone(), 64, 1)?;
    s.keep(slow);
    s.serve(0, 9094, Behaviour::Close)?;
    let here = Server::start_with(&s.bed.node, s.node_port(ON_NODE), late, 64, 1)?;
    s.keep(here);
    full_listener(s)
}

/// The pod has another listener, whose queue is full, and which is dialled directly.
fn full_listener(s: &Scene) -> Result<()> {
    s.serve_with(0, FULL, Behaviour::NeverAccept, 1)?;
    two_source_ports(s)?;
    s.bed.node.ip("route add 172.31.9.0/24 dev cbr0\n")?;
    s.bed.node.sysctls(&[
        ("net/ipv4/conf/eth0/rp_filter", "1"),
        ("net/netfilter/nf_conntrack_tcp_loose", "0"),
    ])
}

/// Probes of all shapes, and calls whose client closes its side first.
fn probes(s: &Scene) -> Result<()> {
    let raw = RawClient::open(&s.bed.client)?;
    let source = 4000 + fastrand::u16(..20_000);
    let answer = raw.half_open(s.phantom(1, source), s.node_port(ECHO), 1)?;
    ensure!(matches!(answer, Answer::SynAck(_)), "{answer:?}");
    dial(s, ECHO).connect_fin()?;
    dial(s, ECHO).connect_rst()?;
    let call = Message::call("getUser").strict();
    ensure!(dial(s, ECHO).send(&[&call[..7], &call[7..]])? == call);
    // A check that waits for the server to close.
    let mut stream = dial(s, HEALTH).stream()?;
    ensure!(
        stream.read(&mut [0])? == 0,
        "the health port said something"
    );
    Ok(())
}

/// A pooled connection: a call, silence, a call.
fn pooled(s: &Scene) -> Result<()> {
    let (reply, mut stream) = call(&dial(s, ECHO))?;
    ensure!(reply == Reply::Whole, "{reply:?}");
    std::thread::sleep(LONG);
    let request = Message::call("getUser").strict();
    stream.write_all(&request)?;
    stream.read_exact(&mut vec![0; request.len()])?;
    Ok(())
}

/// Lines of a log for some seconds.
fn shipper(s: &Scene) -> Result<()> {
    let mut stream = dial(s, ONE_WAY).stream()?;
    for _ in 0..40 {
        stream.write_all(b"<14>a line of a log\n")?;
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Says nothing and is told.
fn listener(s: &Scene) -> Result<()> {
    let mut stream = dial(s, PUSH).stream()?;
    stream.read_exact(&mut [0; 50])?;
    Ok(())
}

fn slow(s: &Scene) -> Result<()> {
    for port in [SLOW, ON_NODE] {
        let (reply, _) = call(&dial(s, port))?;
        ensure!(reply == Reply::Whole, "port {port}: {reply:?}");
    }
    Ok(())
}

fn restarted(s: &Scene) -> Result<()> {
    let (reply, _) = call(&dial(s, RESTARTS))?;
    ensure!(reply == Reply::Whole, "a server restarts: {reply:?}");
    std::thread::sleep(PAUSE / 4);
    Ok(())
}

/// The Service's pod is replaced, time and again; the old one ends when its calls are done.
fn restarts(s: &Scene, until: Instant) -> Result<()> {
    let start = |i| Server::start(&s.bed.pods[i], s.pod(i, 9095), Behaviour::Echo);
    let mut serving = start(0)?;
    s.apply(services(s, 0))?;
    for i in [1, 0].into_iter().cycle() {
        std::thread::sleep(2 * SOON);
        if Instant::now() > until {
            break;
        }
        let old = std::mem::replace(&mut serving, start(i)?);
        s.apply(services(s, i))?;
        std::thread::sleep(SOON);
        drop(old);
    }
    s.keep(serving);
    Ok(())
}

/// What does not concern any node port: overflows, clashes, segments of no connection,
/// sources that come in by the wrong interface.
fn movers(s: &Scene) -> Result<()> {
    let overflow = Dial::new(&s.bed.client, s.pod(0, FULL)).limit(SOON);
    end(&overflow, 3, Errno::EINPROGRESS)?;
    let clash = Dial::new(&s.bed.pods[1], (client_v4(0), ELSEWHERE)).limit(SOON);
    end(&clash, 3, Errno::EINPROGRESS)?;
    let raw = RawClient::open(&s.bed.client)?;
    for source in 1..20 {
        let stray = s.phantom(2, source);
        let stray = Segment::new(stray, s.node_port(ELSEWHERE), flags::ACK, 9, 9);
        raw.send(&stray)?;
        let wrong = ([172, 31, 9, 1], source).into();
        raw.syn_only(wrong, s.node_port(80), 1)?;
    }
    Ok(())
}

fn again(until: Instant, work: impl Fn() -> Result<()>) -> Result<()> {
    while Instant::now() < until {
        work()?;
    }
    Ok(())
}

fn traffic(s: &Scene) -> Result<()> {
    let until = Instant::now() + lasts();
    // Two connections each: the rest is for the movers.
    let overflow = Dial::new(&s.bed.client, s.pod(0, FULL));
    let clash = Dial::new(&s.bed.pods[1], (client_v4(0), ELSEWHERE));
    s.keep([
        overflow.stream()?,
        overflow.stream()?,
        clash.stream()?,
        clash.stream()?,
    ]);
    type Work = fn(&Scene) -> Result<()>;
    let kinds: [(Work, &str); 10] = [
        (probes, "probes"),
        (pooled, "pool"),
        (pooled, "pool"),
        (shipper, "one-way"),
        (listener, "push"),
        (slow, "slow accepter"),
        (slow, "slow accepter"),
        (slow, "slow accepter"),
        (restarted, "restarts"),
        (movers, "movers"),
    ];
    std::thread::scope(|scope| {
        let restarts = scope.spawn(move || restarts(s, until));
        // The first server of that Service has to be there.
        std::thread::sleep(SOON);
        let threads =
            kinds.map(|(work, what)| scope.spawn(move || again(until, || work(s)).context(what)));
        let mut threads = threads.into_iter().chain([restarts]);
        threads.try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|p| std::panic::resume_unwind(p))
        })
    })?;
    moved(s)
}

/// The counters did move.
fn moved(s: &Scene) -> Result<()> {
    s.took(&s.bed.pods[0], "ListenOverflows", 10)?;
    s.took(&s.bed.node, "IPReversePathFilter", 10)?;
    let conntrack = s.bed.node.run(&["conntrack", "-S"])?;
    let moved = |name: &str| {
        let mut fields = conntrack.split_whitespace();
        fields.any(|field| field.starts_with(name) && !field.ends_with("=0"))
    };
    ensure!(moved("insert_failed=") && moved("invalid="), "{conntrack}");
    Ok(())
}

#[test]
fn healthy_traffic_of_every_kind() -> Result<()> {
    Scenario {
        topology: || Topology::builder().pods(2),
        services: |s| services(s, 0),
        servers,
        traffic,
        ..Scenario::new(ECHO)
    }
    .run()
}
