//! Connections established, by whose they were: how many of them a round and a window
//! tell apart.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
};

use tracer_common::{failure::ServedKey, flow::Addr};

use super::rows;
use crate::{
    evidence::{InterfaceName, Served},
    snapshot::Positions,
};

/// Of one port that a round tells apart, and of all its ports.
const OF_PORT: usize = 64;
const OF_ROUND: usize = 256;
/// That a window tells apart.
const OF_WINDOW: usize = 2048;

/// Whose they were, without how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Whose {
    pub(super) node_port: u16,
    pub(super) client: Option<IpAddr>,
    pub(super) dialled: IpAddr,
    pub(super) interface: Option<InterfaceName>,
    pub(super) backend: Option<SocketAddr>,
}

impl Whose {
    fn anybody_s(self) -> Self {
        Self {
            client: None,
            ..self
        }
    }

    pub(super) fn served(self, count: u64) -> Served {
        Served {
            node_port: self.node_port,
            client: self.client,
            dialled: self.dialled,
            interface: self.interface,
            backend: self.backend,
            count,
        }
    }
}

/// Counts by whose they are.
pub(super) type Counts = BTreeMap<Whose, u64>;

/// What a round brought, with positions in tables replaced by what stands there: those
/// with the most by themselves, the others without their clients.
pub(super) fn of_round(
    taken: Vec<(ServedKey, u64)>,
    positions: &Positions,
    port_at: impl Fn(u16) -> Option<u16>,
) -> Vec<(Whose, u64)> {
    let mut all = Counts::new();
    for (key, count) in taken.into_iter().filter(|(_, count)| *count != 0) {
        let Some(node_port) = port_at(key.slot) else {
            continue;
        };
        let backend = positions.backends.get(&key.backend);
        let backend = backend.filter(|b| b.port != 0);
        let whose = Whose {
            node_port,
            client: (key.client != Addr::default()).then(|| key.client.ip()),
            dialled: key.node.ip(),
            interface: positions.interfaces.get(&key.interface).copied(),
            backend: backend.map(|b| rows::address(b.addr, b.port)),
        };
        *all.entry(whose).or_default() += count;
    }
    fold(all, OF_ROUND, OF_PORT)
}

/// The counts of a window, of no more than it tells apart.
pub(super) fn of_window(counts: Counts) -> Vec<Served> {
    let mut all: Vec<Served> = fold(counts, OF_WINDOW, OF_WINDOW)
        .into_iter()
        .map(|(whose, count)| whose.served(count))
        .collect();
    all.sort_unstable();
    all
}

/// The largest first. Clients beyond the `most`, or beyond the `of_port` of their port, are
/// told apart no more.
fn fold(counts: Counts, most: usize, of_port: usize) -> Vec<(Whose, u64)> {
    let mut all = Vec::from_iter(counts);
    all.sort_by_key(|(whose, count)| (Reverse(*count), *whose));
    let mut ports: HashMap<u16, usize> = HashMap::new();
    let mut kept = Vec::new();
    let mut rest = Counts::new();
    for (whose, count) in all {
        let port = ports.entry(whose.node_port).or_default();
        if whose.client.is_some() && kept.len() < most && *port < of_port {
            *port += 1;
            kept.push((whose, count));
        } else {
            *rest.entry(whose.anybody_s()).or_default() += count;
        }
    }
    kept.extend(rest);
    kept
}

#[cfg(test)]
mod tests {
    use tracer_common::failure::Backend;

    use super::*;

    fn key(client: u32, slot: u16) -> ServedKey {
        ServedKey {
            client: Addr::v4(client.to_be_bytes()),
            node: Addr::v4([10, 0, 0, 1]),
            slot,
            backend: 3,
            interface: 7,
            ..ServedKey::default()
        }
    }

    fn positions() -> Positions {
        let backend = Backend {
            addr: Addr::v4([10, 1, 0, 7]),
            port: 9092,
            ..Backend::default()
        };
        Positions {
            backends: [(3, backend)].into(),
            interfaces: InterfaceName::new("eth1")
                .map(|name| (7, name))
                .into_iter()
                .collect(),
            ..Positions::default()
        }
    }

    #[test]
    fn positions_become_what_stands_there() {
        let nobody = ServedKey {
            client: Addr::default(),
            backend: 0,
            interface: 0,
            ..key(0, 4)
        };
        let ports = |slot| (slot == 4).then_some(30_102);
        let taken = vec![(key(9, 4), 2), (nobody, 5), (key(9, 5), 7), (key(8, 4), 0)];
        let all = of_round(taken, &positions(), ports);
        let told: Vec<Served> = all
            .iter()
            .map(|(whose, count)| whose.served(*count))
            .collect();
        let known = Served {
            node_port: 30_102,
            client: Some("0.0.0.9".parse().unwrap()),
            dialled: "10.0.0.1".parse().unwrap(),
            interface: InterfaceName::new("eth1"),
            backend: Some("10.1.0.7:9092".parse().unwrap()),
            count: 2,
        };
        let unknown = Served {
            client: None,
            interface: None,
            backend: None,
            count: 5,
            ..known
        };
        assert_eq!(told, [known, unknown]);
    }

    #[test]
    fn many_clients_are_folded_and_none_is_lost() {
        let taken = (0..4_000_u32).map(|i| (key(i + 1, (i % 20) as u16), u64::from(i + 1)));
        let all = of_round(taken.collect(), &positions(), Some);
        assert_eq!(
            all.iter().map(|(_, count)| count).sum::<u64>(),
            4_000 * 4_001 / 2
        );
        let known = all.iter().filter(|(whose, _)| whose.client.is_some());
        assert_eq!(known.clone().count(), OF_ROUND);
        // The largest of all, and one remainder by port.
        assert!(
            known
                .clone()
                .all(|(_, count)| *count > 4_000 - OF_ROUND as u64)
        );
        assert_eq!(all.len(), OF_ROUND + 20);
        let one_port = (0..4_000_u32).map(|i| (key(i + 1, 1), 1));
        let all = of_round(one_port.collect(), &positions(), Some);
        assert_eq!(all.len(), OF_PORT + 1);
    }
}
