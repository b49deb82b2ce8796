//! What `tracer explain`, `tracer events` and `tracer top` tell, as it travels over
//! the unix socket and leaves as JSON.

mod envelope;
mod fields;
mod top;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use serde::{Deserialize, Serialize};

pub use self::{
    envelope::{json, json_line},
    fields::service,
    top::*,
};
use crate::verdict::{Finding, Verdict};

/// The answer of `tracer explain -o json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Length of the window in seconds.
    pub window_s: f64,
    /// One row per port with attempts in the window, or with a verdict.
    pub ports: Vec<PortRow>,
    /// The problems, the largest first.
    pub verdicts: Vec<Finding>,
    /// Failed attempts that no verdict explains; those of findings named
    /// `unexplained`, which say how far they came, are among them.
    pub unexplained: u64,
    /// What cannot be seen from this node, or could not be asked, and why.
    pub not_visible: Vec<String>,
    /// Whether attempts can have come that were not seen.
    #[serde(default)]
    pub sight: Sight,
}

/// What the tap saw, and what it cannot have seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    /// Every SYN to a watched port of this node's addresses was seen: without an attempt,
    /// none came.
    pub complete: bool,
    /// What keeps packets from the tap: sentences.
    pub obstacles: Vec<String>,
    /// What was seen and is not among the attempts: sentences.
    pub not_counted: Vec<String>,
}

/// The answer to `tracer health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Everything required works.
    pub ready: bool,
    /// Why not.
    pub cause: Option<String>,
}

/// One port in the window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PortRow {
    /// The port.
    pub node_port: u16,
    /// The Service behind it, `namespace/name:port_name`, if it has a name.
    #[serde(flatten, with = "fields::service")]
    pub service: Option<String>,
    /// The port that its load balancer's health check goes to, and no other, if that
    /// is known.
    pub health_check_port: Option<u16>,
    /// Attempts that were under way within the window: the sum of `outcomes`, `untracked`
    /// and `undecided`. Some of them began before the window.
    pub attempts: u64,
    /// SYNs that opened an attempt within the window.
    #[serde(default)]
    pub begun: u64,
    /// Attempts that failed: the sum of the failed `outcomes`, and of `answered_by`.
    #[serde(default)]
    pub failed: u64,
    /// Attempts that could not be followed: they have no outcome.
    #[serde(default)]
    pub untracked: u64,
    /// Attempts without an outcome at the end of the window.
    #[serde(default)]
    pub undecided: u64,
    /// Attempts by outcome (all seven words).
    pub outcomes: BTreeMap<String, u64>,
    /// Attempts with an outcome by class (all five words).
    pub traffic: BTreeMap<String, u64>,
    /// SYN to first answer, quantiles within a histogram bucket.
    pub answer: Option<Latency>,
    /// Who answered failed attempts: `node_rst`, `backend_rst`, `icmp`, `icmpv6`, `none`,
    /// or `unknown` while that has not been reported -> how many.
    pub answered_by: BTreeMap<String, u64>,
    /// Where NAT sent the attempts; of old connections, only while they fail.
    #[serde(default)]
    pub backends: Vec<BackendRow>,
}

impl PortRow {
    /// The word in `answered_by` for failures that are counted and not reported yet.
    pub const NOT_REPORTED: &str = "unknown";

    /// Whether it is known who answered each failed attempt.
    pub fn is_reported(&self) -> bool {
        !self.answered_by.contains_key(Self::NOT_REPORTED)
    }
}

/// One backend of a port in the window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendRow {
    /// Its address and port.
    pub address: SocketAddr,
    /// Where it is: `here` (a network namespace of this node has its address),
    /// `beyond` (none has), `unknown` (not all could be looked into).
    pub place: String,
    /// Attempts that were sent to it within the window, or failed there in it: the larger.
    pub attempts: u64,
    /// Handshakes that a socket of this kernel completed there. Less than what
    /// the wire saw established: the backend is on another node, something else
    /// holds its connections, or its listener threw them away.
    pub passive_opens: u64,
    /// What went wrong there (a [`tracer_common::failure::Failure`]) -> how often.
    pub failures: BTreeMap<String, u64>,
}

/// Quantiles in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
}

/// One failure: a line of `tracer events`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When it was decided: seconds since the Unix epoch.
    #[serde(flatten, with = "fields::time")]
    pub time: f64,
    /// The client.
    pub client: SocketAddr,
    /// The node's own address that it dialled.
    pub address: IpAddr,
    /// The interface by which its SYN came in, by its name then; `None`: not known.
    #[serde(default)]
    pub interface: Option<String>,
    /// The port.
    pub node_port: u16,
    /// The Service behind it, `namespace/name:port_name`, if it has a name.
    #[serde(flatten, with = "fields::service")]
    pub service: Option<String>,
    /// Where NAT sent it.
    pub backend: Option<SocketAddr>,
    /// The pod there, `namespace/name`, if it has a name.
    pub pod: Option<String>,
    /// What went wrong: a [`tracer_common::failure::Failure`].
    pub outcome: String,
    /// The class.
    pub traffic: String,
    /// Who answered: a [`tracer_common::failure::Reply`].
    pub answered_by: String,
    /// Why, as far as this one failure tells.
    pub verdict: Verdict,
    /// What the kernel's hooks noted, one line.
    pub evidence: String,
    /// Seconds from the SYN until this was decided.
    pub latency: f64,
}

/// A line of `GET /v1/events`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// A failure.
    Event(Box<Event>),
    /// This many were not sent, because the reader was too slow.
    Lost {
        /// How many.
        lost: u64,
    },
}

/// The answer of `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Commit that it was built from.
    pub commit: String,
    /// Seconds since its start.
    pub uptime_s: f64,
    /// How far back windows can reach, in seconds.
    pub reach_s: f64,
    /// Failed attempts since its start.
    pub failed: u64,
    /// Failures remembered one by one.
    pub events: u64,
}

/// The answer to a request that cannot be fulfilled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What is wrong, and what to do.
    pub error: String,
}
