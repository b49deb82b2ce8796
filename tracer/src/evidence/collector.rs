//! Asks the sources of evidence, each within its time.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Absent, Asked, Backend, Conntrack, Evidence, Namespace, Place, Sent, conntrack, counters,
    history::{History, KEPT, LEAD},
    ipvs, links,
    look::Ask,
    looks::Looks,
    namespaces::apart,
    node,
    pods::Pods,
    redirects::Redirects,
    rules, sight,
};
use crate::recorder::monotonic;

/// Time allowed to a poll, and to sources of a question; with those of
/// `node` and `rules` 1.65 s in all.
const POLL: Duration = Duration::from_millis(500);
const STATISTICS: Duration = Duration::from_millis(50);
const SIGHT: Duration = Duration::from_millis(50);
const PODS: Duration = Duration::from_millis(800);
const SUSPECTS: Duration = Duration::from_millis(500);
const SWITCHED_OFF: &str = "not looked into: --pod-evidence=false";
/// Readings of conntrack's fill that are remembered at most: one per poll, and one per
/// second while attempts fail.
const FILLS: usize = 1024;
/// Most troubles told of one source.
const TROUBLES: usize = 4;

/// The sources, and what they told before. Belongs on a thread of its own in
/// the node's network namespace: it blocks, for 1.7 s at most.
#[derive(Debug)]
pub struct Collector {
    node: History<Namespace>,
    conntrack: History<Conntrack>,
    /// `None`: pods are not looked at.
    pods: Option<Pods>,
    looks: Looks,
    /// Entries of conntrack at each reading, for [`Conntrack::peak`].
    fill: VecDeque<(Instant, u64)>,
    rules: rules::Reader,
}

impl Collector {
    /// Asks nothing yet; `pods`: their namespaces will be looked into.
    #[must_use]
    pub fn new(pods: bool) -> Self {
        Self {
            node: History::new(),
            conntrack: History::new(),
            pods: pods.then(Pods::default),
            looks: Looks::default(),
            fill: VecDeque::new(),
            rules: rules::Reader::default(),
        }
    }

    /// Reads the counters that only mean something over time: of the node, and
    /// of the namespaces that hold these backends. Meant for every 5 s, and
    /// once at start, before any backend is known. Returns of how many namespaces.
    pub fn poll(&mut self, backends: &BTreeSet<SocketAddr>) -> u64 {
        let deadline = Instant::now() + POLL;
        self.rules.forget();
        // What fails here fails again when asked for, and is told then.
        let mut absent = Vec::new();
        self.read_node(&mut absent);
        self.read_conntrack(&mut absent);
        let Some(pods) = &mut self.pods else { return 0 };
        let own = links::own(deadline).unwrap_or_default();
        let remote: BTreeSet<IpAddr> = backends
            .iter()
            .map(SocketAddr::ip)
            .filter(|ip| !own.contains(ip))
            .collect();
        if remote.is_empty() && !pods.unsearched() {
            return 0;
        }
        apart(|visitor| pods.poll(visitor, &remote, deadline)).unwrap_or_default()
    }

    /// Asks every source.
    pub fn collect(&mut self, mut asked: Asked) -> Evidence {
        let mut absent = Vec::new();
        self.read_node(&mut absent);
        let statistics = self.read_conntrack(&mut absent);
        let entries = match statistics {
            Some(_) => node::entries(&asked.flows, &mut absent),
            None => Vec::new(),
        };
        for entry in &entries {
            let known =
                |b: &(u16, SocketAddr, Sent)| (b.0, b.1) == (entry.node_port, entry.backend);
            if !asked.backends.iter().any(known) {
                asked
                    .backends
                    .push((entry.node_port, entry.backend, Sent::default()));
            }
        }
        let ways = node::ways(asked.backends.iter().map(|b| b.1.ip()), &mut absent);
        let holders = node::holders(asked.watched.as_slice(), &mut absent);
        let rules = self.rules.ask(&asked.rows, asked.window, &mut absent);
        let places = self.places(&asked, &mut absent);
        let backends = asked
            .backends
            .into_iter()
            .map(|(node_port, address, sent)| {
                let way = ways.get(&address.ip());
                Backend {
                    node_port,
                    address,
                    attempts: sent.attempts,
                    passive_opens: sent.passive_opens,
                    place: places.get(&address).cloned().unwrap_or(Place::Unknown),
                    neighbour: way.and_then(|way| way.neighbour).map(Into::into),
                    route: way.map(|way| way.route.clone()),
                    gone_at: None,
                }
            });
        let strangers = self.pods.as_ref().map(|pods| pods.strangers(&asked.rows));
        let gone = self.pods.as_ref().map(Pods::gone);
        let gone_at = |backend: Backend| {
            let is_here = matches!(backend.place, Place::Here(_));
            let at = gone.as_ref().filter(|_| !is_here);
            let gone_at = at.and_then(|gone| gone.at(backend.address.ip()));
            Backend { gone_at, ..backend }
        };
        // Only failures ask for it.
        let failed = !asked.rows.is_empty();
        let virtual_servers = failed
            .then(|| ipvs::read(asked.watched.as_slice()))
            .flatten();
        let mut evidence = Evidence {
            window: asked.window,
            ended: monotonic(),
            ports: asked.ports,
            rows: Vec::new(),
            strangers: strangers.unwrap_or_default(),
            clients: asked.clients,
            served: asked.served,
            untold: asked.untold,
            backends: backends.map(gone_at).collect(),
            node: self.node.rise(asked.window).unwrap_or_default(),
            holders,
            conntrack: statistics.and_then(|_| self.conntrack_within(asked.window)),
            entries,
            virtual_servers,
            rules,
            obstacles: asked
                .view
                .as_ref()
                .map(|view| sight::look(view, Instant::now() + SIGHT)),
            // The recorder adds them.
            names: Arc::default(),
            absent,
        };
        let rows = asked.rows.into_iter();
        evidence.rows = rows.map(|row| evidence.believed(row)).collect();
        evidence
    }

    fn read_node(&mut self, absent: &mut Vec<Absent>) {
        match counters::read() {
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
                self.remember_fill(Instant::now(), totals.count);
                if conntrack::used(&totals) {
                    return Some(totals);
                }
                absent.push(Absent::new(SOURCE, conntrack::UNUSED.to_owned()));
            }
            Err(why) => absent.push(Absent::new(SOURCE, why)),
        }
        None
    }

    /// What conntrack's counters rose by, and how full its table was at most.
    fn conntrack_within(&self, window: Duration) -> Option<Conntrack> {
        let rise = self.conntrack.rise(window)?;
        let recent = self.fill.iter().rev();
        let recent = recent.take_while(|(at, _)| at.elapsed() <= window + LEAD);
        let peak = recent.map(|(_, count)| *count).max().unwrap_or(0);
        Some(Conntrack {
            peak: peak.max(rise.count),
            ..rise
        })
    }

    fn remember_fill(&mut self, now: Instant, count: u64) {
        let old = |at: &Instant| now.duration_since(*at) > KEPT;
        while self.fill.len() >= FILLS || self.fill.front().is_some_and(|(at, _)| old(at)) {
            self.fill.pop_front();
        }
        self.fill.push_back((now, count));
    }

    /// Where the backends are; those with the most failures are looked at first.
    fn places(&mut self, asked: &Asked, absent: &mut Vec<Absent>) -> HashMap<SocketAddr, Place> {
        let now = Instant::now();
        let ask = Ask {
            window: asked.window,
            deadline: now + PODS,
            suspects: asked.suspects(),
            refused: asked.refused(),
            suspects_until: now + SUSPECTS,
        };
        let mut troubles = Vec::new();
        let own = links::held(None, ask.deadline).unwrap_or_else(|failed| {
            troubles.push(format!("the node's own addresses: {failed}"));
            Vec::new()
        });
        let (here, others): (Vec<_>, Vec<_>) = asked
            .worst_first()
            .into_iter()
            .partition(|backend| own.iter().any(|held| held.address == backend.ip()));
        let mut places = HashMap::new();
        if !here.is_empty() {
            let totals = self.node.rise(asked.window).unwrap_or_default();
            let ask = Ask {
                // What is sent on from the node's own addresses was asked of its rules.
                refused: HashSet::new(),
                ..ask.clone()
            };
            let redirects = &mut Redirects::default();
            let pods = ask.look(totals, &own, &here, redirects, &mut troubles);
            places.extend(
                pods.into_iter()
                    .map(|(b, pod)| (b, Place::Here(pod.into()))),
            );
        }
        if let (false, Some(pods)) = (others.is_empty(), &mut self.pods) {
            match apart(|visitor| pods.places(visitor, &others, &ask, &mut troubles)) {
                Ok(found) => places.extend(found),
                Err(why) => troubles.push(why),
            }
            let found = |b| matches!(places.get(b), Some(Place::Here(_)));
            if !others.iter().all(found) {
                troubles.extend(pods.missing.clone());
            }
        } else if !others.is_empty() {
            troubles.push(SWITCHED_OFF.to_owned());
        }
        absent.extend(told("network namespaces", &troubles));
        for (backend, place) in &mut places {
            if let Place::Here(pod) = place {
                self.looks.add(Instant::now(), asked.window, *backend, pod);
            }
        }
        places
    }
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
mod tests;
