//! Whether the tap sees every SYN that comes to the node: what may take packets before it
//! does, and where it does not look.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    net::IpAddr,
    time::Instant,
};

use super::links::{self, Port};
use crate::{human, kernel, snapshot::View};

/// Interfaces are named by themselves up to so many.
const NAMED: usize = 4;

/// Something that keeps packets from the tap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// An XDP program, by interface and id.
    Xdp(String, u32),
    /// A tc program that runs before the tap, by interface and id.
    Program(String, u32),
    /// Packets that come in by this port of this bridge are translated before the tap on
    /// the bridge sees them.
    Bridge {
        /// The port.
        port: String,
        /// The bridge.
        bridge: String,
    },
    /// These interfaces hold an address that peers can send to, and are not tapped.
    Untapped(Vec<String>),
    /// So many of the interfaces that are to be tapped are not.
    Failed(usize),
    /// So many of the node's own addresses are not watched.
    Unwatched(usize),
    /// Something of this could not be asked; why.
    Unknown(String),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Xdp(interface, id) => write!(
                f,
                "An XDP program (id {id}) on {interface} takes packets before the tap does."
            ),
            Self::Program(interface, id) => write!(
                f,
                "A tc program (id {id}) on {interface} runs before the tap and may keep packets from it."
            ),
            Self::Bridge { port, bridge } => write!(
                f,
                "{bridge} is a bridge with bridge-nf-call-iptables=1: what comes in by its port {port} is translated before the tap on {bridge} sees it."
            ),
            Self::Untapped(interfaces) => {
                let named = interfaces.iter().take(NAMED).map(String::as_str);
                let named = Vec::from_iter(named).join(", ");
                let more = interfaces.len().saturating_sub(NAMED);
                let more = if more > 0 {
                    format!(" and {more} more")
                } else {
                    String::new()
                };
                write!(
                    f,
                    "Interfaces with an address of this node that are not tapped: {named}{more} (see --interface)."
                )
            }
            Self::Failed(count) => {
                let count = human::counted(*count as u64, "interface");
                write!(f, "{count} could not be tapped; the daemon's log says why.")
            }
            Self::Unwatched(count) => write!(
                f,
                "{count} of this node's addresses are not watched: the table of addresses is full."
            ),
            Self::Unknown(why) => write!(f, "What stands before the tap could not be asked: {why}"),
        }
    }
}

/// What keeps packets from a tap that looks at `view`. Needs CAP_NET_ADMIN and the node's
/// own network namespace.
pub fn look(view: &View, deadline: Instant) -> Vec<Obstacle> {
    let ports = links::ports(deadline);
    let addresses = links::addresses(deadline);
    let (ports, addresses) = match (ports, addresses) {
        (Ok(ports), Ok(addresses)) => (ports, addresses),
        (Err(failed), _) | (_, Err(failed)) => {
            return vec![Obstacle::Unknown(format!("links and addresses: {failed}"))];
        }
    };
    let on = links::bridges_translate();
    let mut all = in_front(view, &ports, default_routes().as_ref(), on);
    all.extend(unwatched(view, &ports, &addresses));
    if view.mode == "tcx" {
        for (index, name) in &view.interfaces {
            match kernel::programs(*index) {
                Ok(programs) => all.extend(ahead(name, &programs, &view.programs)),
                Err(error) => all.push(Obstacle::Unknown(format!(
                    "the tc programs of {name}: {error}"
                ))),
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// Of the programs of an interface in their order, those before the first of `own`.
fn ahead<'a>(
    interface: &'a str,
    programs: &'a [u32],
    own: &'a [u32],
) -> impl Iterator<Item = Obstacle> {
    let before = programs.iter().take_while(|id| !own.contains(id));
    before.map(|id| Obstacle::Program(interface.to_owned(), *id))
}

/// XDP programs, and bridges that translate: of tapped interfaces.
fn in_front(
    view: &View,
    ports: &BTreeMap<u32, Port>,
    uplinks: Option<&BTreeSet<String>>,
    bridges_translate: bool,
) -> Vec<Obstacle> {
    let mut all = Vec::new();
    for index in view.interfaces.keys() {
        let Some(tapped) = ports.get(index) else {
            continue;
        };
        all.extend(tapped.xdp.map(|id| Obstacle::Xdp(tapped.name.clone(), id)));
        let its = ports.iter().filter(|(_, port)| port.master == Some(*index));
        // A bridge of pods alone has no port that a load balancer's packets come in by.
        let is_uplink = uplinks.is_none_or(|uplinks| uplinks.contains(&tapped.name));
        let outer = its.filter(|(_, port)| is_uplink || port.kind != "veth");
        for (at, port) in outer {
            all.extend(port.xdp.map(|id| Obstacle::Xdp(port.name.clone(), id)));
            let translates = tapped.is_translating_bridge(bridges_translate);
            if translates && !view.interfaces.contains_key(at) {
                all.push(Obstacle::Bridge {
                    port: port.name.clone(),
                    bridge: tapped.name.clone(),
                });
            }
        }
    }
    all
}

/// Addresses and interfaces that nobody looks at.
fn unwatched(
    view: &View,
    ports: &BTreeMap<u32, Port>,
    addresses: &[(u32, IpAddr)],
) -> Vec<Obstacle> {
    let mut all = Vec::new();
    let holding = addresses.iter().filter(|(_, ip)| kernel::reachable(*ip));
    let holding: BTreeSet<u32> = holding.map(|(index, _)| *index).collect();
    let is_tapped = |at: &u32| view.interfaces.contains_key(at);
    // A bridge shows nothing that its ports do not.
    let at_its_ports = |at: &u32| {
        let mut its = ports.iter().filter(|(_, port)| port.master == Some(*at));
        ports.get(at).is_some_and(Port::is_bridge) && its.all(|(port, _)| is_tapped(port))
    };
    let untapped = holding
        .iter()
        .filter(|at| !is_tapped(at) && !at_its_ports(at));
    let untapped = untapped
        .filter_map(|at| ports.get(at))
        .filter(|port| port.is_up);
    let untapped: Vec<String> = untapped.map(|port| port.name.clone()).collect();
    if !untapped.is_empty() {
        all.push(Obstacle::Untapped(untapped));
    }
    let failed = view.interfaces.len().saturating_sub(view.tapped);
    if failed > 0 {
        all.push(Obstacle::Failed(failed));
    }
    let own: BTreeSet<IpAddr> = addresses.iter().map(|(_, ip)| *ip).collect();
    let missing = own.len().saturating_sub(view.addresses);
    if missing > 0 {
        all.push(Obstacle::Unwatched(missing));
    }
    all
}

/// Interfaces that a default route leads out by; `None`: it could not be read.
fn default_routes() -> Option<BTreeSet<String>> {
    let v4 = fs::read_to_string("/proc/thread-self/net/route").ok()?;
    let v6 = fs::read_to_string("/proc/thread-self/net/ipv6_route").unwrap_or_default();
    Some(default_of(&v4, &v6))
}

/// Destination and mask of an IPv4 route are its second and eighth column; of an IPv6
/// route the first two, and the interface is its last.
fn default_of(v4: &str, v6: &str) -> BTreeSet<String> {
    let columns = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let v4 = v4.lines().map(columns).filter_map(|columns| {
        let is_default = columns.get(1)? == "00000000" && columns.get(7)? == "00000000";
        is_default.then(|| columns.first().cloned()).flatten()
    });
    let v6 = v6.lines().map(columns).filter_map(|columns| {
        let is_default = columns.get(1)? == "00" && columns.last()? != "lo";
        is_default.then(|| columns.last().cloned()).flatten()
    });
    v4.chain(v6).collect()
}

#[cfg(test)]
mod tests;
