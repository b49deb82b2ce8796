//! Time, CPU time and size of a scrape, with no port and with 500 ports active.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testbed::{Netns, Tracer};

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
/// Fewer, and nearly all there are.
const FEW_PORTS: [usize; 2] = [20, 200];
const MANY_PORTS: usize = 2000;
/// Requests per round.
const BATCH: usize = 20;
/// By name and Accept header.
const FORMATS: [(&str, &str); 2] = [
    ("OpenMetrics", "application/openmetrics-text;version=1.0.0"),
    ("text", "text/plain;version=0.0.4"),
];

/// Starts daemons of its own.
pub(super) fn rows(bed: &Bed, binary: &Path, plan: &Plan) -> Result<Vec<Row>> {
    let scrape = Scrape {
        node: &bed.topology.node,
        tracer: start(bed, binary, &["--services", &bed.names()?])?,
        plan,
    };
    let mut rows = scrape.formats("no active port")?;
    rows.push(scrape.reading(binary)?);
    for ports in FEW_PORTS {
        bed.touch_ports(ports)?;
        rows.push(scrape.series(ports)?);
    }
    bed.touch_ports(ACTIVE_PORTS)?;
    let metrics = scrape.tracer.metrics()?;
    let active = metrics.values_of("tracer_attempts_total", "node_port");
    ensure!(
        active.len() >= ACTIVE_PORTS,
        "only {} ports are active",
        active.len()
    );
    rows.extend(scrape.formats("500 active ports")?);
    rows.push(scrape.series(ACTIVE_PORTS)?);
    bed.touch_ports(MANY_PORTS)?;
    rows.push(scrape.series(MANY_PORTS)?);
    Ok(rows)
}

struct Scrape<'a> {
    node: &'a Netns,
    tracer: Tracer<'a>,
    plan: &'a Plan,
}

/// What one round gave, per request.
struct Round {
    time_ms: f64,
    cpu_ms: f64,
}

impl Scrape<'_> {
    /// Series and bytes of a scrape: what Prometheus has to bear (docs/scale.md).
    fn series(&self, ports: usize) -> Result<Row> {
        // Verdicts come about a second after the attempts.
        sleep(Duration::from_secs(2));
        let (_, accept) = FORMATS[0];
        let page = self.tracer.scrape(accept)?;
        let series = Spread::of([self.tracer.metrics()?.len() as f64]);
        let what = format!("{ports} ports that refuse, {} KiB", page.len() / 1024);
        Ok(Row::new(SECTION, what, "series", series))
    }

    fn formats(&self, state: &str) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for (format, accept) in FORMATS {
            let rounds = self.rounds(&self.tracer, accept)?;
            let row = |what: &str, unit, spread| {
                Row::new(SECTION, format!("{state}, {format}: {what}"), unit, spread)
            };
            let time = Spread::of(rounds.iter().map(|r| r.time_ms));
            rows.push(row("time", "ms", time));
            let cpu = Spread::of(rounds.iter().map(|r| r.cpu_ms));
            rows.push(row("CPU time", "ms", cpu));
            let size = self.tracer.scrape(accept)?.len() as f64 / 1024.0;
            rows.push(row("size", "KiB", Spread::of([size])));
        }
        Ok(rows)
    }

    /// Reading the counters cannot be watched from outside: of two daemons without names, one
    /// watches all ports, the other, which does everything else that a scrape without active ports
    /// takes, a single one.
    fn reading(&self, binary: &Path) -> Result<Row> {
        let watching = |port, ports| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let args = ["--interface", "eth0", "--node-ports", ports];
            Tracer::start_at(self.node, binary, address, &args)
        };
        let (all, one) = (watching(9401, "30000-32767")?, watching(9402, "30000")?);
        let (_, accept) = FORMATS[0];
        let difference = (0..self.plan.rounds).map(|_| {
            let all = self.round(&all, accept)?;
            Ok(all.cpu_ms - self.round(&one, accept)?.cpu_ms)
        });
        let difference = difference.collect::<Result<Vec<f64>>>()?;
        let figure = "reading all ports: CPU time with 2,768 ports watched less that with one";
        let row = Row::new(SECTION, figure, "ms", Spread::of(difference));
        Ok(row.at_most(Some(READ_MS)))
    }

    fn rounds(&self, tracer: &Tracer<'_>, accept: &str) -> Result<Vec<Round>> {
        (0..self.plan.rounds)
            .map(|_| self.round(tracer, accept))
            .collect()
    }

    fn round(&self, tracer: &Tracer<'_>, accept: &str) -> Result<Round> {
        let address = tracer.address();
        let mut time = Duration::ZERO;
        let (_, cpu) = timed(tracer.process().pid(), || {
            time = self.node.enter(|| requests(address, accept))??;
            // The daemon closes the last connection after its answer.
            sleep(Duration::from_millis(20));
            Ok(())
        })?;
        let each = |time: Duration| time.as_secs_f64() * 1e3 / BATCH as f64;
        Ok(Round {
            time_ms: each(time),
            cpu_ms: each(cpu),
        })
    }
}

/// [`BATCH`] scrapes, each on a connection of its own, without looking at what they bring.
fn requests(address: SocketAddr, accept: &str) -> Result<Duration> {
    let request = format!(
        "GET /metrics HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    );
    let mut buffer = vec![0; 256 * 1024];
    let start = Instant::now();
    for _ in 0..BATCH {
        let mut stream = TcpStream::connect(address).context("connect to the daemon")?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(request.as_bytes()).context("send")?;
        let mut size = 0;
        loop {
            match stream.read(&mut buffer).context("read an answer")? {
                0 => break,
                more => size += more,
            }
        }
        ensure!(size > 0, "an empty answer");
    }
    Ok(start.elapsed())
}
