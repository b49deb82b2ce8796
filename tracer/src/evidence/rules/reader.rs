//! When the rule sets are read, and what for.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tracer_common::failure::{Failure, Reply, seen};

use super::{
    RuleSets, Syn,
    counts::Counts,
    read::{self, Read},
};
use crate::evidence::{Absent, Row};

/// Time allowed to reading.
const TIME: Duration = Duration::from_millis(150);
/// What was read is good for so long, and for so many times what reading took when that was long: this
/// keeps it below 2 % of a core, however many rules there are.
const FRESH: Duration = Duration::from_secs(1);
const TIMES: u32 = 50;
const CHEAP: Duration = Duration::from_millis(50);
/// Most SYNs whose ways are looked at while reading.
const SYNS: usize = 24;

/// Reads the rule sets of the calling thread's namespace, and remembers their counters.
#[derive(Debug, Default)]
pub struct Reader {
    counts: Counts,
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    at: Instant,
    took: Duration,
    syns: Vec<Syn>,
    window: Duration,
    rules: Arc<RuleSets>,
    absent: Vec<Absent>,
}

impl Last {
    fn is_fresh(&self) -> bool {
        let fresh = if self.took > CHEAP {
            self.took * TIMES
        } else {
            FRESH
        };
        self.at.elapsed() < fresh
    }
}

impl Reader {
    /// What rules may have to do with these failures, read afresh when failures call for
    /// it, once a second at most.
    pub fn ask(
        &mut self,
        rows: &[Row],
        window: Duration,
        absent: &mut Vec<Absent>,
    ) -> Arc<RuleSets> {
        self.forget();
        if !rows.iter().any(concerns_rules) {
            return Arc::default();
        }
        let syns = syns(rows);
        let last = self.last.take().filter(|last| {
            let asked_before = syns.iter().all(|syn| last.syns.contains(syn));
            asked_before || last.took > CHEAP
        });
        let mut last = last.unwrap_or_else(|| self.read(syns, window));
        if last.window != window {
            let read = Arc::clone(&last.rules.read);
            last.rules = Arc::new(self.since(window, read));
            last.window = window;
        }
        let rules = Arc::clone(&last.rules);
        absent.extend(last.absent.iter().cloned());
        self.last = Some(last);
        rules
    }

    /// Gives back what was read, when it is too old to be used: it takes megabytes.
    pub fn forget(&mut self) {
        self.last = self.last.take().filter(Last::is_fresh);
    }

    fn read(&mut self, syns: Vec<Syn>, window: Duration) -> Last {
        let mut absent = Vec::new();
        let start = Instant::now();
        let rules = self.rules(&syns, window, start + TIME, &mut absent);
        Last {
            at: Instant::now(),
            took: start.elapsed(),
            syns,
            window,
            rules: Arc::new(rules),
            absent,
        }
    }

    /// Reads the rule sets; of sets only what the ways of these SYNs take. `window`:
    /// what counters rose by is asked about.
    pub(super) fn rules(
        &mut self,
        syns: &[Syn],
        window: Duration,
        deadline: Instant,
        absent: &mut Vec<Absent>,
    ) -> RuleSets {
        let read = read::read(syns, deadline, absent);
        if !read.nothing {
            self.counts.add(Instant::now(), &read.tables, read.gaps);
        }
        self.since(window, read.into())
    }

    /// What was read last, with what its counters rose by within a window. Where nothing
    /// could be read, nothing is known.
    fn since(&self, window: Duration, read: Arc<Read>) -> RuleSets {
        RuleSets {
            known: !read.nothing,
            before: self.counts.baseline(window),
            read,
            ..RuleSets::default()
        }
    }
}

/// Whether a rule may have done it: the SYN was dropped or came to nothing, or the node
/// refused it.
fn concerns_rules(row: &Row) -> bool {
    let unanswered = matches!(
        row.failure,
        Failure::TimedOut | Failure::Unreachable | Failure::Cancelled
    );
    unanswered || row.reply == Reply::NodeRst || row.seen & seen::DROPPED_SYN != 0
}

/// The SYNs of these rows, as far as they are known.
fn syns(rows: &[Row]) -> Vec<Syn> {
    let mut syns: Vec<Syn> = Vec::new();
    for row in rows.iter().filter(|row| concerns_rules(row)) {
        let Some(dialled) = row.dialled else { continue };
        if let Some((client, _)) = row.sources.first() {
            let syn = Syn {
                client: *client,
                client_port: None,
                dialled,
                node_port: row.node_port,
                interface: row.interface,
                backend: row.backend,
                way_out: None,
            };
            if syns.len() < SYNS && !syns.contains(&syn) {
                syns.push(syn);
            }
        }
    }
    syns
}
