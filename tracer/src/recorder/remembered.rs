//! Failures that are remembered one by one: where those of each kind came from, and
//! when they were tried.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    net::IpAddr,
};

use tracer_common::{
    failure::{Failure, Record},
    flow::{Addr, FlowKey},
};

use super::history::Kind;
use crate::evidence::{Clients, SOURCES};

/// Of one kind.
const OF_KIND: usize = 256;
/// Of all kinds together, about: the more kinds there are, the fewer of each.
const OF_ALL: usize = 8192;
/// The fewest of a kind, whatever there is of others.
const FEWEST: usize = 2;
/// Kinds.
const KINDS: usize = 2048;

#[derive(Clone, Copy, Debug)]
struct One {
    /// The round that told of it.
    round: u64,
    syn_at: u64,
    client: Addr,
}

/// Flows of failed attempts without a known backend.
const FLOWS: usize = 256;
/// Failed attempts of which the client is remembered, whatever their kind.
const CLIENTS: usize = 1024;

/// The memory.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    kinds: HashMap<Kind, VecDeque<One>>,
    flows: VecDeque<(u64, FlowKey)>,
    /// When, at which port and from where.
    clients: VecDeque<(u64, u16, Addr)>,
}

/// What is remembered of one kind in a window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Befell {
    /// [`crate::evidence::Row::sources`]
    pub(super) sources: Vec<(IpAddr, u64)>,
    /// When the first SYN of each came, ascending, nanoseconds of the monotonic clock.
    pub(super) times: Vec<u64>,
}

impl Remembered {
    /// Remembers one that `round` told of.
    pub(super) fn add(&mut self, kind: Kind, round: u64, record: &Record) {
        if kind.backend.is_none() {
            remember(&mut self.flows, FLOWS, (record.at, record.flow));
        }
        let client = record.flow.client;
        if is_attempt(&kind) {
            let failed = (record.at, kind.node_port, client);
            remember(&mut self.clients, CLIENTS, failed);
        }
        self.add_to(kind, round, record.syn_at, client);
    }

    fn add_to(&mut self, kind: Kind, round: u64, syn_at: u64, client: Addr) {
        let count = self.kinds.len();
        if count >= KINDS && !self.kinds.contains_key(&kind) {
            return;
        }
        let share = (OF_ALL / count.max(1)).clamp(FEWEST, OF_KIND);
        let ones = self.kinds.entry(kind).or_default();
        while ones.len() >= share {
            ones.pop_front();
        }
        ones.push_back(One {
            round,
            syn_at,
            client,
        });
    }

    /// Rounds before `oldest` are gone.
    pub(super) fn forget(&mut self, oldest: u64) {
        self.kinds.retain(|_, ones| {
            while ones.front().is_some_and(|one| one.round < oldest) {
                ones.pop_front();
            }
            !ones.is_empty()
        });
    }

    /// What is remembered of those kinds since round `first`; of each no more than the
    /// window counts.
    pub(super) fn since(&self, first: u64, kinds: &BTreeMap<Kind, u64>) -> BTreeMap<Kind, Befell> {
        let known = kinds.iter().filter_map(|(kind, count)| {
            let ones = self.kinds.get(kind)?.iter().rev();
            let most = usize::try_from(*count).unwrap_or(usize::MAX);
            let befell = befell(ones.take_while(|one| one.round >= first).take(most));
            (!befell.times.is_empty()).then_some((*kind, befell))
        });
        known.collect()
    }

    /// Flows of failed attempts without a known backend since `from`, the last
    /// reported first: refusals are reported after what failed a little later.
    pub(super) fn flows(&self, from: u64) -> Vec<FlowKey> {
        let recent = self.flows.iter().rev().filter(|(at, _)| *at >= from);
        recent.map(|(_, flow)| *flow).collect()
    }

    /// Where the failed attempts since `from` came from, as far as remembered.
    pub(super) fn clients(&self, from: u64) -> Vec<Clients> {
        let mut ports: BTreeMap<u16, (u64, BTreeSet<[u32; 4]>)> = BTreeMap::new();
        for (_, port, client) in self.clients.iter().filter(|(at, _, _)| *at >= from) {
            let (attempts, addresses) = ports.entry(*port).or_default();
            *attempts += 1;
            addresses.insert(client.0);
        }
        let clients = |(node_port, (attempts, addresses)): (_, (_, BTreeSet<_>))| Clients {
            node_port,
            attempts,
            addresses: addresses.len() as u64,
        };
        ports.into_iter().map(clients).collect()
    }
}

/// Adds the newest, in place of the oldest when there are `most`.
fn remember<T>(all: &mut VecDeque<T>, most: usize, new: T) {
    if all.len() == most {
        all.pop_front();
    }
    all.push_back(new);
}

fn is_attempt(kind: &Kind) -> bool {
    let failure = Failure::ALL.get(usize::from(kind.key.failure));
    failure.is_some_and(|failure| failure.is_attempt())
}

fn befell<'a>(ones: impl Iterator<Item = &'a One>) -> Befell {
    let mut clients: HashMap<Addr, u64> = HashMap::new();
    let mut times = Vec::new();
    for one in ones {
        *clients.entry(one.client).or_default() += 1;
        times.push(one.syn_at);
    }
    times.sort_unstable();
    let clients = clients.into_iter();
    let mut sources: Vec<(IpAddr, u64)> = clients.map(|(addr, n)| (addr.ip(), n)).collect();
    sources.sort_unstable_by_key(|(address, count)| (Reverse(*count), *address));
    sources.truncate(SOURCES);
    Befell { sources, times }
}

#[cfg(test)]
mod tests {
    use tracer_common::failure::FailureKey;

    use super::*;

    fn kind(location: u32) -> Kind {
        Kind {
            node_port: 30_102,
            dialled: None,
            interface: None,
            backend: None,
            key: FailureKey {
                location,
                ..FailureKey::default()
            },
        }
    }

    fn client(i: u32) -> Addr {
        Addr::v4(i.to_be_bytes())
    }

    #[test]
    fn a_kind_has_its_clients_with_the_most_first_and_its_times() {
        let mut all = Remembered::default();
        for (round, i) in [(1, 7), (2, 8), (2, 9), (3, 8), (3, 8)] {
            all.add_to(kind(1), round, 1_000 - u64::from(i) * round, client(i));
        }
        all.add_to(kind(2), 3, 5, client(1));
        let since = |first, count| all.since(first, &[(kind(1), count)].into());
        let of_all = &since(1, 5)[&kind(1)];
        let sources = of_all.sources.iter().map(|(ip, n)| (ip.to_string(), *n));
        let expected = [("0.0.0.8", 3), ("0.0.0.7", 1), ("0.0.0.9", 1)];
        assert!(sources.eq(expected.map(|(ip, n)| (ip.to_owned(), n))));
        assert_eq!(of_all.times, [976, 976, 982, 984, 993]);
        assert_eq!(since(3, 5)[&kind(1)].times, [976, 976]);
        // The count is read a moment later or earlier: never more than that.
        assert_eq!(since(1, 1)[&kind(1)].times, [976]);
        assert!(since(4, 5).is_empty());
    }

    #[test]
    fn memory_is_bounded_and_shared_among_kinds() {
        let mut all = Remembered::default();
        for i in 0..100_000 {
            all.add_to(kind(0), 1, 1, client(i));
        }
        assert_eq!(all.kinds[&kind(0)].len(), OF_KIND);
        assert_eq!(
            all.since(1, &[(kind(0), 1_000)].into())[&kind(0)]
                .sources
                .len(),
            SOURCES
        );
        for i in 0..100_000 {
            all.add_to(kind(i % 5_000), 2, 1, client(i));
        }
        let total: usize = all.kinds.values().map(VecDeque::len).sum();
        assert!(all.kinds.len() <= KINDS && total <= 2 * OF_ALL, "{total}");
        assert!(all.kinds.contains_key(&kind(0)));
        all.forget(3);
        assert!(all.kinds.is_empty());
    }
}
