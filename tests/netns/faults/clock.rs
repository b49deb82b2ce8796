//! The system clock is set while the daemon counts.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::time::TimeValLike as _,
    time::{ClockId, clock_gettime, clock_settime},
};
use serde_json::Value;
use testbed::{Metrics, Topology, Tracer, addr::NODE_V4, peer::Dial, process::poll_until};

/// The hooks see the sockets of every namespace: these are this file's.
const PORTS: &str = "31523-31524";
const CLOSED: u16 = 31523;
const LIMIT: Duration = Duration::from_secs(30);
const DAY: i64 = 86_400;

/// Seconds since the epoch, as the machine has it now.
fn wall() -> Result<f64> {
    Ok(Duration::from(clock_gettime(ClockId::CLOCK_REALTIME)?).as_secs_f64())
}

/// Sets the clock of the whole machine, to whole seconds: in a guest only.
fn step(by: i64) -> Result<()> {
    let now = clock_gettime(ClockId::CLOCK_REALTIME)?;
    let then = nix::sys::time::TimeSpec::seconds(now.tv_sec() + by);
    clock_settime(ClockId::CLOCK_REALTIME, then).context("set the clock")
}

/// Three more refusals are counted, `all` by then.
fn refuses(bed: &Topology, tracer: &Tracer<'_>, all: f64) -> Result<Metrics> {
    for _ in 0..3 {
        let ended = Dial::new(&bed.client, (NODE_V4, CLOSED)).connect()?;
        ensure!(ended.is_err(), "connected");
    }
    let metrics = tracer.metrics_when(LIMIT, "not counted", |m| {
        m.sum("tracer_handshakes_total", &[("outcome", "refused")]) == all
            && m.sum("tracer_handshake_failures_total", &[]) == all
    })?;
    metrics.balanced()?;
    Ok(metrics)
}

/// By a metric and a line for each, the last of which says by how much.
fn is_told(tracer: &Tracer<'_>, steps: usize, by: i64) -> Result<()> {
    tracer.metrics_when(LIMIT, "not counted", |m| {
        m.get("tracer_clock_steps_total", &[]) == Some(steps as f64)
    })?;
    let line = poll_until(LIMIT, "not told", || {
        let said = tracer.process().stderr();
        let told = said
            .lines()
            .filter(|l| l.contains("the system clock was stepped"));
        let told: Vec<&str> = told.collect();
        let last = told.last().map(|&line| line.to_owned());
        Ok(last.filter(|_| told.len() == steps))
    })?;
    let (_, rest) = line.split_once("by_s=").context("by how much")?;
    let told: f64 = rest.split(' ').next().unwrap_or_default().parse()?;
    ensure!((told - by as f64).abs() < 2.0, "{by}: {line}");
    Ok(())
}

/// What a command that asks the daemon says.
fn asked(bed: &Topology, tracer: &Tracer<'_>, what: &str) -> Result<String> {
    let mut command = bed.node.command(Tracer::binary()?)?;
    command.args([what, "-o", "json", "--socket"]);
    command.arg(tracer.socket());
    let mut process = bed.node.spawn(command)?;
    process.wait(LIMIT)?;
    Ok(process.stdout())
}

/// The daemon's start and its last failure are by the clock as it stands now, and
/// windows are as long as they were.
fn times_are_right(bed: &Topology, tracer: &Tracer<'_>, begun: Instant) -> Result<()> {
    let metrics = tracer.metrics()?;
    let start = metrics.get("process_start_time_seconds", &[]);
    let age = wall()? - start.context("no start")?;
    let at_most = begun.elapsed().as_secs_f64();
    // The kernel tells when it was booted in whole seconds.
    ensure!((-2.0..at_most + 2.0).contains(&age), "{age} s old");
    let events = asked(bed, tracer, "events")?;
    let last: Value = serde_json::from_str(events.lines().last().context("no event")?)?;
    let age = wall()? - last["time_s"].as_f64().with_context(|| events.clone())?;
    ensure!((-1.0..60.0).contains(&age), "{age} s ago: {events}");
    let explained: Value = serde_json::from_str(&asked(bed, tracer, "explain")?)?;
    let window = explained["window_s"].as_f64().context("no window")?;
    ensure!(window <= 60.0, "{window} s");
    ensure!(
        explained["ports"][0]["node_port"] == CLOSED,
        "{explained:#}"
    );
    Ok(())
}

#[test]
fn vm_the_clock_is_set_forth_and_back() -> Result<()> {
    if std::env::var_os("TRACER_GUEST").is_none() {
        println!("skipped: it sets the clock of the machine; runs in guests");
        return Ok(());
    }
    let bed = Topology::builder().pods(0).build()?;
    let begun = Instant::now();
    let tracer = Tracer::start(&bed.node, &["--node-ports", PORTS])?;
    let mut before = refuses(&bed, &tracer, 3.0)?;
    assert_eq!(before.get("tracer_clock_steps_total", &[]), Some(0.0));
    times_are_right(&bed, &tracer, begun)?;
    for (steps, by) in (1..).zip([DAY, -2 * DAY, DAY]) {
        step(by)?;
        let after = refuses(&bed, &tracer, 3.0 * (steps + 1) as f64)?;
        let fallen = after.fallen_since(&before);
        ensure!(fallen.is_empty(), "{fallen:?}");
        before = after;
        is_told(&tracer, steps, by)?;
        times_are_right(&bed, &tracer, begun)?;
    }
    let answers = "tracer_handshake_answer_seconds_sum";
    let seconds = before.sum(answers, &[]);
    ensure!(seconds < 60.0, "{seconds} s for 12 answers");
    let errors = tracer.process().stderr();
    ensure!(!errors.contains("level=error"), "{errors}");
    Ok(())
}
