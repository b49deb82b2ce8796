//! CPU time of the daemon itself.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::time::TimeValLike;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use super::load::{Bed, Short};
use super::report::Row;
use super::spread::Spread;
use super::{Plan, start};

const SECTION: &str = "Daemon, CPU time";
/// Promised: µs of the daemon per short connection.
const CONNECTION_US: f64 = 0.5;
/// Promised: per cent of a core at [`RATE`].
const SHARE: f64 = 1.0;
/// Connections a second.
const RATE: u32 = 1000;

/// CPU time of the daemon at rest, under short connections, and under failures.
pub(super) fn rows(bed: &Bed, binary: &Path, plan: &Plan) -> Result<Vec<Row>> {
    let tracer = start(bed, binary, &[])?;
    let pid = tracer.process().pid();
    bed.short(Short::Call, 100)?;
    // With the first failure it looks up the kernel's symbols, once.
    bed.short(Short::Refused, 100)?;
    sleep(plan.idle);
    let mut idle = Vec::new();
    let mut paced = Vec::new();
    let mut each = Vec::new();
    let mut failing = Vec::new();
    for _ in 0..plan.cpu_rounds {
        let (time, cpu) = timed(pid, || {
            sleep(plan.idle);
            Ok(())
        })?;
        let rest = cpu.as_secs_f64() / time.as_secs_f64();
        idle.push(rest * 100.0);
        let count = plan.paced_connections;
        let (time, cpu) = timed(pid, || bed.paced(Short::Call, count, RATE))?;
        paced.push(cpu.as_secs_f64() / time.as_secs_f64() * 100.0);
        let above_rest = cpu.as_secs_f64() - rest * time.as_secs_f64();
        each.push(above_rest * 1e6 / f64::from(count));
    }
    // Judged with some delay: kept apart from rest.
    for _ in 0..plan.cpu_rounds {
        let (time, cpu) = timed(pid, || {
            bed.paced(Short::Refused, plan.paced_connections, RATE)
        })?;
        failing.push(cpu.as_secs_f64() / time.as_secs_f64() * 100.0);
    }
    let row =
        |figure: &str, unit, values: Vec<f64>| Row::new(SECTION, figure, unit, Spread::of(values));
    Ok(vec![
        row("at rest", "% of a core", idle),
        row("at 1,000 short connections/s", "% of a core", paced).at_most(Some(SHARE)),
        row("per short connection, above rest", "µs/connection", each).at_most(Some(CONNECTION_US)),
        row("at 1,000 failures/s", "% of a core", failing),
    ])
}

/// CPU time that a process has used, its threads included.
pub(super) fn cpu_time(pid: i32) -> Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid)).context("CPU clock of a process")?;
    let time = clock_gettime(clock).context("read the CPU clock of a process")?;
    Ok(Duration::from_nanos(time.num_nanoseconds().unsigned_abs()))
}

/// Wall-clock time of `work`, and the CPU time that the process used meanwhile.
pub(super) fn timed(pid: i32, work: impl FnOnce() -> Result<()>) -> Result<(Duration, Duration)> {
    let (start, before) = (Instant::now(), cpu_time(pid)?);
    work()?;
    Ok((start.elapsed(), cpu_time(pid)?.saturating_sub(before)))
}
