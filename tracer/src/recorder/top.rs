//! What `tracer top` shows, from the same rounds as everything else.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use nix::time::ClockId;
use tracer_common::{
    counters::Cell,
    failure::Failure,
    words::{Lost, Retransmit, Traffic},
};

use super::{
    LONGEST, Recorder, clients::Clients, history::Window, latency::latency, lock, monotonic,
    nanoseconds, tried::Tried,
};
use crate::{
    counted::Counted,
    report::{STEP_S, Top, TopBackend, TopClients, TopDetail, TopNumbers, TopPort},
    services::Table,
};

/// Failures of a port that are shown one by one.
const FAILURES: usize = 50;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopAsked {
    /// Length of the window.
    pub last: Duration,
    /// How far back the steps reach; zero: none.
    pub history: Duration,
    /// The port whose detail is wanted.
    pub port: Option<u16>,
}

impl Recorder {
    /// All ports now, and what the last `last` brought. Takes as long as it takes
    /// to read the counters.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn top(&self, asked: &TopAsked) -> anyhow::Result<Top> {
        let last = asked.last.min(LONGEST);
        let history = asked.history.min(LONGEST);
        let (snapshot, window, now, steps, reach) = {
            let mut rounds = lock(&self.shared.rounds);
            let snapshot = rounds.look(&*self.shared.source, monotonic)?;
            let window = rounds.window(last);
            let now = monotonic();
            let from = step(now.saturating_sub(history.as_nanos() as u64));
            let steps = (!history.is_zero()).then(|| rounds.steps(from));
            (
                snapshot,
                window,
                now,
                steps.unwrap_or_default(),
                rounds.reach(),
            )
        };
        let names = self.shared.services.table();
        let lost = Lost::ALL.iter().zip(window.lost);
        let lost = lost.filter(|(_, count)| *count != 0);
        Ok(Top {
            time: nanoseconds(ClockId::CLOCK_REALTIME) as f64 / 1e9,
            run: self.shared.run,
            uptime_s: self.shared.started.elapsed().as_secs_f64(),
            window_s: window.length.as_secs_f64(),
            ports: snapshot
                .ports
                .iter()
                .filter(|(_, counters)| tried(counters))
                .map(|(port, counters)| TopPort {
                    service: names.service(*port),
                    ..row(*port, counters, &window)
                })
                .collect(),
            flows: snapshot.flows,
            flows_capacity: snapshot.flows_capacity,
            lost: lost.map(|(l, n)| (l.as_str().to_owned(), n)).collect(),
            step: step(now),
            first_step: step(now.saturating_sub(reach.as_nanos() as u64)),
            history: steps,
            detail: asked.port.map(|port| self.detail(port, &window, now)),
        })
    }

    /// More of one port: what happened to it in the window that ends `now`.
    fn detail(&self, port: u16, window: &Window, now: u64) -> TopDetail {
        let counters = window.ports.get(&port).cloned().unwrap_or_default();
        TopDetail {
            node_port: port,
            clients: TopClients {
                attempts: Tried::new(&counters, window.reported(port)).attempts,
                ..self.clients(port, window.length, now)
            },
            backends: backends(port, window, &self.shared.services.table()),
            failures: self.shared.events.last(port, FAILURES),
        }
    }

    fn clients(&self, port: u16, length: Duration, now: u64) -> TopClients {
        let from = now.saturating_sub(length.as_nanos() as u64);
        let mut arrivals = match self.shared.source.arrivals(port) {
            Ok(arrivals) => arrivals,
            Err(e) => {
                return TopClients {
                    absent: Some(format!("{e:#}")),
                    ..TopClients::default()
                };
            }
        };
        arrivals.retain(|arrival| arrival.syn_at >= from);
        let mut clients = Clients::default();
        clients.arrived(arrivals);
        let known = clients.attempts();
        for client in self.shared.events.failed_clients(port, from) {
            clients.failed(client);
        }
        TopClients {
            attempts: 0,
            known,
            addresses: clients.addresses(),
            top: clients.top(),
            absent: None,
        }
    }
}

/// The number of the step that a time in nanoseconds lies in.
pub(super) fn step(at: u64) -> u64 {
    at / (STEP_S * 1_000_000_000)
}

/// Whether anything came from outside: dials made on this node are counted too.
fn tried(counters: &Counted) -> bool {
    let open = |t: &Traffic| counters.get(Cell::open(*t)) != 0;
    counters.get(Cell::ATTEMPTS) != 0 || Traffic::ALL.iter().any(open)
}

fn row(port: u16, total: &Counted, window: &Window) -> TopPort {
    let open = |t: &Traffic| (t.as_str().to_owned(), total.get(Cell::open(*t)));
    let recent = window.ports.get(&port).cloned().unwrap_or_default();
    TopPort {
        node_port: port,
        recent: numbers(&recent, Tried::new(&recent, window.reported(port))),
        total: numbers(total, Tried::new(total, [])),
        pending: total.get(Cell::PENDING),
        open: Traffic::ALL.iter().map(open).collect(),
        ..TopPort::default()
    }
}

fn numbers(counters: &Counted, tried: Tried) -> TopNumbers {
    let again = |r: &Retransmit| (r.as_str().to_owned(), counters.get(Cell::retransmit(*r)));
    TopNumbers {
        attempts: tried.attempts,
        begun: tried.begun,
        failed: tried.failed,
        untracked: tried.untracked,
        outcomes: tried.outcomes,
        traffic: tried.traffic,
        answer: latency(counters),
        retransmits: Retransmit::ALL.iter().map(again).collect(),
    }
}

fn backends(port: u16, window: &Window, names: &Table) -> Vec<TopBackend> {
    let mut all: BTreeMap<Option<SocketAddr>, TopBackend> = BTreeMap::new();
    let empty = |address: Option<SocketAddr>| TopBackend {
        address,
        // Also of one that has gone.
        pod: address
            .and_then(|address| names.pod_then(address.ip(), u64::MAX))
            .map(ToString::to_string),
        attempts: address.map(|_| 0),
        failed: 0,
        failures: BTreeMap::new(),
    };
    let backends = window.sent.iter().filter(|((p, _), _)| *p == port);
    for ((_, address), sent) in backends {
        let address = Some(*address);
        let backend = all.entry(address).or_insert_with(|| empty(address));
        backend.attempts = Some(sent.attempts);
    }
    for (kind, count) in window.kinds.iter().filter(|(k, _)| k.node_port == port) {
        let Some(failure) = Failure::ALL.get(usize::from(kind.key.failure)) else {
            continue;
        };
        let address = kind.backend;
        let backend = all.entry(address).or_insert_with(|| empty(address));
        if failure.is_attempt() {
            backend.failed += count;
        }
        *backend
            .failures
            .entry(failure.as_str().to_owned())
            .or_default() += count;
    }
    let mut all: Vec<TopBackend> = all.into_values().collect();
    for backend in &mut all {
        // Some of those that failed in the window were sent before it.
        backend.attempts = backend.attempts.map(|sent| sent.max(backend.failed));
    }
    all.sort_by_key(|b| std::cmp::Reverse((b.failed, b.attempts)));
    all
}
