//! The way of a SYN through the hooks, as the kernel goes it. What cannot be decided
//! is gone both ways.

mod chains;
mod nat;
mod verdicts;

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use super::{
    Action, Family, Matches, Syn,
    packet::{Interface, Packet, named},
    table::{Base, Hook, Tables, state},
};

/// Stops and backends that are told of.
const STOPS: usize = 8;
const BACKENDS: usize = 256;
/// Where NAT changes destinations, and where conntrack comes in.
const DNAT: i32 = -100;
const CONNTRACK: i32 = -200;

/// A rule (by its index in its chain) or a policy that may stop the SYN.
#[derive(Clone, Copy, Debug)]
pub struct Stopped {
    pub chain: u32,
    pub rule: Option<u32>,
    pub action: Action,
    pub before_dnat: bool,
    pub matches: Matches,
}

/// A rule that may translate the SYN's destination.
#[derive(Clone, Copy, Debug)]
pub struct Translated {
    pub chain: u32,
    pub rule: u32,
    pub matches: Matches,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    pub stops: Vec<Stopped>,
    /// In the order in which the kernel asks them.
    pub translated: Vec<Translated>,
    pub backends: Vec<SocketAddr>,
    pub incomplete: bool,
    /// The same of the chains that come before NAT translates the destination.
    pub incomplete_early: bool,
    /// Sets and chains that it takes to decide, and that are not read.
    pub missing: BTreeSet<u32>,
    pub unread: BTreeSet<u32>,
}

pub struct Walk<'a> {
    tables: &'a Tables,
    packet: Packet<'a>,
    outcome: Outcome,
    steps: u32,
    before_dnat: bool,
    /// In a chain of NAT: it may have been left as it is.
    untouched: bool,
    /// A rule of NAT was come to.
    natted: bool,
    here: (u32, u32),
}

/// The less sure of two.
fn least(a: Matches, b: Matches) -> Matches {
    a.max(b)
}

impl<'a> Walk<'a> {
    /// `own`: addresses of the node.
    pub fn new(tables: &'a Tables, own: Option<&'a [IpAddr]>, syn: &Syn) -> Self {
        Self {
            tables,
            packet: Packet {
                client: syn.client,
                client_port: syn.client_port,
                destinations: vec![SocketAddr::new(syn.dialled, syn.node_port)],
                open: false,
                interface: syn.interface.into(),
                way_out: Interface::Missing,
                mark: (u32::MAX, 0),
                state: state::INVALID,
                translated: Some(false),
                own,
                dialled: syn.dialled,
                any_client: false,
            },
            outcome: Outcome::default(),
            steps: 0,
            before_dnat: true,
            untouched: false,
            natted: false,
            here: (0, 0),
        }
    }

    /// For any client, and on where a rule stops it: all that a way may take.
    pub fn all(mut self, syn: &Syn) -> Outcome {
        self.packet.any_client = true;
        self.run(syn)
    }

    /// Goes all the way.
    pub fn run(mut self, syn: &Syn) -> Outcome {
        let alive =
            self.hook(Hook::Ingress, Matches::Yes) && self.hook(Hook::Prerouting, Matches::Yes);
        if !alive {
            return self.outcome;
        }
        self.before_dnat = false;
        let (stays, chosen) = match syn.backend {
            Some(backend) => (
                Some(self.packet.destinations.contains(&backend)),
                vec![backend],
            ),
            None if !self.natted => (Some(true), Vec::new()),
            None => (
                self.packet.translated.map(|translated| !translated),
                self.outcome.backends.clone(),
            ),
        };
        let reach = if stays.is_none() {
            Matches::Maybe
        } else {
            Matches::Yes
        };
        let marks = self.packet.mark;
        if stays != Some(false) {
            self.packet.translated = Some(false);
            self.hook(Hook::Input, reach);
        }
        if stays != Some(true) {
            self.packet.mark = marks;
            self.packet.translated = Some(true);
            self.translated(chosen, syn, reach);
        }
        self.outcome
    }

    /// All chains of a hook. Returns whether the SYN may come out of it.
    fn hook(&mut self, hook: Hook, reach: Matches) -> bool {
        let v4 = self.packet.client.is_ipv4();
        let mut chains: Vec<(i32, u32)> = Vec::new();
        for (chain, index) in self.tables.chains.iter().zip(0_u32..) {
            let Some(base) = chain.base.as_ref().filter(|base| base.hook == hook) else {
                continue;
            };
            let family = self
                .tables
                .tables
                .get(chain.table as usize)
                .map(|table| table.family);
            let fits = match family {
                Some(Family::Ipv4) => v4,
                Some(Family::Ipv6) => !v4,
                Some(Family::Inet | Family::Netdev) => true,
                None => false,
            };
            if fits {
                chains.push((base.priority, index));
            }
        }
        chains.sort_by_key(|(priority, _)| *priority);
        chains.into_iter().all(|(_, chain)| self.base(chain, reach))
    }

    fn base(&mut self, index: u32, mut reach: Matches) -> bool {
        let tables = self.tables;
        let Some(chain) = tables.chains.get(index as usize) else {
            return true;
        };
        let Some(base) = &chain.base else { return true };
        match self.devices(base) {
            Some(false) => return true,
            None => reach = Matches::Maybe,
            Some(true) => {}
        }
        self.enter(base);
        let translated =
            self.packet.translated == Some(true) || self.packet.state == state::UNTRACKED;
        if base.nat && base.hook == Hook::Prerouting && translated {
            return true;
        }
        self.untouched = false;
        let natted = std::mem::take(&mut self.natted);
        let end = self.chain(index, reach, 0);
        if self.before_dnat && !base.nat {
            // Chains come in the order of their priority: nothing later is in it yet.
            self.outcome.incomplete_early |= self.outcome.incomplete;
        }
        if self.packet.any_client {
            self.natted |= natted;
            return true;
        }
        if let (Some(on), true) = (end.on, base.drops) {
            self.stop(index, None, Action::Drop, on);
            if !end.accepted {
                return reach == Matches::Maybe;
            }
        }
        if end.on.is_none() && !end.accepted {
            return reach == Matches::Maybe;
        }
        if self.natted && base.hook == Hook::Prerouting {
            let stays = self.untouched || end.on.is_some() || reach == Matches::Maybe;
            self.packet.translated = if stays { None } else { Some(true) };
        }
        self.natted |= natted;
        true
    }

    fn enter(&mut self, base: &Base) {
        let early = base.hook == Hook::Ingress || base.hook == Hook::Prerouting;
        self.before_dnat = early && (base.priority < DNAT || base.nat);
        let tracked = !early || base.hook == Hook::Prerouting && base.priority > CONNTRACK;
        if tracked && self.packet.state == state::INVALID {
            self.packet.state = state::NEW;
        }
    }

    fn devices(&self, base: &Base) -> Option<bool> {
        if base.hook != Hook::Ingress {
            return Some(true);
        }
        let each = base.devices.iter();
        let mut fits = each.map(|device| named(&self.packet.interface, device, false));
        fits.find(|fits| *fits != Some(false))
            .unwrap_or(Some(false))
    }
}
