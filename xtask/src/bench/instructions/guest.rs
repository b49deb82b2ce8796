//! What runs in the guest.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};

use super::clock;
use crate::bench::kernel::{self, Scale};
use crate::bench::load::{Bed, Short};
use crate::bench::pairs::Round;
use crate::bench::report::Row;
use crate::bench::spread::Spread;
use crate::bench::{Plan, start};

/// Promised: instructions with the daemon to instructions without.
const RATIO: f64 = 1.05;
const CHUNK: usize = 64 * 1024;
/// A bulk transfer's segments depend on how its windows grow: many, so that this evens out.
const TRANSFERS: usize = 20;
const MIB: usize = 1024 * 1024;
/// After a daemon's start or end the kernel is busy for a while.
const SETTLE: Duration = Duration::from_secs(2);

/// What the kernel gives a node with 16 GiB: ended connections stay there for two minutes.
const CONNTRACK: [(&str, &str); 2] = [
    ("/proc/sys/net/netfilter/nf_conntrack_buckets", "262144"),
    ("/proc/sys/net/netfilter/nf_conntrack_max", "262144"),
];

/// The kernel's statistics count nanoseconds, which are instructions here.
const COUNTED: Scale = Scale {
    prefix: "Instructions: ",
    packet: "instructions/packet",
    connection: "instructions/connection",
    promised: false,
};

const FULL: Plan = Plan {
    rounds: 3,
    round_trips: 500,
    bulk_chunks: 300,
    connections: 200,
    pairs: 3,
    pair_connections: 4_000,
    pair_chunks: 8_000,
    ..crate::bench::FULL
};

const QUICK: Plan = Plan {
    rounds: 2,
    pairs: 1,
    pair_connections: 1_000,
    pair_chunks: 1_000,
    ..FULL
};

/// A fixed amount of work.
struct Work<'a> {
    name: &'static str,
    unit: &'static str,
    /// In that unit.
    amount: f64,
    bed: &'a Bed,
    run: Box<dyn Fn() -> Result<()> + 'a>,
}

/// Counts, and writes the rows to `out` as lines of JSON.
///
/// # Errors
/// The clock counts no instructions, the daemon does not start, or the work fails.
pub(in crate::bench) fn count(binary: &Path, out: &Path, quick: bool) -> Result<()> {
    let plan = if quick { QUICK } else { FULL };
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("kernel release")?;
    let section = format!("Instructions, in a guest with Linux {}", release.trim());
    let mut rows = clock::check(&section)?;
    for (path, value) in CONNTRACK {
        fs::write(path, value).with_context(|| format!("write {path}"))?;
    }
    let bed = Bed::new()?;
    {
        let pod = Bed::forwarded(0)?;
        for work in works(&bed, &pod, &plan) {
            rows.extend(work.compare(binary, &plan, &section)?);
        }
    }
    rows.extend(kernel::rows(&bed, binary, &plan, &COUNTED)?);
    let mut lines = String::new();
    for row in &rows {
        writeln!(lines, "{}", serde_json::to_string(row)?)?;
    }
    fs::write(out, lines).with_context(|| format!("write {}", out.display()))
}

fn works<'a>(bed: &'a Bed, pod: &'a Bed, plan: &Plan) -> [Work<'a>; 3] {
    let (count, bytes) = (plan.pair_connections, plan.pair_chunks * CHUNK);
    let connections = |name, bed: &'a Bed| Work {
        name,
        unit: "instructions/connection",
        amount: count as f64,
        bed,
        run: Box::new(move || bed.short(Short::Call, count)),
    };
    [
        connections("connect/call/close", bed),
        connections("connect/call/close, forwarded to a pod", pod),
        Work {
            name: "bulk transfer",
            unit: "instructions/MiB",
            amount: (bytes / MIB) as f64,
            bed,
            run: Box::new(move || (0..TRANSFERS).try_for_each(|_| bed.bulk(bytes / TRANSFERS))),
        },
    ]
}

impl Work<'_> {
    /// Bare, bare again and with the daemon, in turns.
    fn compare(&self, binary: &Path, plan: &Plan, section: &str) -> Result<Vec<Row>> {
        let arm = |traced: bool| {
            let tracer = traced.then(|| start(self.bed, binary, &[])).transpose()?;
            sleep(SETTLE);
            // What the kernel sets up once, like its caches of objects.
            (self.run)()?;
            let counted = clock::instructions(&self.run)?;
            if let Some(tracer) = tracer {
                tracer.stop()?;
            }
            Ok(counted)
        };
        let rounds = (0..plan.pairs).map(|number| Round::run(number, arm));
        let rounds: Vec<Round<f64>> = rounds.collect::<Result<_>>()?;
        let row = |what: &str, unit, value: &dyn Fn(&Round<f64>) -> f64| {
            let figure = format!("{}{what}", self.name);
            Row::new(
                section.to_owned(),
                figure,
                unit,
                Spread::of(rounds.iter().map(value)),
            )
        };
        let ratio = row(": with the daemon to bare", "ratio", &|r| r.traced / r.bare);
        Ok(vec![
            row(", bare", self.unit, &|r| r.bare / self.amount),
            row(", with the daemon", self.unit, &|r| r.traced / self.amount),
            row(": bare to bare (noise)", "ratio", &|r| r.again / r.bare),
            ratio.at_most(Some(RATIO)),
        ])
    }
}
