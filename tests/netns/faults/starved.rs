//! The daemon gets hardly any time, or none: counts are exact afterwards, what
//! was lost is counted, and it goes on.

use std::{
    net::SocketAddrV4,
    ops::RangeInclusive,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use testbed::{
    Metrics, RawClient, Topology, Tracer,
    addr::{NODE_V4, phantom_v4},
    flood,
    process::poll_until,
};

/// The hooks see the sockets of every namespace: these are this file's.
const PORTS: &str = "31527-31529";
const CLOSED: u16 = 31527;
const LIMIT: Duration = Duration::from_secs(60);

fn refused(metrics: &Metrics) -> f64 {
    metrics.sum("tracer_handshakes_total", &[("outcome", "refused")])
}

fn lost(metrics: &Metrics, stage: &str) -> f64 {
    metrics.sum("tracer_events_lost_total", &[("stage", stage)])
}

/// Sends so many SYNs, all refused; returns how many left.
fn knock(bed: &Topology, count: u32, rate: u32) -> Result<RangeInclusive<f64>> {
    let to = SocketAddrV4::new(NODE_V4, CLOSED);
    flood::syns_that_left(&bed.client, to, 0..count, rate)
}

/// All of them, to the last one, each with a verdict.
fn all_counted(tracer: &Tracer<'_>, count: &RangeInclusive<f64>) -> Result<Metrics> {
    let judged = |metrics: &Metrics| metrics.sum("tracer_handshake_failures_total", &[]);
    let metrics = tracer.metrics_when(LIMIT, "not counted", |metrics| {
        let all = metrics.sum("tracer_attempts_total", &[]);
        count.contains(&all) && refused(metrics) == all && judged(metrics) == all
    })?;
    metrics.balanced()?;
    Ok(metrics)
}

/// By one line. That it is over is told after a minute.
fn is_told(tracer: &Tracer<'_>, words: &str) -> Result<()> {
    poll_until(2 * LIMIT, words, || {
        let said = tracer.process().stderr();
        match said.lines().filter(|line| line.contains(words)).count() {
            0 => Ok(None),
            1 => Ok(Some(())),
            many => bail!("{many} lines: {said}"),
        }
    })
}

#[test]
fn a_ring_of_records_that_nobody_empties() -> Result<()> {
    const COUNT: u32 = 20_000;
    let bed = Topology::builder().pods(0).build()?;
    let tracer = Tracer::start(&bed.node, &["--node-ports", PORTS])?;
    tracer.pause()?;
    let sent = knock(&bed, COUNT, 20_000)?;
    tracer.resume()?;
    let metrics = all_counted(&tracer, &sent)?;
    let lost_then = lost(&metrics, "records");
    ensure!(lost_then > 10_000.0, "only {lost_then} records lost");
    is_told(&tracer, "events are lost: the ring of records is full")?;
    // From then on each failure has its event again.
    let raw = RawClient::open(&bed.client)?;
    raw.syn(
        (phantom_v4(0xf_0001), 777).into(),
        (NODE_V4, CLOSED).into(),
        1,
    )?;
    let metrics = all_counted(&tracer, &(sent.start() + 1.0..=sent.end() + 1.0))?;
    assert_eq!(lost(&metrics, "records"), lost_then);
    let mut command = bed.node.command(Tracer::binary()?)?;
    command
        .args(["events", "-o", "json", "--socket"])
        .arg(tracer.socket());
    let mut events = bed.node.spawn(command)?;
    events.wait(LIMIT)?;
    let last = phantom_v4(0xf_0001).to_string();
    ensure!(events.stdout().contains(&last), "no event for {last}");
    is_told(&tracer, "no more events are lost\" stage=records")
}

/// Hundredths of its time that the daemon gets.
const SHARE: u64 = 1;
/// Long enough for the daemon to be late by its own measure.
const PERIOD_MS: u64 = 7000;

/// Lets the daemon run for [`SHARE`] of each period, until told to stop.
fn throttle(tracer: &Tracer<'_>, stop: &AtomicBool) -> Result<()> {
    let run = Duration::from_millis(PERIOD_MS * SHARE / 100);
    while !stop.load(Ordering::Relaxed) {
        tracer.pause()?;
        std::thread::sleep(Duration::from_millis(PERIOD_MS) - run);
        tracer.resume()?;
        std::thread::sleep(run);
    }
    tracer.resume()
}

#[test]
fn one_hundredth_of_a_core() -> Result<()> {
    const COUNT: u32 = 40_000;
    let bed = Topology::builder().pods(0).build()?;
    let tracer = Tracer::start(&bed.node, &["--node-ports", PORTS])?;
    let stop = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let throttle = scope.spawn(|| throttle(&tracer, &stop));
        let sent = knock(&bed, COUNT, 2500);
        stop.store(true, Ordering::Relaxed);
        throttle
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        sent
    })?;
    let metrics = all_counted(&tracer, &sent)?;
    assert_eq!(metrics.sum("tracer_untracked_syns_total", &[]), 0.0);
    ensure!(metrics.sum("tracer_late_rounds_total", &[]) > 0.0);
    is_told(&tracer, "does not get the CPU time that it needs")?;
    ensure!(http_is_well(&tracer)?, "not ready");
    Ok(())
}

fn http_is_well(tracer: &Tracer<'_>) -> Result<bool> {
    Ok(tracer.scrape("*/*")?.contains("tracer_build_info"))
}
