//! Instructions in place of time: the same work with and without the daemon in a guest whose clock
//! QEMU drives by what it executes (`-icount shift=0`: one instruction, one nanosecond). What else
//! runs on this machine, its caches and its frequency do not matter there.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::report::Row;
use crate::{artifacts, vm};

#[cfg(target_arch = "x86_64")]
mod clock;
#[cfg(target_arch = "x86_64")]
pub(super) mod guest;

/// Boots the guest, in which this program runs [`guest::count`] with the same tracer binary.
///
/// # Errors
/// The guest cannot be built or does not boot, or the count fails there: what it printed is told.
pub(super) fn rows(binary: &Path, kernel: &str, quick: bool) -> Result<Vec<Row>> {
    let tracer = vm::Binary::file(binary.to_owned());
    let mut args = vec!["bench", "--in-guest", vm::SEEN.1, "--tracer"];
    let in_guest = tracer.in_guest()?;
    args.push(&in_guest);
    if quick {
        args.push("--quick");
    }
    let bench = vm::Binary {
        path: artifacts::xtask()?,
        args: args.into_iter().map(str::to_owned).collect(),
        env: Vec::new(),
        run: true,
    };
    let report = vm::run(kernel, &[tracer, bench], vm::Clock::Instructions)?;
    ensure!(
        report.exit == 0,
        "the guest says (static binaries alone run there):\n{}see {}",
        report.output,
        report.log.display()
    );
    let row = |line: &String| serde_json::from_str(line).with_context(|| line.clone());
    report.seen.iter().map(row).collect()
}
