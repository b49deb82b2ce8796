//! What the kernel programs cost: ns per packet and per connection.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use testbed::Tracer;

use super::elsewhere::Elsewhere;
use super::load::{Bed, Short, Words};
use super::programs::{Meter, Use};
use super::report::Row;
use super::spread::Spread;
use super::{Plan, start};

/// Promised: ns per packet of no interest.
const NO_INTEREST_NS: f64 = 10.0;
/// Promised: ns per data packet of a followed connection.
const DATA_NS: f64 = 60.0;
/// Promised: ns of kernel time per short connection.
const CONNECTION_NS: f64 = 2500.0;
/// Runs per connection or round trip below which a program has nothing to do with that kind.
const SELDOM: f64 = 0.05;
/// Programs that see packets: of the wire tap, at `net_dev_queue`, at `kfree_skb`.
const PACKETS: [&str; 3] = ["wire_", "dev_queue", "drop_skb"];
const KIB_64: usize = 64 * 1024;

/// Short connections, with what is promised.
const KINDS: [(Short, &str, Option<f64>); 3] = [
    (
        Short::Call,
        "connection with one Thrift call",
        Some(CONNECTION_NS),
    ),
    (Short::Probe, "connect and close", Some(CONNECTION_NS)),
    (Short::Refused, "refused dial", None),
];

/// In what the kernel's statistics count, and whether the promises are about it.
pub(super) struct Scale {
    /// Before the name of each section.
    pub(super) prefix: &'static str,
    pub(super) packet: &'static str,
    pub(super) connection: &'static str,
    pub(super) promised: bool,
}

/// As on every machine.
pub(super) const TIME: Scale = Scale {
    prefix: "",
    packet: "ns/packet",
    connection: "ns/connection",
    promised: true,
};

/// What `--wire-tap` knows, best first.
pub(super) const TAPS: &[&str] = &["tcx", "packet"];

/// Each of these taps; with the first, connections that are forwarded to a pod too.
///
/// # Errors
/// The daemon does not start, or the kernel refuses an empty program.
pub(super) fn rows(
    bed: &Bed,
    binary: &Path,
    plan: &Plan,
    taps: &[&str],
    scale: &Scale,
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for &tap in taps {
        let tracer = start(bed, binary, &["--wire-tap", tap])?;
        let section = match tap {
            "tcx" => "Kernel programs, tap by tcx links",
            _ => "Kernel programs, tap by packet socket",
        };
        rows.extend(Bench::new(bed, &tracer, plan, scale, section)?.all()?);
    }
    let pod = Bed::forwarded(0)?;
    let tracer = start(&pod, binary, &["--wire-tap", taps[0]])?;
    let section = "Kernel programs, forwarded to a pod by kube-proxy's rules";
    rows.extend(Bench::new(&pod, &tracer, plan, scale, section)?.forwarded()?);
    Ok(rows)
}

struct Bench<'a> {
    bed: &'a Bed,
    plan: &'a Plan,
    meter: Meter,
    scale: &'a Scale,
    section: String,
}

impl<'a> Bench<'a> {
    fn new(
        bed: &'a Bed,
        tracer: &Tracer<'_>,
        plan: &'a Plan,
        scale: &'a Scale,
        section: &str,
    ) -> Result<Self> {
        let meter = Meter::start(&bed.topology.node, "eth0", tracer.process().pid())?;
        Ok(Self {
            bed,
            plan,
            meter,
            scale,
            section: format!("{}{section}", scale.prefix),
        })
    }

    fn all(&self) -> Result<Vec<Row>> {
        let plan = self.plan;
        let bed = self.bed;
        let bulk = || bed.bulk(plan.bulk_chunks * KIB_64);
        let mut rows = Vec::new();
        let mut empty = Vec::new();

        let mut talk = bed.not_watched()?;
        let uses = self.rounds(|| talk.round_trips(plan.round_trips))?;
        rows.extend(self.packets("TCP, port not watched", &uses, Some(NO_INTEREST_NS)));
        empty.extend(uses);
        let uses = self.rounds(|| bed.datagrams(plan.round_trips))?;
        rows.extend(self.packets("UDP", &uses, Some(NO_INTEREST_NS)));
        let mut talk = bed.long(Words::Other)?;
        let uses = self.rounds(|| talk.round_trips(plan.round_trips))?;
        rows.extend(self.packets("data, class `other`", &uses, Some(DATA_NS)));
        let mut talk = bed.long(Words::Thrift)?;
        let uses = self.rounds(|| talk.round_trips(plan.round_trips))?;
        rows.extend(self.packets(
            "data, Thrift call or echo in each packet",
            &uses,
            Some(DATA_NS),
        ));
        let uses = self.rounds(bulk)?;
        rows.extend(self.packets("data, Thrift, 64 KiB writes", &uses, Some(DATA_NS)));

        rows.extend(self.short()?);
        rows.extend(self.empties(&empty));
        Ok(rows)
    }

    /// conntrack knows these packets: `net_dev_queue` looks at their tuples.
    fn forwarded(&self) -> Result<Vec<Row>> {
        let mut talk = self.bed.long(Words::Other)?;
        let uses = self.rounds(|| talk.round_trips(self.plan.round_trips))?;
        let mut rows = self.packets("data, class `other`", &uses, Some(DATA_NS));
        rows.extend(self.short()?);
        Ok(rows)
    }

    /// Short connections of each kind: of this kernel's own sockets, then as from another machine.
    fn short(&self) -> Result<Vec<Row>> {
        let count = self.plan.connections;
        let mut rows = Vec::new();
        for (kind, name, promise) in KINDS {
            let uses = self.rounds(|| self.bed.short(kind, count))?;
            rows.extend(self.connections(&format!("{name}, dialed here"), &uses, promise));
        }
        let elsewhere = Elsewhere::of(self.bed)?;
        for (kind, name, promise) in KINDS {
            let uses = self.rounds(|| elsewhere.short(kind, count))?;
            rows.extend(self.connections(name, &uses, promise));
        }
        Ok(rows)
    }

    fn rounds(&self, mut work: impl FnMut() -> Result<()>) -> Result<Vec<Vec<Use>>> {
        // The first round fills caches and lets neighbours be found.
        self.meter.measure(&mut work)?;
        (0..self.plan.rounds)
            .map(|_| self.meter.measure(&mut work))
            .collect()
    }

    /// One row per program that sees such packets.
    fn packets(&self, what: &str, rounds: &[Vec<Use>], promise: Option<f64>) -> Vec<Row> {
        let promise = promise.filter(|_| self.scale.promised);
        by_program(rounds)
            .into_iter()
            .filter(|(program, _)| self.sees(program, rounds))
            .map(|(program, uses)| {
                let spread = Spread::of(uses.iter().map(|one| one.net_ns()));
                let figure = format!("{what}: `{program}`");
                self.row(figure, self.scale.packet, spread).at_most(promise)
            })
            .collect()
    }

    /// Others on this machine make a tracepoint fire now and then.
    fn sees(&self, program: &str, rounds: &[Vec<Use>]) -> bool {
        let often = self.plan.round_trips as f64 * SELDOM;
        PACKETS.iter().any(|name| program.starts_with(name)) && runs_of(rounds, program) >= often
    }

    /// The sum over all programs, then each program's share.
    fn connections(&self, what: &str, rounds: &[Vec<Use>], promise: Option<f64>) -> Vec<Row> {
        let each = self.plan.connections as f64;
        let sum = |uses: &Vec<Use>| uses.iter().map(Use::total_ns).sum::<f64>() / each;
        let spread = Spread::of(rounds.iter().map(sum));
        let unit = self.scale.connection;
        let promise = promise.filter(|_| self.scale.promised);
        let total = self.row(what.to_owned(), unit, spread);
        let mut rows = vec![total.at_most(promise)];
        for (program, uses) in by_program(rounds) {
            let spread = Spread::of(uses.iter().map(|one| one.total_ns() / each));
            let runs = runs_of(rounds, program) / each;
            // As in `sees`.
            if runs < SELDOM {
                continue;
            }
            let figure = format!("{what}: of it `{program}`, {runs:.1} runs each");
            rows.push(self.row(figure, unit, spread));
        }
        rows
    }

    fn row(&self, figure: String, unit: &'static str, value: Spread) -> Row {
        Row::new(self.section.clone(), figure, unit, value)
    }

    /// What was subtracted.
    fn empties(&self, rounds: &[Vec<Use>]) -> Vec<Row> {
        by_program(rounds)
            .into_iter()
            .filter(|(program, _)| self.sees(program, rounds))
            .map(|(program, uses)| {
                let spread = Spread::of(uses.iter().map(|one| one.empty_ns));
                let figure = format!("subtracted: the empty program beside `{program}`");
                self.row(figure, self.scale.packet, spread)
            })
            .collect()
    }
}

/// Median over all rounds, those included in which the program did not run.
fn runs_of(rounds: &[Vec<Use>], program: &str) -> f64 {
    let runs = |uses: &Vec<Use>| {
        let one = uses.iter().find(|one| one.program == program);
        one.map_or(0.0, |one| one.runs as f64)
    };
    Spread::of(rounds.iter().map(runs)).median
}

fn by_program(rounds: &[Vec<Use>]) -> BTreeMap<&str, Vec<&Use>> {
    let mut programs: BTreeMap<&str, Vec<&Use>> = BTreeMap::new();
    for one in rounds.iter().flatten() {
        programs.entry(&one.program).or_default().push(one);
    }
    programs
}
