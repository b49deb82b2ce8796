//! A round as a row of bytes, and the small numbers that stand in it.

use std::net::{IpAddr, SocketAddr};

use tracer_common::{
    counters::Cell,
    words::{Outcome, Traffic},
};

use super::{
    history::{Cells, Changes, Kind, Window},
    numbers::Numbers,
    packing::{Reader, Writer},
    served::{Counts, Whose},
};
use crate::{evidence::InterfaceName, report::TopStep};

/// A node port and where NAT sends it.
pub(super) type Place = (u16, SocketAddr);

/// Clients with connections that rounds tell apart.
const CLIENTS: usize = 2048;

/// Packs rounds one after the other.
#[derive(Debug, Default)]
pub(super) struct Packer {
    backends: Numbers<Place>,
    /// Addresses that were dialled: the node's own, and others.
    addresses: Numbers<IpAddr>,
    interfaces: Numbers<InterfaceName>,
    clients: Numbers<IpAddr>,
    /// The round that is packed.
    round: u64,
}

impl Packer {
    /// From now on round number `round` is packed.
    pub(super) fn begin(&mut self, round: u64) {
        self.round = round;
    }

    /// Rounds before `oldest` are gone.
    pub(super) fn forget(&mut self, oldest: u64) {
        self.backends.forget(oldest);
        self.addresses.forget(oldest);
        self.interfaces.forget(oldest);
        self.clients.forget(oldest);
    }

    /// Memory that the numbers take.
    pub(super) fn bytes(&self) -> usize {
        let of_addresses = self.addresses.bytes() + self.clients.bytes();
        self.backends.bytes() + self.interfaces.bytes() + of_addresses
    }

    pub(super) fn pack(&mut self, changes: &Changes) -> Box<[u8]> {
        let mut to = Writer::default();
        to.length(changes.cells.len());
        for (port, cell, value) in &changes.cells {
            to.put(u64::from(*port));
            to.put(u64::from(*cell));
            to.put(*value);
        }
        to.length(changes.kinds.len());
        for (kind, value) in &changes.kinds {
            to.put(u64::from(kind.node_port));
            let place = kind.backend.map(|b| (kind.node_port, b));
            to.put(self.backends.number_or_zero(place, self.round));
            to.put(self.addresses.number_or_zero(kind.dialled, self.round));
            let interface = kind.interface;
            to.put(self.interfaces.number_or_zero(interface, self.round));
            to.key(&kind.key);
            to.put(*value);
        }
        to.length(changes.sent.len());
        for (place, sent) in &changes.sent {
            to.put(self.backends.number(*place, self.round));
            to.put(sent.attempts);
            to.put(sent.passive_opens);
        }
        for lost in changes.lost {
            to.put(lost);
        }
        to.length(changes.elsewhere.len());
        for (place, syns) in &changes.elsewhere {
            to.put(self.addresses.number(place.ip(), self.round));
            to.put(u64::from(place.port()));
            to.put(*syns);
        }
        to.into()
    }

    pub(super) fn unpack(&self, packed: &[u8], cells: &mut Cells, to: &mut Window) -> Option<()> {
        let mut from = Reader::new(packed);
        for _ in 0..from.take()? {
            let place = (from.number()?, from.number()?);
            let cell = cells.entry(place).or_default();
            *cell = cell.wrapping_add(from.take()?);
        }
        for _ in 0..from.take()? {
            let node_port = from.number()?;
            let place = self.backends.at_or_none(from.take()?)?;
            let kind = Kind {
                node_port,
                backend: place.map(|(_, backend)| backend),
                dialled: self.addresses.at_or_none(from.take()?)?,
                interface: self.interfaces.at_or_none(from.take()?)?,
                key: from.key()?,
            };
            *to.kinds.entry(kind).or_default() += from.take()?;
        }
        for _ in 0..from.take()? {
            let place = self.backends.at(from.take()?)?;
            let sent = to.sent.entry(place).or_default();
            sent.attempts += from.take()?;
            sent.passive_opens += from.take()?;
        }
        for lost in &mut to.lost {
            *lost += from.take()?;
        }
        for _ in 0..from.take()? {
            let address = self.addresses.at(from.take()?)?;
            let place = SocketAddr::new(address, from.number()?);
            *to.elsewhere.entry(place).or_default() += from.take()?;
        }
        Some(())
    }

    pub(super) fn pack_served(&mut self, served: &[(Whose, u64)]) -> Box<[u8]> {
        let mut to = Writer::default();
        for (whose, count) in served {
            to.put(u64::from(whose.node_port));
            let client = whose.client;
            let client = client.and_then(|ip| self.clients.within(CLIENTS, ip, self.round));
            to.put(client.map_or(0, |number| 1 + number));
            to.put(self.addresses.number(whose.dialled, self.round));
            let interface = whose.interface;
            to.put(self.interfaces.number_or_zero(interface, self.round));
            let place = whose.backend.map(|b| (whose.node_port, b));
            to.put(self.backends.number_or_zero(place, self.round));
            to.put(*count);
        }
        to.into()
    }

    pub(super) fn unpack_served(&self, packed: &[u8], to: &mut Counts) -> Option<()> {
        let mut from = Reader::new(packed);
        while let Some(node_port) = from.number() {
            let whose = Whose {
                node_port,
                client: self.clients.at_or_none(from.take()?)?,
                dialled: self.addresses.at(from.take()?)?,
                interface: self.interfaces.at_or_none(from.take()?)?,
                backend: self.backends.at_or_none(from.take()?)?.map(|(_, b)| b),
            };
            *to.entry(whose).or_default() += from.take()?;
        }
        Some(())
    }
}

/// Adds the outcomes of a round to its step.
pub(super) fn outcomes(packed: &[u8], to: &mut TopStep) -> Option<()> {
    let mut from = Reader::new(packed);
    for _ in 0..from.take()? {
        let (port, cell, value) = (from.number::<u16>()?, from.number::<usize>()?, from.take()?);
        let Some(place) =
            cell.checked_sub(Cell::handshake(Outcome::Established, Traffic::Thrift).index())
        else {
            continue;
        };
        let Some(outcome) = Outcome::ALL.get(place / Traffic::COUNT) else {
            continue;
        };
        let counts = to.ports.entry(port).or_default();
        *counts.entry(outcome.as_str().to_owned()).or_default() += value;
    }
    Some(())
}
