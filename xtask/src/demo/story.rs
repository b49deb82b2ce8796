//! `cargo xtask demo --story`: the load balancer of design's problem, nine nodes, what tracer says.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use testbed::peers::Prometheus;
use testbed::process::poll_until;
use testbed::story::{self, BALANCERS, EVERY, NODES, Story};
use testbed::{Metrics, Tracer};

use super::Format;
use super::table::align;
use crate::{explain, proc, workspace};

/// Until every attempt has its class, and Prometheus has scraped it.
const SETTLED: Duration = Duration::from_secs(30);
const FAILED: &str = r#"tracer_handshakes_total{outcome!~"established|half_open"}"#;
/// Failed attempts by port, with the port's name and why they failed.
const DEAD: &str = "sum by (node_port, verdict) (tracer_handshake_failures_total) > 0";
const NAMES: &str = "node_port:tracer_node_port_info:majority";

/// One minute of the story, compressed.
#[derive(Default, Serialize)]
struct Minute {
    registered_nodes: usize,
    /// N x E x L x 6.
    expected_errors: u64,
    load_balancer: u64,
    load_balancer_kernel: u64,
    tracer: u64,
    prometheus: u64,
    /// N x E x 6.
    expected_checks: u64,
    checks: u64,
}

/// A port with failures, by Prometheus.
#[derive(Serialize)]
struct Dead {
    node_port: String,
    service: String,
    verdict: String,
    attempts: u64,
}

#[derive(Serialize)]
struct Told {
    minutes: Vec<Minute>,
    dead: Vec<Dead>,
    resident_mib: f64,
    cpu_seconds: f64,
}

/// Plays it with this tracer and prints what came of it.
///
/// # Errors
/// A part of it does not start, or does not settle.
pub(super) fn run(binary: &Path, output: Format) -> Result<()> {
    let progress = proc::Progress::new("nine nodes, their load balancer and Prometheus");
    let story = Story::new()?;
    let tracers = story.trace(binary)?;
    let rules = workspace::root().join("deploy/prometheus/tracer.rules.yaml");
    let prometheus = story.watch(&[rules])?;
    progress.finish(true, "");
    let minutes = minutes(&story, &tracers, &prometheus)?;
    let told = Told {
        minutes,
        dead: dead(&prometheus)?,
        resident_mib: most(&tracers, "process_resident_memory_bytes")? / f64::from(1 << 20),
        cpu_seconds: most(&tracers, "process_cpu_seconds_total")?,
    };
    match output {
        Format::Json => println!("{}", serde_json::to_string_pretty(&told)?),
        Format::Text => {
            print!("{}", text(&told));
            let node = &story.cluster.nodes[0].ns;
            let first = tracers.first().context("no node")?;
            let told = explain::explain(node, binary, first, &["--last", "10m"])?;
            print!("\nthe first node, by `tracer explain`:\n\n{told}");
        }
    }
    Ok(())
}

fn minutes(
    story: &Story,
    tracers: &[Tracer<'_>],
    prometheus: &Prometheus<'_>,
) -> Result<Vec<Minute>> {
    let mut balancer = story.balancer();
    let mut before = Minute::default();
    let mut minutes = Vec::new();
    for nodes in NODES {
        balancer.register(before.registered_nodes..nodes)?;
        let mut progress = proc::Progress::new(&format!("one minute with {nodes} nodes"));
        balancer.minute(nodes, || progress.tick())?;
        progress.finish(true, "");
        let metrics = settled(tracers)?;
        let sum = |labels: &[(&str, &str)]| -> f64 {
            let sums = metrics
                .iter()
                .map(|m| m.sum("tracer_handshakes_total", labels));
            sums.sum()
        };
        let succeeded = sum(&[("outcome", "established")]) + sum(&[("outcome", "half_open")]);
        let tracer = (sum(&[]) - succeeded) as u64;
        let now = Minute {
            registered_nodes: nodes,
            expected_errors: story::errors_a_minute(nodes),
            load_balancer: balancer.counts.values().map(|c| c.errors).sum(),
            load_balancer_kernel: story.kernel_failures()?,
            tracer,
            prometheus: scraped(prometheus, tracer)?,
            expected_checks: (nodes * BALANCERS) as u64 * story::ROUNDS,
            checks: sum(&[("traffic", "health_check")]) as u64,
        };
        minutes.push(Minute {
            load_balancer: now.load_balancer - before.load_balancer,
            load_balancer_kernel: now.load_balancer_kernel - before.load_balancer_kernel,
            tracer: now.tracer - before.tracer,
            prometheus: now.prometheus - before.prometheus,
            checks: now.checks - before.checks,
            ..now
        });
        before = now;
    }
    Ok(minutes)
}

/// The metrics of all nodes, once no attempt is pending.
fn settled(tracers: &[Tracer<'_>]) -> Result<Vec<Metrics>> {
    let settled = |tracer: &Tracer<'_>| {
        tracer.metrics_when(SETTLED, "attempts are still pending", |metrics| {
            metrics.sum("tracer_handshakes_pending", &[]) == 0.0
        })
    };
    tracers.iter().map(settled).collect()
}

/// What Prometheus has, once it has scraped what the daemons have, or at last.
fn scraped(prometheus: &Prometheus<'_>, expected: u64) -> Result<u64> {
    let mut last = 0;
    let query = format!("sum({FAILED})");
    let reached = poll_until(SETTLED, "Prometheus lags behind", || {
        last = prometheus.value(&query).unwrap_or_default() as u64;
        Ok((last == expected).then_some(()))
    });
    // The table shows that they differ.
    drop(reached);
    Ok(last)
}

fn dead(prometheus: &Prometheus<'_>) -> Result<Vec<Dead>> {
    let label = |row: &serde_json::Value, name: &str| -> String {
        row["metric"][name].as_str().unwrap_or_default().to_owned()
    };
    let query =
        format!("({DEAD}) * on (node_port) group_left (namespace, service, port_name) {NAMES}");
    let mut dead = Vec::new();
    for row in prometheus.query(&query)? {
        let value = row["value"][1].as_str().context("no value")?;
        dead.push(Dead {
            node_port: label(&row, "node_port"),
            service: format!(
                "{}/{}:{}",
                label(&row, "namespace"),
                label(&row, "service"),
                label(&row, "port_name")
            ),
            verdict: label(&row, "verdict"),
            attempts: value.parse::<f64>()? as u64,
        });
    }
    dead.sort_by(|a, b| a.node_port.cmp(&b.node_port));
    Ok(dead)
}

/// The largest value among the nodes.
fn most(tracers: &[Tracer<'_>], name: &str) -> Result<f64> {
    let mut most = 0.0_f64;
    for tracer in tracers {
        most = most.max(tracer.metrics()?.sum(name, &[]));
    }
    Ok(most)
}

fn text(told: &Told) -> String {
    let dead = story::dead().count();
    let mut text = format!(
        "\n20 NodePorts of one Service, {dead} of them dead; {BALANCERS} load-balancer nodes. Every \
         interval each\nchecks the first port and tries each dead one, on every registered node; \
         nobody calls.\n10 s are {} s here; counts are for one minute of 6 intervals.\n\n",
        EVERY.as_secs()
    );
    type Row = (&'static str, fn(&Minute) -> u64);
    let rows: [Row; 8] = [
        ("registered nodes", |m| m.registered_nodes as u64),
        ("connection errors, expected: nodes x 3 x 6 dead x 6", |m| {
            m.expected_errors
        }),
        ("  the load balancer's own count", |m| m.load_balancer),
        ("  its kernel's (AttemptFails)", |m| m.load_balancer_kernel),
        ("  tracer, sum over the nodes", |m| m.tracer),
        ("  Prometheus", |m| m.prometheus),
        ("health checks, expected: nodes x 3 x 6", |m| {
            m.expected_checks
        }),
        ("  tracer, traffic=\"health_check\"", |m| m.checks),
    ];
    let mut lines = vec![vec![String::new(), "before".to_owned(), "after".to_owned()]];
    for (name, value) in rows {
        let values = told.minutes.iter().map(|minute| value(minute).to_string());
        lines.push([name.to_owned()].into_iter().chain(values).collect());
    }
    text.push_str(&align(&lines, &[""]));
    let _ = writeln!(text, "\nwhich ports, and why, by Prometheus:\n");
    let head = ["NodePort", "Service", "verdict", "attempts"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for row in &told.dead {
        let cells = [&row.node_port, &row.service, &row.verdict];
        let cells = cells.into_iter().cloned();
        lines.push(cells.chain([row.attempts.to_string()]).collect());
    }
    text.push_str(&align(&lines, &["Service", "verdict"]));
    let _ = writeln!(
        text,
        "\nnine daemons; the largest: {:.0} MiB resident, {:.1} s of CPU with its start",
        told.resident_mib, told.cpu_seconds
    );
    text
}
