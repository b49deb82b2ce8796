//! What judging found of failures, round by round: it may be gone by the time somebody
//! asks about them.

use std::collections::{HashMap, VecDeque};

use super::{Shared, history::Kind, lock, monotonic};
use crate::{
    evidence::{Evidence, FACTS, Fact, Found, Row},
    verdict::{self, Verdict},
};

/// Kinds of failures, and times of one fact; with [`FACTS`] and names of rules of some
/// 400 bytes this is 1.2 MiB at most, and nothing while nothing of that sort fails.
const KINDS: usize = 256;
const TIMES: usize = 32;
/// Age up to which evidence tells of failures that are judged by it, nanoseconds.
const FRESH: u64 = 10_000_000_000;
/// The longest window, nanoseconds.
const KEPT: u64 = super::LONGEST.as_nanos() as u64;

impl Shared {
    /// Remembers what failures that have just been judged were found to come from.
    pub(super) fn remember(
        &self,
        kind: Kind,
        count: u64,
        (row, verdict): (&Row, Verdict),
        context: &Evidence,
    ) {
        let now = monotonic();
        // Evidence that did not come in time says nothing of these.
        if now.saturating_sub(context.ended) > FRESH {
            return;
        }
        let facts = verdict::facts(verdict, row, context);
        if !facts.is_empty() {
            lock(&self.found).add(kind, now, count, facts);
        }
    }
}

/// When a fact was found, nanoseconds of the monotonic clock, and of how many failures up
/// to then since the time before.
#[derive(Clone, Copy, Debug)]
struct Time {
    at: u64,
    count: u64,
}

#[derive(Debug)]
struct Known {
    fact: Fact,
    /// Ascending. The older, the farther apart: the last seconds are told apart.
    times: VecDeque<Time>,
}

/// The memory.
#[derive(Debug, Default)]
pub(super) struct Memory(HashMap<Kind, Vec<Known>>);

impl Memory {
    /// Adds what was found of so many failures that were judged `now`.
    pub(super) fn add(&mut self, kind: Kind, now: u64, count: u64, facts: Vec<Fact>) {
        if facts.is_empty() {
            return;
        }
        if self.0.len() >= KINDS && !self.0.contains_key(&kind) {
            self.forget(now);
            self.make_room();
        }
        let all = self.0.entry(kind).or_default();
        for fact in facts {
            let place = all.iter().position(|known| known.fact.is_same(&fact));
            let mut known = match place {
                Some(place) => all.remove(place),
                None => Known {
                    fact: fact.clone(),
                    times: VecDeque::new(),
                },
            };
            known.fact.renew(fact);
            known.add(now, count);
            // The last found is the last to go.
            all.push(known);
            let more = all.len().saturating_sub(FACTS);
            all.drain(..more);
        }
    }

    /// What was found of failures of a kind since `from`, if the window counts `count` of
    /// them.
    pub(super) fn since(&self, from: u64, kind: &Kind, count: u64) -> Vec<Found> {
        let all = self.0.get(kind).into_iter().flatten();
        let within = all.filter_map(|known| {
            let times = known.times.iter().filter(|time| time.at >= from);
            let last = times.clone().map(|time| time.at).max()?;
            let found: u64 = times.map(|time| time.count).sum();
            Some(Found {
                fact: known.fact.clone(),
                count: found.min(count),
                last,
            })
        });
        let mut found: Vec<Found> = within.collect();
        found.sort_by(|a, b| b.count.cmp(&a.count).then(b.last.cmp(&a.last)));
        found
    }

    fn forget(&mut self, now: u64) {
        self.0.retain(|_, all| {
            all.retain(|known| known.last().saturating_add(KEPT) >= now);
            !all.is_empty()
        });
    }

    fn make_room(&mut self) {
        let last = |all: &[Known]| all.iter().map(Known::last).max();
        while self.0.len() >= KINDS {
            let oldest = self.0.iter().min_by_key(|(_, all)| last(all));
            let Some(kind) = oldest.map(|(kind, _)| *kind) else {
                return;
            };
            self.0.remove(&kind);
        }
    }
}

impl Known {
    fn last(&self) -> u64 {
        self.times.back().map_or(0, |time| time.at)
    }

    fn add(&mut self, now: u64, count: u64) {
        if self.times.len() >= TIMES {
            let all = self.times.make_contiguous();
            self.times = all.chunks(2).filter_map(together).collect();
        }
        self.times.push_back(Time { at: now, count });
        let old = |time: &Time| time.at.saturating_add(KEPT) < now;
        while self.times.front().is_some_and(old) {
            self.times.pop_front();
        }
    }
}

fn together(times: &[Time]) -> Option<Time> {
    Some(Time {
        at: times.last()?.at,
        count: times.iter().map(|time| time.count).sum(),
    })
}

#[cfg(test)]
mod tests {
    use tracer_common::failure::FailureKey;

    use super::*;
    use crate::{
        evidence::rules::{Action, Owner},
        verdict::tests::bed::{pod, stop},
    };

    const SECOND: u64 = 1_000_000_000;

    fn kind(node_port: u16) -> Kind {
        Kind {
            node_port,
            dialled: None,
            interface: None,
            backend: None,
            key: FailureKey::default(),
        }
    }

    fn failed() -> Fact {
        Fact::Neighbour {
            backend: pod(),
            state: "FAILED".to_owned(),
        }
    }

    fn rule(packets: u64, sure: bool, chain: &str) -> Fact {
        let mut stop = stop(Owner::Other, Action::Drop);
        stop.packets = Some(packets);
        stop.rule.chain = chain.to_owned();
        Fact::Rule { stop, sure }
    }

    #[test]
    fn facts_are_told_for_the_window_that_they_were_found_in() {
        let mut all = Memory::default();
        all.add(kind(1), 10 * SECOND, 3, vec![rule(3, true, "A")]);
        all.add(kind(1), 11 * SECOND, 2, vec![rule(5, false, "A"), failed()]);
        all.add(kind(2), 12 * SECOND, 9, Vec::new());
        let told = |from, count| all.since(from * SECOND, &kind(1), count);
        let [first, second] = &told(0, 9)[..] else {
            panic!("{:?}", told(0, 9))
        };
        // The counter is the last that was read, and what was sure stays so.
        assert_eq!((&first.fact, first.count), (&rule(5, true, "A"), 5));
        assert_eq!((&second.fact, second.count), (&failed(), 2));
        assert_eq!(first.last, 11 * SECOND);
        assert!(told(11, 9).iter().all(|found| found.count == 2));
        // Never of more than the window has.
        assert_eq!(told(0, 4)[0].count, 4);
        assert!(told(12, 9).is_empty() && all.since(0, &kind(2), 9).is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let mut all = Memory::default();
        for second in 0..2_000 {
            let chain = ["A", "B", "C", "D", "E", "F"][second as usize / 10 % 6];
            all.add(kind(7), second * SECOND, 1, vec![rule(1, true, chain)]);
        }
        let known = &all.0[&kind(7)];
        assert!(known.len() <= FACTS);
        assert!(known.iter().all(|known| known.times.len() <= TIMES));
        // The last seconds are told apart, and none is lost.
        let counts = |from: u64| -> u64 {
            let found = all.since(from * SECOND, &kind(7), 9_999);
            found.iter().map(|found| found.count).sum()
        };
        assert_eq!(counts(1_990), 10);
        let mut steady = Memory::default();
        for second in 0..600 {
            steady.add(kind(7), second * SECOND, 1, vec![failed()]);
        }
        assert_eq!(steady.since(0, &kind(7), 9_999)[0].count, 600);
        for port in 0..5_000 {
            all.add(
                kind(port),
                (3_000 + u64::from(port)) * SECOND,
                1,
                vec![failed()],
            );
        }
        assert_eq!(all.0.len(), KINDS);
        assert!(all.0.contains_key(&kind(4_999)) && !all.0.contains_key(&kind(8)));
    }
}
