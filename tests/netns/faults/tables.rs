//! Tables of the kernel programs that are full: attempts are exact, what has no
//! place is counted and told once, and what has one goes on.

use std::{
    net::SocketAddr,
    os::fd::{AsRawFd as _, OwnedFd},
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use nix::{
    errno::Errno,
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, socket},
    },
    time::{ClockId, clock_gettime},
};
use testbed::{
    Metrics, RawClient, Topology, Tracer,
    addr::{NODE_V4, phantom_v4},
    flood::Frames,
    maps::Array,
    peer::Dial,
    process::poll_until,
    rules,
    segment::Segment,
    tun::TunPeer,
};

/// The hooks see the sockets of every namespace: these are this file's.
const PORTS: &str = "31530-31531";
const CLOSED: u16 = 31530;
const SILENT: u16 = 31531;
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// Dials at once: more than any table of the programs has places for small things.
const DIALS: usize = 4296;
/// Places in the table of backends.
const BACKENDS: u32 = 1024;

fn node(port: u16) -> SocketAddr {
    (NODE_V4, port).into()
}

/// Events that a stage has lost.
pub(super) fn lost(metrics: &Metrics, stage: &str) -> f64 {
    metrics.sum("tracer_events_lost_total", &[("stage", stage)])
}

/// One line when it begins, however many are lost.
fn is_told(tracer: &Tracer<'_>, stage: &str, words: &str) -> Result<()> {
    poll_until(LIMIT, "not told", || {
        let said = tracer.process().stderr();
        let told = |line: &&str| line.contains(&format!("stage={stage}")) && line.contains(words);
        match said.lines().filter(told).count() {
            0 => Ok(None),
            1 => Ok(Some(())),
            many => bail!("{many} lines: {said}"),
        }
    })
}

/// A dial that nobody answers, and that waits.
fn begin(to: SocketAddr) -> Result<OwnedFd> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let dial = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    match connect(dial.as_raw_fd(), &SockaddrStorage::from(to)) {
        Err(Errno::EINPROGRESS) => Ok(dial),
        ended => bail!("{ended:?}"),
    }
}

fn files(count: usize) -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let count = count as u64 + 1000;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, count, hard.max(count))?)
}

#[test]
fn dials_need_no_place() -> Result<()> {
    files(DIALS)?;
    let bed = Topology::builder().pods(0).build()?;
    rules::drop_syns(&bed.node, SILENT)?;
    let tracer = Tracer::start(&bed.node, &["--node-ports", PORTS])?;
    let dials = |m: &Metrics, outcome| {
        let labels = [("outcome", outcome)];
        m.sum("tracer_local_connects_total", &labels)
    };
    let waiting = bed.client.enter(|| -> Result<Vec<OwnedFd>> {
        let all = (0..DIALS).map(|_| begin(node(SILENT)));
        all.collect()
    })??;
    drop(waiting);
    let given_up = |m: &Metrics| dials(m, "cancelled") == DIALS as f64;
    tracer.metrics_when(LIMIT, "not given up", given_up)?;
    let ended = Dial::new(&bed.client, node(CLOSED)).connect()?;
    ensure!(ended.is_err(), "connected");
    let after = tracer.metrics_when(LIMIT, "not followed", |m| dials(m, "refused") == 1.0)?;
    after.balanced()?;
    assert_eq!(lost(&after, "dials"), 0.0);
    Ok(())
}

/// Nearly two thousand pods behind the port that swallow what comes.
pub(super) fn silent_pods(bed: &Topology, port: u16) -> Result<TunPeer> {
    let pods = TunPeer::silent(&bed.node, &["10.244.8.0/21"])?;
    bed.node.sysctls(&[("net/ipv4/ip_forward", "1")])?;
    let choose = format!("tcp dport {port} dnat ip to 10.244.8.1-10.244.15.254:9090");
    rules::nat(&bed.node, "prerouting", &choose)?;
    Ok(pods)
}

#[test]
fn more_backends_than_places() -> Result<()> {
    let bed = Topology::builder().pods(0).build()?;
    let _pods = silent_pods(&bed, SILENT)?;
    let args = ["--node-ports", PORTS, "--handshake-timeout", "1s"];
    let tracer = Tracer::start(&bed.node, &args)?;
    let timed_out = |m: &Metrics| {
        let timed_out = [("outcome", "timed_out")];
        m.sum("tracer_handshakes_total", &timed_out)
    };
    let raw = RawClient::open(&bed.client)?;
    let first = SocketAddr::from((phantom_v4(0), 777));
    raw.syn_only(first, node(SILENT), 1)?;
    tracer.metrics_when(LIMIT, "not counted", |m| timed_out(m) == 1.0)?;
    // Each source has a backend of its own, or nearly so.
    let sources = 1..BACKENDS * 4;
    let syns = sources.clone().map(|i| {
        let from = SocketAddr::from((phantom_v4(i), 777));
        Segment::syn(from, node(SILENT), 1)
    });
    Frames::to_node(&bed.client)?.send(syns)?;
    let all = f64::from(BACKENDS * 4);
    let full = tracer.metrics_when(LIMIT, "not counted", |m| {
        timed_out(m) == all && m.sum("tracer_handshake_failures_total", &[]) == all
    })?;
    full.balanced()?;
    ensure!(
        lost(&full, "backends") > 100.0,
        "{}",
        lost(&full, "backends")
    );
    is_told(&tracer, "backends", "the table of backends is full")?;
    // Who has a place keeps it.
    raw.syn_only(first, node(SILENT), 9_000_000)?;
    let after = tracer.metrics_when(LIMIT, "not counted", |m| timed_out(m) == all + 1.0)?;
    assert_eq!(lost(&after, "backends"), lost(&full, "backends"));
    long_past(&tracer)?;
    // As many new ones as there are places have one.
    let syns = (0..BACKENDS / 4).map(|i| {
        let from = SocketAddr::from((phantom_v4(0x1_0000 + i), 777));
        Segment::syn(from, node(SILENT), 1)
    });
    Frames::to_node(&bed.client)?.send(syns)?;
    let all = all + 1.0 + f64::from(BACKENDS / 4);
    let after = tracer.metrics_when(LIMIT, "not counted", |m| timed_out(m) == all)?;
    after.balanced()?;
    assert_eq!(lost(&after, "backends"), lost(&full, "backends"));
    is_over(&tracer, "backends")
}

/// Makes the backends as old as they would be in a quarter of an hour, and waits
/// until their places are free.
fn long_past(tracer: &Tracer<'_>) -> Result<()> {
    // struct Backend: seen_s, then port.
    const SIZE: u32 = 40;
    const SEEN: std::ops::Range<usize> = 32..36;
    const PORT: std::ops::Range<usize> = 36..38;
    let table = Array::of(tracer.process().pid(), BACKENDS, SIZE)?;
    let is_free = |value: &Vec<u8>| value[PORT] == [0, 0];
    let age = || -> Result<()> {
        for (place, mut value) in (0..).zip(table.values()?) {
            if !is_free(&value) {
                value[SEEN].fill(0);
                table.set(place, value)?;
            }
        }
        Ok(())
    };
    let taken = table.values()?.iter().filter(|v| !is_free(v)).count();
    ensure!(taken > 900, "only {taken} places taken");
    age()?;
    // Counted from the start of the machine.
    let up = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
    let left = Duration::from_secs(15 * 60).saturating_sub(up);
    poll_until(left + 2 * LIMIT, "places stay taken", || {
        Ok(table.values()?.iter().all(is_free).then_some(()))
    })
}

/// A minute after the last loss, one line with how many there were.
pub(super) fn is_over(tracer: &Tracer<'_>, stage: &str) -> Result<()> {
    let over = |line: &&str| {
        line.contains("no more events are lost") && line.contains(&format!("stage={stage}"))
    };
    poll_until(2 * LIMIT, "not told that it is over", || {
        let said = tracer.process().stderr();
        Ok((said.lines().filter(over).count() == 1).then_some(()))
    })
}

/// Places for own addresses.
const ADDRESSES: u32 = 1024;

#[test]
fn more_own_addresses_than_places() -> Result<()> {
    let bed = Topology::builder().pods(0).build()?;
    let tracer = Tracer::start(&bed.node, &["--node-ports", PORTS])?;
    let all = |what: &str, numbers: std::ops::Range<u32>| {
        let line = |i: u32| format!("addr {what} 10.70.{}.{}/32 dev lo\n", i / 250, i % 250 + 1);
        bed.node.ip(&numbers.map(line).collect::<String>())
    };
    let at = |i: u32| {
        let address = [10, 70, (i / 250) as u8, (i % 250 + 1) as u8];
        SocketAddr::from((address, CLOSED))
    };
    let dial = |i| -> Result<()> {
        let ended = Dial::new(&bed.client, at(i)).connect()?;
        ensure!(ended.is_err(), "connected");
        Ok(())
    };
    let attempts = |m: &Metrics| m.sum("tracer_attempts_total", &[]);
    all("add", 0..ADDRESSES)?;
    poll_until(LIMIT, "not told", || {
        let said = tracer.process().stderr();
        Ok(said
            .contains("SYNs to own addresses are not counted")
            .then_some(()))
    })?;
    let full = |m: &Metrics| m.sum("tracer_node_addresses", &[]) == f64::from(ADDRESSES);
    tracer.metrics_when(LIMIT, "not full", full)?;
    // The last one has no place; the first has, and shows that both were seen.
    dial(ADDRESSES - 1)?;
    dial(0)?;
    tracer.metrics_when(LIMIT, "not counted", |m| attempts(m) == 1.0)?;
    all("del", 100..200)?;
    let added = |line: &str| line.contains("own address added\" address=10.70.4.24");
    poll_until(LIMIT, "not told", || {
        let said = tracer.process().stderr();
        Ok(said.lines().any(added).then_some(()))
    })?;
    dial(ADDRESSES - 1)?;
    let after = tracer.metrics_when(LIMIT, "not counted", |m| attempts(m) == 2.0)?;
    after.balanced()
}
