//! Counters of rules that stop packets, over time.

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::{Duration, Instant},
};

use super::table::Tables;

/// The longest window, and a little more.
const KEPT: Duration = Duration::from_secs(15 * 60 + 30);
/// Most counters of one reading, changes, and readings kept: some 1.5 MiB.
const COUNTERS: usize = 20_000;
const CHANGES: usize = 16_384;
const READINGS: usize = 1024;

/// Which counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(u64);

impl Key {
    /// Of a rule, or of the policy, of a chain. `None`: there is no such chain.
    pub fn new(tables: &Tables, chain: u32, rule: Option<u32>) -> Option<Self> {
        let chain = tables.chains.get(chain as usize)?;
        let handle = match rule {
            Some(rule) => Some(chain.rules.get(rule as usize)?.handle),
            None => None,
        };
        let table = tables.tables.get(chain.table as usize)?;
        let mut hasher = DefaultHasher::new();
        (table.family, table.tool, &table.name, &chain.name, handle).hash(&mut hasher);
        Some(Self(hasher.finish()))
    }
}

/// What a counter was before it changed.
#[derive(Clone, Copy, Debug)]
struct Change {
    at: Instant,
    key: Key,
    before: u64,
}

/// The readings within the longest window.
#[derive(Debug, Default)]
pub struct Counts {
    readings: VecDeque<Instant>,
    changes: VecDeque<Change>,
    last: HashMap<Key, u64>,
}

/// What counters were at the first reading within a window.
#[derive(Clone, Debug, Default)]
pub struct Baseline {
    /// There was a reading before the last.
    known: bool,
    /// Of those that have changed since.
    before: HashMap<Key, u64>,
}

impl Baseline {
    /// What a counter rose by.
    pub fn rise(&self, key: Key, now: u64) -> Option<u64> {
        let before = self.before.get(&key).copied().unwrap_or(now);
        self.known.then(|| now.saturating_sub(before))
    }
}

impl Counts {
    /// Adds a reading; `at` does not go back.
    pub fn add(&mut self, at: Instant, tables: &Tables) {
        let first = self.readings.is_empty();
        let mut now = HashMap::new();
        for (key, packets) in all(tables).take(COUNTERS) {
            let known = self.last.get(&key).copied();
            // One that fell began anew; a new one began at zero.
            let before = known.filter(|before| *before <= packets);
            if !first && before != Some(packets) {
                let before = before.unwrap_or_default();
                self.changes.push_back(Change { at, key, before });
            }
            now.insert(key, packets);
        }
        self.last = now;
        self.readings.push_back(at);
        self.forget(at);
    }

    fn forget(&mut self, now: Instant) {
        while self.readings.len() > READINGS
            || self.readings.front().is_some_and(|at| *at + KEPT < now)
        {
            self.readings.pop_front();
        }
        while self.changes.len() > CHANGES {
            // A reading whose changes are not all known is no baseline.
            let lost = self.changes.pop_front().map(|change| change.at);
            while lost.is_some() && self.readings.front().copied() < lost {
                self.readings.pop_front();
            }
        }
        let first = self.readings.front().copied();
        while self
            .changes
            .front()
            .is_some_and(|change| Some(change.at) <= first)
        {
            self.changes.pop_front();
        }
    }

    /// What the counters of the last reading are to be compared with.
    pub fn baseline(&self, window: Duration) -> Baseline {
        let Some(last) = self.readings.back().copied() else {
            return Baseline::default();
        };
        let start = last.checked_sub(window);
        let within = |at: &&Instant| start.is_none_or(|start| **at >= start);
        let first = self.readings.iter().find(within).copied().unwrap_or(last);
        let mut before = HashMap::new();
        for change in self
            .changes
            .iter()
            .rev()
            .take_while(|change| change.at > first)
        {
            before.insert(change.key, change.before);
        }
        Baseline {
            known: first < last,
            before,
        }
    }
}

/// Counters of rules that stop packets, and of policies that do.
fn all(tables: &Tables) -> impl Iterator<Item = (Key, u64)> {
    tables
        .chains
        .iter()
        .zip(0_u32..)
        .flat_map(move |(chain, index)| {
            let policy = chain.base.as_ref().filter(|base| base.drops);
            let policy = policy
                .and_then(|base| base.packets)
                .map(|packets| (None, packets));
            let rules = chain
                .rules
                .iter()
                .zip(0_u32..)
                .filter(|(rule, _)| rule.stops());
            let rules = rules.filter_map(|(rule, n)| Some((Some(n), rule.packets?)));
            let all = policy.into_iter().chain(rules);
            all.filter_map(move |(rule, packets)| Some((Key::new(tables, index, rule)?, packets)))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::rules::{
        Action, Family, Tool,
        table::{Chain, Op, Rule, Table, Verdict},
    };

    const STEP: Duration = Duration::from_secs(5);
    const WINDOW: Duration = Duration::from_secs(60);

    fn start() -> Instant {
        Instant::now() + 2 * KEPT
    }

    /// Rules that drop, by handle and packets.
    fn tables(rules: &[(u64, u64)]) -> Tables {
        let rule = |(handle, packets): &(u64, u64)| Rule {
            ops: Box::new([Op::Verdict(Verdict::Stop(Action::Drop))]),
            handle: *handle,
            packets: Some(*packets),
            comment: None,
        };
        Tables {
            tables: vec![Table {
                family: Family::Ipv4,
                tool: Tool::Nftables,
                name: "t".into(),
            }],
            chains: vec![Chain {
                table: 0,
                name: "c".into(),
                base: None,
                read: true,
                rules: rules.iter().map(rule).collect(),
            }],
            sets: Vec::new(),
        }
    }

    fn rise(counts: &Counts, tables: &Tables, rule: u32, window: Duration) -> Option<u64> {
        let packets = tables.chains[0].rules[rule as usize].packets.unwrap();
        let key = Key::new(tables, 0, Some(rule)).unwrap();
        counts.baseline(window).rise(key, packets)
    }

    #[test]
    fn rises_are_since_the_first_reading_within_the_window() {
        let (mut counts, start) = (Counts::default(), start());
        let mut last = tables(&[]);
        for step in 0..100 {
            last = tables(&[(1, step), (2, 7)]);
            counts.add(start + STEP * step as u32, &last);
            let expected = (step > 0).then(|| step.min(12));
            assert_eq!(rise(&counts, &last, 0, WINDOW), expected);
        }
        assert_eq!(rise(&counts, &last, 1, WINDOW), Some(0));
        assert_eq!(rise(&counts, &last, 0, KEPT), Some(99));
        assert_eq!(rise(&counts, &last, 0, Duration::from_secs(1)), None);
    }

    #[test]
    fn new_rules_and_fallen_counters_begin_at_zero() {
        let (mut counts, start) = (Counts::default(), start());
        counts.add(start, &tables(&[(1, 50)]));
        let last = tables(&[(9, 4), (1, 3)]);
        counts.add(start + STEP, &last);
        assert_eq!(rise(&counts, &last, 0, WINDOW), Some(4));
        assert_eq!(rise(&counts, &last, 1, WINDOW), Some(3));
    }

    #[test]
    fn memory_is_bounded() {
        let (mut counts, start) = (Counts::default(), start());
        for step in 0..40 {
            let rules: Vec<_> = (1..=1000).map(|handle| (handle, step)).collect();
            counts.add(start + STEP * step as u32, &tables(&rules));
        }
        assert!(counts.changes.len() <= CHANGES);
        let last = tables(&[(1, 39)]);
        // What is kept of the changes reaches back less far than the window.
        assert_eq!(rise(&counts, &last, 0, KEPT), Some(16));
        for step in 40..4000 {
            counts.add(start + STEP * step, &tables(&[]));
        }
        assert!(counts.changes.is_empty() && counts.last.is_empty());
        assert!(counts.readings.len() <= READINGS);
    }
}
