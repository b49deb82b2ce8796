//! Time, CPU time and size of a scrape, with no port and with 500 ports active.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use testbed::{Tracer, http};

use super::daemon::timed;
use super::load::Bed;
use super::report::Row;
use super::spread::Spread;
use super::{Plan, start};

const SECTION: &str = "Scrape";
/// Promised: ms for reading the counters of all ports.
const READ_MS: f64 = 0.5;
/// Ports that have seen traffic.
pub(super) const ACTIVE_PORTS: usize = 500;
/// Requests per round.
const BATCH: usize = 20;
/// By name and Accept header.
const FORMATS: [(&str, &str); 2] = [
    ("OpenMetrics", "application/openmetrics-text;version=1.0.0"),
    ("text", "text/plain;version=0.0.4"),
];

/// Starts a daemon of its own.
pub(super) fn rows(bed: &Bed, binary: &Path, plan: &Plan) -> Result<Vec<Row>> {
    let tracer = start(bed, binary, &[])?;
    let scrape = Scrape { bed, tracer, plan };
    let mut rows = scrape.formats("no active port")?;
    rows.push(scrape.reading()?);
    bed.touch_ports(ACTIVE_PORTS)?;
    let metrics = scrape.tracer.metrics()?;
    let active = metrics.values_of("tracer_attempts_total", "node_port");
    ensure!(
        active.len() >= ACTIVE_PORTS,
        "only {} ports are active",
        active.len()
    );
    rows.extend(scrape.formats("500 active ports")?);
    let series = Spread::of([metrics.len() as f64]);
    rows.push(Row::new(SECTION, "500 active ports", "series", series));
    Ok(rows)
}

struct Scrape<'a> {
    bed: &'a Bed,
    tracer: Tracer<'a>,
    plan: &'a Plan,
}

/// What one round gave, per request.
struct Round {
    time_ms: f64,
    cpu_ms: f64,
    kib: f64,
}

impl Scrape<'_> {
    fn formats(&self, state: &str) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for (format, accept) in FORMATS {
            let rounds = self.rounds("/metrics", accept)?;
            let row = |what: &str, unit, value: fn(&Round) -> f64| {
                let figure = format!("{state}, {format}: {what}");
                Row::new(SECTION, figure, unit, Spread::of(rounds.iter().map(value)))
            };
            rows.push(row("time", "ms", |r| r.time_ms));
            rows.push(row("CPU time", "ms", |r| r.cpu_ms));
            rows.push(row("size", "KiB", |r| r.kib));
        }
        Ok(rows)
    }

    /// Reading the counters cannot be watched from outside. With no port active a scrape does
    /// that and writes little; what any answer costs is that of `/livez`.
    fn reading(&self) -> Result<Row> {
        let (format, accept) = FORMATS[0];
        let scrapes = self.rounds("/metrics", accept)?;
        let answers = self.rounds("/livez", "*/*")?;
        let difference = scrapes
            .iter()
            .zip(&answers)
            .map(|(scrape, answer)| scrape.cpu_ms - answer.cpu_ms);
        let figure = format!(
            "reading all ports, at most ({format} with no active port less `/livez`, CPU time)"
        );
        let row = Row::new(SECTION, figure, "ms", Spread::of(difference));
        Ok(row.at_most(Some(READ_MS)))
    }

    fn rounds(&self, path: &str, accept: &str) -> Result<Vec<Round>> {
        (0..self.plan.rounds)
            .map(|_| self.round(path, accept))
            .collect()
    }

    fn round(&self, path: &str, accept: &str) -> Result<Round> {
        const END: Duration = Duration::from_millis(20);
        let (node, address) = (&self.bed.topology.node, self.tracer.address());
        let mut bytes = 0;
        let (time, cpu) = timed(self.tracer.process().pid(), || {
            for _ in 0..BATCH {
                let response = http::get(node, address, path, accept)?;
                ensure!(response.status == 200, "{path}: {}", response.status);
                bytes = response.body.len();
            }
            // The daemon closes the last connection after its answer.
            sleep(END);
            Ok(())
        })?;
        let each = |time: Duration| time.as_secs_f64() * 1e3 / BATCH as f64;
        Ok(Round {
            time_ms: each(time.saturating_sub(END)),
            cpu_ms: each(cpu),
            kib: bytes as f64 / 1024.0,
        })
    }
}
