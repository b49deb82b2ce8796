//! From opinions on single rows to findings.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use tracer_common::failure::{Failure, Reply};

use super::{
    Certainty, Finding, Judgement, Verdict,
    case::{Case, attempts, find, sum},
    holder, opens,
    opinion::{Opinion, opinion},
    scope::{self, Scope},
};
use crate::evidence::{Backend, Evidence, Row};

/// Facts that a finding tells, at most.
const FACTS: usize = 3;

/// Rows with the same key are one finding.
type Key = (u16, Verdict, Option<SocketAddr>);

/// The rows of one finding, each with the opinion that put it there.
#[derive(Default)]
struct Group<'a> {
    rows: Vec<(&'a Row, Opinion)>,
    /// What holds without any row, and for how many connections.
    alone: Option<(Opinion, u64)>,
}

/// See [`super::judge`].
pub(super) fn judge(evidence: &Evidence) -> Judgement {
    let mut groups: BTreeMap<Key, Group<'_>> = BTreeMap::new();
    let mut unexplained = 0_u64;
    for row in &evidence.rows {
        match opinion(&Case::new(row, evidence)) {
            Some(told) => group(&mut groups, row.node_port, &told)
                .rows
                .push((row, told)),
            None if row.failure.is_attempt() => unexplained = unexplained.saturating_add(row.count),
            None => {}
        }
    }
    for holder in &evidence.holders {
        if let Some(told) = holder::held_alone(evidence, holder) {
            let waiting = u64::from(holder.not_accepted);
            let group = group(&mut groups, holder.node_port, &told);
            group.alone = Some((told, waiting));
        }
    }
    let all = sum(evidence
        .rows
        .iter()
        .filter(|r| r.failure.is_attempt())
        .map(|r| r.count));
    let mut findings: Vec<Finding> = groups
        .into_iter()
        .filter_map(|(key, group)| group.finding(key, evidence, all))
        .collect();
    findings.sort_by_key(|f| {
        let size = f.failed.saturating_add(f.connections);
        (Reverse(size), f.node_port, f.verdict, f.backend)
    });
    Judgement {
        findings,
        unexplained,
    }
}

fn group<'m, 'a>(
    groups: &'m mut BTreeMap<Key, Group<'a>>,
    port: u16,
    told: &Opinion,
) -> &'m mut Group<'a> {
    groups
        .entry((port, told.verdict, told.backend))
        .or_default()
}

impl Group<'_> {
    fn finding(mut self, key: Key, evidence: &Evidence, all: u64) -> Option<Finding> {
        let (node_port, verdict, backend) = key;
        // The surest opinion speaks, of equals that on the most failures.
        self.rows
            .sort_by_key(|(row, told)| (told.certainty, Reverse(row.count)));
        let count = |attempts: bool| {
            let rows = self.rows.iter().map(|(row, _)| *row);
            sum(rows
                .filter(|r| r.failure.is_attempt() == attempts)
                .map(|r| r.count))
        };
        let (failed, spoilt) = (count(true), count(false));
        let alone = self.alone.as_ref().map_or(0, |(_, waiting)| *waiting);
        let first = self.rows.first().map(|(_, told)| told);
        let first = first.or(self.alone.as_ref().map(|(told, _)| told))?;
        let known = backend.and_then(|b| find(evidence, node_port, b));
        let rows: Vec<&Row> = self.rows.iter().map(|(row, _)| *row).collect();
        let scope = Scope::of(&rows, evidence);
        let mut lines = self.seen(node_port, known, evidence);
        lines.extend(scope.sentences(node_port, evidence));
        lines.extend(checks(evidence, node_port));
        lines.extend(known.filter(|_| spoilt > 0).and_then(opens::sentence));
        lines.extend(self.facts(first));
        lines.push(first.excludes.clone());
        Some(Finding {
            node_port,
            service: evidence.names.service(node_port),
            verdict,
            certainty: self.certainty().unwrap_or(first.certainty),
            scope,
            failed,
            connections: spoilt.max(alone),
            late: sum(rows
                .iter()
                .filter(|r| r.failure == Failure::Late)
                .map(|r| r.count)),
            share: share(failed, all),
            backend,
            pod: backend.and_then(|_| self.pod(evidence)),
            evidence: lines,
            next: first.next.clone(),
        })
    }

    /// What holds for at least half of the failures; `None` without any.
    fn certainty(&self) -> Option<Certainty> {
        let all = sum(self.rows.iter().map(|(row, _)| row.count));
        let mut so_far = 0_u64;
        // Sorted: the surest come first.
        let mut rows = self.rows.iter();
        let middle = rows.find(|(row, _)| {
            so_far = so_far.saturating_add(row.count);
            so_far.saturating_mul(2) >= all
        });
        middle.map(|(_, told)| told.certainty)
    }

    /// What was seen, a sentence.
    fn seen(&self, port: u16, known: Option<&Backend>, evidence: &Evidence) -> Vec<String> {
        let mut kinds: BTreeMap<(Failure, Reply), u64> = BTreeMap::new();
        for (row, _) in &self.rows {
            let kind = kinds.entry((row.failure, row.reply)).or_default();
            *kind = kind.saturating_add(row.count);
        }
        if kinds.is_empty() {
            return Vec::new();
        }
        // Some may have been tried shortly before the window, and failed within it.
        let failed = sum(kinds.values().copied());
        let of = match known {
            Some(b) => {
                let tried = b.attempts.max(failed);
                format!("{tried} attempts that were sent to {}", b.address)
            }
            None => {
                let tried = attempts(evidence, port).max(failed);
                format!("{tried} attempts at port {port}")
            }
        };
        let kinds = kinds.into_iter();
        let kinds: Vec<String> = kinds
            .map(|((f, r), n)| format!("{n} {}", phrase(f, r)))
            .collect();
        let seconds = evidence.window.as_secs_f64();
        let rows: Vec<&Row> = self.rows.iter().map(|(row, _)| *row).collect();
        let from =
            scope::all_from(&rows).map_or_else(String::new, |who| format!("; all from {who}"));
        vec![format!(
            "Of {of} in {seconds:.0} s: {}{from}.",
            kinds.join(", ")
        )]
    }

    /// The pod that was there then, if it was one and the same.
    fn pod(&self, evidence: &Evidence) -> Option<String> {
        let named = |row| Case::new(row, evidence).named_pod();
        let mut pods = self.rows.iter().map(|(row, _)| named(row));
        let first = pods.next()??;
        pods.all(|pod| pod == Some(first))
            .then(|| first.to_string())
    }

    /// The deciding facts, the speaker's first, each once.
    fn facts(&self, first: &Opinion) -> Vec<String> {
        let mut told = BTreeSet::from([first.fact.as_str()]);
        let mut facts = vec![first.fact.clone()];
        for (_, other) in &self.rows {
            if facts.len() < FACTS && told.insert(&other.fact) {
                facts.push(other.fact.clone());
            }
        }
        facts
    }
}

/// Whether these can have been health checks, if that is known, a sentence.
fn checks(evidence: &Evidence, port: u16) -> Option<String> {
    let checked = evidence.names.health_check_port(port)?;
    Some(if checked == port {
        "The load balancer's health check goes to this port, and to no other of the Service."
            .to_owned()
    } else {
        format!(
            "The load balancer's health check goes to port {checked} only: these were spare \
             connections or clients' calls, as long as nobody else tries this port."
        )
    })
}

fn phrase(failure: Failure, reply: Reply) -> &'static str {
    match (failure, reply) {
        (Failure::Refused, Reply::NodeRst) => "refused by a RST of this node",
        (Failure::Refused, Reply::BackendRst) => "refused by a RST from behind this node",
        (Failure::Refused, _) => "refused",
        (Failure::Unreachable, _) => "answered with ICMP destination unreachable",
        (Failure::TimedOut, _) => "never answered",
        (Failure::Unacked, Reply::None) => "answered with SYN-ACK and never acknowledged",
        (Failure::Unacked, _) => "answered with SYN-ACK, then reset by the server's side",
        (Failure::Cancelled, _) => "given up by the client before any answer",
        (Failure::Abandoned, _) => "answered after the client had given up",
        (Failure::Late, _) => "established only after the SYN was sent again",
        (Failure::Unanswered, _) => "established, request sent, no reply",
        (Failure::ClosedAtOnce, _) => "established and closed by the server before it sent a byte",
        (Failure::Reset, _) => "established and reset by the server",
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a share of counts far below 2^52"
)]
fn share(part: u64, all: u64) -> f64 {
    if all == 0 {
        0.0
    } else {
        part as f64 / all as f64
    }
}
