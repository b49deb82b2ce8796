//! The thread that gathers facts from the system, so that looking at the
//! kernel's counters never waits for it.

use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::system::Facts;
use crate::{
    evidence::{Asked, Evidence},
    privileges::{self, Role, Sockets},
};

/// How often the counters of the system are read when nobody asks.
const POLL: Duration = Duration::from_secs(5);
/// Questions that may wait for their turn.
const WAITING: usize = 4;

/// A question, of no use after `until`.
struct Job {
    asked: Asked,
    until: Instant,
    reply: SyncSender<Evidence>,
}

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// Too many wait already.
    Busy,
    /// It took too long.
    Late,
    /// The thread has ended.
    Ended,
}

/// Asks the thread, which ends with the last of these.
#[derive(Clone)]
pub(super) struct Asker {
    jobs: SyncSender<Job>,
    namespaces: Arc<AtomicU64>,
}

impl Asker {
    /// Waits for an answer until `until`.
    pub(super) fn ask(&self, asked: Asked, until: Instant) -> Result<Evidence, NoAnswer> {
        let (reply, answer) = sync_channel(1);
        let job = Job {
            asked,
            until,
            reply,
        };
        self.jobs.try_send(job).map_err(|e| match e {
            std::sync::mpsc::TrySendError::Full(_) => NoAnswer::Busy,
            std::sync::mpsc::TrySendError::Disconnected(_) => NoAnswer::Ended,
        })?;
        let left = until.saturating_duration_since(Instant::now());
        answer.recv_timeout(left).map_err(|e| match e {
            RecvTimeoutError::Timeout => NoAnswer::Late,
            // A question that came up too late is dropped unanswered.
            RecvTimeoutError::Disconnected => NoAnswer::Late,
        })
    }

    /// Network namespaces of backends, as of the last poll.
    pub(super) fn namespaces(&self) -> u64 {
        self.namespaces.load(Ordering::Relaxed)
    }
}

/// Starts the thread; `backends` says which are known. The first reading is over
/// when this returns: what rises from now on is a rise.
pub(super) fn start(
    mut facts: Box<dyn Facts>,
    backends: impl Fn() -> BTreeSet<SocketAddr> + Send + 'static,
) -> io::Result<(Asker, JoinHandle<()>)> {
    let namespaces = Arc::new(AtomicU64::new(facts.poll(&backends())));
    let (sender, jobs) = sync_channel(WAITING);
    let asker = Asker {
        jobs: sender,
        namespaces: Arc::clone(&namespaces),
    };
    let thread = std::thread::Builder::new()
        .name("collector".into())
        .spawn(move || {
            privileges::settle(Role::Collector);
            privileges::confine(Sockets::Any);
            run(facts, &jobs, backends, &namespaces);
        })?;
    Ok((asker, thread))
}

fn run(
    mut facts: Box<dyn Facts>,
    jobs: &Receiver<Job>,
    backends: impl Fn() -> BTreeSet<SocketAddr>,
    namespaces: &AtomicU64,
) {
    let mut due = Instant::now() + POLL;
    loop {
        if due <= Instant::now() {
            let raised = privileges::raise();
            namespaces.store(facts.poll(&backends()), Ordering::Relaxed);
            drop(raised);
            due = Instant::now() + POLL;
        }
        match jobs.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(job) if Instant::now() < job.until => {
                let raised = privileges::raise();
                let evidence = facts.collect(job.asked);
                drop(raised);
                // Whoever asked may have stopped waiting.
                let _ = job.reply.send(evidence);
            }
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
