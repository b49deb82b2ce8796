//! The rule sets of the node's network namespace, and the way of a SYN through them.

mod name;

use std::net::{IpAddr, SocketAddr};

pub use name::{Family, Owner, Position, RuleName, Tool};

/// The rule sets as they were read, with counters. By default nothing is known.
#[derive(Clone, Debug, Default)]
pub struct RuleSets {
    known: bool,
    /// What tests have it say of any SYN.
    #[cfg(test)]
    answer: Option<Traced>,
}

/// A SYN whose way through the rules is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syn {
    /// Who sent it.
    pub client: IpAddr,
    /// From which port; `None`: not known.
    pub client_port: Option<u16>,
    /// The node's own address that it is for.
    pub dialled: IpAddr,
    /// The port that it is for.
    pub node_port: u16,
    /// The interface by which it came in, if that is known.
    pub interface: Option<String>,
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
}

/// A rule that may have stopped a SYN.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// this is the only reading within it, or there is no counter.
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

/// How kube-proxy's rules are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProxyMode {
    /// iptables, by iptables-legacy.
    IptablesLegacy,
    /// iptables, by iptables-nft.
    IptablesNft,
    /// nftables
    Nftables,
}

impl RuleSets {
    /// Rule sets that say this of any SYN.
    #[cfg(test)]
    pub fn answering(traced: Traced) -> Self {
        Self {
            known: true,
            answer: Some(traced),
        }
    }

    /// What the rules do with a SYN.
    #[must_use]
    pub fn trace(&self, _: &Syn) -> Traced {
        #[cfg(test)]
        if let Some(answer) = &self.answer {
            return answer.clone();
        }
        Traced::default()
    }

    /// Whether anything was read.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// What kube-proxy's rules look like; `None`: there are none, or nothing was read.
    #[must_use]
    pub fn mode(&self) -> Option<ProxyMode> {
        None
    }
}
