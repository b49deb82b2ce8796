//! HTTP clients that are slow on purpose do not stop scraping.

use std::{
    io::Write as _,
    net::{IpAddr, TcpStream},
    os::unix::net::UnixStream,
    time::Duration,
};

use anyhow::{Result, ensure};
use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    socket::{setsockopt, sockopt},
};
use testbed::{
    RawClient, Topology, Tracer,
    addr::{NODE_V4, phantom_v4},
    process::poll_until,
    tracer::LISTEN,
};

/// The hooks see the sockets of every namespace: these are this test's.
const FIRST: u16 = 31300;
const PORTS: u16 = 60;
const LIMIT: Duration = Duration::from_secs(30);

/// A daemon whose page is long: every port has something to tell.
fn tracer(bed: &Topology) -> Result<Tracer<'_>> {
    let ports = format!("{FIRST}-{}", FIRST + PORTS - 1);
    let tracer = Tracer::start(&bed.node, &["--node-ports", &ports])?;
    let raw = RawClient::open(&bed.client)?;
    for port in FIRST..FIRST + PORTS {
        let from = (IpAddr::from(phantom_v4(1)), 5000).into();
        raw.syn_only(from, (IpAddr::from(NODE_V4), port).into(), 1)?;
    }
    tracer.metrics_when(LIMIT, "not all ports", |metrics| {
        metrics
            .values_of("tracer_attempts_total", "node_port")
            .len()
            == usize::from(PORTS)
    })?;
    Ok(tracer)
}

fn connect(bed: &Topology) -> Result<TcpStream> {
    Ok(bed.node.enter(|| TcpStream::connect(LISTEN))??)
}

/// Scrapes must go on: a failed one may be tried again, as Prometheus does.
fn goes_on(tracer: &Tracer<'_>) -> Result<()> {
    for _ in 0..5 {
        poll_until(LIMIT, "no scrape", || Ok(tracer.metrics().ok()))?;
    }
    Ok(())
}

#[test]
fn requests_that_never_end() -> Result<()> {
    let bed = Topology::builder().build()?;
    let tracer = tracer(&bed)?;
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut stream = connect(&bed)?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: slow\r\nX-")?;
        slow.push(stream);
    }
    goes_on(&tracer)
}

/// More than any limit, and more than wait in the kernel's queue.
const MANY: usize = 10_000;

/// Lets this process have so many files open, and more.
fn files(count: usize) -> Result<()> {
    let count = u64::try_from(count)? + 1000;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, count, hard.max(count))?;
    Ok(())
}

#[test]
fn ten_thousand_connections() -> Result<()> {
    files(MANY)?;
    let bed = Topology::builder().build()?;
    let tracer = tracer(&bed)?;
    let connected = bed.node.enter(|| -> Result<Vec<TcpStream>> {
        let connect = |_| Ok(TcpStream::connect_timeout(&LISTEN, LIMIT)?);
        (0..MANY).map(connect).collect()
    })??;
    goes_on(&tracer)?;
    ensure!(connected.len() == MANY, "{} connections", connected.len());
    drop(connected);
    let held = (0..MANY).map(|_| UnixStream::connect(tracer.socket()));
    let held = held.collect::<Result<Vec<_>, _>>()?;
    goes_on(&tracer)?;
    let status = poll_until(LIMIT, "no answer at the socket", || {
        let mut command = bed.node.command(Tracer::binary()?)?;
        command.args(["explain", "--socket"]).arg(tracer.socket());
        let mut process = bed.node.spawn(command)?;
        let status = process.wait(LIMIT)?;
        Ok(matches!(status.code(), Some(0 | 3)).then_some(status))
    })?;
    ensure!(held.len() == MANY, "{status}");
    let metrics = tracer.metrics()?;
    metrics.balanced()?;
    let open = metrics.sum("process_open_fds", &[]);
    ensure!(open < 500.0, "{open} descriptors");
    Ok(())
}

#[test]
fn answers_that_are_never_read() -> Result<()> {
    let bed = Topology::builder().build()?;
    let tracer = tracer(&bed)?;
    let page = tracer.scrape("*/*")?.len();
    ensure!(page > 64 * 1024, "a page of {page} bytes only");
    let mut deaf = Vec::new();
    for _ in 0..8 {
        let mut stream = connect(&bed)?;
        setsockopt(&stream, sockopt::RcvBuf, &2048)?;
        for _ in 0..50 {
            write!(stream, "GET /metrics HTTP/1.1\r\nHost: deaf\r\n\r\n")?;
        }
        deaf.push(stream);
    }
    goes_on(&tracer)
}
