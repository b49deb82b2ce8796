//! A source that does what tests say.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Mutex, MutexGuard},
};

use tracer_common::{
    counters::{Cell, PortCounters, Tally as _},
    failure::{Backend, Failure, FailureKey, Record, Reply, ServedKey},
    flow::{Addr, FlowKey},
    words::{Lost, Outcome, Traffic},
};

use super::super::Scrape;
use crate::{
    counted::Counted,
    snapshot::{Failures, Positions, Snapshot, Source},
};

pub(super) const PORT: u16 = 30_102;

#[derive(Default)]
pub(super) struct State {
    pub(super) ports: BTreeMap<u16, PortCounters>,
    pub(super) kinds: BTreeMap<FailureKey, u64>,
    pub(super) positions: Positions,
    pub(super) served: Vec<(ServedKey, u64)>,
    pub(super) records: Vec<Record>,
    pub(super) elsewhere: Vec<(SocketAddr, u64)>,
    pub(super) broken: bool,
    /// The ports that no health check goes to.
    pub unchecked: Vec<u16>,
}

#[derive(Default)]
pub(super) struct Fake(Mutex<State>);

impl Fake {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(super) fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
    }

    /// Attempts that fail, with their outcomes.
    pub(super) fn ends(&self, port: u16, failure: Failure, count: u64) {
        let mut state = self.lock();
        let counters = state.ports.entry(port).or_insert(PortCounters::ZERO);
        counters.add(Cell::ATTEMPTS, count as i64);
        let outcome = Cell::handshake(outcome(failure), Traffic::Unknown);
        counters.add(outcome, count as i64);
    }

    /// The kinds of failures.
    pub(super) fn kind(&self, port: u16, failure: Failure, backend: u16, count: u64) {
        let key = key(port, failure, backend);
        *self.lock().kinds.entry(key).or_default() += count;
    }

    /// Both.
    pub(super) fn fails(&self, port: u16, failure: Failure, count: u64) {
        self.ends(port, failure, count);
        self.kind(port, failure, 0, count);
    }

    pub(super) fn backend(&self, index: u16, port: u16, last: u8) {
        let backend = Backend {
            addr: Addr::v4([10, 1, 1, last]),
            port: 9092,
            slot: port,
            ..Backend::default()
        };
        self.lock().positions.backends.insert(index, backend);
    }

    /// An own address of the node by its number.
    pub(super) fn address(&self, number: u8, address: [u8; 4]) {
        self.lock()
            .positions
            .addresses
            .insert(number, address.into());
    }

    /// Failures of clients that dialled the address with a number.
    pub(super) fn dialled(&self, port: u16, failure: Failure, address: u8, count: u64) {
        let key = FailureKey {
            address,
            ..key(port, failure, 0)
        };
        *self.lock().kinds.entry(key).or_default() += count;
    }

    /// Connections established for a client by a backend.
    pub(super) fn served(&self, port: u16, client: [u8; 4], backend: u16, count: u64) {
        let key = ServedKey {
            client: Addr::v4(client),
            node: Addr::v4([10, 0, 0, 1]),
            slot: port,
            backend,
            ..ServedKey::default()
        };
        self.lock().served.push((key, count));
    }

    /// A failure that was decided at `at`, 1 ms after its SYN.
    pub(super) fn record(&self, port: u16, failure: Failure, at: u64) {
        let record = Record {
            at,
            syn_at: at - 1_000_000,
            flow: FlowKey {
                client: Addr::v4([10, 9, 8, 7]),
                node: Addr::v4([10, 0, 0, 1]),
                client_port: 4711,
                node_port: port,
            },
            key: key(port, failure, 0),
            traffic: Traffic::Unknown as u8,
            ..Record::default()
        };
        self.lock().records.push(record);
    }
}

/// The port stands for its own position.
fn key(port: u16, failure: Failure, backend: u16) -> FailureKey {
    FailureKey {
        slot: port,
        failure: failure as u8,
        reply: Reply::None as u8,
        backend,
        ..FailureKey::default()
    }
}

fn outcome(failure: Failure) -> Outcome {
    let named = |o: &&Outcome| o.as_str() == failure.as_str();
    *Outcome::ALL.iter().find(named).unwrap()
}

impl Source for Fake {
    fn snapshot(&self) -> anyhow::Result<Snapshot> {
        let state = self.lock();
        anyhow::ensure!(!state.broken, "map PORTS is gone");
        Ok(Snapshot {
            ports: state
                .ports
                .iter()
                .map(|(p, c)| (*p, Counted::from(c)))
                .collect(),
            sharing: vec![],
            lost: [0; Lost::COUNT],
            flows: 0,
            misses: 0,
            addresses: 0,
            flows_capacity: 64,
            hooks: vec![],
        })
    }

    fn failures(&self) -> anyhow::Result<Failures> {
        let state = self.lock();
        Ok(Failures {
            kinds: state.kinds.iter().map(|(k, n)| (*k, *n)).collect(),
            positions: state.positions.clone(),
        })
    }

    fn records(&self) -> Vec<Record> {
        std::mem::take(&mut self.lock().records)
    }

    fn served(&self) -> Vec<(ServedKey, u64)> {
        std::mem::take(&mut self.lock().served)
    }

    fn elsewhere(&self) -> Vec<(SocketAddr, u64)> {
        std::mem::take(&mut self.lock().elsewhere)
    }

    fn set_services(
        &self,
        ports: &[u16],
        _: &std::collections::BTreeSet<std::net::IpAddr>,
    ) -> anyhow::Result<()> {
        self.lock().unchecked = ports.to_vec();
        Ok(())
    }

    fn port_at(&self, slot: u16) -> Option<u16> {
        Some(slot)
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Verdicts on a port's failed attempts.
pub(super) fn judged(scrape: &Scrape, port: u16) -> u64 {
    let mut all = scrape.listed.verdicts.iter();
    let counts = all.find(|(p, _)| *p == Some(port));
    counts.map_or(0, |(_, counts)| counts.iter().sum())
}
