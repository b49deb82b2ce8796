//! Never in the way: the same work with and without the daemon, in turns within one run.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};

use super::daemon::cpu_time;
use super::load::{Bed, Short};
use super::report::Row;
use super::spread::Spread;
use super::{Plan, start};

const SECTION: &str = "Never in the way";
/// Promised: CPU time with the daemon to CPU time without.
const CPU_RATIO: f64 = 1.03;
const MIB: f64 = 1024.0 * 1024.0;
const CHUNK: usize = 64 * 1024;
/// Turns of each kind of work per arm.
const TURNS: usize = 5;
/// After a daemon's start or end the kernel is busy for a while, freeing what the verifier or the
/// maps had used.
const SETTLE: Duration = Duration::from_millis(1000);

/// Wall-clock and CPU seconds of a piece of work.
#[derive(Clone, Copy)]
struct Cost {
    time: f64,
    cpu: f64,
}

/// Both kinds of work in one arm.
#[derive(Clone, Copy)]
struct Arm {
    connections: Cost,
    bulk: Cost,
}

/// One round: twice without the daemon, once with it.
pub(super) struct Round<A> {
    pub(super) bare: A,
    pub(super) again: A,
    pub(super) traced: A,
}

impl<A> Round<A> {
    /// Runs the arms, told whether to run the daemon. Their order turns from round to round, so
    /// that none is always the first.
    ///
    /// # Errors
    /// One of the arms fails.
    pub(super) fn run(number: usize, mut arm: impl FnMut(bool) -> Result<A>) -> Result<Self> {
        let mut arms = [None, None, None];
        for i in 0..3 {
            let which = (i + number) % 3;
            arms[which] = Some(arm(which == 2)?);
        }
        let [Some(bare), Some(again), Some(traced)] = arms else {
            bail!("an arm that did not run");
        };
        Ok(Self {
            bare,
            again,
            traced,
        })
    }
}

/// As many rounds as the plan says.
pub(super) fn rows(bed: &Bed, binary: &Path, plan: &Plan) -> Result<Vec<Row>> {
    arm(bed, plan, None)?;
    let turn = |daemon: bool| arm(bed, plan, daemon.then_some(binary));
    let rounds = (0..plan.pairs).map(|number| Round::run(number, turn));
    let rounds: Vec<Round<Arm>> = rounds.collect::<Result<_>>()?;
    let mut rows = Vec::new();
    let count = plan.pair_connections as f64;
    let mib = (plan.pair_chunks * CHUNK) as f64 / MIB;
    let spread = |value: &dyn Fn(&Round<Arm>) -> f64| Spread::of(rounds.iter().map(value));
    let row = |figure: &str, unit, value: &dyn Fn(&Round<Arm>) -> f64| {
        Row::new(SECTION, figure, unit, spread(value))
    };
    rows.push(row("connect/call/close, bare", "connections/s", &|r| {
        count / r.bare.connections.time
    }));
    rows.push(row(
        "connect/call/close, with the daemon",
        "connections/s",
        &|r| count / r.traced.connections.time,
    ));
    rows.push(row(
        "connect/call/close, bare: CPU time",
        "µs/connection",
        &|r| r.bare.connections.cpu * 1e6 / count,
    ));
    rows.extend(compare("connect/call/close", &rounds, |arm| {
        arm.connections
    }));
    rows.push(row("bulk transfer, bare", "MiB/s", &|r| {
        mib / r.bare.bulk.time
    }));
    rows.push(row("bulk transfer, with the daemon", "MiB/s", &|r| {
        mib / r.traced.bulk.time
    }));
    rows.extend(compare("bulk transfer", &rounds, |arm| arm.bulk));
    Ok(rows)
}

/// Ratios of rate and of CPU time, each with its null arm before it.
fn compare(work: &str, rounds: &[Round<Arm>], of: fn(&Arm) -> Cost) -> Vec<Row> {
    let ratio = |value: fn(Cost, Cost) -> f64, arm: fn(&Round<Arm>) -> &Arm| {
        let values = rounds.iter().map(|r| value(of(arm(r)), of(&r.bare)));
        Spread::of(values)
    };
    let rate = |a: Cost, b: Cost| b.time / a.time;
    let cpu = |a: Cost, b: Cost| a.cpu / b.cpu;
    let row = |figure: &str, value| Row::new(SECTION, format!("{work}: {figure}"), "ratio", value);
    let null = ratio(rate, |r| &r.again);
    let traced = ratio(rate, |r| &r.traced);
    let promise = format!("≥ {:.3} (noise: Q1 of bare to bare)", null.q1);
    let kept = traced.median >= null.q1;
    let cpu_null = ratio(cpu, |r| &r.again);
    vec![
        row("rate, bare to bare (noise)", null),
        row("rate, with the daemon to bare", traced).promised(promise, kept),
        row("CPU time, bare to bare (noise)", cpu_null),
        row(
            "CPU time, with the daemon to bare",
            ratio(cpu, |r| &r.traced),
        )
        .at_most_beside(CPU_RATIO, &cpu_null),
    ]
}

fn arm(bed: &Bed, plan: &Plan, daemon: Option<&Path>) -> Result<Arm> {
    let tracer = daemon.map(|binary| start(bed, binary, &[])).transpose()?;
    let pid = tracer.as_ref().map(|tracer| tracer.process().pid());
    sleep(SETTLE);
    // Whatever ran before has other things in the caches.
    bed.short(Short::Call, plan.pair_connections / 2)?;
    let arm = Arm {
        connections: best(pid, || bed.short(Short::Call, plan.pair_connections))?,
        bulk: best(pid, || bed.bulk(plan.pair_chunks * CHUNK))?,
    };
    if let Some(tracer) = tracer {
        tracer.stop()?;
    }
    Ok(arm)
}

/// The least of several turns: what else runs on the machine only ever adds.
fn best(daemon: Option<i32>, mut work: impl FnMut() -> Result<()>) -> Result<Cost> {
    let mut best = cost(daemon, &mut work)?;
    for _ in 1..TURNS {
        let next = cost(daemon, &mut work)?;
        best.time = best.time.min(next.time);
        best.cpu = best.cpu.min(next.cpu);
    }
    Ok(best)
}

fn cost(daemon: Option<i32>, work: impl FnOnce() -> Result<()>) -> Result<Cost> {
    let cpu = || -> Result<f64> {
        let own = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).context("CPU clock")?;
        let daemon = daemon.map_or(Ok(0.0), |pid| cpu_time(pid).map(|t| t.as_secs_f64()))?;
        Ok(own.num_nanoseconds() as f64 / 1e9 + daemon)
    };
    let (start, before) = (Instant::now(), cpu()?);
    work()?;
    Ok(Cost {
        time: start.elapsed().as_secs_f64(),
        cpu: cpu()? - before,
    })
}
