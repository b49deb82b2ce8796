//! Counters of rules that stop packets, over time.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::{Duration, Instant},
};

use super::table::{Chain, Table, Tables};

/// The longest window, and a little more.
const KEPT: Duration = Duration::from_secs(15 * 60 + 30);
/// Most counters of one reading, changes, and readings kept: some 2.5 MiB.
const COUNTERS: usize = 32_768;
const CHANGES: usize = 16_384;
const READINGS: usize = 1024;

/// Which counter, of which chain: hashes of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    chain: u64,
    counter: u64,
}

impl Key {
    /// Of a rule, or of the policy, of a chain. `None`: there is no such chain.
    pub fn new(tables: &Tables, chain: u32, rule: Option<u32>) -> Option<Self> {
        let chain = tables.chains.get(chain as usize)?;
        let handle = match rule {
            Some(rule) => Some(chain.rules.get(rule as usize)?.handle),
            None => None,
        };
        let table = tables.tables.get(chain.table as usize)?;
        Some(Self::of(chain_key(table, chain), handle))
    }

    /// `handle`: of a rule; `None`: of the policy.
    fn of(chain: u64, handle: Option<u64>) -> Self {
        let mut hasher = DefaultHasher::new();
        (chain, handle).hash(&mut hasher);
        let counter = hasher.finish();
        Self { chain, counter }
    }
}

fn chain_key(table: &Table, chain: &Chain) -> u64 {
    let mut hasher = DefaultHasher::new();
    (table.family, table.tool, &table.name, &chain.name).hash(&mut hasher);
    hasher.finish()
}

/// What a counter was before it changed.
#[derive(Clone, Copy, Debug)]
struct Change {
    at: Instant,
    counter: u64,
    before: u64,
}

/// The readings within the longest window.
#[derive(Debug, Default)]
pub struct Counts {
    readings: VecDeque<Instant>,
    changes: VecDeque<Change>,
    last: HashMap<u64, u64>,
    /// Since when each chain was read at every reading.
    chains: HashMap<u64, Instant>,
    /// Chains that were there at the last reading, and not read.
    unread: HashSet<u64>,
    /// Of those, the ones whose counters were too many.
    beyond: HashSet<u64>,
    /// Something was missing from the last reading.
    gaps: bool,
}

/// What counters were at the first reading within a window.
#[derive(Clone, Debug, Default)]
pub struct Baseline {
    /// There was a reading before the last.
    known: bool,
    /// Of those that have changed since.
    before: HashMap<u64, u64>,
    /// Chains whose counters were not read then, or are too many.
    late: HashSet<u64>,
}

impl Baseline {
    /// What a counter rose by.
    pub fn rise(&self, key: Key, now: u64) -> Option<u64> {
        let before = self.before.get(&key.counter).copied().unwrap_or(now);
        let known = self.known && !self.late.contains(&key.chain);
        known.then(|| now.saturating_sub(before))
    }
}

impl Counts {
    /// Adds a reading; `at` does not go back. `gaps`: something is missing.
    pub fn add(&mut self, at: Instant, tables: &Tables, gaps: bool) {
        let mut now = HashMap::with_capacity(self.last.len());
        let mut chains = HashMap::with_capacity(self.chains.len());
        let (mut unread, mut beyond) = (HashSet::new(), HashSet::new());
        for chain in &tables.chains {
            let Some(table) = tables.tables.get(chain.table as usize) else {
                continue;
            };
            let name = chain_key(table, chain);
            let room = COUNTERS - now.len();
            let fits = chain.rules.len() < room || counters(chain).count() <= room;
            if !chain.read || !fits {
                unread.insert(name);
                beyond.extend((!fits).then_some(name));
                continue;
            }
            let since = self.since(name);
            chains.insert(name, since.unwrap_or(at));
            for (handle, packets) in counters(chain) {
                let counter = Key::of(name, handle).counter;
                if since.is_some() {
                    self.change(at, counter, packets);
                }
                now.insert(counter, packets);
            }
        }
        (self.last, self.chains) = (now, chains);
        (self.unread, self.beyond, self.gaps) = (unread, beyond, gaps);
        self.readings.push_back(at);
        self.forget(at);
    }

    /// Remembers what a counter was, if it is not what it was at the last reading.
    fn change(&mut self, at: Instant, counter: u64, packets: u64) {
        let known = self.last.get(&counter).copied();
        // One that fell began anew; a new one began at zero.
        let before = known.filter(|before| *before <= packets);
        if before != Some(packets) {
            let before = before.unwrap_or_default();
            self.changes.push_back(Change {
                at,
                counter,
                before,
            });
        }
    }

    /// Since when the counters of a chain are known: one that was not there at the last
    /// reading is new, and so are they. `None`: they are not.
    fn since(&self, chain: u64) -> Option<Instant> {
        let known = self.chains.get(&chain).copied();
        known.or_else(|| {
            let is_new = !self.gaps && !self.unread.contains(&chain);
            self.readings.front().copied().filter(|_| is_new)
        })
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
            before.insert(change.counter, change.before);
        }
        let late = self.chains.iter().filter(|(_, since)| **since > first);
        let late = late.map(|(chain, _)| chain).chain(&self.beyond);
        Baseline {
            known: first < last,
            before,
            late: late.copied().collect(),
        }
    }
}

/// Counters of a chain's rules that stop packets, by handle, and of its policy if that
/// does.
fn counters(chain: &Chain) -> impl Iterator<Item = (Option<u64>, u64)> {
    let policy = chain.base.as_ref().filter(|base| base.drops);
    let policy = policy.and_then(|base| base.packets);
    let policy = policy.map(|packets| (None, packets));
    let rules = chain.rules.iter().filter(|rule| rule.stops());
    let rules = rules.filter_map(|rule| Some((Some(rule.handle), rule.packets?)));
    policy.into_iter().chain(rules)
}

#[cfg(test)]
mod tests;
