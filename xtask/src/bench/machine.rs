//! The machine that a result belongs to.

use std::fmt;
use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::proc;

/// What to know about it.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    memory_gib: f64,
    kernel: String,
    hypervisor: bool,
    tracer: String,
    date: String,
    /// Load average of the last minute when the run began.
    load_before: f64,
}

impl Machine {
    /// Reads it from `/proc`, `uname` and `tracer --version`.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub(crate) fn read(tracer: &std::path::Path) -> Result<Self> {
        let cpuinfo = read("/proc/cpuinfo")?;
        let memory = read("/proc/meminfo")?;
        let kib = field(&memory, "MemTotal").unwrap_or("");
        let kib: f64 = kib.trim_end_matches(" kB").parse().context("MemTotal")?;
        let load = read("/proc/loadavg")?;
        let load = load.split(' ').next().unwrap_or("");
        let run = |program: &str, args: &[&str]| -> Result<String> {
            let text = proc::output(Command::new(program).args(args))?;
            Ok(text.trim().to_owned())
        };
        let tracer = tracer.to_string_lossy();
        Ok(Self {
            cpu: field(&cpuinfo, "model name")
                .unwrap_or("unknown")
                .to_owned(),
            cores: available_parallelism().context("count the cores")?.get(),
            memory_gib: kib / 1024.0 / 1024.0,
            kernel: run("uname", &["-r"])?,
            hypervisor: field(&cpuinfo, "flags").is_some_and(|f| f.contains(" hypervisor")),
            tracer: run(&tracer, &["--version"])?,
            date: run("date", &["-u", "+%Y-%m-%d"])?,
            load_before: load.parse().context("load average")?,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.hypervisor {
            "virtual machine"
        } else {
            "bare metal"
        };
        write!(
            f,
            "{}, {} on {} cores of {} ({kind}, {:.0} GiB), Linux {}, load {:.2} before the run",
            self.date,
            self.tracer,
            self.cores,
            self.cpu,
            self.memory_gib,
            self.kernel,
            self.load_before
        )
    }
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {path}"))
}

/// The value of the first line `NAME: VALUE`.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_field() {
        let text = "processor\t: 0\nmodel name\t: X 1\nprocessor\t: 1\nmodel name\t: X 2\n";
        assert_eq!(field(text, "model name"), Some("X 1"));
        assert_eq!(field(text, "model"), None);
    }
}
