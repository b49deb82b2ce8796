//! The signals that the daemon knows: some end it, one makes it read its settings again, and none
//! of the others does harm.

use std::{io, path::PathBuf, sync::Arc};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::spawn_blocking,
};

use crate::{config::Config, exit::Exit, logging};

/// How settings are read again.
#[derive(Clone)]
pub struct Settings {
    /// The file that they come from, if any.
    pub file: Option<PathBuf>,
    /// Reads flags, environment and file.
    pub read: Arc<dyn Fn() -> Result<Config, Exit> + Send + Sync>,
}

/// The signals, from [`Signals::listen`] on.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hang_up: Signal,
    user_1: Signal,
    user_2: Signal,
}

/// What a signal asks for.
enum Asked {
    End(&'static str),
    Settings,
    Nothing(&'static str),
}

impl Signals {
    /// From now on no signal but SIGKILL and SIGSTOP has its usual effect; SIGPIPE has none since
    /// the start.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hang_up: signal(SignalKind::hangup())?,
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::End("SIGTERM"),
            _ = self.interrupt.recv() => Asked::End("SIGINT"),
            _ = self.quit.recv() => Asked::End("SIGQUIT"),
            _ = self.hang_up.recv() => Asked::Settings,
            _ = self.user_1.recv() => Asked::Nothing("SIGUSR1"),
            _ = self.user_2.recv() => Asked::Nothing("SIGUSR2"),
        }
    }

    /// Waits for one that ends the daemon, and returns its name. Meanwhile `running` becomes what
    /// the settings say at each SIGHUP, as far as that can be.
    pub async fn end(&mut self, mut running: Config, settings: &Settings) -> &'static str {
        loop {
            match self.next().await {
                Asked::End(signal) => return signal,
                Asked::Nothing(signal) => tracing::info!(signal, "this signal means nothing here"),
                Asked::Settings => {
                    let read = Arc::clone(&settings.read);
                    // It may wait for a file, and a signal that ends the daemon may come.
                    let read = spawn_blocking(move || read());
                    let read = tokio::select! {
                        read = read => read,
                        _ = self.terminate.recv() => return "SIGTERM",
                        _ = self.interrupt.recv() => return "SIGINT",
                    };
                    let failed = |e| Err(Exit::runtime("read the settings", e));
                    take(&mut running, read.unwrap_or_else(failed));
                }
            }
        }
    }
}

fn take(running: &mut Config, new: Result<Config, Exit>) {
    let new = match new {
        Ok(new) => new,
        Err(e) => {
            let cause = e.to_string();
            return tracing::error!(cause, "the settings are wrong: all stay as they were");
        }
    };
    let before = running.log_level;
    let restart = running.take(&new);
    if let Err(e) = logging::set_level(running.log_level) {
        tracing::error!(cause = format!("{e:#}"), "the log level stays as it was");
    }
    let level = running.log_level;
    tracing::info!(%level, was = %before, "settings read again");
    if !restart.is_empty() {
        let settings = restart.join(",");
        tracing::warn!(settings, "these settings have changed and take a restart");
    }
}
