//! The guest's clock as a counter of instructions.
//!
//! Under `-icount shift=0` the time-stamp counter goes up by one with each instruction that the
//! one CPU executes, in the kernel, its interrupts and programs as in user space, and while the CPU
//! halts it jumps to the next timer (`sleep=off`). The kernel knows how long it has halted to the
//! nanosecond (`idle_sleeptime` of /proc/timer_list), so busy is what is left. A repeated string
//! instruction counts once per turn, and memory costs nothing. The kernel's statistics of BPF
//! programs are in nanoseconds of this counter, at the rate that the kernel found at boot.

use std::arch::asm;
use std::arch::x86_64::_rdtsc;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::bench::report::Row;
use crate::bench::spread::Spread;

/// Turns of the known loop, of two instructions each: short beside the kernel's tick of 4 ms.
const TURNS: u64 = 250_000;
/// Tries of it.
const TRIES: usize = 7;
/// By how much the median may be off.
const EXACT: f64 = 0.001;
/// A time in which nothing is to be done.
const REST: Duration = Duration::from_secs(1);
/// Instructions that the kernel may take meanwhile: its tick, and what waits for time to pass.
const AT_REST: f64 = 10e6;

/// Instructions that the machine executed while `work` ran.
///
/// # Errors
/// `work` fails, or the kernel does not tell how long it was idle.
pub(super) fn instructions(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let idle_before = idle_ns()?;
    let before = now();
    work()?;
    let after = now();
    let idle = idle_ns()? - idle_before;
    Ok((after - before) as f64 - idle as f64)
}

/// Whether this is such a clock: a loop of known length counts its length, sleep counts next to
/// nothing, and the kernel's nanoseconds are instructions.
///
/// # Errors
/// It is not.
pub(super) fn check(section: &str) -> Result<Vec<Row>> {
    let expected = (2 * TURNS) as f64;
    let known = (0..TRIES).map(|_| {
        let before = now();
        spin(TURNS);
        Ok((now() - before) as f64 / expected)
    });
    let known = Spread::of(known.collect::<Result<Vec<_>>>()?);
    ensure!(
        (known.median - 1.0).abs() < EXACT,
        "a loop of {expected} instructions counts {known:?} times as many: no clock of instructions"
    );
    let (start, before) = (Instant::now(), now());
    let rest = instructions(|| {
        sleep(REST);
        Ok(())
    })?;
    let rate = (now() - before) as f64 / start.elapsed().as_nanos() as f64;
    ensure!(
        (rate - 1.0).abs() < EXACT,
        "the kernel takes {rate} instructions for a nanosecond"
    );
    ensure!(
        (0.0..AT_REST).contains(&rest),
        "a second of sleep counts {rest} instructions: idle time is not told from work"
    );
    let row = |what: &str, unit, value| {
        Row::new(section.to_owned(), format!("check: {what}"), unit, value)
    };
    let one = Spread::of;
    Ok(vec![
        row("a known loop, counted to known", "ratio", known),
        row("a second of sleep", "instructions", one([rest])),
        row("a nanosecond of the kernel", "instructions", one([rate])),
    ])
}

fn now() -> u64 {
    // SAFETY: every x86-64 CPU has the instruction, and Linux allows it.
    unsafe { _rdtsc() }
}

/// Two instructions per turn.
fn spin(turns: u64) {
    // SAFETY: counts a register down to 0 and touches nothing else.
    unsafe { asm!("2:", "dec {0}", "jnz 2b", inout(reg) turns => _, options(nomem, nostack)) };
}

/// Nanoseconds that the one CPU has halted since boot.
fn idle_ns() -> Result<i64> {
    let list = fs::read_to_string("/proc/timer_list").context("read /proc/timer_list")?;
    let line = list.lines().find(|line| line.contains(".idle_sleeptime"));
    let words = line.and_then(|line| line.split_once(':'));
    let value = words.and_then(|(_, value)| value.trim().strip_suffix(" nsecs"));
    let value = value.context("no idle_sleeptime in /proc/timer_list")?;
    value.parse().context("idle_sleeptime")
}
