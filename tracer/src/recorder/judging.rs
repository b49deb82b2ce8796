//! Verdicts on single failures, for the metrics and for `tracer events`.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use nix::time::ClockId;
use tracer_common::{
    failure::Failure,
    words::{Lost, Traffic},
};

use super::{
    Scrape, Shared,
    clock::{Clock, Reading},
    collecting::Asker,
    history::{Kind, Window},
    ledger::{BackendLedger, Ledger},
    listing::Listing,
    lock,
    losses::Losses,
    monotonic, nanoseconds,
    rounds::{Failed, Single},
    rows, served,
};
use crate::{
    evidence::{Asked, Evidence, Row},
    report::Event,
    snapshot::Snapshot,
    verdict::{self, Verdict},
};

/// The window whose evidence single failures are judged by.
const CONTEXT: Duration = Duration::from_secs(30);
/// Age up to which it is good enough.
const GOOD: Duration = Duration::from_secs(5);
/// The same when it does not know a kind yet, or as many failures of it.
const NEW: Duration = Duration::from_secs(1);
/// How long it is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// What judging goes on.
pub(super) struct Judging {
    ledger: Ledger,
    backends: Option<BackendLedger>,
    listing: Listing,
    losses: Losses,
    clock: Clock,
    context: Evidence,
    /// Where the rows of the context stand, by their kinds.
    rows: HashMap<Kind, u32>,
    /// When the context was last asked for.
    asked: Option<Instant>,
}

impl Judging {
    /// For so many watched ports; with counts by backend for so many per port, or
    /// without.
    pub(super) fn new(watched: usize, backends: Option<usize>) -> Self {
        Self {
            ledger: Ledger::default(),
            backends: backends.map(BackendLedger::new),
            listing: Listing::new(watched),
            losses: Losses::default(),
            clock: Clock::new(Reading::now()),
            context: Evidence::default(),
            rows: HashMap::new(),
            asked: None,
        }
    }

    /// Whether the context should be read anew to judge so many of each kind. One
    /// from before a flood does not show it: it knows fewer than there are to judge.
    fn stale<'a>(&self, mut kinds: impl Iterator<Item = (&'a Kind, u64)>) -> bool {
        let age = self.asked.map_or(Duration::MAX, |at| at.elapsed());
        let unknown = |(kind, count): (&Kind, u64)| {
            let known = row_of(&self.context, &self.rows, kind);
            known.is_none_or(|row| row.count < count)
        };
        if age >= GOOD {
            kinds.next().is_some()
        } else {
            age >= NEW && kinds.any(unknown)
        }
    }
}

/// The context's row of a kind.
fn row_of<'a>(context: &'a Evidence, rows: &HashMap<Kind, u32>, kind: &Kind) -> Option<&'a Row> {
    context.rows.get(*rows.get(kind)? as usize)
}

/// Verdicts on kinds, each made once.
struct Verdicts<'a> {
    shared: &'a Shared,
    context: &'a Evidence,
    rows: &'a HashMap<Kind, u32>,
    /// `None`: the kind has words that this build does not know.
    known: HashMap<(Kind, Option<Span>), Option<Verdict>>,
}

/// When the first and the last SYN were sent.
type Span = (u64, u64);
/// Attempts whose SYNs were sent within the same such time share a verdict,
/// nanoseconds.
const SHARED: u64 = 250_000_000;

impl Verdicts<'_> {
    /// The verdict on attempts of a kind whose SYNs were sent then. The time matters
    /// only where it is known who held the backend's address when.
    fn on(&mut self, kind: Kind, span: Option<Span>) -> Option<Verdict> {
        let tenants = self.context.names.tenants();
        let matters = |backend: SocketAddr| tenants.knows(backend.ip());
        // Where only conntrack may know the backend, its pod is looked up later.
        let unknown = tenants.known_since.is_some();
        let span = span.filter(|_| kind.backend.map_or(unknown, matters));
        let rough = span.map(|(first, last)| (first / SHARED, last / SHARED));
        if let Some(known) = self.known.get(&(kind, rough)) {
            return *known;
        }
        let judged = self.row(&kind).map(|row| {
            let span = span.or(row.span);
            verdict::of_row(&Row { span, ..row }, self.context).0
        });
        self.known.insert((kind, rough), judged);
        judged
    }

    /// With all that befell its kind of late: what refutes a verdict on many refutes it
    /// on one of them.
    fn row(&self, kind: &Kind) -> Option<Row> {
        let row = row_of(self.context, self.rows, kind).cloned();
        let bare = || rows::row(kind, 1, &mut **lock(&self.shared.names));
        Some(self.context.believed(row.or_else(bare)?))
    }
}

impl Shared {
    /// Takes a look, judges what is new and brings the counts in line with it.
    pub(super) fn judge(&self, asker: &Asker) -> anyhow::Result<Scrape> {
        let mut guard = lock(&self.judging);
        let judging = &mut *guard;
        let (snapshot, unjudged, places, served) = {
            let mut rounds = lock(&self.rounds);
            let snapshot = rounds.look(&*self.source, monotonic)?;
            let places = rounds.places().clone();
            (snapshot, rounds.unjudged(), places, rounds.served())
        };
        let kinds = unjudged.kinds.iter().map(|(kind, count)| (kind, *count));
        let records = unjudged.records.iter().map(|failed| (&failed.kind, 1));
        if judging.stale(kinds.chain(records)) {
            self.read_context(judging, asker);
        }
        judging.context.names = self.services.table();
        let mut verdicts = Verdicts {
            shared: self,
            context: &judging.context,
            rows: &judging.rows,
            known: HashMap::new(),
        };
        let spans = unjudged.spans();
        for (kind, count) in &unjudged.kinds {
            let failure = Failure::ALL.get(usize::from(kind.key.failure)).copied();
            let verdict = verdicts.on(*kind, spans.get(kind).copied());
            let (Some(failure), Some(verdict)) = (failure, verdict) else {
                continue;
            };
            if failure.is_attempt() {
                let counted = snapshot.counted_at(kind.node_port);
                judging.ledger.judged(counted, verdict, *count);
            }
            if let Some(row) = verdicts.row(kind) {
                self.remember(*kind, *count, (&row, verdict), &judging.context);
            }
            if let (Some(ledger), Some(backend)) = (&mut judging.backends, kind.backend) {
                ledger.count((kind.node_port, backend), failure, *count);
            }
        }
        if let Some(ledger) = &mut judging.backends {
            ledger.retain(&places);
        }
        judging.ledger.settle(&snapshot.ports);
        self.tell(&unjudged.records, &mut verdicts);
        let names = self.services.table();
        let has_backend: BTreeSet<u16> = places.iter().map(|(port, _)| *port).collect();
        let is_known = |port: u16| has_backend.contains(&port) || names.port(port).is_some();
        self.give_rows(&snapshot, |port| served.contains(&port) || is_known(port));
        let counts = judging.ledger.counts();
        let now = monotonic();
        judging.losses.look(&snapshot, now);
        let clock_steps = judging.clock.look(Reading::now());
        let listing = &mut judging.listing;
        Ok(Scrape {
            listed: listing.look(now, &snapshot, &counts, is_known),
            snapshot,
            backends: judging.backends.as_ref().map(BackendLedger::counts),
            names,
            kubernetes: self.services.health(),
            namespaces: asker.namespaces(),
            clock_steps,
            late_rounds: self.late_rounds.load(Ordering::Relaxed),
        })
    }

    /// Gives counters of their own to those of the ports without that are somebody's.
    fn give_rows(&self, snapshot: &Snapshot, is_known: impl Fn(u16) -> bool) {
        let ports = snapshot.sharing.iter().copied();
        let known: Vec<u16> = ports.filter(|port| is_known(*port)).collect();
        if known.is_empty() {
            return;
        }
        if let Err(e) = self.source.give_rows(&known) {
            tracing::debug!(cause = format!("{e:#}"), "ports keep sharing counters");
        }
    }

    fn read_context(&self, judging: &mut Judging, asker: &Asker) {
        let (window, single) = {
            let rounds = lock(&self.rounds);
            let from = monotonic().saturating_sub(CONTEXT.as_nanos() as u64);
            let window = rounds.window(CONTEXT);
            let single = rounds.single(&window, from);
            (window, single)
        };
        let (asked, kinds) = self.asked(window, single);
        let rows = kinds.into_iter().zip(0..).collect();
        judging.asked = Some(Instant::now());
        match asker.ask(asked, Instant::now() + PATIENCE) {
            Ok(context) => (judging.context, judging.rows) = (context, rows),
            Err(why) => tracing::debug!(?why, "no evidence in time"),
        }
    }

    /// The question about a window, and the kinds of its rows.
    pub(super) fn asked(&self, window: Window, mut single: Single) -> (Asked, Vec<Kind>) {
        let mut names = lock(&self.names);
        let places: BTreeSet<u32> = window.kinds.keys().map(|kind| kind.key.location).collect();
        names.locate(&Vec::from_iter(places));
        let found = lock(&self.found);
        let from = monotonic().saturating_sub(window.length.as_nanos() as u64);
        let rows = window.kinds.iter().filter_map(|(kind, count)| {
            let row = rows::row(kind, *count, &mut **names)?;
            let befell = single.befell.remove(kind).unwrap_or_default();
            let span = befell
                .times
                .first()
                .copied()
                .zip(befell.times.last().copied());
            let row = Row {
                sources: befell.sources,
                span,
                amid: single.amid.remove(kind).unwrap_or_default(),
                found: found.since(from, kind, *count),
                ..row
            };
            Some((*kind, row))
        });
        let (kinds, rows) = rows.unzip();
        let asked = Asked {
            window: window.length,
            ports: window.ports.into_iter().collect(),
            rows,
            backends: window
                .sent
                .iter()
                .map(|((port, backend), sent)| (*port, *backend, *sent))
                .collect(),
            flows: single.flows,
            clients: single.clients,
            served: served::of_window(window.served),
            untold: window.lost.get(Lost::Served.index()).copied().unwrap_or(0),
            watched: self.watched.clone(),
            view: None,
        };
        (asked, kinds)
    }

    fn tell(&self, failures: &[Failed], verdicts: &mut Verdicts<'_>) {
        // Both clocks now: what lies between them changes when time is set.
        let (real, now) = (nanoseconds(ClockId::CLOCK_REALTIME), monotonic());
        let names = self.services.table();
        // The sweep reports a refusal and what timed out after it as it comes to them.
        let mut failures: Vec<&Failed> = failures.iter().collect();
        failures.sort_by_key(|failed| failed.record.at);
        for Failed { record, kind } in failures {
            let verdict = verdicts.on(*kind, Some((record.syn_at, record.syn_at)));
            let (Some(row), Some(verdict)) = (verdicts.row(kind), verdict) else {
                continue;
            };
            let pod = |backend: SocketAddr| names.pod_then(backend.ip(), record.syn_at);
            let traffic = Traffic::ALL.get(usize::from(record.traffic));
            let event = Event {
                time: real.saturating_sub(now.saturating_sub(record.at)) as f64 / 1e9,
                client: rows::address(record.flow.client, record.flow.client_port),
                address: record.flow.node.ip(),
                interface: row.interface.map(|name| name.as_str().to_owned()),
                node_port: row.node_port,
                service: names.service(row.node_port),
                backend: row.backend,
                pod: row.backend.and_then(pod).map(ToString::to_string),
                outcome: outcome(row.failure),
                traffic: traffic.unwrap_or(&Traffic::Unknown).as_str().to_owned(),
                answered_by: row.reply.as_str().to_owned(),
                verdict,
                evidence: rows::note(&row),
                latency: record.at.saturating_sub(record.syn_at) as f64 / 1e9,
            };
            self.events.push(record.at, event);
        }
    }
}

fn outcome(failure: Failure) -> String {
    failure.as_str().to_owned()
}

#[cfg(test)]
mod tests;
