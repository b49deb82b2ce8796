//! What `tracer explain -o json` says.

use std::net::SocketAddr;

use serde::Deserialize;

/// All of it.
#[derive(Debug, Deserialize)]
pub struct Explanation {
    pub window_s: f64,
    pub ports: Vec<PortRow>,
    pub verdicts: Vec<Finding>,
    pub unexplained: u64,
    pub not_visible: Vec<String>,
    pub sight: Sight,
}

/// What the tap cannot have seen, and what it saw and did not count.
#[derive(Debug, Deserialize)]
pub struct Sight {
    pub complete: bool,
    pub obstacles: Vec<String>,
    pub not_counted: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub struct PortRow {
    pub node_port: u16,
    pub attempts: u64,
    pub outcomes: std::collections::BTreeMap<String, u64>,
    pub backends: Vec<BackendRow>,
}

#[derive(Debug, Deserialize)]
pub struct BackendRow {
    pub address: SocketAddr,
    pub place: String,
    pub attempts: u64,
    pub passive_opens: u64,
    pub failures: std::collections::BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
pub struct Finding {
    pub node_port: u16,
    pub verdict: String,
    pub certainty: String,
    #[serde(default)]
    pub scope: Scope,
    pub failed: u64,
    pub connections: u64,
    pub share: f64,
    pub backend: Option<String>,
    pub evidence: Vec<String>,
    pub next: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Scope {
    pub family: Option<String>,
    pub addresses: Vec<String>,
    pub interfaces: Vec<String>,
    pub clients: Vec<String>,
}

impl Finding {
    pub fn key(&self) -> (u16, &String) {
        (self.node_port, &self.verdict)
    }

    pub fn says(&self, said: &str) -> bool {
        self.evidence.iter().any(|line| line.contains(said))
    }
}

/// Whom the problem hits, if others must have been spared.
#[derive(Clone, Copy, Debug)]
pub enum Whom {
    /// Not looked at.
    Any,
    /// Nobody is spared.
    All,
    /// `IPv4` or `IPv6` alone.
    Family(&'static str),
    /// Who dials this address of the node.
    At(&'static str),
    /// What comes in by this interface of the node.
    By(&'static str),
    /// This client alone.
    From(&'static str),
}

impl Whom {
    pub fn is(self, scope: &Scope) -> bool {
        let Scope {
            family,
            addresses,
            interfaces,
            clients,
        } = scope;
        let of_places = !addresses.is_empty() || !interfaces.is_empty();
        match self {
            Self::Any => true,
            Self::All => family.is_none() && !of_places && clients.is_empty(),
            Self::Family(word) => family.as_deref() == Some(word),
            Self::At(ip) => addresses[..] == [ip] && family.is_none(),
            Self::By(name) => interfaces[..] == [name],
            Self::From(ip) => clients[..] == [ip],
        }
    }
}
