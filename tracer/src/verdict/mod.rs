//! Judges evidence: a pure function from what is known to what went wrong,
//! with the fact that decides, what that excludes, and what to do.

mod backend;
mod case;
mod case_services;
mod claim;
mod commands;
mod conntrack;
mod culprit;
mod drops;
mod findings;
mod firewall;
mod flood;
mod found;
mod holder;
mod listens;
mod names;
mod no_endpoints;
mod no_rule;
mod opens;
mod opinion;
mod packets;
mod path;
mod pods;
mod process;
mod queues;
mod replies;
mod rules;
mod scope;
mod service;
mod stale;
#[cfg(test)]
pub(crate) mod tests;
mod times;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::evidence::{Evidence, Fact, Row};
use case::Case;
pub use names::Verdict;
pub use scope::Scope;

/// How sure a verdict is, the surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// A fact decides that nothing else brings about.
    Certain,
    /// The facts fit this best; others are named.
    Likely,
    /// Not decided.
    Unknown,
}

/// One problem of one port (and backend).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The port.
    pub node_port: u16,
    /// The Service behind it, `namespace/name:port_name`, if it has a name.
    #[serde(flatten, with = "crate::report::service")]
    pub service: Option<String>,
    /// The cause.
    pub verdict: Verdict,
    /// How sure.
    pub certainty: Certainty,
    /// Whom it hits, where others were spared.
    #[serde(default)]
    pub scope: Scope,
    /// Failed attempts that it explains.
    pub failed: u64,
    /// Connections that were established, or answered too late, and suffered from this
    /// cause; no load balancer counts them as refused.
    pub connections: u64,
    /// Of these, established after all, but only once the SYN had been sent again.
    #[serde(default)]
    pub late: u64,
    /// `failed` as a share of all failed attempts of all ports, 0 to 1.
    pub share: f64,
    /// Where NAT sent them, when that is part of the problem.
    pub backend: Option<SocketAddr>,
    /// The pod there, `namespace/name`, if it has a name.
    pub pod: Option<String>,
    /// What was seen, then the fact that decides, then what that excludes; one
    /// sentence each.
    pub evidence: Vec<String>,
    /// What to do next.
    pub next: String,
}

/// All problems, the largest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// The problems.
    pub findings: Vec<Finding>,
    /// Failed attempts that no finding contains: nothing is known of them but
    /// that they failed. Σ `failed` and this are all failed attempts.
    pub unexplained: u64,
}

/// Judges a window: every row belongs to one finding or to none.
#[must_use]
pub fn judge(evidence: &Evidence) -> Judgement {
    findings::judge(evidence)
}

/// What one kind of failure comes from, in the light of all evidence.
#[must_use]
pub fn of_row(row: &Row, evidence: &Evidence) -> (Verdict, Certainty) {
    let unknown = (Verdict::Unexplained, Certainty::Unknown);
    opinion::opinion(&Case::new(row, evidence)).map_or(unknown, |o| (o.verdict, o.certainty))
}

/// What this verdict on a row rests on that may be gone by the time somebody asks again.
#[must_use]
pub fn facts(verdict: Verdict, row: &Row, evidence: &Evidence) -> Vec<Fact> {
    found::facts(verdict, row, evidence)
}
