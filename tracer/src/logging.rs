//! The log on standard error.

mod queue;

use std::{io, sync::OnceLock, time::Duration};

use anyhow::Context as _;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer as _, Registry,
    filter::Targets,
    fmt::MakeWriter,
    layer::SubscriberExt as _,
    reload::{self, Handle},
    util::SubscriberInitExt as _,
};

use self::queue::Queue;

use crate::{
    config::{LogFormat, LogLevel},
    exit::Exit,
};

/// Target of what the kernel programs log.
const KERNEL: &str = "tracer_ebpf";

/// Targets of the client of the Kubernetes API. What goes wrong there is told once
/// by `services::kubernetes`, and without whole answers.
const API: [&str; 2] = ["kube_client", "kube_runtime"];

/// The daemon's lines on their way.
static QUEUE: OnceLock<Queue> = OnceLock::new();
/// What decides which lines there are.
static FILTER: OnceLock<Handle<Targets, Registry>> = OnceLock::new();
/// How long the daemon's end waits for its last lines to be read.
const LAST: Duration = Duration::from_secs(1);

/// Starts logging, of the `log` crate's users too; each line is written by who
/// has something to say.
///
/// # Errors
/// When logging has been started before.
pub fn start(level: LogLevel, format: LogFormat) -> Result<(), Exit> {
    start_to(io::stderr, level, format)
}

/// The same for the daemon, none of whose threads may wait for a reader of its
/// log: lines go through a queue.
///
/// # Errors
/// When logging has been started before, or its thread cannot be started.
pub fn start_queued(level: LogLevel, format: LogFormat) -> Result<(), Exit> {
    let queue = Queue::start(io::stderr()).map_err(|e| Exit::runtime("start logging", e))?;
    start_to(queue.clone(), level, format)?;
    let _ = QUEUE.set(queue);
    Ok(())
}

/// Lines of the daemon that nobody will ever see.
pub fn lost() -> u64 {
    QUEUE.get().map_or(0, Queue::lost)
}

/// Lets the daemon's last lines go out.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(LAST);
    }
}

fn start_to<W>(writer: W, level: LogLevel, format: LogFormat) -> Result<(), Exit>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let out = match format {
        LogFormat::Logfmt => tracing_logfmt::builder()
            .with_target(false)
            .layer()
            .with_writer(writer)
            .boxed(),
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(writer)
            .boxed(),
    };
    let (filter, handle) = reload::Layer::new(filter(level));
    let started = tracing_subscriber::registry()
        .with(out.with_filter(filter))
        .try_init();
    started.map_err(|e| Exit::runtime("start logging", e))?;
    let _ = FILTER.set(handle);
    Ok(())
}

/// Logs at this level from now on.
///
/// # Errors
/// When logging has not been started.
pub fn set_level(level: LogLevel) -> anyhow::Result<()> {
    let handle = FILTER.get().context("logging has not been started")?;
    Ok(handle.reload(filter(level))?)
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
