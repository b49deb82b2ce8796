//! What is known: the last answer, what came before it, and whether it is still
//! true. Knows nothing of terminals.

use std::collections::{BTreeMap, BTreeSet};

use tracer_common::words::{Outcome, Retransmit, Traffic};

use crate::report::{Explanation, Latency, STEP_S, Top, TopNumbers, TopPort};

/// How far back failures are shown, in steps.
pub(super) const STEPS: u64 = 15 * 60 / STEP_S;

/// Where numbers come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The daemon at this socket.
    Daemon(String),
    /// The programs that this command has loaded.
    Own,
}

/// Nobody answers any more.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Silence {
    /// Since when: seconds since the Unix epoch.
    pub(super) since: f64,
    /// The reason, as last heard.
    pub(super) why: String,
}

/// Attempts by outcome and port, in one step.
type Step = BTreeMap<u16, [u64; Outcome::COUNT]>;

/// Everything that is known.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) node: String,
    pub(super) origin: Origin,
    pub(super) top: Option<Top>,
    pub(super) silence: Option<Silence>,
    /// When the counts began anew, should that have been seen: seconds since the
    /// Unix epoch.
    pub(super) restarted: Option<f64>,
    /// What `explain` says, and when: seconds since the Unix epoch.
    pub(super) explained: Option<(Explanation, f64)>,
    steps: BTreeMap<u64, Step>,
    /// Steps of which something, or that nothing, is known.
    known: BTreeSet<u64>,
}

impl Model {
    pub(super) fn new(node: String, origin: Origin) -> Self {
        Self {
            node,
            origin,
            top: None,
            silence: None,
            restarted: None,
            explained: None,
            steps: BTreeMap::new(),
            known: BTreeSet::new(),
        }
    }

    /// Takes an answer that asked for `steps` steps of history.
    pub(super) fn take(&mut self, top: Top, steps: u64) {
        let before = self.top.as_ref().map(|before| before.run);
        if before.is_some_and(|run| run != top.run) {
            self.restarted = Some(top.time - top.uptime_s);
            self.explained = None;
        }
        let first = top.step.saturating_sub(steps).max(top.first_step);
        // What an answer tells of may be more than what it was asked for: at most
        // as much as is kept.
        for number in first.max(top.step.saturating_sub(STEPS))..=top.step {
            self.known.insert(number);
        }
        for told in &top.history {
            let ports = told.ports.iter();
            let step = ports.map(|(port, counts)| (*port, by_outcome(counts)));
            self.steps.insert(told.step, step.collect());
        }
        let oldest = top.step.saturating_sub(STEPS);
        self.steps
            .retain(|step, _| (oldest..=top.step).contains(step));
        self.known.retain(|step| (oldest..=top.step).contains(step));
        self.silence = None;
        self.top = Some(top);
    }

    /// Notes that nobody answers.
    pub(super) fn silent(&mut self, now: f64, why: String) {
        let since = self.silence.as_ref().map_or(now, |s| s.since);
        self.silence = Some(Silence { since, why });
    }

    /// Steps that have to be asked for, `elapsed_s` seconds after the last answer.
    pub(super) fn wanted(&self, elapsed_s: f64) -> u64 {
        if self.top.is_none() {
            return STEPS;
        }
        // The one that was not over then, and rounding.
        (elapsed_s.max(0.0) / STEP_S as f64).ceil() as u64 + 2
    }

    /// What ended in the last `steps` steps, oldest first; `None`: not known.
    pub(super) fn ended(
        &self,
        port: Option<u16>,
        steps: usize,
        wanted: impl Fn(Outcome) -> bool,
    ) -> Vec<Option<u64>> {
        let last = self.top.as_ref().map_or(0, |top| top.step);
        let sum = |counts: &[u64; Outcome::COUNT]| {
            let counts = Outcome::ALL.iter().zip(counts).filter(|(o, _)| wanted(**o));
            counts.fold(0, |sum: u64, (_, count)| sum.saturating_add(*count))
        };
        let of = |number: u64| {
            self.known.contains(&number).then(|| {
                let step = self.steps.get(&number).into_iter().flatten();
                let step = step.filter(|(p, _)| port.is_none_or(|port| port == **p));
                step.fold(0, |all: u64, (_, counts)| all.saturating_add(sum(counts)))
            })
        };
        (0..steps as u64)
            .rev()
            .map(|back| last.checked_sub(back).and_then(of))
            .collect()
    }
}

/// Whether an outcome is a failure.
pub(super) fn is_failure(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::Established | Outcome::HalfOpen)
}

fn by_outcome(counts: &BTreeMap<String, u64>) -> [u64; Outcome::COUNT] {
    let mut all = [0; Outcome::COUNT];
    for (to, outcome) in all.iter_mut().zip(Outcome::ALL) {
        *to = counts.get(outcome.as_str()).copied().unwrap_or(0);
    }
    all
}

/// The counts of a row: of a port, or of all.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) attempts: u64,
    /// Those that began within the window.
    pub(super) begun: u64,
    pub(super) outcomes: [u64; Outcome::COUNT],
    pub(super) traffic: [u64; Traffic::COUNT],
    pub(super) answer: Option<Latency>,
    pub(super) retransmits: u64,
    pub(super) open: u64,
    pub(super) pending: u64,
}

impl Counts {
    /// Those of a port, for the window or for the whole run.
    pub(super) fn of(port: &TopPort, totals: bool) -> Self {
        let numbers = if totals { &port.total } else { &port.recent };
        let TopNumbers {
            attempts,
            begun,
            outcomes,
            traffic,
            answer,
            retransmits,
            ..
        } = numbers;
        let mut classes = [0; Traffic::COUNT];
        for (to, class) in classes.iter_mut().zip(Traffic::ALL) {
            *to = traffic.get(class.as_str()).copied().unwrap_or(0);
        }
        let again = Retransmit::ALL.iter();
        let again = again.filter_map(|kind| retransmits.get(kind.as_str()));
        let open = Traffic::ALL.iter();
        let open = open.filter_map(|class| port.open.get(class.as_str()));
        Self {
            attempts: *attempts,
            begun: *begun,
            outcomes: by_outcome(outcomes),
            traffic: classes,
            answer: *answer,
            retransmits: again.fold(0, |a, b| a.saturating_add(*b)),
            open: open.fold(0, |a, b| a.saturating_add(*b)),
            pending: port.pending,
        }
    }

    /// Adds those of another port; quantiles cannot be added up.
    pub(super) fn add(&mut self, other: &Self) {
        let add = |to: &mut u64, more: u64| *to = to.saturating_add(more);
        add(&mut self.attempts, other.attempts);
        add(&mut self.begun, other.begun);
        add(&mut self.retransmits, other.retransmits);
        add(&mut self.open, other.open);
        add(&mut self.pending, other.pending);
        for (to, more) in self.outcomes.iter_mut().zip(other.outcomes) {
            add(to, more);
        }
        for (to, more) in self.traffic.iter_mut().zip(other.traffic) {
            add(to, more);
        }
        self.answer = None;
    }

    pub(super) fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(outcome.index()).copied().unwrap_or(0)
    }

    pub(super) fn class(&self, class: Traffic) -> u64 {
        self.traffic.get(class.index()).copied().unwrap_or(0)
    }

    /// Failed attempts.
    pub(super) fn failed(&self) -> u64 {
        let failures = Outcome::ALL.iter().filter(|o| is_failure(**o));
        failures.fold(0, |all, o| all.saturating_add(self.outcome(*o)))
    }
}
