//! What a capture at the node's edge says of each port, judged from tshark's
//! raw fields alone, and the same counts taken from a scrape: two roads to one
//! table, to be compared whole.

mod packet;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::Result;

use self::packet::{FIELDS, Packet};
use crate::{
    capture::Captured,
    metrics::Metrics,
    segment::flags::{ACK, FIN, RST, SYN},
};

/// Counts by port and what was counted; zeros are left out.
pub type Counts = BTreeMap<(u16, String), u64>;

/// Values of the label `traffic` that mean: the client sent no payload.
const SILENT: [&str; 2] = ["health_check", "idle"];

/// Endpoints of a flow: client address and port, node address and port.
type Tuple = (String, u16, String, u16);

/// The first answer to a SYN.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    SynAck,
    Rst,
    Icmp,
}

impl Answer {
    fn word(self) -> &'static str {
        match self {
            Self::SynAck => "syn_ack",
            Self::Rst => "rst",
            Self::Icmp => "icmp",
        }
    }
}

/// One SYN and everything that belongs to it.
struct Attempt {
    tuple: Tuple,
    isn: u32,
    syns: u64,
    syn_acks: u64,
    server_isn: u32,
    answer: Option<Answer>,
    is_acked: bool,
    has_client_quit: bool,
    is_superseded: bool,
    data_again: u64,
    /// Payload bytes seen so far, by direction: to the node, from it.
    sent: [u32; 2],
    /// The client's first payload, in hexadecimal.
    first_payload: String,
}

impl Attempt {
    fn new(tuple: Tuple, isn: u32) -> Self {
        Self {
            tuple,
            isn,
            syns: 1,
            syn_acks: 0,
            server_isn: 0,
            answer: None,
            is_acked: false,
            has_client_quit: false,
            is_superseded: false,
            data_again: 0,
            sent: [0; 2],
            first_payload: String::new(),
        }
    }

    fn outcome(&self) -> &'static str {
        match self.answer {
            Some(Answer::Rst) => "refused",
            Some(Answer::Icmp) => "unreachable",
            Some(Answer::SynAck) if self.is_acked => "established",
            Some(Answer::SynAck) if self.has_client_quit => "half_open",
            Some(Answer::SynAck) => "unacked",
            None if self.has_client_quit || self.is_superseded => "cancelled",
            None => "timed_out",
        }
    }

    /// By the client's payload; binary Thrift begins with 80 01 (its
    /// specification, doc/specs/thrift-binary-protocol.md).
    fn class(&self) -> &'static str {
        match self.first_payload.as_str() {
            "" => "silent",
            bytes if bytes.starts_with("8001") => "thrift",
            _ => "other",
        }
    }

    fn client_sent(&mut self, packet: &Packet) {
        if packet.has(RST) {
            self.has_client_quit = true;
            return;
        }
        self.has_client_quit |= packet.has(FIN) && self.answer.is_none();
        let acked = packet.ack.wrapping_sub(self.server_isn.wrapping_add(1)) < 1 << 30;
        self.is_acked |= packet.has(ACK) && self.answer == Some(Answer::SynAck) && acked;
        if packet.len > 0 && self.first_payload.is_empty() {
            self.first_payload.clone_from(&packet.payload);
        }
        self.count_data(packet, 0, self.isn);
    }

    fn server_sent(&mut self, packet: &Packet) {
        let answers_syn = packet.ack == self.isn.wrapping_add(1);
        if packet.has(SYN | ACK) && answers_syn {
            self.syn_acks += 1;
            self.server_isn = packet.seq;
            self.answer.get_or_insert(Answer::SynAck);
        } else if packet.has(RST) && answers_syn {
            self.answer.get_or_insert(Answer::Rst);
        }
        self.count_data(packet, 1, self.server_isn);
    }

    fn count_data(&mut self, packet: &Packet, direction: usize, isn: u32) {
        let start = packet.seq.wrapping_sub(isn.wrapping_add(1));
        let end = start.wrapping_add(packet.len);
        if packet.len == 0 {
            return;
        }
        if end <= self.sent[direction] {
            self.data_again += 1;
        } else {
            self.sent[direction] = end;
        }
    }

    fn count(&self, counts: &mut Counts) {
        let mut add = |what: String, count: u64| {
            if count > 0 {
                *counts.entry((self.tuple.3, what)).or_default() += count;
            }
        };
        add("attempts".to_owned(), 1);
        add(self.outcome().to_owned(), 1);
        if let Some(answer) = self.answer {
            add(format!("answer {}", answer.word()), 1);
        }
        if self.outcome() == "established" {
            add(format!("connection {}", self.class()), 1);
        }
        add("again syn".to_owned(), self.syns - 1);
        add("again syn_ack".to_owned(), self.syn_acks.saturating_sub(1));
        add("again data".to_owned(), self.data_again);
    }
}

/// The attempts in a capture, by their tuples, latest last.
#[derive(Default)]
struct Attempts {
    all: Vec<Attempt>,
    of_tuple: HashMap<Tuple, Vec<usize>>,
}

impl Attempts {
    fn take(&mut self, packet: &Packet, ports: &[u16]) {
        let ((client, client_port), (node, node_port)) = (packet.src.clone(), packet.dst.clone());
        if packet.is_unreachable {
            let tuple = (client, client_port, node, node_port);
            if let Some(attempt) = self.find(&tuple, |a| a.isn == packet.seq) {
                attempt.answer.get_or_insert(Answer::Icmp);
            }
        } else if ports.contains(&node_port) {
            let tuple = (client, client_port, node, node_port);
            if packet.flags & (SYN | ACK | RST) == SYN {
                self.syn(tuple, packet.seq);
            } else if let Some(attempt) = self.find(&tuple, |_| true) {
                attempt.client_sent(packet);
            }
        } else if ports.contains(&client_port) {
            let tuple = (node, node_port, client, client_port);
            let answered = |a: &Attempt| packet.ack == a.isn.wrapping_add(1);
            let is_answer = packet.flags & (SYN | RST) != 0;
            if let Some(attempt) = self.find(&tuple, |a| !is_answer || answered(a)) {
                attempt.server_sent(packet);
            }
        }
    }

    fn find(&mut self, tuple: &Tuple, wanted: impl Fn(&Attempt) -> bool) -> Option<&mut Attempt> {
        let of_tuple = self.of_tuple.get(tuple)?;
        let index = of_tuple.iter().rev().find(|i| wanted(&self.all[**i]))?;
        self.all.get_mut(*index)
    }

    /// A SYN: the same tuple and number again is a retransmission.
    fn syn(&mut self, tuple: Tuple, isn: u32) {
        if let Some(same) = self.find(&tuple, |a| a.isn == isn) {
            same.syns += 1;
            return;
        }
        if let Some(before) = self.find(&tuple, |_| true) {
            before.is_superseded = true;
        }
        let of_tuple = self.of_tuple.entry(tuple.clone()).or_default();
        of_tuple.push(self.all.len());
        self.all.push(Attempt::new(tuple, isn));
    }
}

/// Judges a capture made at the node's edge, for these node ports.
pub fn judge(captured: &Captured, ports: &[u16]) -> Result<Counts> {
    let mut attempts = Attempts::default();
    for row in captured.fields("tcp", &FIELDS)? {
        attempts.take(&Packet::parse(&row)?, ports);
    }
    let mut counts = Counts::new();
    for attempt in &attempts.all {
        attempt.count(&mut counts);
    }
    Ok(counts)
}

/// The same counts as the daemon gives them.
#[must_use]
pub fn from_metrics(metrics: &Metrics) -> Counts {
    let mut counts = Counts::new();
    let mut take = |name: &str, label: &str, prefix: &str| {
        for (labels, value) in metrics.series(name, &[]).filter(|(_, v)| *v > 0.0) {
            let word = match labels.get(label).map_or("", String::as_str) {
                silent if label == "traffic" && SILENT.contains(&silent) => "silent",
                word => word,
            };
            let port = labels.get("node_port").and_then(|p| p.parse().ok());
            let key = (port.unwrap_or(0), format!("{prefix}{word}"));
            *counts.entry(key).or_default() += value as u64;
        }
    };
    take("tracer_attempts_total", "", "attempts");
    take("tracer_handshakes_total", "outcome", "");
    take("tracer_handshakes_pending", "", "pending");
    take("tracer_untracked_syns_total", "", "untracked");
    take("tracer_handshake_answer_seconds_count", "answer", "answer ");
    take("tracer_connections_total", "traffic", "connection ");
    take("tracer_retransmits_total", "kind", "again ");
    counts
}

/// What one table has and the other has not, one line each; empty when they
/// are equal.
#[must_use]
pub fn differences(oracle: &Counts, traced: &Counts) -> String {
    let keys: BTreeSet<_> = oracle.keys().chain(traced.keys()).collect();
    let differing = keys
        .into_iter()
        .filter(|key| oracle.get(key) != traced.get(key));
    differing
        .map(|key| {
            let of = |counts: &Counts| counts.get(key).copied().unwrap_or(0);
            let (port, what) = key;
            format!(
                "{port} {what}: capture {}, tracer {}\n",
                of(oracle),
                of(traced)
            )
        })
        .collect()
}
