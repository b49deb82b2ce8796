//! As much as two cores can drive, with the daemon frozen in between: not one
//! attempt is lost, and the accounting identity holds at every scrape.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    os::fd::AsRawFd as _,
    panic::resume_unwind,
    sync::atomic::{AtomicBool, Ordering},
    thread::ScopedJoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::{
    socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage, setsockopt, sockopt},
    time::{TimeVal, TimeValLike as _},
};
use testbed::{
    KubeProxy, Metrics, Mode, Netns, Policy, RawClient, ServicePort, Topology, Tracer,
    addr::{NODE_V4, client_v4, phantom_v4, pod_v4},
    flood,
    peer::{
        Behaviour, Server,
        thrift::{Kind, Message},
    },
    raw::Answer,
    rules,
};

/// The hooks see the sockets of every namespace: these ports are this test's.
const SHORT: u16 = 31140;
const REFUSED: u16 = 31141;
const DROPPED: u16 = 31142;

const CLIENTS: u8 = 4;
const LIMIT: Duration = Duration::from_secs(60);
const ATTEMPTS: &str = "tracer_attempts_total";
const PENDING: &str = "tracer_handshakes_pending";
const UNTRACKED: &str = "tracer_untracked_syns_total";
const HANDSHAKES: &str = "tracer_handshakes_total";
const LOST: &str = "tracer_events_lost_total";

fn at(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into(), port)
}

/// A Service of the pod's; policy Local keeps the client's address, or else the
/// node would run out of source ports.
fn service(node_port: u16, pod_port: u16) -> ServicePort {
    ServicePort::new(&format!("default/p{node_port}:thrift"), node_port)
        .backend(at(pod_v4(0), pod_port))
        .policy(Policy::Local)
}

/// What a thread returns; a panic in it goes on here.
fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// Scrapes again and again until `done`; returns how often.
fn scrape(tracer: &Tracer<'_>, done: impl Fn() -> bool) -> Result<u32> {
    let mut scrapes = 0;
    while !done() {
        tracer.metrics()?.balanced()?;
        scrapes += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(scrapes)
}

fn drained(metrics: &Metrics) -> bool {
    metrics.sum(PENDING, &[]) == 0.0
}

/// What a client has done.
#[derive(Debug, Default, Clone, Copy)]
struct Made {
    dials: u64,
    replies: u64,
}

/// One short connection after the other from one address, each from a port of
/// its own, until told to stop. Every fourth closes with FIN, the others reset.
fn client(ns: &Netns, from: Ipv4Addr, stop: &AtomicBool) -> Result<Made> {
    ns.enter(|| {
        let mut made = Made::default();
        for port in 10_000..60_000 {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            made.dials += 1;
            call(at(from, port), port % 4 != 0).with_context(|| format!("from {from}:{port}"))?;
            made.replies += 1;
        }
        Ok(made)
    })?
}

/// Connects, sends a call, reads its reply, closes.
fn call(from: SocketAddr, is_reset: bool) -> Result<()> {
    let fd = socket::socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    setsockopt(&fd, sockopt::SendTimeout, &TimeVal::seconds(30))?;
    setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(30))?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    if is_reset {
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        setsockopt(&fd, sockopt::Linger, &linger)?;
    }
    socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(from)).context("bind")?;
    let to = SockaddrStorage::from(at(NODE_V4, SHORT));
    socket::connect(fd.as_raw_fd(), &to).context("connect")?;
    let mut stream = TcpStream::from(fd);
    stream.write_all(&Message::call("getUser").strict())?;
    let mut reply = [0; 20];
    stream.read_exact(&mut reply).context("read the reply")
}

/// Clients for ten seconds, the daemon frozen for the middle five.
fn frozen_in_between(bed: &Topology, tracer: &Tracer<'_>) -> Result<Made> {
    let stop = AtomicBool::new(false);
    let (start, stop) = (Instant::now(), &stop);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|i| scope.spawn(move || client(&bed.client, client_v4(i), stop)))
            .collect();
        let phase = || -> Result<u32> {
            let start = Instant::now();
            scrape(tracer, || start.elapsed() > Duration::from_millis(2500))
        };
        let run = || -> Result<u32> {
            let before = phase()?;
            tracer.pause()?;
            std::thread::sleep(Duration::from_secs(5));
            tracer.resume()?;
            Ok(before + phase()?)
        };
        let scrapes = run();
        stop.store(true, Ordering::Relaxed);
        let mut total = Made::default();
        for client in clients {
            let made = joined(client)?;
            total.dials += made.dials;
            total.replies += made.replies;
        }
        let rate = total.dials as f64 / start.elapsed().as_secs_f64();
        eprintln!("{total:?}, {rate:.0}/s; {} scrapes", scrapes?);
        Ok(total)
    })
}

#[test]
fn every_connection_is_counted_while_the_daemon_is_frozen() -> Result<()> {
    let bed = Topology::builder().client_addresses(CLIENTS).build()?;
    let reply = Message {
        kind: Kind::Reply,
        ..Message::call("getUser")
    };
    let behaviour = Behaviour::Reply(reply.strict());
    let pod = at(pod_v4(0), 9090);
    let server = Server::start_with(&bed.pods[0], pod, behaviour, 1024, 6)?;
    KubeProxy::new(Mode::IptablesNft)
        .port(service(SHORT, 9090))
        .apply(&bed.node)?;
    let args = ["--interface", "eth0", "--node-ports", "31140"];
    let tracer = Tracer::start(&bed.node, &args)?;
    let made = frozen_in_between(&bed, &tracer)?;
    let metrics = tracer.metrics_when(LIMIT, "still pending", drained)?;
    metrics.balanced()?;
    eprintln!("lost: {:?}", metrics.series(LOST, &[]).collect::<Vec<_>>());
    every_one(&metrics, made.dials as f64);
    assert_eq!(made.replies, made.dials);
    assert_eq!(server.accepted(), made.dials);
    Ok(())
}

/// Attempts are exact. What a connection was for can be wrong once for each
/// segment that was skipped because another CPU kept its lock.
fn every_one(metrics: &Metrics, dials: f64) {
    let port = ("node_port", "31140");
    let message = |kind| [port, ("protocol", "binary"), ("type", kind)];
    let skipped = metrics.sum(LOST, &[]);
    assert_eq!(metrics.get(ATTEMPTS, &[port]), Some(dials));
    assert!(metrics.sum(UNTRACKED, &[]) <= skipped);
    let established = [port, ("outcome", "established"), ("traffic", "thrift")];
    for (name, labels) in [
        (HANDSHAKES, established),
        ("tracer_thrift_messages_total", message("call")),
        ("tracer_thrift_messages_total", message("reply")),
    ] {
        let counted = metrics.get(name, &labels).unwrap_or(0.0);
        eprintln!("{name} {labels:?}: {counted}");
        assert!(
            counted <= dials && counted >= dials - skipped,
            "{skipped} skipped"
        );
    }
    let closed = metrics.sum("tracer_connection_closes_total", &[port]);
    let open = metrics.sum("tracer_connections_open", &[port]);
    assert!(
        open <= skipped && closed + open <= dials,
        "{closed} + {open}"
    );
    assert!(closed >= dials - skipped, "{closed}");
}

/// One attempt on each port, so that all series are there.
fn first_attempts(client: &Netns) -> Result<()> {
    let raw = RawClient::open(client)?;
    let from = at(phantom_v4(0xf_ffff), 1000);
    let answer = raw.syn(from, at(NODE_V4, REFUSED), 7)?;
    ensure!(answer == Answer::Rst, "{answer:?}");
    raw.syn_only(from, at(NODE_V4, DROPPED), 7)
}

/// Floods both ports at once with `count` SYNs each, 50,000 a second together.
fn flood_both(
    client: &Netns,
    count: u32,
    meanwhile: impl Fn(&dyn Fn() -> bool) -> Result<()>,
) -> Result<()> {
    std::thread::scope(|scope| {
        let floods = [REFUSED, DROPPED].map(|port| {
            let to = SocketAddrV4::new(NODE_V4, port);
            scope.spawn(move || flood::syns(client, to, 0..count, 25_000))
        });
        let ended = || floods.iter().all(ScopedJoinHandle::is_finished);
        let met = meanwhile(&ended);
        for (flood, port) in floods.into_iter().zip([REFUSED, DROPPED]) {
            let rate = f64::from(count) / joined(flood)?.as_secs_f64();
            eprintln!("{port}: {count} SYNs, {rate:.0}/s");
        }
        met
    })
}

/// A flood that overflows the flow table, the daemon running or frozen.
fn flooded(is_frozen: bool, count: u32) -> Result<()> {
    let bed = Topology::builder().build()?;
    KubeProxy::new(Mode::IptablesNft)
        .port(service(REFUSED, 9099))
        .port(service(DROPPED, 9099))
        .apply(&bed.node)?;
    rules::drop_syns(&bed.node, DROPPED)?;
    let args = [
        "--interface",
        "eth0",
        "--node-ports",
        "31141-31142",
        "--flows",
        "1024",
        "--handshake-timeout",
        "1s",
    ];
    let tracer = Tracer::start(&bed.node, &args)?;
    first_attempts(&bed.client)?;
    let before = tracer.metrics_when(LIMIT, "still pending", |metrics| {
        drained(metrics) && metrics.sum(ATTEMPTS, &[]) == 2.0
    })?;
    let drops = bed.client.send_drops("eth0")?;
    if is_frozen {
        tracer.pause()?;
        flood_both(&bed.client, count, |_| Ok(()))?;
        tracer.resume()?;
    } else {
        flood_both(&bed.client, count, |ended| {
            let scrapes = scrape(&tracer, ended)?;
            eprintln!("{scrapes} scrapes");
            Ok(())
        })?;
    }
    let dropped = bed.client.send_drops("eth0")? - drops;
    let metrics = tracer.metrics_when(LIMIT, "still pending", drained)?;
    metrics.balanced()?;
    let untracked = metrics.sum(UNTRACKED, &[]);
    eprintln!("{untracked} untracked, {dropped} dropped by the link");
    eprintln!("lost: {:?}", metrics.series(LOST, &[]).collect::<Vec<_>>());
    assert_eq!(
        metrics.sum(ATTEMPTS, &[]) + dropped as f64,
        f64::from(2 * count + 2)
    );
    assert!(untracked > 0.0);
    assert_eq!(metrics.len(), before.len());
    Ok(())
}

#[test]
fn a_flood_is_counted_to_the_last_syn() -> Result<()> {
    flooded(false, 150_000)
}

#[test]
fn a_flood_is_counted_while_the_daemon_is_frozen() -> Result<()> {
    flooded(true, 250_000)
}
