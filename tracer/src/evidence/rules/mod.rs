//! The rule sets of the node's network namespace, and the way of a SYN through them.

mod counts;
mod find;
mod legacy;
mod mode;
mod name;
mod nft;
mod packet;
mod read;
mod reader;
mod redirect;
mod simple;
mod standing;
mod table;
mod text;
mod walk;
mod xt;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use self::{
    counts::{Baseline, Key},
    read::Read,
    walk::{Stopped, Walk},
};
use super::InterfaceName;
pub use mode::ProxyMode;
pub use name::{Family, Owner, Position, RuleName, Tool};
pub use reader::Reader;
pub use redirect::{Redirect, redirect};

/// The rule sets as they were read, with counters. By default nothing is known.
#[derive(Debug, Default)]
pub struct RuleSets {
    known: bool,
    /// Questions about different windows share it.
    read: Arc<Read>,
    before: Baseline,
    /// Ways that were asked for before: each row of a window asks several times.
    traced: Mutex<HashMap<Syn, Traced>>,
    #[cfg(test)]
    answer: Option<(Option<InterfaceName>, Traced)>,
}

/// A SYN whose way through the rules is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Syn {
    /// Who sent it.
    pub client: IpAddr,
    /// From which port; `None`: not known.
    pub client_port: Option<u16>,
    /// The node's own address that it is for.
    pub dialled: IpAddr,
    /// The port that it is for.
    pub node_port: u16,
    /// The interface at which it was seen to come in, if that is known.
    pub interface: Option<InterfaceName>,
    /// What NAT made of its destination, if that is known: the hooks after NAT are
    /// asked about it.
    pub backend: Option<SocketAddr>,
    /// The interface of the route to `backend`, if that is known.
    pub way_out: Option<String>,
}

/// What the rules do with a SYN.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traced {
    /// Rules and policies that may have stopped it, in the order in which the kernel
    /// asks them; at most 8.
    pub stops: Vec<Stop>,
    /// What the NAT rules may translate its destination to; at most 256.
    pub backends: Vec<SocketAddr>,
    /// Whether all rules on its way could be read. False when an unknown match, a set
    /// or a bound leaves something open.
    pub complete: bool,
    /// The same for the rules that are asked before NAT translates the destination.
    pub complete_before_dnat: bool,
}

/// A rule that may have stopped a SYN.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stop {
    /// Which.
    pub rule: RuleName,
    /// What it does.
    pub action: Action,
    /// It is asked before NAT translates the destination.
    pub before_dnat: bool,
    /// Whether it fits.
    pub matches: Matches,
    /// Packets that it has taken; `None`: it has no counter.
    pub packets: Option<u64>,
    /// What `packets` rose by since the earliest reading within the window. `None`:
    /// its chain was not read then, this is the only reading, or there is no counter.
    pub rise: Option<u64>,
}

/// What a rule does with a SYN that it stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// It is dropped without a word, or handed to a program that may.
    Drop,
    /// The client gets a RST.
    RejectReset,
    /// The client gets an ICMP error, or an ICMPv6 error for an IPv6 SYN.
    RejectIcmp {
        /// Of destination unreachable, as on the wire.
        code: u8,
    },
}

/// Whether a rule fits a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Matches {
    /// Every match on the way to it was understood and fits.
    Yes,
    /// Something on the way to it could not be decided.
    Maybe,
}

impl RuleSets {
    /// Rule sets that say this of any SYN, or of those that came in by an interface; the
    /// others meet nothing.
    #[cfg(test)]
    pub fn answering(traced: Traced, by: Option<InterfaceName>) -> Self {
        Self {
            known: true,
            answer: Some((by, traced)),
            ..Self::default()
        }
    }

    /// What the rules do with a SYN.
    #[must_use]
    pub fn trace(&self, syn: &Syn) -> Traced {
        #[cfg(test)]
        if let Some((by, answer)) = &self.answer {
            let stops = match by {
                Some(_) if *by != syn.interface => Vec::new(),
                _ => answer.stops.clone(),
            };
            return Traced {
                stops,
                ..answer.clone()
            };
        }
        /// Ways that are remembered.
        const MOST: usize = 64;
        let traced = || self.traced.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = traced().get(syn) {
            return known.clone();
        }
        let told = self.walk(syn);
        let mut known = traced();
        if known.len() < MOST {
            known.insert(syn.clone(), told.clone());
        }
        told
    }

    fn walk(&self, syn: &Syn) -> Traced {
        let syn = &self.read.as_met(syn);
        let outcome = Walk::new(&self.read.tables, self.read.own.as_deref(), syn).run(syn);
        Traced {
            stops: outcome
                .stops
                .iter()
                .filter_map(|stop| self.stop(stop))
                .collect(),
            backends: outcome.backends,
            complete: self.known && !self.read.gaps && !outcome.incomplete,
            complete_before_dnat: self.known && !self.read.gaps && !outcome.incomplete_early,
        }
    }

    /// Whether an address is known for one of the node's own.
    #[must_use]
    pub fn owns(&self, address: IpAddr) -> bool {
        let own = self.read.own.as_deref();
        own.is_some_and(|own| own.contains(&address))
    }

    /// Whether NAT rules may translate the destination of a SYN from any client to the
    /// address and port that `syn` is for; `None`: nothing was read.
    #[must_use]
    pub fn translates(&self, syn: &Syn) -> Option<bool> {
        #[cfg(test)]
        if let Some(answer) = &self.answer {
            return Some(!answer.1.backends.is_empty());
        }
        let walk = || Walk::new(&self.read.tables, self.read.own.as_deref(), syn);
        self.known.then(|| !walk().all(syn).backends.is_empty())
    }

    /// Whether anything was read.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.known
    }

    fn stop(&self, stop: &Stopped) -> Option<Stop> {
        let tables = &self.read.tables;
        let chain = tables.chains.get(stop.chain as usize)?;
        let rule = match stop.rule {
            Some(rule) => Some(chain.rules.get(rule as usize)?),
            None => None,
        };
        let packets = match rule {
            Some(rule) => rule.packets,
            None => chain.base.as_ref()?.packets,
        };
        let key = Key::new(tables, stop.chain, stop.rule)?;
        Some(Stop {
            rule: self.name(chain, stop.rule, rule)?,
            action: stop.action,
            before_dnat: stop.before_dnat,
            matches: stop.matches,
            packets,
            rise: packets.and_then(|packets| self.before.rise(key, packets)),
        })
    }

    fn name(
        &self,
        chain: &table::Chain,
        number: Option<u32>,
        rule: Option<&table::Rule>,
    ) -> Option<RuleName> {
        let tables = &self.read.tables;
        let table = tables.tables.get(chain.table as usize)?;
        let ours = &*table.name == "kube-proxy" && table.tool == Tool::Nftables;
        let named = is_kube_proxys(&chain.name) && table.tool != Tool::Nftables;
        Some(RuleName {
            family: table.family,
            tool: table.tool,
            table: xt::text(table.name.as_bytes()),
            chain: xt::text(chain.name.as_bytes()),
            position: match (rule, number) {
                (Some(rule), _) if table.tool == Tool::Nftables => Position::Handle(rule.handle),
                (_, Some(number)) => Position::Number(number + 1),
                (_, None) => Position::Policy,
            },
            comment: rule
                .and_then(|rule| rule.comment.as_deref())
                .map(Into::into),
            text: rule.map_or_else(String::new, |rule| text::of(tables, table.tool, rule)),
            owner: if ours || named {
                Owner::KubeProxy
            } else {
                Owner::Other
            },
        })
    }
}

/// kube-router, which k3s contains, names its chains for network policies much the same.
fn is_kube_proxys(chain: &str) -> bool {
    const KUBE_ROUTER: [&str; 3] = ["KUBE-ROUTER-", "KUBE-POD-FW-", "KUBE-NWPLCY-"];
    chain.starts_with("KUBE-") && !KUBE_ROUTER.iter().any(|name| chain.starts_with(name))
}

#[cfg(test)]
mod tests;
