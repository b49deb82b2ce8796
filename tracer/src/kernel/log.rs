//! Diagnostics that the kernel programs write (`--kernel-log`). Off, the level
//! is a constant for the verifier, which takes every call out.

use anyhow::Context as _;
use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Level, Log, Metadata, Record};

/// Writes the programs' messages to the daemon's log; details as `info`, since
/// who asks for them by `--kernel-log` wants to see them.
pub struct ToDaemonLog;

impl Log for ToDaemonLog {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let (kernel, message) = (record.target(), record.args());
        match record.level() {
            Level::Error => tracing::error!(kernel, "{message}"),
            Level::Warn => tracing::warn!(kernel, "{message}"),
            Level::Info | Level::Debug | Level::Trace => tracing::info!(kernel, "{message}"),
        }
    }

    fn flush(&self) {}
}

/// The reader of the programs' messages.
pub type KernelLog = EbpfLogger<ToDaemonLog>;

/// Starts reading; must be done before programs are loaded, which use its map.
pub fn start(ebpf: &mut Ebpf) -> anyhow::Result<KernelLog> {
    EbpfLogger::init_with_logger(ebpf, ToDaemonLog).context("read the kernel programs' log")
}
