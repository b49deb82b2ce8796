//! Asks the sources of evidence, each within its time.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use tracer_common::{counters::PortCounters, flow::FlowKey};

use super::{
    Absent, Backend, Conntrack, Evidence, Namespace, Place, Row, conntrack, counters,
    history::History, links, look::Ask, namespaces::apart, node, pods::Pods,
};
use crate::config::PortSet;

/// Time allowed to a poll, and to sources of a question; with those of
/// `node` 1.5 s in all.
const POLL: Duration = Duration::from_millis(500);
const STATISTICS: Duration = Duration::from_millis(50);
const PODS: Duration = Duration::from_millis(800);
/// Most troubles told of one source.
const TROUBLES: usize = 4;

/// What is known already, and what to find out more about.
#[derive(Clone, Debug)]
pub struct Asked {
    /// [`Evidence::window`]
    pub window: Duration,
    /// [`Evidence::ports`]
    pub ports: Vec<(u16, PortCounters)>,
    /// [`Evidence::rows`]
    pub rows: Vec<Row>,
    /// Node port, backend, attempts sent to it within the window.
    pub backends: Vec<(u16, SocketAddr, u64)>,
    /// Failed attempts without a known backend, the newest first.
    pub flows: Vec<FlowKey>,
    /// The watched ports.
    pub watched: PortSet,
}

/// The sources, and what they told before. Belongs on a thread of its own in
/// the node's network namespace: it blocks, for 1.5 s at most.
#[derive(Debug)]
pub struct Collector {
    node: History<Namespace>,
    conntrack: History<Conntrack>,
    pods: Pods,
}

impl Collector {
    /// Asks nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            node: History::new(),
            conntrack: History::new(),
            pods: Pods::default(),
        }
    }

    /// Reads the counters that only mean something over time: of the node, and
    /// of the namespaces that hold these backends. Meant for every 5 s, and
    /// once at start, before any backend is known.
    pub fn poll(&mut self, backends: &BTreeSet<SocketAddr>) {
        let deadline = Instant::now() + POLL;
        // What fails here fails again when asked for, and is told then.
        let mut absent = Vec::new();
        self.read_node(&mut absent);
        self.read_conntrack(&mut absent);
        let own = links::own(deadline).unwrap_or_default();
        let remote: BTreeSet<IpAddr> = backends
            .iter()
            .map(SocketAddr::ip)
            .filter(|ip| !own.contains(ip))
            .collect();
        if !remote.is_empty() || self.pods.unsearched() {
            let pods = &mut self.pods;
            let _ = apart(|visitor| pods.poll(visitor, &remote, deadline));
        }
    }

    /// Asks every source.
    pub fn collect(&mut self, asked: Asked) -> Evidence {
        let mut absent = Vec::new();
        self.read_node(&mut absent);
        let statistics = self.read_conntrack(&mut absent);
        let ways = node::ways(asked.backends.iter().map(|b| b.1.ip()), &mut absent);
        let holders = node::holders(asked.watched.as_slice(), &mut absent);
        let entries = match statistics {
            Some(_) => node::entries(&asked.flows, &mut absent),
            None => Vec::new(),
        };
        let places = self.places(&asked, &mut absent);
        let backends = asked
            .backends
            .into_iter()
            .map(|(node_port, address, attempts)| {
                let way = ways.get(&address.ip());
                Backend {
                    node_port,
                    address,
                    attempts,
                    place: places.get(&address).cloned().unwrap_or(Place::Unknown),
                    neighbour: way.and_then(|way| way.neighbour).map(Into::into),
                    route: way.map(|way| way.route.clone()),
                }
            });
        Evidence {
            window: asked.window,
            ports: asked.ports,
            rows: asked.rows,
            backends: backends.collect(),
            node: self.node.rise(asked.window).unwrap_or_default(),
            holders,
            conntrack: statistics.and_then(|_| self.conntrack.rise(asked.window)),
            entries,
            absent,
        }
    }

    fn read_node(&mut self, absent: &mut Vec<Absent>) {
        match counters::read_router() {
            Ok(totals) => self.node.add(Instant::now(), totals),
            Err(e) => absent.push(Absent::new(
                "counters of the node",
                format!("read /proc/net: {e}"),
            )),
        }
    }

    /// `None`: there is no conntrack, or none to be asked.
    fn read_conntrack(&mut self, absent: &mut Vec<Absent>) -> Option<Conntrack> {
        const SOURCE: &str = "conntrack";
        let totals = conntrack::Table::open().and_then(|mut table| {
            table
                .totals(Instant::now() + STATISTICS)
                .map_err(|failed| format!("{failed}: asking needs CAP_NET_ADMIN"))
        });
        match totals {
            Ok(totals) => {
                self.conntrack.add(Instant::now(), totals);
                if conntrack::used(&totals) {
                    return Some(totals);
                }
                absent.push(Absent::new(SOURCE, conntrack::UNUSED.to_owned()));
            }
            Err(why) => absent.push(Absent::new(SOURCE, why)),
        }
        None
    }

    /// Where the backends are; those with the most failures are looked at first.
    fn places(&mut self, asked: &Asked, absent: &mut Vec<Absent>) -> HashMap<SocketAddr, Place> {
        let ask = Ask {
            window: asked.window,
            deadline: Instant::now() + PODS,
        };
        let mut troubles = Vec::new();
        let own = links::held(None, ask.deadline).unwrap_or_else(|failed| {
            troubles.push(format!("the node's own addresses: {failed}"));
            Vec::new()
        });
        let (here, others): (Vec<_>, Vec<_>) = worst_first(asked)
            .into_iter()
            .partition(|backend| own.iter().any(|held| held.address == backend.ip()));
        let mut places = HashMap::new();
        if !here.is_empty() {
            let totals = self.node.rise(asked.window).unwrap_or_default();
            let pods = ask.look(totals, &own, &here, &mut troubles);
            places.extend(
                pods.into_iter()
                    .map(|(b, pod)| (b, Place::Here(pod.into()))),
            );
        }
        if !others.is_empty() {
            let pods = &mut self.pods;
            match apart(|visitor| pods.places(visitor, &others, &ask, &mut troubles)) {
                Ok(found) => places.extend(found),
                Err(why) => troubles.push(why),
            }
            let found = |b| matches!(places.get(b), Some(Place::Here(_)));
            if !others.iter().all(found) {
                troubles.extend(self.pods.missing.clone());
            }
        }
        absent.extend(told("network namespaces", &troubles));
        places
    }
}

/// Each backend once.
fn worst_first(asked: &Asked) -> Vec<SocketAddr> {
    let mut failed: HashMap<SocketAddr, u64> = HashMap::new();
    for row in &asked.rows {
        if let Some(backend) = row.backend {
            *failed.entry(backend).or_default() += row.count;
        }
    }
    let mut backends: Vec<SocketAddr> = asked.backends.iter().map(|b| b.1).collect();
    backends.sort_unstable_by_key(|b| (Reverse(failed.get(b).copied()), *b));
    backends.dedup();
    backends
}

fn told(source: &'static str, troubles: &[String]) -> Option<Absent> {
    let mut why = troubles
        .iter()
        .take(TROUBLES)
        .cloned()
        .collect::<Vec<_>>()
        .join("; ");
    if let Some(more @ 1..) = troubles.len().checked_sub(TROUBLES) {
        why.push_str(&format!("; and {more} more"));
    }
    (!why.is_empty()).then(|| Absent::new(source, why))
}

#[cfg(test)]
mod tests {
    use tracer_common::failure::{Failure, Reply};

    use super::*;

    fn row(backend: &str, count: u64) -> Row {
        Row {
            node_port: 30102,
            failure: Failure::TimedOut,
            reply: Reply::None,
            code: 0,
            backend: Some(backend.parse().unwrap()),
            seen: 0,
            reason: None,
            location: None,
            reset_reason: None,
            count,
        }
    }

    fn asked(backends: &[&str], rows: Vec<Row>) -> Asked {
        Asked {
            window: Duration::from_secs(60),
            ports: Vec::new(),
            rows,
            backends: backends
                .iter()
                .map(|b| (30102, b.parse().unwrap(), 1))
                .collect(),
            flows: Vec::new(),
            watched: PortSet::default(),
        }
    }

    #[test]
    fn the_worst_backend_comes_first_and_each_once() {
        let rows = vec![
            row("10.1.0.2:1", 2),
            row("10.1.0.3:1", 3),
            row("10.1.0.2:1", 2),
        ];
        let asked = asked(
            &["10.1.0.1:1", "10.1.0.3:1", "10.1.0.2:1", "10.1.0.1:1"],
            rows,
        );
        let order: Vec<_> = worst_first(&asked)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(order, ["10.1.0.2:1", "10.1.0.3:1", "10.1.0.1:1"]);
    }

    #[test]
    fn troubles_are_told_in_one_bounded_line() {
        assert_eq!(told("x", &[]), None);
        let troubles: Vec<String> = (0..9).map(|n| n.to_string()).collect();
        let told = told("x", &troubles).unwrap();
        assert_eq!(told.why, "0; 1; 2; 3; and 5 more");
    }

    /// Whatever the privileges of the test.
    #[test]
    fn every_backend_is_answered_for() {
        let mut collector = Collector::new();
        let backends = ["127.0.0.1:1", "192.0.2.1:9090"];
        let asked = asked(&backends, Vec::new());
        collector.poll(&BTreeSet::from(backends.map(|b| b.parse().unwrap())));
        let evidence = collector.collect(asked);
        assert_eq!(evidence.backends.len(), backends.len());
        assert!(!matches!(evidence.backends[1].place, Place::Here(_)));
    }
}
