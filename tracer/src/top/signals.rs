//! The signals that end it.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Exit;

/// SIGINT, SIGTERM and SIGHUP.
pub(super) struct Signals([Signal; 3]);

impl Signals {
    /// From now on they do not kill.
    ///
    /// # Errors
    /// When the system does not tell of them.
    pub(super) fn listen() -> Result<Self, Exit> {
        let on = |kind| signal(kind).map_err(|e| Exit::runtime("handle signals", e));
        Ok(Self([
            on(SignalKind::interrupt())?,
            on(SignalKind::terminate())?,
            on(SignalKind::hangup())?,
        ]))
    }

    /// Waits for one of them.
    pub(super) async fn end(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
