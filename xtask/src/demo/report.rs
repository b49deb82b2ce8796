//! What the demo found: tracer's metrics by NodePort, and the load balancer's own view.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Serialize;
use testbed::Metrics;
use testbed::peers::haproxy::Stat;
use testbed::peers::thrift::Counts;

use super::stage::{SERVICES, Stage};

/// Label values of `outcome`, in the order of the table.
pub(super) const OUTCOMES: [&str; 7] = [
    "established",
    "half_open",
    "refused",
    "unreachable",
    "timed_out",
    "unacked",
    "cancelled",
];
/// Label values of `traffic`.
pub(super) const TRAFFIC: [&str; 5] = ["thrift", "other", "health_check", "idle", "unknown"];
/// Label values of `answer`.
const ANSWERS: [&str; 3] = ["syn_ack", "rst", "icmp"];

/// The whole result.
#[derive(Serialize)]
pub(super) struct Report {
    /// How long traffic flowed, in seconds.
    pub(super) seconds: u64,
    /// Where tracer serves, inside the node's namespace.
    pub(super) metrics_url: String,
    /// One row per NodePort.
    pub(super) ports: Vec<Row>,
    /// The sum of the rows.
    pub(super) total: Row,
    /// What `tracer explain` says about the same time, as JSON.
    pub(super) explanation: serde_json::Value,
    /// What the load balancer counted, by Service.
    pub(super) haproxy: BTreeMap<&'static str, Stat>,
    /// What the Thrift clients counted, by Service.
    pub(super) clients: BTreeMap<&'static str, Counts>,
}

/// One NodePort, or the sum of all.
#[derive(Default, Serialize)]
pub(super) struct Row {
    /// 0 in the sum.
    pub(super) node_port: u16,
    pub(super) service: &'static str,
    /// What was made to happen there.
    pub(super) story: &'static str,
    pub(super) attempts: u64,
    /// Attempts by outcome.
    pub(super) outcomes: BTreeMap<&'static str, u64>,
    /// Attempts with an outcome, by class.
    pub(super) traffic: BTreeMap<&'static str, u64>,
    /// Attempts without an outcome yet.
    pub(super) pending: u64,
    /// SYNs that could not be followed.
    pub(super) untracked: u64,
    /// Attempts less outcomes, pending and untracked: 0 when the books balance.
    pub(super) unaccounted: i64,
    /// First answers to SYNs, by kind.
    pub(super) answers: BTreeMap<&'static str, u64>,
}

impl Report {
    /// Reads everybody's counts.
    pub(super) fn collect(stage: &Stage<'_>, seconds: u64) -> Result<Self> {
        let metrics = stage.tracer.metrics()?;
        let explanation = stage.explain(seconds, &["-o", "json"])?;
        let mut stats = stage.haproxy.stats()?;
        let mut haproxy = BTreeMap::new();
        let mut ports = Vec::new();
        for service in &SERVICES {
            let port = service.node_port.to_string();
            ports.push(Row {
                node_port: service.node_port,
                service: service.name,
                story: service.story,
                ..row(&metrics, &[("node_port", &port)])
            });
            let stat = stats.remove(&service.name.replace('/', "-"));
            haproxy.insert(service.name, stat.context("a Service HAProxy lacks")?);
        }
        Ok(Self {
            seconds,
            metrics_url: format!("http://{}/metrics", stage.tracer.address()),
            ports,
            total: Row {
                service: "total",
                ..row(&metrics, &[])
            },
            explanation: serde_json::from_str(&explanation)
                .context("the answer of tracer explain")?,
            haproxy,
            clients: stage.client_counts()?,
        })
    }
}

/// The series with these labels, summed up.
fn row(metrics: &Metrics, labels: &[(&str, &str)]) -> Row {
    let sum = |name: &str| whole(metrics.sum(name, labels));
    let by = |label: &str, value: &'static str| {
        let labels = [labels, &[(label, value)]].concat();
        (
            value,
            whole(metrics.sum("tracer_handshakes_total", &labels)),
        )
    };
    let outcomes: BTreeMap<_, _> = OUTCOMES.map(|value| by("outcome", value)).into();
    let (attempts, pending) = (
        sum("tracer_attempts_total"),
        sum("tracer_handshakes_pending"),
    );
    let untracked = sum("tracer_untracked_syns_total");
    let accounted = outcomes.values().sum::<u64>() + pending + untracked;
    Row {
        attempts,
        outcomes,
        traffic: TRAFFIC.map(|value| by("traffic", value)).into(),
        pending,
        untracked,
        unaccounted: attempts.cast_signed() - accounted.cast_signed(),
        answers: ANSWERS
            .into_iter()
            .map(|answer| {
                let labels = [labels, &[("answer", answer)]].concat();
                let name = "tracer_handshake_answer_seconds_count";
                (answer, whole(metrics.sum(name, &labels)))
            })
            .filter(|(_, count)| *count > 0)
            .collect(),
        ..Row::default()
    }
}

/// Counters are whole numbers, written as floating-point ones.
fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
tracer_attempts_total{node_port=\"1\"} 9
tracer_attempts_total{node_port=\"2\"} 2
tracer_handshakes_pending{node_port=\"1\"} 1
tracer_handshakes_total{node_port=\"1\",outcome=\"established\",traffic=\"thrift\"} 5
tracer_handshakes_total{node_port=\"1\",outcome=\"refused\",traffic=\"unknown\"} 2
tracer_handshakes_total{node_port=\"2\",outcome=\"refused\",traffic=\"unknown\"} 2
tracer_handshake_answer_seconds_count{node_port=\"1\",answer=\"rst\"} 2
";

    #[test]
    fn a_row_counts_its_port_only_and_shows_what_is_missing() {
        let metrics = Metrics::parse(TEXT).unwrap();
        let one = row(&metrics, &[("node_port", "1")]);
        assert_eq!((one.attempts, one.pending, one.unaccounted), (9, 1, 1));
        assert_eq!((one.outcomes["refused"], one.traffic["thrift"]), (2, 5));
        assert_eq!(one.answers.len(), 1);
        assert_eq!(one.answers["rst"], 2);
    }

    #[test]
    fn the_total_counts_all_ports() {
        let metrics = Metrics::parse(TEXT).unwrap();
        let total = row(&metrics, &[]);
        assert_eq!((total.attempts, total.outcomes["refused"]), (11, 4));
    }
}
