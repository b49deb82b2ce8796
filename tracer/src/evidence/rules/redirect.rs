//! Where NAT of a namespace sends what comes in for one of its own addresses: a sidecar's
//! REDIRECT.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use super::{
    Matches, RuleName, RuleSets, Syn, read,
    walk::{Translated, Walk},
};
use crate::evidence::{Absent, InterfaceName};

/// A rule that sends SYNs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// To where.
    pub to: SocketAddr,
    /// The rule.
    pub rule: RuleName,
}

/// Asks the rule sets of the calling thread's namespace for the rule that sends on all
/// that comes in by `interface` for `address`.
pub fn redirect(
    address: SocketAddr,
    interface: &str,
    deadline: Instant,
    absent: &mut Vec<Absent>,
) -> Option<Redirect> {
    let syn = Syn {
        // Not asked about: it has to be so for any.
        client: address.ip(),
        client_port: None,
        dialled: address.ip(),
        node_port: address.port(),
        interface: InterfaceName::new(interface),
        backend: None,
        way_out: None,
    };
    let rules = RuleSets {
        known: true,
        read: Arc::new(read::read(std::slice::from_ref(&syn), deadline, absent)),
        ..RuleSets::default()
    };
    rules.redirect(&syn)
}

impl RuleSets {
    /// The rule that surely translates the destination of such a SYN, whoever sent it.
    fn redirect(&self, syn: &Syn) -> Option<Redirect> {
        let tables = &self.read.tables;
        let outcome = Walk::new(tables, self.read.own.as_deref(), syn).all(syn);
        let Translated {
            chain,
            rule,
            matches,
        } = *outcome.translated.first()?;
        let to = *outcome.backends.first()?;
        if matches != Matches::Yes || self.read.gaps {
            return None;
        }
        let chain = tables.chains.get(chain as usize)?;
        let known = chain.rules.get(rule as usize)?;
        Some(Redirect {
            to,
            rule: self.name(chain, Some(rule), Some(known))?,
        })
    }
}
