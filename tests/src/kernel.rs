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
