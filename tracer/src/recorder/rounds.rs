//! One look at the kernel's numbers after the other, and what changed between.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use tracer_common::{
    counters::Cell,
    failure::{FailureKey, Record},
    flow::FlowKey,
    words::{Lost, Traffic},
};

use super::{
    amid::amid,
    history::{Changes, History, Kind, Window},
    remembered::{Befell, Remembered},
    round::Place,
    rows, served,
};
use crate::{
    counted::Counted,
    evidence::{Clients, Sent, Served},
    report::TopStep,
    snapshot::{Failures, Positions, Snapshot, Source},
};

/// Bytes of history.
const BYTES: usize = 4 * 1024 * 1024;
/// The longest window.
pub(super) const AGE: Duration = Duration::from_secs(15 * 60);
/// Records that may wait to be judged.
const RECORDS: usize = 4096;

/// A failure, with its kind made out when it came.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) record: Record,
    pub(super) kind: Kind,
}

/// What is remembered of single failures in a window.
#[derive(Debug, Default)]
pub(super) struct Single {
    /// Flows without a known backend.
    pub(super) flows: Vec<FlowKey>,
    /// Where failed attempts came from, by port.
    pub(super) clients: Vec<Clients>,
    /// The same by kind, and when.
    pub(super) befell: BTreeMap<Kind, Befell>,
    /// What worked in their midst.
    pub(super) amid: BTreeMap<Kind, Vec<Served>>,
}

/// What has not been judged yet.
#[derive(Debug, Default)]
pub(super) struct Unjudged {
    pub(super) kinds: BTreeMap<Kind, u64>,
    pub(super) records: Vec<Failed>,
}

impl Unjudged {
    /// When the first and the last of each kind, as far as they are remembered one by
    /// one, sent their first SYN; nanoseconds of the monotonic clock.
    pub(super) fn spans(&self) -> HashMap<Kind, (u64, u64)> {
        let mut spans: HashMap<Kind, (u64, u64)> = HashMap::new();
        for Failed { record, kind } in &self.records {
            let at = record.syn_at;
            let (first, last) = spans.entry(*kind).or_insert((at, at));
            (*first, *last) = ((*first).min(at), (*last).max(at));
        }
        spans
    }
}

/// The last look, and what the ones before left behind.
#[derive(Debug)]
pub(super) struct Rounds {
    snapshot: Option<Arc<Snapshot>>,
    kinds: HashMap<FailureKey, u64>,
    positions: Positions,
    places: BTreeSet<Place>,
    history: History,
    unjudged: Unjudged,
    remembered: Remembered,
    /// Ports at which a connection was established since they were last asked for.
    served: BTreeSet<u16>,
}

impl Rounds {
    /// Begins at `now`, nanoseconds of the monotonic clock.
    pub(super) fn new(now: u64) -> Self {
        Self {
            snapshot: None,
            kinds: HashMap::new(),
            positions: Positions::default(),
            places: BTreeSet::new(),
            history: History::new(now, BYTES, AGE),
            unjudged: Unjudged::default(),
            remembered: Remembered::default(),
            served: BTreeSet::new(),
        }
    }

    /// Takes a look. Outcomes are read before failures, so that the failure of
    /// an outcome that was read is read too; records before failures, so that the count
    /// of a record that was read is read too; connections last, right before the round
    /// ends.
    ///
    /// # Errors
    /// When the numbers cannot be read; nothing has changed then, but records are lost.
    pub(super) fn look(
        &mut self,
        source: &dyn Source,
        now: impl FnOnce() -> u64,
    ) -> anyhow::Result<Arc<Snapshot>> {
        let snapshot = Arc::new(source.snapshot()?);
        let records = source.records();
        let failures = source.failures()?;
        let mut changes = Changes::default();
        self.lost(&snapshot, &mut changes);
        self.cells(&snapshot, &mut changes);
        self.failures(failures, source, &mut changes);
        if let Some(lost) = changes.lost.get_mut(Lost::Records.index()) {
            *lost += self.records(records, source);
        }
        let port_at = |slot| source.port_at(slot);
        changes.elsewhere = source.elsewhere();
        changes.served = served::of_round(source.served(), &self.positions, port_at);
        self.served
            .extend(changes.served.iter().map(|(whose, _)| whose.node_port));
        self.history.push(now(), &changes);
        self.remembered.forget(self.history.oldest());
        for (kind, count) in changes.kinds {
            *self.unjudged.kinds.entry(kind).or_default() += count;
        }
        self.snapshot = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }

    fn lost(&self, snapshot: &Snapshot, changes: &mut Changes) {
        let before = self.snapshot.as_ref().map(|s| s.lost).unwrap_or_default();
        let now = snapshot.lost.iter().zip(before);
        for (rise, (now, before)) in changes.lost.iter_mut().zip(now) {
            *rise = now.saturating_sub(before);
        }
    }

    fn cells(&self, snapshot: &Snapshot, changes: &mut Changes) {
        let mut before = self.ports().iter().peekable();
        for (port, counters) in &snapshot.ports {
            // Both ascend, and a port that has counts keeps them.
            while before.next_if(|(known, _)| known < port).is_some() {}
            let old = before.next_if(|(known, _)| known == port);
            let old = old.map(|(_, counters)| counters);
            if old == Some(counters) {
                continue;
            }
            let none = Counted::default();
            let rose = counters.since(old.unwrap_or(&none));
            let rose = rose.filter(|(cell, _)| !is_gauge(*cell));
            changes
                .cells
                .extend(rose.map(|(cell, by)| (*port, cell, by)));
        }
    }

    fn failures(&mut self, failures: Failures, source: &dyn Source, changes: &mut Changes) {
        let Failures { kinds, positions } = failures;
        let backends = &positions.backends;
        let old = &self.positions;
        let same = |index: &u16| match (old.backends.get(index), backends.get(index)) {
            (Some(a), Some(b)) => (a.addr, a.port, a.slot) == (b.addr, b.port, b.slot),
            (None, None) => true,
            _ => false,
        };
        let same_address =
            |number: &u8| old.addresses.get(number) == positions.addresses.get(number);
        let mut all = HashMap::with_capacity(kinds.len());
        for (key, count) in kinds {
            let before = self.kinds.get(&key);
            let before = before.filter(|_| same(&key.backend) && same_address(&key.address));
            let rise = rise(before.copied(), count);
            all.insert(key, count);
            let kind = rows::kind(key, &positions, |slot| source.port_at(slot));
            if let Some(kind) = kind.filter(|_| rise != 0) {
                changes.kinds.push((kind, rise));
            }
        }
        self.places.clear();
        for (index, backend) in backends.iter().filter(|(_, b)| b.port != 0) {
            let Some(port) = source.port_at(backend.slot) else {
                continue;
            };
            let place = (port, rows::address(backend.addr, backend.port));
            let before = old.backends.get(index).filter(|_| same(index));
            let sent = Sent {
                attempts: rise(before.map(|b| b.attempts), backend.attempts),
                passive_opens: rise(before.map(|b| b.passive_opens), backend.passive_opens),
            };
            if sent != Sent::default() {
                changes.sent.push((place, sent));
            }
            self.places.insert(place);
        }
        (self.kinds, self.positions) = (all, positions);
    }

    /// Returns how many are too many.
    fn records(&mut self, records: Vec<Record>, source: &dyn Source) -> u64 {
        let mut lost = 0;
        for record in records {
            let port_at = |slot| source.port_at(slot);
            let Some(kind) = rows::kind(record.key, &self.positions, port_at) else {
                continue;
            };
            self.remembered.add(kind, self.history.next(), &record);
            if self.unjudged.records.len() < RECORDS {
                self.unjudged.records.push(Failed { record, kind });
            } else {
                lost += 1;
            }
        }
        lost
    }

    fn ports(&self) -> &[(u16, Counted)] {
        self.snapshot.as_ref().map_or(&[], |s| &s.ports)
    }

    /// The last look.
    pub(super) fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.clone()
    }

    /// Takes what waits to be judged.
    pub(super) fn unjudged(&mut self) -> Unjudged {
        std::mem::take(&mut self.unjudged)
    }

    /// Takes the ports at which a connection was established since the last call.
    pub(super) fn served(&mut self) -> BTreeSet<u16> {
        std::mem::take(&mut self.served)
    }

    /// Node ports and their backends, as they are now.
    pub(super) fn places(&self) -> &BTreeSet<Place> {
        &self.places
    }

    /// How far back windows can reach.
    pub(super) fn reach(&self) -> Duration {
        self.history.reach()
    }

    /// What happened in the last `last`; gauges are as they stand.
    pub(super) fn window(&self, last: Duration) -> Window {
        let mut window = self.history.window(last);
        for (port, now) in self.ports() {
            if now.get(Cell::PENDING) != 0 {
                // Under way, should nothing have happened to it within the window.
                window.ports.entry(*port).or_default();
            }
            let Some(counters) = window.ports.get_mut(port) else {
                continue;
            };
            let rose = counters.cells().filter(|(at, _)| !is_gauge(*at));
            let gauges = now.cells().filter(|(at, _)| is_gauge(*at));
            let mut cells: Vec<_> = rose.chain(gauges).collect();
            cells.sort_unstable();
            *counters = cells.into_iter().collect();
        }
        window
    }

    /// What ended step by step, from step `from` on.
    pub(super) fn steps(&self, from: u64) -> Vec<TopStep> {
        self.history.steps(from)
    }

    /// What is remembered of single failures in the window, which began at `from`.
    pub(super) fn single(&self, window: &Window, from: u64) -> Single {
        let befell = self.remembered.since(window.first, &window.kinds);
        Single {
            flows: self.remembered.flows(from),
            clients: self.remembered.clients(from),
            amid: amid(&self.history, window.first, &befell),
            befell,
        }
    }
}

/// What a count rose by; it begins anew when its place is given to another.
fn rise(before: Option<u64>, now: u64) -> u64 {
    match before {
        Some(before) if before <= now => now - before,
        _ => now,
    }
}

fn is_gauge(cell: u16) -> bool {
    let cell = usize::from(cell);
    [Cell::PENDING, Cell::UNREPORTED]
        .iter()
        .any(|c| c.index() == cell)
        || Traffic::ALL.iter().any(|t| Cell::open(*t).index() == cell)
}
