//! This process, as /proc describes it (proc(5)).

use procfs::{CurrentSI as _, process::LimitValue};

/// What is known; a value is absent when the kernel does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// User and system CPU time in seconds.
    pub cpu_seconds: Option<f64>,
    /// Resident memory in bytes.
    pub resident_bytes: Option<u64>,
    /// Virtual memory in bytes.
    pub virtual_bytes: Option<u64>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// Soft limit of file descriptors.
    pub max_fds: Option<u64>,
    /// Start in seconds since the epoch.
    pub start_seconds: Option<f64>,
}

impl Process {
    /// Reads /proc/self.
    #[must_use]
    pub fn read() -> Self {
        let Ok(process) = procfs::process::Process::myself() else {
            return Self::default();
        };
        let limits = process.limits().ok();
        let max_fds = limits.and_then(|limits| match limits.max_open_files.soft_limit {
            LimitValue::Value(limit) => Some(limit),
            LimitValue::Unlimited => None,
        });
        let fds = Self {
            open_fds: process.fd_count().ok().map(|count| count as u64),
            max_fds,
            ..Self::default()
        };
        let Ok(stat) = process.stat() else { return fds };
        let ticks = procfs::ticks_per_second() as f64;
        // Read anew: it moves with the system clock when that is set.
        let boot = procfs::KernelStats::current().ok().map(|stat| stat.btime);
        Self {
            cpu_seconds: Some((stat.utime + stat.stime) as f64 / ticks),
            resident_bytes: Some(stat.rss * procfs::page_size()),
            virtual_bytes: Some(stat.vsize),
            start_seconds: boot.map(|boot| boot as f64 + stat.starttime as f64 / ticks),
            ..fds
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_described() {
        let process = Process::read();
        assert!(process.cpu_seconds.is_some());
        assert!(process.resident_bytes.unwrap() > 100_000);
        assert!(process.virtual_bytes >= process.resident_bytes);
        assert!(process.open_fds.unwrap() >= 3);
        let now = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .unwrap()
            .as_secs_f64();
        assert!(process.start_seconds.unwrap() <= now + 1.0);
    }
}
