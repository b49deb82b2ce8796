//! The log on standard error.

use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer as _, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::{
    config::{LogFormat, LogLevel},
    exit::Exit,
};

/// Target of what the kernel programs log.
const KERNEL: &str = "tracer_ebpf";

/// Targets of the client of the Kubernetes API. What goes wrong there is told once
/// by `services::kubernetes`, and without whole answers.
const API: [&str; 2] = ["kube_client", "kube_runtime"];

/// Starts logging, of the `log` crate's users too.
///
/// # Errors
/// When logging has been started before.
pub fn start(level: LogLevel, format: LogFormat) -> Result<(), Exit> {
    let out = match format {
        LogFormat::Logfmt => tracing_logfmt::builder()
            .with_target(false)
            .layer()
            .with_writer(io::stderr)
            .boxed(),
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(io::stderr)
            .boxed(),
    };
    let filter = filter(level);
    let started = tracing_subscriber::registry()
        .with(out.with_filter(filter))
        .try_init();
    started.map_err(|e| Exit::runtime("start logging", e))
}

/// The chosen level for our own lines; libraries say at most warnings; how much
/// the kernel programs say is decided in the kernel.
fn filter(level: LogLevel) -> Targets {
    let own = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new()
        .with_default(own.min(LevelFilter::WARN))
        .with_target("tracer", own)
        .with_targets(API.map(|target| (target, LevelFilter::OFF)))
        .with_target(KERNEL, LevelFilter::TRACE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn levels_are_for_our_own_lines() {
        let quiet = filter(LogLevel::Error);
        assert!(quiet.would_enable("tracer::run", &Level::ERROR));
        assert!(!quiet.would_enable("tracer::run", &Level::WARN));
        assert!(!quiet.would_enable("aya", &Level::WARN));
        assert!(quiet.would_enable("tracer_ebpf::wire", &Level::DEBUG));
        let chatty = filter(LogLevel::Trace);
        assert!(chatty.would_enable("tracer", &Level::TRACE));
        assert!(chatty.would_enable("hyper", &Level::WARN));
        assert!(!chatty.would_enable("hyper", &Level::INFO));
        assert!(!chatty.would_enable("kube_client::client", &Level::ERROR));
    }
}
