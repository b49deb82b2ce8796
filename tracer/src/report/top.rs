//! What `tracer top` reads: the answer of `GET /v1/top`, and a line of
//! `tracer top -o json`.

use std::{collections::BTreeMap, net::IpAddr, net::SocketAddr};

use serde::{Deserialize, Serialize};

use super::{Event, Latency, fields};
use crate::verdict::{Certainty, Verdict};

/// Length of a [`TopStep`] in seconds.
pub const STEP_S: u64 = 5;

/// All ports at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Top {
    /// When: seconds since the Unix epoch.
    #[serde(flatten, with = "fields::time")]
    pub time: f64,
    /// Which run counted: its start in nanoseconds of the monotonic clock.
    /// Totals begin anew with another run.
    pub run: u64,
    /// Seconds since that start.
    pub uptime_s: f64,
    /// Length of the window that `recent` is about, in seconds.
    pub window_s: f64,
    /// Ports that somebody has tried to connect to, ascending.
    pub ports: Vec<TopPort>,
    /// Flows in the flow table.
    pub flows: u64,
    /// Places in the flow table.
    pub flows_capacity: u64,
    /// What was not taken into account within the window, by reason
    /// ([`tracer_common::words::Lost`]); without zeros.
    pub lost: BTreeMap<String, u64>,
    /// The step that is not over yet.
    pub step: u64,
    /// The first step that is remembered.
    pub first_step: u64,
    /// Steps that were asked for and are not empty, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<TopStep>,
    /// More of the port that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<TopDetail>,
}

/// One port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TopPort {
    /// The port.
    pub node_port: u16,
    /// Its Service, `namespace/name:port_name`, when known.
    #[serde(flatten, with = "fields::service")]
    pub service: Option<String>,
    /// What the window added.
    pub recent: TopNumbers,
    /// Since the start of the run.
    pub total: TopNumbers,
    /// Attempts without an outcome now.
    pub pending: u64,
    /// Open connections now, by class (all five words).
    pub open: BTreeMap<String, u64>,
    /// `!`: it has a problem with a name, `?`: failures without one, a blank: neither. In
    /// what `tracer top` prints; empty in the daemon's answer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mark: String,
    /// What `tracer explain` says of its largest problem, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// How sure that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certainty: Option<Certainty>,
}

/// Counts of one port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TopNumbers {
    /// Attempts that were under way within the window: those with an outcome, those not
    /// followed and those pending. Some of them began before the window.
    pub attempts: u64,
    /// SYNs that opened an attempt within the window.
    #[serde(default)]
    pub begun: u64,
    /// Attempts with a failed outcome.
    #[serde(default)]
    pub failed: u64,
    /// Attempts that could not be followed.
    pub untracked: u64,
    /// Attempts by outcome (all seven words).
    pub outcomes: BTreeMap<String, u64>,
    /// Attempts by class (all five words).
    pub traffic: BTreeMap<String, u64>,
    /// SYN to first answer, quantiles within a histogram bucket.
    pub answer: Option<Latency>,
    /// Retransmissions by kind (all three words).
    pub retransmits: BTreeMap<String, u64>,
}

/// What ended within some seconds: step `n` is the time from `n` to `n + 1`
/// times [`STEP_S`] of the monotonic clock.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TopStep {
    /// Its number.
    pub step: u64,
    /// Attempts by port and outcome; without zeros.
    pub ports: BTreeMap<u16, BTreeMap<String, u64>>,
}

/// More of one port, about the window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TopDetail {
    /// The port.
    pub node_port: u16,
    /// Who tried.
    pub clients: TopClients,
    /// Where NAT sent attempts, those with most failures first.
    pub backends: Vec<TopBackend>,
    /// Failures, the last one first.
    pub failures: Vec<Event>,
}

/// Clients of one port, as far as they are still known: those of open
/// connections, of attempts that failed a moment ago and of the last attempts
/// that NAT sent on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TopClients {
    /// Attempts in the window.
    pub attempts: u64,
    /// Those of them whose client is known.
    pub known: u64,
    /// Addresses that these came from.
    pub addresses: u64,
    /// Those with the most attempts.
    pub top: Vec<TopClient>,
    /// Why they cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<String>,
}

/// One client address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopClient {
    /// The address.
    pub address: IpAddr,
    /// Its attempts, of those known.
    pub attempts: u64,
    /// Its failed attempts, of those that are remembered one by one.
    pub failed: u64,
    /// Seconds between two attempts, when it keeps such a rhythm.
    pub every_s: Option<f64>,
}

/// One backend of a port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopBackend {
    /// Where; `None`: attempts that failed before NAT chose one, or that it was
    /// not seen choosing for.
    pub address: Option<SocketAddr>,
    /// `namespace/pod` there, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Attempts that were sent to it within the window, or failed there in it: the
    /// larger; `None`: not known.
    pub attempts: Option<u64>,
    /// Failed attempts.
    pub failed: u64,
    /// What went wrong, connections that came late or to nothing among it:
    /// [`tracer_common::failure::Failure`]; without zeros.
    pub failures: BTreeMap<String, u64>,
}
