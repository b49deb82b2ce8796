//! Full tables have room again, in minutes: `TRACER_LONG=1` waits for it.

use std::{
    net::SocketAddr,
    ops::Range,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use testbed::{
    Metrics, Topology, Tracer,
    addr::{NODE_V4, phantom_v4},
    flood::Frames,
    segment::Segment,
};

use super::tables::{is_over, lost, silent_pods};

/// More ports than there are places for kinds of failures (2,048).
const PORTS: &str = "30000-32499";
/// Sent on to pods that swallow what comes.
const SILENT: u16 = 30_000;
/// Nothing listens there.
const CLOSED: Range<u16> = 30_001..32_300;
/// Nor there: tried later.
const FRESH: Range<u16> = 32_300..32_500;
/// Sources: each has a backend of its own, or nearly so, of which 1,024 have a place.
const SOURCES: u32 = 4096;
const LIMIT: Duration = Duration::from_secs(60);

fn failed(metrics: &Metrics, verdict: &str) -> f64 {
    metrics.sum("tracer_handshake_failures_total", &[("verdict", verdict)])
}

/// A SYN of each source to each port; waits until all have failed, and have verdicts.
fn fail(
    bed: &Topology,
    tracer: &Tracer<'_>,
    sources: Range<u32>,
    ports: Range<u16>,
) -> Result<Metrics> {
    let failed = |m: &Metrics| m.sum("tracer_handshake_failures_total", &[]);
    let before = failed(&tracer.metrics()?);
    let count = sources.len() * ports.len();
    let syns = sources.flat_map(|source| {
        let from = SocketAddr::from((phantom_v4(source), 777));
        let to = move |port| SocketAddr::from((NODE_V4, port));
        ports
            .clone()
            .map(move |port| Segment::syn(from, to(port), 1))
    });
    Frames::to_node(&bed.client)?.send(syns)?;
    let metrics = tracer.metrics_when(LIMIT, "not judged", |m| {
        failed(m) == before + count as f64 && m.sum("tracer_handshakes_pending", &[]) == 0.0
    })?;
    metrics.balanced()?;
    Ok(metrics)
}

/// Fails now and then until nothing is lost.
fn until_none_is_lost(
    tracer: &Tracer<'_>,
    stage: &str,
    every: Duration,
    mut fail: impl FnMut() -> Result<Metrics>,
) -> Result<()> {
    let begun = Instant::now();
    let mut before = lost(&tracer.metrics()?, stage);
    for _ in 0..25 {
        std::thread::sleep(every);
        let after = lost(&fail()?, stage);
        if after == before {
            eprintln!("{stage}: room again after {:?}", begun.elapsed());
            return Ok(());
        }
        before = after;
    }
    bail!("{stage}: lost still after {:?}", begun.elapsed());
}

/// Kinds of failures: those that have not been seen for two minutes are forgotten.
fn kinds(bed: &Topology, tracer: &Tracer<'_>) -> Result<()> {
    let full = fail(bed, tracer, 0..1, CLOSED)?;
    let unexplained = failed(&full, "unexplained");
    ensure!(
        unexplained > 0.0 && lost(&full, "failures") > 0.0,
        "no loss"
    );
    let mut fresh = FRESH;
    until_none_is_lost(tracer, "failures", Duration::from_secs(15), || {
        let port = fresh.next().context("no more ports")?;
        fail(bed, tracer, 0..1, port..port + 1)
    })?;
    let before = tracer.metrics()?;
    let after = fail(bed, tracer, 0..1, fresh.clone())?;
    for verdict in ["unexplained", "no_service_rule"] {
        let rise = failed(&after, verdict) - failed(&before, verdict);
        let expected = if verdict == "unexplained" {
            0
        } else {
            fresh.len()
        };
        ensure!(rise as usize == expected, "{rise} {verdict}");
    }
    assert_eq!(lost(&after, "failures"), lost(&before, "failures"));
    is_over(tracer, "failures")
}

/// Of the last so many events at the port, how many have a backend.
fn with_backend(bed: &Topology, tracer: &Tracer<'_>, last: usize) -> Result<usize> {
    let mut command = bed.node.command(Tracer::binary()?)?;
    command.args(["events", "-o", "json", "--port", "30000", "--socket"]);
    command.arg(tracer.socket());
    let mut process = bed.node.spawn(command)?;
    process.wait(LIMIT)?;
    let said = process.stdout();
    let lines = said.lines().rev().take(last);
    let events = lines
        .map(serde_json::from_str)
        .collect::<Result<Vec<Value>, _>>()?;
    ensure!(events.len() == last, "{} events", events.len());
    Ok(events.iter().filter(|e| e["backend"].is_string()).count())
}

/// Backends: those that nothing was sent to for a quarter of an hour are forgotten.
fn backends(bed: &Topology, tracer: &Tracer<'_>) -> Result<()> {
    const EACH: u32 = 20;
    let silent = SILENT..SILENT + 1;
    let full = fail(bed, tracer, 0..SOURCES, silent.clone())?;
    ensure!(
        lost(&full, "backends") > 100.0,
        "{}",
        lost(&full, "backends")
    );
    let last = SOURCES as usize / 4;
    ensure!(with_backend(bed, tracer, last)? < last, "all have a place");
    let mut next = SOURCES;
    until_none_is_lost(tracer, "backends", Duration::from_secs(60), || {
        next += EACH;
        fail(bed, tracer, next - EACH..next, silent.clone())
    })?;
    let before = tracer.metrics()?;
    let after = fail(bed, tracer, next..next + EACH, silent)?;
    assert_eq!(lost(&after, "backends"), lost(&before, "backends"));
    assert_eq!(with_backend(bed, tracer, EACH as usize)?, EACH as usize);
    is_over(tracer, "backends")
}

#[test]
fn full_tables_have_room_again() -> Result<()> {
    if std::env::var_os("TRACER_LONG").is_none() {
        println!("skipped: it waits for 19 minutes; TRACER_LONG=1 does");
        return Ok(());
    }
    let bed = Topology::builder().pods(0).build()?;
    let _pods = silent_pods(&bed, SILENT)?;
    let args = ["--node-ports", PORTS, "--handshake-timeout", "1s"];
    let tracer = Tracer::start(&bed.node, &args)?;
    kinds(&bed, &tracer)?;
    backends(&bed, &tracer)
}
