//! The story replayed (`testbed::story`): three nodes, then nine, a real daemon on each, one
//! Prometheus. The load balancer, its kernel, the daemons and Prometheus count the same, and what
//! they count is the arithmetic of the story.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testbed::{
    Metrics, Tracer,
    peers::Prometheus,
    process::poll_until,
    story::{self, Balancer, CHECKED, Counted, NODES, Story},
};

const LIMIT: Duration = Duration::from_secs(30);
const HANDSHAKES: &str = "tracer_handshakes_total";
/// What a load balancer counts as a backend connection error, over all nodes.
const ERRORS: &str = r#"sum(tracer_handshakes_total{outcome!~"established|half_open"})"#;
/// A listener that answers, for a few calls.
const CALLED: u16 = 30103;
const CALLS: u64 = 2;

#[test]
fn dead_listeners_are_named_and_the_arithmetic_holds() -> Result<()> {
    let story = Story::new()?;
    let tracers = story.trace(&Tracer::binary()?)?;
    let prometheus = story.watch(&rule_files())?;
    let mut balancer = story.balancer();
    let (mut seen, mut registered) = (0, 0);
    for (nodes, expected) in NODES.into_iter().zip([324, 972]) {
        balancer.register(registered..nodes)?;
        registered = nodes;
        balancer.minute(nodes, || {})?;
        seen += expected;
        ensure!(story::errors_a_minute(nodes) == expected);
        counts_agree(&story, &balancer, &tracers, seen)?;
        poll_until(LIMIT, "Prometheus counts something else", || {
            let counted = prometheus.value(ERRORS).unwrap_or(0.0);
            Ok((counted == seen as f64).then_some(()))
        })?;
    }
    balancer.call(NODES[1], CALLED, CALLS)?;
    counts_agree(&story, &balancer, &tracers, seen)?;
    for (node, tracer) in tracers.iter().enumerate() {
        explained(tracer, node, &balancer).with_context(|| format!("node {node}"))?;
    }
    queries(&prometheus, &balancer)
}
/// The recording rules that are shipped.
fn rule_files() -> Vec<PathBuf> {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus");
    vec![deploy.join("tracer.rules.yaml")]
}

/// The load balancer, the kernel of its nodes, and every daemon, port by port.
fn counts_agree(
    story: &Story,
    balancer: &Balancer<'_>,
    tracers: &[Tracer<'_>],
    errors: u64,
) -> Result<()> {
    let own: u64 = balancer.counts.values().map(|counted| counted.errors).sum();
    let kernel = story.kernel_failures()?;
    ensure!(
        own == errors && kernel == errors,
        "the load balancer counted {own} errors, its kernel {kernel}, expected {errors}"
    );
    for (node, tracer) in tracers.iter().enumerate() {
        let metrics = tracer.metrics_when(LIMIT, "still pending", |metrics| {
            metrics.sum("tracer_handshakes_pending", &[]) == 0.0
        })?;
        for port in story::PORTS {
            let counted = balancer.counts.get(&(node, port)).copied();
            let expected = expected(port, counted.unwrap_or_default());
            let told = handshakes(&metrics, port);
            ensure!(
                told == expected,
                "node {node}, port {port}: {told:?}, the load balancer: {expected:?}"
            );
            let label = port.to_string();
            let attempts = metrics.sum("tracer_attempts_total", &[("node_port", &label)]);
            ensure!(attempts == expected.values().sum::<u64>() as f64);
        }
    }
    Ok(())
}

/// Handshakes by outcome and traffic.
type Handshakes = BTreeMap<(String, String), u64>;

fn expected(port: u16, counted: Counted) -> Handshakes {
    let failed = match story::fault(port) {
        Some("no_endpoints") => "unreachable",
        _ => "refused",
    };
    let all = [
        ("established", "health_check", counted.checks),
        ("established", "idle", counted.spares),
        ("established", "thrift", counted.calls),
        (failed, "unknown", counted.errors),
    ];
    let some = all.into_iter().filter(|(_, _, count)| *count > 0);
    some.map(|(outcome, traffic, count)| ((outcome.to_owned(), traffic.to_owned()), count))
        .collect()
}

fn handshakes(metrics: &Metrics, port: u16) -> Handshakes {
    let port = port.to_string();
    let labels = [("node_port", port.as_str())];
    metrics
        .series(HANDSHAKES, &labels)
        .filter(|(_, value)| *value > 0.0)
        .map(|(labels, value)| {
            let key = (labels["outcome"].clone(), labels["traffic"].clone());
            (key, value as u64)
        })
        .collect()
}

/// `tracer explain` on this node names the dead listeners, each with its fault and count, and
/// nothing else.
fn explained(tracer: &Tracer<'_>, node: usize, balancer: &Balancer<'_>) -> Result<()> {
    let expected: BTreeMap<(u16, String), u64> = story::dead()
        .filter_map(|port| {
            let errors = balancer.counts.get(&(node, port))?.errors;
            Some(((port, story::fault(port)?.to_owned()), errors))
        })
        .collect();
    let mut last = Value::Null;
    let told = poll_until(LIMIT, "explain says something else", || {
        last = explain(tracer)?;
        let mut told = BTreeMap::new();
        for finding in last["verdicts"].as_array().context("no verdicts")? {
            let port = u16::try_from(finding["node_port"].as_u64().unwrap_or(0))?;
            let verdict = finding["verdict"].as_str().unwrap_or("").to_owned();
            *told.entry((port, verdict)).or_insert(0) += finding["failed"].as_u64().unwrap_or(0);
            ensure!(finding["service"] == story::full_name(port), "{finding}");
        }
        Ok((told == expected && last["unexplained"] == 0).then_some(()))
    });
    told.with_context(|| format!("{}, expected {expected:?}", last["verdicts"]))
}

fn explain(tracer: &Tracer<'_>) -> Result<Value> {
    let mut command = Command::new(Tracer::binary()?);
    command.args(["explain", "-o", "json", "--last", "10m", "--socket"]);
    let output = command.arg(tracer.socket()).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(3),
        "{}: {errors}",
        output.status
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What the shipped rules and the queries of the README say over all nodes.
fn queries(prometheus: &Prometheus<'_>, balancer: &Balancer<'_>) -> Result<()> {
    let sum = |port: u16, of: fn(&Counted) -> u64| -> u64 {
        let all = balancer.counts.iter().filter(|((_, p), _)| *p == port);
        all.map(|(_, counted)| of(counted)).sum()
    };
    let dead: BTreeSet<String> = story::dead().map(story::port_name).collect();
    let all: BTreeSet<String> = story::PORTS.map(story::port_name).collect();
    let names: [(&str, &BTreeSet<String>); 4] = [
        (
            "node_port_outcome:tracer_handshake_failures:rate5m > 0",
            &dead,
        ),
        (
            "node_port:tracer_backend_connection_errors:rate1m > 0",
            &dead,
        ),
        (
            "node_port:tracer_health_check_handshakes:ratio_rate5m > 0",
            &BTreeSet::from([story::port_name(CHECKED)]),
        ),
        ("node_port:tracer_node_port_info:majority", &all),
    ];
    for (query, expected) in names {
        let told = prometheus.query(query)?;
        let told: BTreeSet<String> = told.iter().map(|row| label(row, "port_name")).collect();
        ensure!(
            told == *expected,
            "{query}: {told:?}, expected {expected:?}"
        );
    }
    let verdicts = "sum by (node_port, verdict) (tracer_handshake_failures_total) > 0";
    let told = values(prometheus, verdicts, &["node_port", "verdict"])?;
    let failed = story::dead().map(|port| {
        let verdict = story::fault(port).unwrap_or("").to_owned();
        (
            vec![port.to_string(), verdict],
            sum(port, |counted| counted.errors),
        )
    });
    ensure!(told == failed.collect(), "{verdicts}: {told:?}");
    let checks = r#"sum by (node_port) (tracer_handshakes_total{traffic="health_check"}) > 0"#;
    let told = values(prometheus, checks, &["node_port"])?;
    let checked = (
        vec![CHECKED.to_string()],
        sum(CHECKED, |counted| counted.checks),
    );
    ensure!(told == BTreeMap::from([checked]), "{checks}: {told:?}");
    Ok(())
}

fn label(row: &Value, name: &str) -> String {
    row["metric"][name].as_str().unwrap_or("").to_owned()
}

fn values(
    prometheus: &Prometheus<'_>,
    query: &str,
    labels: &[&str],
) -> Result<BTreeMap<Vec<String>, u64>> {
    let rows = prometheus.query(query)?;
    let value = |row: &Value| -> Result<u64> {
        let text = row["value"][1].as_str().context("no value")?;
        Ok(text.parse::<f64>()? as u64)
    };
    let key = |row: &Value| labels.iter().map(|name| label(row, name)).collect();
    rows.iter().map(|row| Ok((key(row), value(row)?))).collect()
}
