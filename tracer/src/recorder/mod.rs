//! The memory of the last minutes: what was counted, each failure, and why.

mod amid;
mod clients;
mod clock;
mod collecting;
mod events;
mod explanation;
mod filter;
mod found;
mod history;
mod judging;
mod latency;
mod lateness;
mod ledger;
mod listing;
mod losses;
mod numbers;
mod packing;
mod remembered;
mod round;
mod rounds;
mod rows;
mod served;
mod sight;
mod system;
mod threads;
mod top;
mod tried;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use nix::time::{ClockId, clock_gettime};
use tracer_common::counters::Cell;

use self::{
    collecting::NoAnswer,
    explanation::{Circumstances, explanation},
    judging::Judging,
    rounds::Rounds,
    system::{Facts, Naming},
    threads::Threads,
};
pub use self::{
    events::Follower,
    explanation::port_row,
    filter::{BackendAt, ClientRange, EventFilter, Moment, ServiceAt},
    ledger::{ByFailure, ByVerdict},
    listing::{Listed, OTHER},
    rows::{address, note},
    top::TopAsked,
};
use crate::{
    build_info,
    config::{Config, PortSet},
    evidence::{Absent, Asked, Collector, Evidence, names::Names},
    report::{Event, Explanation, Status},
    services::{Health, Services, Table},
    snapshot::{Snapshot, Source},
    verdict,
};

/// Longest window that can be asked for.
pub const LONGEST: Duration = rounds::AGE;
/// How long an explanation waits for facts from the system.
const PATIENCE: Duration = Duration::from_millis(1_700);

/// Everything that the metrics page shows, from one moment: for every port the
/// failed outcomes are as many as the verdicts on them, but for those refusals
/// that the kernel has counted and not yet reported ([`Cell::UNREPORTED`]).
#[derive(Clone, Debug)]
pub struct Scrape {
    /// The counters.
    pub snapshot: Arc<Snapshot>,
    /// The same and failed attempts by verdict, as they have series.
    pub listed: Listed,
    /// Failures by port and backend (`None`: the others), when asked for.
    pub backends: Option<Vec<(u16, Option<std::net::SocketAddr>, ByFailure)>>,
    /// What ports are called.
    pub names: Arc<Table>,
    /// How Kubernetes' watches fare, if there are any.
    pub kubernetes: Option<Arc<Health>>,
    /// Network namespaces of backends that are looked into.
    pub namespaces: u64,
    /// Times that the system clock was set.
    pub clock_steps: u64,
    /// Rounds that began late.
    pub late_rounds: u64,
}

/// Remembers; clones share one memory. The last one dropped ends its threads
/// and lets go of the source.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
    threads: Arc<Threads>,
}

struct Shared {
    source: Arc<dyn Source>,
    rounds: Mutex<Rounds>,
    judging: Mutex<Judging>,
    events: events::Events,
    names: Mutex<Box<dyn Naming>>,
    found: Mutex<found::Memory>,
    services: Services,
    /// What the source was told last.
    told: Mutex<Arc<Table>>,
    /// Rounds that began late.
    late_rounds: AtomicU64,
    watched: PortSet,
    started: Instant,
    /// The same by the monotonic clock, nanoseconds.
    run: u64,
}

impl Recorder {
    /// Starts to remember what `source` counts, with the names of `services`.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        source: Arc<dyn Source>,
        config: &Config,
        services: Services,
    ) -> anyhow::Result<Self> {
        let facts = Box::new(Collector::new(config.pod_evidence));
        let names = Box::new(Names::read());
        Self::with(source, config, services, facts, names)
    }

    /// Without facts from the system.
    #[cfg(test)]
    pub fn bare(source: Arc<dyn Source>) -> Self {
        let mut config = Config::new(Default::default(), Default::default()).unwrap();
        config.ports = "30000-30199".parse().unwrap();
        let nothing = || Box::new(system::Nothing);
        let services = Services::default();
        Self::with(source, &config, services, nothing(), nothing()).unwrap()
    }

    fn with(
        source: Arc<dyn Source>,
        config: &Config,
        services: Services,
        facts: Box<dyn Facts>,
        names: Box<dyn Naming>,
    ) -> anyhow::Result<Self> {
        let run = monotonic();
        let shared = Arc::new(Shared {
            source,
            rounds: Mutex::new(Rounds::new(run)),
            judging: Mutex::new(Judging::new(config.ports.len(), config.backend_metrics)),
            events: events::Events::new(),
            names: Mutex::new(names),
            found: Mutex::default(),
            services,
            told: Mutex::default(),
            late_rounds: AtomicU64::default(),
            watched: config.ports.clone(),
            started: Instant::now(),
            run,
        });
        shared.tell_services();
        let threads = Threads::start(&shared, facts).context("start a thread")?;
        Ok(Self {
            shared,
            threads: Arc::new(threads),
        })
    }

    /// What happened in the last `last` at `ports` (empty: all), and why. Takes
    /// up to 2 s.
    ///
    /// # Errors
    /// When the counters cannot be read, or too many ask at once.
    pub fn explain(&self, last: Duration, ports: &[u16]) -> anyhow::Result<Explanation> {
        let until = Instant::now() + PATIENCE;
        let last = last.min(LONGEST);
        let (snapshot, window, single, reach) = {
            let mut rounds = lock(&self.shared.rounds);
            let snapshot = rounds.look(&*self.shared.source, monotonic)?;
            let window = rounds.window(last);
            let from = monotonic().saturating_sub(window.length.as_nanos() as u64);
            let single = rounds.single(&window, from);
            (snapshot, window, single, rounds.reach())
        };
        let lost = window.lost;
        let elsewhere = window.elsewhere.clone();
        let (mut asked, _) = self.shared.asked(window, single);
        asked.view = Some(self.shared.source.view());
        let mut evidence = self.facts(asked, until)?;
        if let Some(why) = lock(&self.shared.names).location_absent() {
            let source = "where the kernel dropped packets";
            evidence.absent.push(Absent { source, why });
        }
        evidence.names = self.shared.services.table();
        let judgement = verdict::judge(&evidence);
        let about = Circumstances {
            asked: last,
            reach,
            hooks: &snapshot.hooks,
            lost,
            elsewhere,
            ports,
            sharing: &snapshot.sharing,
        };
        Ok(explanation(&evidence, judgement, &about))
    }

    /// The counts with the facts; without the latter when they take too long.
    fn facts(&self, asked: Asked, until: Instant) -> anyhow::Result<Evidence> {
        match self.threads.asker()?.ask(asked.clone(), until) {
            Ok(evidence) => Ok(evidence),
            Err(NoAnswer::Busy) => Err(anyhow!("too many explanations at once; ask again later")),
            Err(NoAnswer::Ended) => Err(anyhow!("the collector has ended")),
            Err(NoAnswer::Late) => Ok(Evidence {
                window: asked.window,
                ended: monotonic(),
                ports: asked.ports,
                rows: asked.rows,
                clients: asked.clients,
                served: asked.served,
                untold: asked.untold,
                absent: vec![Absent {
                    source: "sockets, namespaces, routes and conntrack",
                    why: "looking took too long; ask again".to_owned(),
                }],
                ..Evidence::default()
            }),
        }
    }

    /// The failures that come from now on.
    pub fn follow(&self, filter: &EventFilter) -> Follower {
        self.remembered_and_new(filter).1
    }

    /// The failures that are remembered one by one, oldest first, and those that
    /// come after them. Takes up to 1 s.
    pub fn remembered_and_new(&self, filter: &EventFilter) -> (Vec<Arc<Event>>, Follower) {
        // What cannot be read now will be told by `explain` and the metrics.
        let _ = self.judge();
        self.shared.events.follow(filter)
    }

    /// Takes a look and gives everything that the metrics show. Takes up to 1 s
    /// when something new fails.
    ///
    /// # Errors
    /// When the counters cannot be read.
    pub fn scrape(&self) -> anyhow::Result<Scrape> {
        self.judge()
    }

    fn judge(&self) -> anyhow::Result<Scrape> {
        self.shared.judge(self.threads.asker()?)
    }

    /// Attempts so far, and those among them that failed, as of the last look.
    pub fn attempts_and_failed(&self) -> (u64, u64) {
        let snapshot = lock(&self.shared.rounds).snapshot();
        let ports = snapshot.iter().flat_map(|s| &s.ports);
        ports.fold((0, 0), |(attempts, failed), (_, counters)| {
            let new = counters.get(Cell::ATTEMPTS);
            (attempts + new, failed + ledger::failed(counters))
        })
    }

    /// How the recorder fares.
    pub fn status(&self) -> Status {
        let reach = lock(&self.shared.rounds).reach();
        Status {
            version: build_info::VERSION.to_owned(),
            commit: build_info::COMMIT.to_owned(),
            uptime_s: self.shared.started.elapsed().as_secs_f64(),
            reach_s: reach.as_secs_f64(),
            failed: self.attempts_and_failed().1,
            events: self.shared.events.count() as u64,
        }
    }

    /// Whether failures at this port are seen.
    pub fn watches(&self, port: u16) -> bool {
        self.shared.watched.as_slice().contains(&port)
    }

    /// Whether everything required works.
    ///
    /// # Errors
    /// The reason why not, one line.
    pub fn ready(&self) -> Result<(), String> {
        self.shared.source.ready()?;
        if self.threads.alive() {
            Ok(())
        } else {
            Err("a thread of the recorder has ended; restart tracer".into())
        }
    }
}

impl Shared {
    /// Tells the source what it needs to know of Services, when names have changed.
    fn tell_services(&self) {
        let names = self.services.table();
        let mut told = lock(&self.told);
        if Arc::ptr_eq(&told, &names) {
            return;
        }
        match self
            .source
            .set_services(&names.unchecked(), names.addresses())
        {
            Ok(()) => *told = names,
            Err(e) => tracing::warn!(
                cause = format!("{e:#}"),
                "cannot tell the programs of Services"
            ),
        }
    }
}

/// Nanoseconds of the clock that the kernel programs use (CLOCK_MONOTONIC).
pub fn monotonic() -> u64 {
    nanoseconds(ClockId::CLOCK_MONOTONIC)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).map(Duration::from);
    time.map_or(0, |t| u64::try_from(t.as_nanos()).unwrap_or(u64::MAX))
}

/// A thread that panicked leaves numbers behind, never half a step of one.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
