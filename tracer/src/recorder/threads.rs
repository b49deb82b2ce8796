//! The recorder's threads: one looks at the kernel's numbers, one gathers facts
//! from the system.

use std::{
    io,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{Builder, JoinHandle},
    time::Duration,
};

use anyhow::Context as _;

use super::{
    Shared,
    collecting::{self, Asker},
    lateness::Lateness,
    lock,
    system::Facts,
};
use crate::privileges::{self, Opens, Role, Sockets};

/// Time between two looks at the kernel's numbers.
const ROUND: Duration = Duration::from_secs(1);

/// In the order of ending: the recorder, then the collector that it asks.
pub(super) struct Threads {
    stop: Option<Sender<()>>,
    recorder: Option<JoinHandle<()>>,
    asker: Option<Asker>,
    collector: Option<JoinHandle<()>>,
}

impl Threads {
    /// Starts both.
    pub(super) fn start(shared: &Arc<Shared>, facts: Box<dyn Facts>) -> io::Result<Self> {
        let known = Arc::clone(shared);
        let backends = move || lock(&known.rounds).places().iter().map(|p| p.1).collect();
        let (asker, collector) = collecting::start(facts, backends)?;
        let (stop, stopped) = channel();
        let mut threads = Self {
            stop: Some(stop),
            recorder: None,
            asker: Some(asker.clone()),
            collector: Some(collector),
        };
        let shared = Arc::clone(shared);
        let recorder = Builder::new().name("recorder".into()).spawn(move || {
            privileges::settle(Role::Reader);
            privileges::wall(Opens::Below(&[]), None);
            privileges::confine(Sockets::None);
            record(&shared, &asker, &stopped);
        })?;
        threads.recorder = Some(recorder);
        Ok(threads)
    }

    /// Asks the collector.
    ///
    /// # Errors
    /// When it has ended.
    pub(super) fn asker(&self) -> anyhow::Result<&Asker> {
        self.asker.as_ref().context("the collector has ended")
    }

    /// Whether both still work.
    pub(super) fn alive(&self) -> bool {
        [&self.recorder, &self.collector]
            .into_iter()
            .all(|thread| thread.as_ref().is_some_and(|thread| !thread.is_finished()))
    }
}

/// Looks at the numbers until the sender is dropped.
fn record(shared: &Shared, asker: &Asker, stopped: &Receiver<()>) {
    let mut well = true;
    let mut lateness = Lateness::default();
    let mut due = shared.started.elapsed() + ROUND;
    while stopped.recv_timeout(ROUND) == Err(RecvTimeoutError::Timeout) {
        let now = shared.started.elapsed();
        let late = lateness.round(now, now.saturating_sub(due));
        shared.late_rounds.store(late, Ordering::Relaxed);
        shared.tell_services();
        let judged = shared.judge(asker);
        if let (Err(e), true) = (&judged, well) {
            tracing::warn!(cause = format!("{e:#}"), "cannot read the counters");
        }
        well = judged.is_ok();
        due = shared.started.elapsed() + ROUND;
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        drop(self.stop.take());
        for thread in [&mut self.recorder, &mut self.collector] {
            if let Some(thread) = thread.take()
                && thread.join().is_err()
            {
                tracing::error!("a thread of the recorder panicked");
            }
            // The recorder's own is gone with it.
            drop(self.asker.take());
        }
    }
}
