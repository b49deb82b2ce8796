//! HTTP clients that are slow on purpose do not stop scraping.

use std::{
    io::Write as _,
    net::{IpAddr, TcpStream},
    time::Duration,
};

use anyhow::{Result, ensure};
use nix::sys::socket::{setsockopt, sockopt};
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
