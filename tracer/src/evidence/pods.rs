//! The namespaces of local backends: which holds what address, their counters
//! over time, and what a look into them shows.

mod holders;
mod strangers;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::{Duration, Instant},
};

use self::holders::{Holds, choose};
use super::{
    Namespace, Place, Pod, counters,
    gone::Gone,
    history::History,
    links::{self, Held, Peer},
    look::Ask,
    namespaces::{MOST, Scan, Visitor},
    redirects::Redirects,
};
use crate::recorder::monotonic;

/// Between searches for backends that no namespace is known for.
const SEARCH: Duration = Duration::from_secs(10);
/// Between looks into all namespaces while there are such backends: an
/// interface may have got its address late.
const FULL: Duration = Duration::from_secs(60);
/// Between such looks when somebody waits for the answer.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Known {
    paths: Vec<PathBuf>,
    held: Vec<Held>,
    counters: History<Namespace>,
    /// A backend that it holds, once there was one.
    backend: Option<IpAddr>,
}

/// What is known of the node's namespaces, by inode.
#[derive(Debug, Default)]
pub struct Pods {
    known: BTreeMap<u64, Known>,
    searched: Option<Instant>,
    looked: Option<Instant>,
    gone: Gone,
    redirects: Redirects,
    /// Why the last search may have missed some.
    pub missing: Option<String>,
}

impl Pods {
    /// The addresses of namespaces that are gone.
    pub fn gone(&self) -> &Gone {
        &self.gone
    }

    /// Whether no search has been made yet.
    pub fn unsearched(&self) -> bool {
        self.searched.is_none()
    }

    /// Reads the counters of the namespaces that hold these addresses; returns how
    /// many there are.
    pub fn poll(
        &mut self,
        visitor: &Visitor,
        backends: &BTreeSet<IpAddr>,
        deadline: Instant,
    ) -> u64 {
        if self.unsearched() {
            self.search(visitor, true, deadline);
        }
        let mut index = self.index();
        let unknown = |ip| choose(index.get(ip)) == Holds::None;
        if backends.iter().any(unknown) && due(self.searched, SEARCH) {
            self.search(visitor, due(self.looked, FULL), deadline);
            index = self.index();
        }
        let inodes: BTreeMap<u64, IpAddr> = backends
            .iter()
            .filter_map(|ip| match choose(index.get(ip)) {
                Holds::One(inode) => Some((inode, *ip)),
                _ => None,
            })
            .collect();
        let mut failed = 0;
        for (inode, backend) in &inodes {
            if Instant::now() >= deadline {
                break;
            }
            self.found(*inode, *backend);
            failed += u64::from(self.read(visitor, *inode).is_err());
        }
        // Gone, perhaps for another one with its address.
        if failed > 0 && due(self.searched, SEARCH) {
            self.search(visitor, false, deadline);
        }
        (inodes.len() as u64).saturating_sub(failed)
    }

    /// Tells once that a namespace is a backend's.
    fn found(&mut self, inode: u64, backend: IpAddr) {
        let known = self.known.get_mut(&inode);
        if let Some(known) = known.filter(|known| known.backend.is_none()) {
            known.backend = Some(backend);
            tracing::info!(%backend, "network namespace of a backend found");
        }
    }

    /// Forgets those that are not in `scan`.
    fn forget(&mut self, scan: &Scan) {
        self.known.retain(|inode, known| {
            let there = scan.paths.contains_key(inode);
            if !there {
                let held = known.held.iter().filter(|h| h.peer != Peer::Elsewhere);
                self.gone.add(held.map(|held| held.address), monotonic());
            }
            if let (false, Some(backend)) = (there, known.backend) {
                tracing::info!(%backend, "network namespace of a backend gone");
            }
            there
        });
    }

    /// Looks for namespaces, and into those that are new, or all.
    fn search(&mut self, visitor: &Visitor, all: bool, deadline: Instant) {
        let began = Instant::now();
        let scan = Scan::now(visitor.node_inode(), deadline);
        self.missing.clone_from(&scan.missing);
        let before = self.searched.replace(began).filter(|_| !scan.cut_short);
        if !scan.cut_short || self.known.len() > MOST {
            self.forget(&scan);
        }
        if all {
            self.looked = Some(began);
        }
        let mut refused = None;
        let mut refusals = 0;
        for (inode, paths) in scan.paths {
            let known = self.known.entry(inode).or_insert_with(|| Known {
                paths: Vec::new(),
                held: Vec::new(),
                counters: before.map_or_else(History::new, History::born_after),
                backend: None,
            });
            known.paths = paths;
            if !all && !known.held.is_empty() {
                continue;
            }
            let looked = if Instant::now() < deadline {
                self.look(visitor, inode, deadline)
            } else {
                Err("its time was over".into())
            };
            if let Err(why) = looked {
                refusals += 1;
                refused = Some(why);
            }
        }
        if let Some(why) = refused {
            let all = self.known.len();
            let text = format!("{refusals} of {all} could not be looked into: {why}");
            self.missing = Some(match self.missing.take() {
                Some(missing) => format!("{missing}; {text}"),
                None => text,
            });
        }
    }

    /// Reads a namespace's addresses and counters; leaves the thread in it.
    fn look(&mut self, visitor: &Visitor, inode: u64, deadline: Instant) -> Result<(), String> {
        self.read(visitor, inode)?;
        let held = links::held(Some(&visitor.node), deadline).map_err(|e| e.to_string())?;
        if let Some(known) = self.known.get_mut(&inode) {
            known.held = held;
        }
        Ok(())
    }

    /// Reads a namespace's counters; leaves the thread in it.
    fn read(&mut self, visitor: &Visitor, inode: u64) -> Result<(), String> {
        let known = self.known.get_mut(&inode).ok_or("it is gone")?;
        visitor.enter(inode, &known.paths)?;
        let totals = counters::read().map_err(|e| format!("read its counters: {e}"))?;
        known.counters.add(Instant::now(), totals);
        Ok(())
    }

    fn index(&self) -> HashMap<IpAddr, Vec<(Peer, u64)>> {
        let mut index: HashMap<IpAddr, Vec<(Peer, u64)>> = HashMap::new();
        for (inode, known) in &self.known {
            for held in &known.held {
                index
                    .entry(held.address)
                    .or_default()
                    .push((held.peer, *inode));
            }
        }
        index
    }

    /// Looks at the backends on this node, those first that stand first.
    /// `troubles`: what could not be looked at, and why.
    pub fn places(
        &mut self,
        visitor: &Visitor,
        backends: &[SocketAddr],
        ask: &Ask,
        troubles: &mut Vec<String>,
    ) -> HashMap<SocketAddr, Place> {
        let mut places = HashMap::new();
        if self.unsearched() {
            self.search(visitor, true, ask.deadline);
        }
        let mut left = self.round(visitor, backends, ask, &mut places, troubles);
        if !left.is_empty() && due(self.looked, AGAIN) {
            self.search(visitor, true, ask.deadline);
            left = self.round(visitor, &left, ask, &mut places, troubles);
        }
        for backend in left {
            let place = match self.missing {
                None => Place::Beyond,
                Some(_) => Place::Unknown,
            };
            places.insert(backend, place);
        }
        places
    }

    /// Gives back the backends that no namespace holds.
    fn round(
        &mut self,
        visitor: &Visitor,
        backends: &[SocketAddr],
        ask: &Ask,
        places: &mut HashMap<SocketAddr, Place>,
        troubles: &mut Vec<String>,
    ) -> Vec<SocketAddr> {
        let (groups, mut left) = self.group(backends, places, troubles);
        let all = groups.len();
        for (done, (inode, group)) in groups.into_iter().enumerate() {
            if Instant::now() >= ask.deadline {
                troubles.push(format!(
                    "{} of {all} were not looked into: time",
                    all - done
                ));
                break;
            }
            let looked = self.look(visitor, inode, ask.deadline);
            if let (Err(why), Some(backend)) = (&looked, group.first()) {
                troubles.push(format!("the one of {}: {why}", backend.ip()));
            }
            let Some(known) = self.known.get(&inode).filter(|_| looked.is_ok()) else {
                left.extend(group);
                continue;
            };
            let totals = known.counters.rise(ask.window).unwrap_or_default();
            let redirects = &mut self.redirects;
            let pods = ask.look(totals, &known.held, &group, redirects, troubles);
            left.extend(group.iter().filter(|backend| !pods.contains_key(backend)));
            let entry = known.paths.first();
            places.extend(pods.into_iter().map(|(backend, pod)| {
                let entry = entry.cloned();
                (backend, Place::Here(Box::new(Pod { entry, ..pod })))
            }));
        }
        left
    }

    /// Backends by the namespace that holds them, in their order; and those
    /// that none holds.
    fn group(
        &self,
        backends: &[SocketAddr],
        places: &mut HashMap<SocketAddr, Place>,
        troubles: &mut Vec<String>,
    ) -> (Vec<(u64, Vec<SocketAddr>)>, Vec<SocketAddr>) {
        let index = self.index();
        let mut left = Vec::new();
        let mut groups: Vec<(u64, Vec<SocketAddr>)> = Vec::new();
        for backend in backends {
            match choose(index.get(&backend.ip())) {
                Holds::One(inode) => match groups.iter_mut().find(|(i, _)| *i == inode) {
                    Some((_, group)) => group.push(*backend),
                    None => groups.push((inode, vec![*backend])),
                },
                Holds::Several => {
                    places.insert(*backend, Place::Unknown);
                    troubles.push(format!("several of them hold {}", backend.ip()));
                }
                Holds::None => left.push(*backend),
            }
        }
        (groups, left)
    }
}

fn due(last: Option<Instant>, every: Duration) -> bool {
    last.is_none_or(|last| last.elapsed() >= every)
}

#[cfg(test)]
mod tests;
