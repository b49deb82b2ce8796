//! What one process used.

use std::mem::MaybeUninit;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;

/// What a finished process used.
pub(super) struct Usage {
    /// As `waitpid` gives it: 0 for success.
    pub(super) status: i32,
    /// CPU time, in the kernel too.
    pub(super) cpu: Duration,
    /// Highest resident memory in bytes.
    pub(super) memory: u64,
}

/// Runs the command to its end.
pub(super) fn of(command: &mut Command) -> Result<Usage> {
    let program = command.get_program().display().to_string();
    let child = command
        .spawn()
        .with_context(|| format!("start {program}"))?;
    let pid = child.id().cast_signed();
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to memory of the right size, which lives on.
        let waited = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
        match Errno::result(waited) {
            Err(Errno::EINTR) => {}
            waited => break waited.map(drop).context("wait for a process")?,
        }
    }
    // SAFETY: all zeros is a valid rusage, and wait4 has written it.
    let usage = unsafe { usage.assume_init() };
    let time = |t: libc::timeval| {
        let us = t.tv_sec * 1_000_000 + t.tv_usec;
        Duration::from_micros(us.cast_unsigned())
    };
    Ok(Usage {
        status,
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
        memory: usage.ru_maxrss.cast_unsigned() * 1024,
    })
}
