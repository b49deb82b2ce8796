//! What NAT does to a SYN, and where it goes then.

use std::net::SocketAddr;

use super::{BACKENDS, Walk};
use crate::evidence::rules::{
    Matches, Syn,
    find::find,
    table::{Data, Hook, Target},
    xt,
};

impl Walk<'_> {
    /// After NAT: to sockets of the node, or on to other interfaces.
    pub(super) fn translated(&mut self, chosen: Vec<SocketAddr>, syn: &Syn, reach: Matches) {
        let (own, others): (Vec<_>, Vec<_>) = chosen
            .into_iter()
            .partition(|backend| self.packet.is_own(backend.ip()) || backend.ip() == syn.dialled);
        let reach = if own.is_empty() || others.is_empty() {
            reach
        } else {
            Matches::Maybe
        };
        // Targets that are not known leave it open as well.
        let open = self.outcome.incomplete && syn.backend.is_none();
        let marks = self.packet.mark;
        if own.is_empty() {
            self.packet.destinations.clear();
        }
        if !own.is_empty() {
            self.packet.destinations = own;
            self.packet.open = open;
            self.hook(Hook::Input, reach);
        }
        if !others.is_empty() || self.packet.destinations.is_empty() {
            self.packet.mark = marks;
            self.packet.destinations = others;
            self.packet.open = open;
            self.packet.way_out = syn.way_out.clone().into();
            if self.hook(Hook::Forward, reach) {
                self.hook(Hook::Postrouting, reach);
            }
        }
    }

    pub(super) fn dnat(&mut self, target: &Target) {
        self.natted = true;
        let before = self.packet.destinations.first().copied();
        let Some(before) = before else { return };
        match target {
            Target::To { address, port } => {
                let ip = address.unwrap_or(before.ip());
                self.backend(SocketAddr::new(ip, port.unwrap_or(before.port())));
            }
            Target::Map(lookup) => match find(self.tables, &self.packet, lookup) {
                Some(found) => {
                    for hit in found.hits {
                        match &hit.data {
                            Data::Bytes(bytes) => match held(bytes, before) {
                                Some(backend) => self.backend(backend),
                                None => self.outcome.incomplete = true,
                            },
                            _ => self.outcome.incomplete = true,
                        }
                    }
                }
                None => {
                    self.outcome.missing.extend(lookup.set);
                    self.outcome.incomplete = true;
                }
            },
            Target::Unknown => self.outcome.incomplete = true,
        }
    }

    fn backend(&mut self, backend: SocketAddr) {
        let backends = &mut self.outcome.backends;
        if backends.contains(&backend) {
            return;
        }
        if backends.len() < BACKENDS {
            backends.push(backend);
        } else {
            self.outcome.incomplete = true;
        }
    }
}

/// Address and port as a map holds them.
fn held(bytes: &[u8], before: SocketAddr) -> Option<SocketAddr> {
    let v6 = before.is_ipv6();
    let address = xt::address(bytes, v6)?;
    let port = bytes.get(if v6 { 16 } else { 4 }..)?.first_chunk();
    let port = port.map_or(before.port(), |b| u16::from_be_bytes(*b));
    Some(SocketAddr::new(address, port))
}
