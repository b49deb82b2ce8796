//! What one process used.

use std::fs;
use std::mem::MaybeUninit;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;

/// What a finished process used.
pub(super) struct Usage {
    /// As `waitpid` gives it: 0 for success.
    pub(super) status: i32,
    /// CPU time, in the kernel too.
    pub(super) cpu: Duration,
    /// Highest resident memory in bytes, as of the last of many looks: the kernel's figure for an
    /// ended process (`ru_maxrss`) is no less than what started it had (`exec_mmap`).
    pub(super) memory: u64,
}

/// Between two looks at the memory.
const LOOK: Duration = Duration::from_millis(1);

/// Runs the command to its end.
pub(super) fn of(command: &mut Command) -> Result<Usage> {
    let program = command.get_program().display().to_string();
    let child = command
        .spawn()
        .with_context(|| format!("start {program}"))?;
    let pid = child.id().cast_signed();
    let (mut status, mut memory) = (0, 0);
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // Gone once it has ended.
        memory = memory.max(highest(pid).unwrap_or(0));
        let (to, usage) = (&raw mut status, usage.as_mut_ptr());
        // SAFETY: both pointers are to memory of the right size, which lives on.
        let waited = unsafe { libc::wait4(pid, to, libc::WNOHANG, usage) };
        match Errno::result(waited) {
            Ok(0) => sleep(LOOK),
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
        memory,
    })
}

/// The most that a running process has had resident, in bytes.
fn highest(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_of_the_process_alone() {
        const OURS: usize = 64 << 20;
        let ours = vec![1_u8; OURS];
        let used = of(Command::new("sleep").arg("0.1")).unwrap();
        assert_eq!((used.status, ours[OURS - 1]), (0, 1));
        assert!(
            (1..OURS as u64 / 2).contains(&used.memory),
            "{}",
            used.memory
        );
    }
}
