//! Whom a problem hits and whom it spares: by address dialled, family, interface and
//! client.

use std::{collections::BTreeSet, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::case::sum;
use crate::evidence::{Evidence, InterfaceName, Row, SOURCES};

/// Clients that a sentence names.
const NAMED: usize = 3;

/// What a problem is confined to, as far as the window shows; empty: no narrower than
/// its port and backend. Each list is there only if others were served meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// `IPv4` or `IPv6`: the other family was served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// Addresses of the node: other ones were served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// Interfaces of the node by which the attempts came in: those of other ones were
    /// served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<String>,
    /// Clients: other ones were served in the midst of the failures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<IpAddr>,
}

impl Scope {
    /// Of failures of one port.
    pub(super) fn of(rows: &[&Row], evidence: &Evidence) -> Self {
        let Some(port) = rows.first().map(|row| row.node_port) else {
            return Self::default();
        };
        let mut scope = Self::default();
        scope.narrow_by_address(rows, port, evidence);
        scope.narrow_by_interface(rows, port, evidence);
        scope.narrow_by_client(rows);
        scope
    }

    fn narrow_by_address(&mut self, rows: &[&Row], port: u16, evidence: &Evidence) {
        let dialled: Option<BTreeSet<IpAddr>> = rows.iter().map(|row| row.dialled).collect();
        let Some(dialled) = dialled else { return };
        let served = evidence.served.iter().filter(|s| s.node_port == port);
        let served: BTreeSet<IpAddr> = served.map(|s| s.dialled).collect();
        if served.is_empty() || !dialled.is_disjoint(&served) {
            return;
        }
        let v4 = |set: &BTreeSet<IpAddr>| set.iter().all(IpAddr::is_ipv4);
        let v6 = |set: &BTreeSet<IpAddr>| set.iter().all(IpAddr::is_ipv6);
        if v6(&dialled) && v4(&served) {
            self.family = Some("IPv6".to_owned());
        } else if v4(&dialled) && v6(&served) {
            self.family = Some("IPv4".to_owned());
        }
        self.addresses = dialled.into_iter().collect();
    }

    /// Where it is known of all by which interface they came in.
    fn narrow_by_interface(&mut self, rows: &[&Row], port: u16, evidence: &Evidence) {
        let failed: Option<BTreeSet<InterfaceName>> = rows.iter().map(|r| r.interface).collect();
        let served = evidence.served.iter().filter(|s| s.node_port == port);
        let served: Option<BTreeSet<InterfaceName>> = served.map(|s| s.interface).collect();
        let (Some(failed), Some(served)) = (failed, served) else {
            return;
        };
        if !served.is_empty() && failed.is_disjoint(&served) {
            self.interfaces = failed.iter().map(InterfaceName::to_string).collect();
        }
    }

    fn narrow_by_client(&mut self, rows: &[&Row]) {
        let Some(failed) = clients(rows) else { return };
        let spared = |row: &&Row| {
            let mut served = row.amid.iter();
            served.any(|s| s.client.is_some_and(|client| !failed.contains(&client)))
        };
        let also_served = |row: &&Row| {
            let mut served = row.amid.iter();
            served.any(|s| s.client.is_none_or(|client| failed.contains(&client)))
        };
        if rows.iter().any(spared) && !rows.iter().any(also_served) {
            self.clients = failed.into_iter().collect();
        }
    }

    /// Whom it spares, sentences.
    pub(super) fn sentences(&self, port: u16, evidence: &Evidence) -> Vec<String> {
        let mut told = Vec::new();
        if !self.addresses.is_empty() {
            told.push(by_address(self, port, evidence));
        }
        if !self.interfaces.is_empty() {
            told.push(by_interface(self, port, evidence));
        }
        if !self.clients.is_empty() {
            told.push(
                "Connections of other clients were established in the midst of them.".to_owned(),
            );
        }
        told
    }

    /// The scope in a few words, for a title; `None`: it is not confined.
    #[must_use]
    pub fn title(&self) -> Option<String> {
        if let Some(family) = &self.family {
            return Some(format!("only {family}"));
        }
        shown(&self.addresses, "at")
            .or_else(|| shown(&self.interfaces, "by"))
            .or_else(|| shown(&self.clients, "from"))
    }
}

/// The clients of failures when all are remembered, and few enough to be all named.
fn clients(rows: &[&Row]) -> Option<BTreeSet<IpAddr>> {
    let mut clients = BTreeSet::new();
    for row in rows {
        if row.sources.len() >= SOURCES || sum(row.sources.iter().map(|s| s.1)) < row.count {
            return None;
        }
        clients.extend(row.sources.iter().map(|(client, _)| *client));
    }
    (!clients.is_empty()).then_some(clients)
}

/// What a problem is confined to, where these are few.
fn shown(all: &[impl ToString], what: &str) -> Option<String> {
    let few = all.len() <= NAMED && !all.is_empty();
    few.then(|| format!("only {what} {}", list(all)))
}

fn list(all: &[impl ToString]) -> String {
    let shown: Vec<String> = all.iter().map(ToString::to_string).collect();
    shown.join(", ")
}

/// The clients of failures, where they are few and all are remembered.
pub(super) fn all_from(rows: &[&Row]) -> Option<String> {
    let clients: Vec<IpAddr> = clients(rows)?.into_iter().collect();
    (clients.len() <= NAMED).then(|| list(&clients))
}

fn by_address(scope: &Scope, port: u16, evidence: &Evidence) -> String {
    let served = evidence.served.iter().filter(|s| s.node_port == port);
    let others: BTreeSet<IpAddr> = served.clone().map(|s| s.dialled).collect();
    let count = sum(served.map(|s| s.count));
    let others: Vec<IpAddr> = others.into_iter().take(NAMED).collect();
    let failed = match (&scope.family, &scope.addresses[..]) {
        (Some(family), all) if all.len() > NAMED => format!("{family} addresses of this node"),
        (Some(family), all) => format!("{} ({family})", list(all)),
        (None, all) if all.len() > NAMED => format!("{} addresses of this node", all.len()),
        (None, all) => list(all),
    };
    let them = if scope.addresses.len() == 1 {
        "it"
    } else {
        "them"
    };
    let others = list(&others);
    match evidence.untold {
        0 => format!(
            "Only attempts to {failed} failed so, and none to {them} was established; of those to \
             {others} {count} were."
        ),
        untold => format!(
            "Only attempts to {failed} failed so; of those to {others} {count} were established. \
             Whether any to {them} was is not known: to which address {untold} connections of \
             this window were made was not counted."
        ),
    }
}

fn by_interface(scope: &Scope, port: u16, evidence: &Evidence) -> String {
    let served = evidence.served.iter().filter(|s| s.node_port == port);
    let others: BTreeSet<InterfaceName> = served.clone().filter_map(|s| s.interface).collect();
    let count = sum(served.map(|s| s.count));
    let others: Vec<InterfaceName> = others.into_iter().take(NAMED).collect();
    let failed = match &scope.interfaces[..] {
        all if all.len() > NAMED => format!("{} interfaces of this node", all.len()),
        all => list(all),
    };
    format!(
        "Only attempts that came in by {failed} failed so, and none of these was established; of \
         those by {} {count} were.",
        list(&others)
    )
}
