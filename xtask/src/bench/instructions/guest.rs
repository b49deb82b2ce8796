//! What runs in the guest.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aya::sys::{Stats, enable_stats};

use super::clock;
use crate::bench::bpf::Empty;
use crate::bench::daemon::cpu_time;
use crate::bench::kernel::{self, Scale};
use crate::bench::load::{Bed, Short};
use crate::bench::pairs::Round;
use crate::bench::report::Row;
use crate::bench::spread::Spread;
use crate::bench::{Plan, start};

/// Promised: instructions with the daemon to instructions without.
const RATIO: f64 = 1.05;
const CHUNK: usize = 64 * 1024;
/// How much less is done before what is counted.
const WARM_UP: usize = 4;
const MIB: usize = 1024 * 1024;
/// After a daemon's start or end the kernel is busy for a while.
const SETTLE: Duration = Duration::from_secs(2);

/// What the kernel gives a node with 16 GiB: ended connections stay there for two minutes.
const CONNTRACK: [(&str, &str); 2] = [
    ("/proc/sys/net/netfilter/nf_conntrack_buckets", "262144"),
    ("/proc/sys/net/netfilter/nf_conntrack_max", "262144"),
];

/// Windows that do not grow: how they do is different each time, and so are a transfer's segments.
const WINDOWS: [(&str, &str); 3] = [
    ("net/ipv4/tcp_rmem", "524288 524288 524288"),
    ("net/ipv4/tcp_wmem", "524288 524288 524288"),
    ("net/ipv4/tcp_no_metrics_save", "1"),
];

/// Whether the kernel compiles BPF.
const JIT: &str = "/proc/sys/net/core/bpf_jit_enable";

/// What a kernel program has more than another, and how often both run, to see whether that counts.
const ADDITIONS: usize = 1000;
const RUNS: usize = 1000;

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
    // A second or two, so that the daemon's rounds have their share.
    pair_connections: 8_000,
    pair_chunks: 16_000,
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
    /// Does it, or so much less.
    run: Box<dyn Fn(usize) -> Result<()> + 'a>,
}

/// Instructions of one arm's work.
struct Arm {
    all: f64,
    /// In the daemon's process, the kernel on its behalf included.
    daemon: f64,
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
    let jit = fs::read_to_string(JIT).with_context(|| format!("read {JIT}"))?;
    ensure!(
        jit.trim() == "1",
        "the guest's kernel compiles no BPF: {JIT} is {jit}"
    );
    for (path, value) in CONNTRACK {
        fs::write(path, value).with_context(|| format!("write {path}"))?;
    }
    let bed = Bed::new()?;
    for ns in [&bed.topology.client, &bed.topology.node] {
        ns.sysctls(&WINDOWS)?;
    }
    rows.push(additions(&bed, &section)?);
    {
        let pod = Bed::forwarded(0)?;
        for work in works(&bed, &pod, &plan) {
            rows.extend(work.compare(binary, &plan, &section)?);
        }
    }
    let taps = if has_tcx(&release)? {
        kernel::TAPS
    } else {
        &kernel::TAPS[1..]
    };
    rows.extend(kernel::rows(&bed, binary, &plan, taps, &COUNTED)?);
    let mut lines = String::new();
    for row in &rows {
        writeln!(lines, "{}", serde_json::to_string(row)?)?;
    }
    fs::write(out, lines).with_context(|| format!("write {}", out.display()))
}

/// Whether the statistics of kernel programs count instructions: of two that differ by known ones.
fn additions(bed: &Bed, section: &str) -> Result<Row> {
    let _stats = enable_stats(Stats::RunTime).context("switch on the run-time statistics")?;
    let [empty, more] = [0, ADDITIONS].map(|count| Empty::tracepoint(c"net_dev_queue", count));
    let (empty, more) = (empty?, more?);
    bed.datagrams(RUNS)?;
    let difference = more.counts()?.ns_per_run() - empty.counts()?.ns_per_run();
    ensure!(
        (difference / ADDITIONS as f64 - 1.0).abs() < 0.05,
        "{ADDITIONS} additions in a kernel program count {difference} instructions"
    );
    let figure = format!("check: {ADDITIONS} additions in a kernel program");
    let value = Spread::of([difference]);
    Ok(Row::new(section.to_owned(), figure, "instructions", value))
}

/// Since Linux 6.6.
fn has_tcx(release: &str) -> Result<bool> {
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    let mut number = || {
        numbers
            .next()
            .context("kernel release")?
            .context("kernel release")
    };
    Ok((number()?, number()?) >= (6, 6))
}

fn works<'a>(bed: &'a Bed, pod: &'a Bed, plan: &Plan) -> [Work<'a>; 3] {
    let (count, bytes) = (plan.pair_connections, plan.pair_chunks * CHUNK);
    let connections = |name, bed: &'a Bed| Work {
        name,
        unit: "instructions/connection",
        amount: count as f64,
        bed,
        run: Box::new(move |less| bed.short(Short::Call, count / less)),
    };
    [
        connections("connect/call/close", bed),
        connections("connect/call/close, forwarded to a pod", pod),
        Work {
            name: "bulk transfer",
            unit: "instructions/MiB",
            amount: (bytes / MIB) as f64,
            bed,
            run: Box::new(move |less| bed.bulk(bytes / less)),
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
            (self.run)(WARM_UP)?;
            let used = || {
                let pid = tracer.as_ref().map(|tracer| tracer.process().pid());
                pid.map_or(Ok(Duration::ZERO), cpu_time)
            };
            let before = used()?;
            let all = clock::instructions(|| (self.run)(1))?;
            let daemon = (used()? - before).as_nanos() as f64;
            if let Some(tracer) = tracer {
                tracer.stop()?;
            }
            Ok(Arm { all, daemon })
        };
        let rounds = (0..plan.pairs).map(|number| Round::run(number, arm));
        let rounds: Vec<Round<Arm>> = rounds.collect::<Result<_>>()?;
        let spread = |value: &dyn Fn(&Round<Arm>) -> f64| Spread::of(rounds.iter().map(value));
        let row = |what, unit, value| {
            let figure = format!("{}{what}", self.name);
            Row::new(section.to_owned(), figure, unit, value)
        };
        let bare = spread(&|r| r.bare.all / self.amount);
        let traced = spread(&|r| r.traced.all / self.amount);
        let daemon = spread(&|r| r.traced.daemon / self.amount);
        let noise = spread(&|r| r.again.all / r.bare.all);
        let ratio = spread(&|r| r.traced.all / r.bare.all);
        Ok(vec![
            row(", bare", self.unit, bare),
            row(", with the daemon", self.unit, traced),
            row(", of it the daemon's process", self.unit, daemon),
            row(": bare to bare (noise)", "ratio", noise),
            row(": with the daemon to bare", "ratio", ratio).at_most_beside(RATIO, &noise),
        ])
    }
}
