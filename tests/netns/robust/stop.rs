//! Ends of every kind under traffic.

#[path = "stop/kills.rs"]
mod kills;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use testbed::{
    KubeProxy, Metrics, Mode, Proc, ServicePort, Topology, Tracer,
    addr::{NODE_V4, NODE_V6, pod_v4, pod_v6},
    cleanup::ScratchDir,
    http,
    leftovers::{Held, attached, nothing_attached},
    peer::{Behaviour, Dial, Server},
    process::poll_until,
    tracer::LISTEN,
};

/// The hooks see the sockets of every namespace: these are this test's.
const PORTS: &str = "31220-31229";
const OPEN: u16 = 31220;
const CLOSED: u16 = 31221;
const TAPS: [&str; 2] = ["auto", "packet"];
const LIMIT: Duration = Duration::from_secs(30);

fn bed() -> Result<(Topology, [Server; 2])> {
    let bed = Topology::builder().build()?;
    let pod = &bed.pods[0];
    let servers = [
        Server::start(pod, (pod_v4(0), 9090), Behaviour::Echo)?,
        Server::start(pod, (pod_v6(0), 9090), Behaviour::Echo)?,
    ];
    let open = ServicePort::new("default/shop:thrift", OPEN)
        .backend((pod_v4(0), 9090))
        .backend((pod_v6(0), 9090));
    KubeProxy::new(Mode::Nftables).port(open).apply(&bed.node)?;
    Ok((bed, servers))
}

/// Sends numbers and reads each back, until told to stop; returns how many.
fn echo(mut stream: TcpStream, stop: &AtomicBool) -> Result<u64> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut number = 0u64;
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(&number.to_be_bytes())?;
        let mut back = [0; 8];
        stream.read_exact(&mut back)?;
        ensure!(
            back == number.to_be_bytes(),
            "{number} came back as {back:?}"
        );
        number += 1;
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(number)
}

/// One connection after the other, until told to stop; returns how many.
fn dials(bed: &Topology, to: SocketAddr, stop: &AtomicBool) -> Result<u64> {
    let mut made = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut reply = [0; 4];
        Dial::new(&bed.client, to)
            .limit(LIMIT)
            .call(b"ping", &mut reply)?;
        ensure!(reply == *b"ping", "{reply:?}");
        made += 1;
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(made)
}

/// Does `work` while traffic flows, none of which may be lost.
fn under_traffic(bed: &Topology, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let stop = AtomicBool::new(false);
    let all = [SocketAddr::from((NODE_V4, OPEN)), (NODE_V6, OPEN).into()];
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for to in all {
            let stream = Dial::new(&bed.client, to).stream()?;
            threads.push(scope.spawn(|| echo(stream, &stop)));
        }
        threads.extend(all.map(|to| {
            let stop = &stop;
            scope.spawn(move || dials(bed, to, stop))
        }));
        let done = work();
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            let made = thread
                .join()
                .unwrap_or_else(|p| std::panic::resume_unwind(p));
            ensure!(made.context("traffic was disturbed")? > 0, "no traffic");
        }
        done
    })
}

/// Starts the daemon; it may not be ready yet.
fn begin(bed: &Topology, tap: &str, socket: &Path) -> Result<Proc> {
    let mut command = bed.node.command(Tracer::binary()?)?;
    let listen = LISTEN.to_string();
    command.args(["run", "--web.listen-address", &listen]);
    command.args(["--node-ports", PORTS, "--wire-tap", tap]);
    command.arg("--socket").arg(socket);
    bed.node.spawn(command)
}

fn wait_ready(bed: &Topology, process: &mut Proc) -> Result<()> {
    process.wait_until(LIMIT, "not ready", |_| {
        http::get(&bed.node, LISTEN, "/readyz", "*/*").is_ok_and(|r| r.status == 200)
    })
}

/// All that a ready daemon has, so that there is something to be gone.
fn held(bed: &Topology, process: &Proc) -> Result<Held> {
    let held = Held::by(process.pid())?;
    ensure!(!held.left()?.is_empty(), "nothing is loaded");
    ensure!(!attached(&bed.node)?.is_empty(), "nothing is attached");
    Ok(held)
}

#[test]
fn a_second_daemon_at_the_same_socket_is_told_who_is_first() -> Result<()> {
    let (bed, _servers) = bed()?;
    let first = Tracer::start(&bed.node, &["--node-ports", PORTS])?;
    let mut command = bed.node.command(Tracer::binary()?)?;
    command.args(["run", "--web.listen-address", "127.0.0.1:9401", "--socket"]);
    command.arg(first.socket());
    let mut second = bed.node.spawn(command)?;
    let status = second.wait(LIMIT)?;
    let said = second.stderr();
    ensure!(status.code() == Some(1), "{status}: {said}");
    let words = format!(
        "another tracer (pid {}) answers there",
        first.process().pid()
    );
    ensure!(said.contains(&words) && said.contains("--socket"), "{said}");
    first.metrics().map(drop)
}

#[test]
fn a_restart_begins_at_zero() -> Result<()> {
    let (bed, _servers) = bed()?;
    let started = |m: &Metrics| m.sum("process_start_time_seconds", &[]);
    let first = Tracer::start(&bed.node, &["--node-ports", PORTS])?;
    Dial::new(&bed.client, (NODE_V4, OPEN)).connect_fin()?;
    let before = first.metrics_when(LIMIT, "not counted", |m| attempts(m) == 1.0)?;
    first.kill()?;
    // The kernel counts the start in hundredths of a second.
    std::thread::sleep(Duration::from_millis(20));
    let second = Tracer::start(&bed.node, &["--node-ports", PORTS])?;
    let after = second.metrics()?;
    // The port may have a row: dials of other namespaces to this address are seen.
    assert_eq!(attempts(&after), 0.0);
    assert!(started(&after) > started(&before));
    Dial::new(&bed.client, (NODE_V4, OPEN)).connect_fin()?;
    second.metrics_when(LIMIT, "not counted", |m| attempts(m) == 1.0)?;
    Ok(())
}

#[test]
fn sigterm_under_traffic_ends_at_once_and_in_order() -> Result<()> {
    let (bed, _servers) = bed()?;
    let dir = ScratchDir::new()?;
    under_traffic(&bed, || {
        for tap in TAPS {
            let mut process = begin(&bed, tap, &dir.path().join("tracer.sock"))?;
            wait_ready(&bed, &mut process)?;
            let held = held(&bed, &process)?;
            // A reader in the middle of its request must not hold it up.
            let reader = bed.node.enter(|| TcpStream::connect(LISTEN))?;
            write!(reader?, "GET /metrics HT")?;
            let status = process.stop(Signal::SIGTERM, Duration::from_secs(2))?;
            ensure!(status.code() == Some(0), "{status}: {}", process.stderr());
            nothing_attached(&bed.node)?;
            held.is_freed()?;
        }
        Ok(())
    })
}

#[test]
fn sigterm_while_starting_leaves_nothing() -> Result<()> {
    let (bed, _servers) = bed()?;
    let dir = ScratchDir::new()?;
    for delay in [5, 50, 150, 400] {
        let mut process = begin(&bed, "auto", &dir.path().join("tracer.sock"))?;
        std::thread::sleep(Duration::from_millis(delay));
        process.stop(Signal::SIGTERM, LIMIT)?;
        nothing_attached(&bed.node)?;
    }
    Ok(())
}

fn attempts(metrics: &Metrics) -> f64 {
    metrics.sum("tracer_attempts_total", &[])
}

/// What both of two daemons have to agree on.
fn counted(metrics: &Metrics) -> Vec<(String, String, String, f64)> {
    metrics
        .series("tracer_handshakes_total", &[])
        .map(|(of, n)| {
            let word = |label: &str| of[label].clone();
            (word("node_port"), word("outcome"), word("traffic"), n)
        })
        .collect()
}

#[test]
fn two_daemons_count_the_same_on_their_own() -> Result<()> {
    let (bed, _servers) = bed()?;
    let refused = || {
        let dial = Dial::new(&bed.client, (NODE_V4, CLOSED));
        dial.connect().map(|ended| assert!(ended.is_err()))
    };
    for taps in [["auto", "auto"], ["auto", "packet"], ["packet", "packet"]] {
        let binary = Tracer::binary()?;
        let start = |tap, port| {
            let args = ["--node-ports", PORTS, "--wire-tap", tap];
            Tracer::start_at(&bed.node, &binary, ([127, 0, 0, 1], port).into(), &args)
        };
        let (one, two) = (start(taps[0], 9400)?, start(taps[1], 9401)?);
        for _ in 0..5 {
            refused()?;
            Dial::new(&bed.client, (NODE_V6, OPEN)).connect_fin()?;
        }
        let both = [&one, &two].map(|tracer| {
            let done =
                |m: &Metrics| attempts(m) == 10.0 && m.sum("tracer_handshakes_pending", &[]) == 0.0;
            tracer.metrics_when(LIMIT, "not counted", done)
        });
        let [first, second] = both;
        let (first, second) = (first?, second?);
        assert_eq!(counted(&first), counted(&second));
        assert_eq!(
            first.sum("tracer_handshakes_total", &[("outcome", "refused")]),
            5.0
        );
        one.stop()?;
        refused()?;
        two.metrics_when(LIMIT, "the other one does not go on", |metrics| {
            attempts(metrics) == 11.0
        })?;
    }
    Ok(())
}

#[test]
fn a_frozen_daemon_goes_on_where_it_was() -> Result<()> {
    let (bed, _servers) = bed()?;
    let tracer = Tracer::start(&bed.node, &["--node-ports", PORTS])?;
    tracer.pause()?;
    for _ in 0..20 {
        Dial::new(&bed.client, (NODE_V4, OPEN)).connect_fin()?;
    }
    tracer.resume()?;
    let metrics = poll_until(LIMIT, "not counted", || {
        let metrics = tracer.metrics()?;
        Ok((attempts(&metrics) == 20.0).then_some(metrics))
    })?;
    let probes = [("outcome", "established"), ("traffic", "health_check")];
    assert_eq!(metrics.sum("tracer_handshakes_total", &probes), 20.0);
    Ok(())
}
