//! Judges evidence: a pure function from what is known to what went wrong,
//! with the fact that decides, what that excludes, and what to do.

mod names;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::evidence::Evidence;

/// The closed list of causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The Service has no endpoints: kube-proxy's rule rejects.
    NoEndpoints,
    /// A netfilter rule rejects with a RST.
    RejectedByRule,
    /// kube-proxy's own socket holds the port and never accepts.
    HeldByKubeProxy,
    /// This node has no rule for the port.
    NoServiceRule,
    /// Dropped before DNAT: externalTrafficPolicy Local without a local endpoint.
    NoLocalEndpoint,
    /// Nothing listens where NAT sends to.
    NothingListens,
    /// No neighbour or no route leads to the backend.
    BackendUnreachable,
    /// A blackhole route swallows packets to the backend.
    RouteBlackhole,
    /// The listener's accept queue is full.
    AcceptQueueFull,
    /// The listener's SYN queue is full.
    SynQueueFull,
    /// The process accepts or reads nothing.
    ServerStalled,
    /// The process closes connections at once.
    ClosedAtOnce,
    /// The conntrack table is full.
    ConntrackFull,
    /// Two connections wanted the same NAT tuple at once.
    ConntrackClash,
    /// No source port is free for masquerading.
    SnatExhausted,
    /// conntrack takes segments for invalid, NAT is not undone.
    ConntrackInvalid,
    /// An old conntrack entry leads to a backend that is gone.
    StaleConntrack,
    /// The backend refuses the SYN for its timestamp.
    PawsRejected,
    /// Checksums are wrong.
    BadChecksum,
    /// Dropped by a rule after DNAT: network policy, FORWARD.
    DroppedByRule,
    /// Reverse path filter.
    RpFilter,
    /// The answer gets lost, or comes too late, on its way back.
    ReturnPath,
    /// Large packets of the reply do not get through.
    PmtuBlackhole,
    /// The backend dials its own NodePort and is not masqueraded.
    Hairpin,
    /// Nothing that was seen explains it.
    Unexplained,
}

/// How sure a verdict is.
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
    /// The cause.
    pub verdict: Verdict,
    /// How sure.
    pub certainty: Certainty,
    /// Failed attempts that it explains.
    pub failed: u64,
    /// Connections that were established, or answered too late, and came to
    /// nothing for this cause; no load balancer counts them as refused.
    pub connections: u64,
    /// `failed` as a share of all failed attempts of all ports, 0 to 1.
    pub share: f64,
    /// Where NAT sent them, when that is part of the problem.
    pub backend: Option<SocketAddr>,
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
    /// Failed attempts that no finding explains.
    pub unexplained: u64,
}

/// Judges a window.
#[must_use]
pub fn judge(evidence: &Evidence) -> Judgement {
    let _ = evidence;
    Judgement::default()
}
