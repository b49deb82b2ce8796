//! From the kernel programs' numbers to what people read.

use std::net::SocketAddr;

use tracer_common::{
    failure::{Failure, FailureKey, Reply, seen},
    flow::Addr,
};

use super::{history::Kind, system::Naming};
use crate::{evidence::Row, snapshot::Positions};

/// An address and port; IPv4-mapped addresses become IPv4.
#[must_use]
pub fn address(address: Addr, port: u16) -> SocketAddr {
    SocketAddr::new(address.ip(), port)
}

/// Replaces positions in tables by what stands there; `None` when nothing does.
pub(super) fn kind(
    key: FailureKey,
    positions: &Positions,
    port_at: impl Fn(u16) -> Option<u16>,
) -> Option<Kind> {
    let backend = positions.backends.get(&key.backend);
    let backend = backend.filter(|b| b.port != 0);
    Some(Kind {
        node_port: port_at(key.slot)?,
        dialled: positions.addresses.get(&key.address).copied(),
        interface: positions.interfaces.get(&key.interface).copied(),
        backend: backend.map(|b| address(b.addr, b.port)),
        key: FailureKey {
            slot: 0,
            backend: 0,
            address: 0,
            interface: 0,
            ..key
        },
    })
}

/// Spells a kind out; `None` when it has words that this build does not know.
pub(super) fn row(kind: &Kind, count: u64, names: &mut dyn Naming) -> Option<Row> {
    let key = &kind.key;
    let dropped = key.seen & seen::DROPPED != 0;
    let resets = seen::RESET_CLIENT | seen::RESET_SERVER | seen::RESET_PROCESS;
    let reset = key.seen & resets != 0;
    let failure = *Failure::ALL.get(usize::from(key.failure))?;
    let reply = *Reply::ALL.get(usize::from(key.reply))?;
    Some(Row {
        code: key.code,
        dialled: kind.dialled,
        interface: kind.interface,
        backend: kind.backend,
        seen: key.seen,
        netns: key.netns,
        reason: names
            .drop_reason(key.reason)
            .filter(|_| dropped)
            .map(str::to_owned),
        location: dropped.then(|| names.location(key.location)).flatten(),
        reset_reason: names
            .reset_reason(key.reset_reason)
            .filter(|_| reset)
            .map(str::to_owned),
        count,
        ..Row::new(kind.node_port, failure, reply)
    })
}

/// What the kernel's hooks noted, in one line; empty when they noted nothing.
#[must_use]
pub fn note(row: &Row) -> String {
    let drops = [
        (seen::DROPPED_SYN, "SYN"),
        (seen::DROPPED_SYN_ACK, "SYN-ACK"),
        (seen::DROPPED_CLIENT, "client's segment"),
        (seen::DROPPED_SERVER, "server's segment"),
    ];
    let dropped: Vec<&str> = drops
        .into_iter()
        .filter_map(|(bit, what)| (row.seen & bit != 0).then_some(what))
        .collect();
    let mut notes = Vec::new();
    if !dropped.is_empty() {
        let reason = row.reason.as_deref().unwrap_or("no reason given");
        let place = row.location.as_ref().map(|at| format!(" in {at}"));
        let place = place.unwrap_or_default();
        notes.push(format!("dropped {}: {reason}{place}", dropped.join(", ")));
    }
    let reason = row.reset_reason.as_ref().map(|r| format!(": {r}"));
    let reason = reason.unwrap_or_default();
    if row.seen & seen::RESET_CLIENT != 0 {
        let whose = match row.backend {
            Some(_) => "the backend's stack",
            None => "the node's stack",
        };
        notes.push(format!("RST to the client by {whose}{reason}"));
    }
    if row.seen & seen::RESET_PROCESS != 0 {
        let whose = match row.backend {
            Some(_) => "the backend's process",
            None => "the node's process",
        };
        notes.push(format!("RST by {whose}{reason}"));
    }
    if row.seen & seen::RESET_SERVER != 0 {
        notes.push(format!("RST to the backend by the node's stack{reason}"));
    }
    if row.seen & seen::SYN_ACK_AGAIN != 0 {
        notes.push("SYN-ACK sent again".to_owned());
    }
    if row.seen & seen::OLD_ENTRY != 0 {
        notes.push("met an older conntrack entry".to_owned());
    }
    if matches!(row.reply, Reply::Icmp | Reply::Icmpv6) {
        notes.push(format!("ICMP code {}", row.code));
    }
    notes.join("; ")
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use tracer_common::failure::Backend;

    use super::*;
    use crate::evidence::InterfaceName;

    #[test]
    fn addresses_are_as_people_write_them() {
        assert_eq!(
            address(Addr::v4([10, 0, 0, 7]), 9092).to_string(),
            "10.0.0.7:9092"
        );
        let v6: Ipv6Addr = "fd00::1".parse().unwrap();
        assert_eq!(
            address(Addr::v6(v6.octets()), 80).to_string(),
            "[fd00::1]:80"
        );
    }

    #[test]
    fn positions_become_what_stands_there() {
        let backend = Backend {
            addr: Addr::v4([10, 0, 0, 7]),
            port: 9092,
            ..Backend::default()
        };
        let node: IpAddr = "10.0.0.1".parse().unwrap();
        let positions = &Positions {
            backends: [(3, backend)].into(),
            addresses: [(2, node)].into(),
            interfaces: [(7, InterfaceName::new("eth1").unwrap())].into(),
        };
        let kind = |key, ports: fn(u16) -> Option<u16>| kind(key, positions, ports);
        let key = FailureKey {
            slot: 4,
            backend: 3,
            address: 2,
            interface: 7,
            ..FailureKey::default()
        };
        let ports = |slot| (slot == 4).then_some(30102);
        let known = kind(key, ports).unwrap();
        assert_eq!((known.node_port, known.key), (30102, FailureKey::default()));
        assert_eq!(known.backend.unwrap().to_string(), "10.0.0.7:9092");
        assert_eq!(known.dialled, Some(node));
        assert_eq!(known.interface.unwrap().as_str(), "eth1");
        assert_eq!(kind(FailureKey { slot: 5, ..key }, ports), None);
        let gone = FailureKey {
            backend: 9,
            address: 1,
            interface: 0,
            ..key
        };
        let gone = kind(gone, ports).unwrap();
        let found = (gone.backend, gone.dialled, gone.interface);
        assert_eq!(found, (None, None, None));
    }

    #[test]
    fn notes_name_what_was_seen() {
        let row = Row {
            seen: seen::DROPPED_SYN | seen::RESET_CLIENT,
            reason: Some("NETFILTER_DROP".to_owned()),
            location: Some("nft_do_chain".to_owned()),
            reset_reason: Some("NO_SOCKET".to_owned()),
            ..Row::new(30102, Failure::TimedOut, Reply::None)
        };
        assert_eq!(
            note(&row),
            "dropped SYN: NETFILTER_DROP in nft_do_chain; RST to the client by the node's stack: NO_SOCKET"
        );
    }
}
