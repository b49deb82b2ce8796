//! What the running kernel has.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

/// Major and minor number.
///
/// # Errors
/// /proc does not tell.
pub fn version() -> Result<(u32, u32)> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(['.', '-']).map(|n| n.trim().parse::<u32>());
    let mut next = || numbers.next().and_then(Result::ok).context(release.clone());
    Ok((next()?, next()?))
}

/// Whether programs are attached by tcx.
///
/// # Errors
/// As of [`version`].
pub fn has_tcx() -> Result<bool> {
    Ok(version()? >= (6, 6))
}

/// Stock kernels have kprobes and fentry; the build machines' has neither.
#[must_use]
pub fn has_probes() -> bool {
    Path::new("/sys/bus/event_source/devices/kprobe/type").exists()
}

/// How often the kernel has skipped programs of the process `pid` because the same one
/// was running on that CPU already: interrupted, or preempted (from 5.12).
///
/// # Errors
/// /proc does not tell.
pub fn skipped(pid: i32) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // Closed since.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        let lines = text.lines();
        let counts = lines.filter_map(|line| line.strip_prefix("recursion_misses:"));
        sum += counts
            .filter_map(|count| count.trim().parse::<u64>().ok())
            .sum::<u64>();
    }
    Ok(sum)
}
