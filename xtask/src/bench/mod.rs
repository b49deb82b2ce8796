//! `cargo xtask bench`: what tracer costs, beside what is promised.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::builder::PossibleValuesParser;
use testbed::Tracer;

use crate::setup::{self, Needs, Package, Unavailable};
use crate::{artifacts, packages, proc, vm, workspace};

mod bpf;
mod daemon;
mod elsewhere;
mod explain;
mod instructions;
mod kernel;
mod load;
pub(crate) mod machine;
mod memory;
mod pairs;
mod programs;
mod replay;
mod report;
mod scrape;
mod spread;
mod top;
mod usage;

use load::Bed;
use machine::Machine;
use report::{Report, Row};

const PACKAGES: &[Package] = &[
    Package {
        name: "iproute2",
        why: "makes the namespaces and links",
        probe: "ip",
    },
    Package {
        name: "nftables",
        why: "drops the SYNs that fill the flow table",
        probe: "nft",
    },
    Package {
        name: "iptables",
        why: "is part of each guest",
        probe: "iptables-restore",
    },
];

/// Where the last result is kept.
const PAGE: &str = "BENCHMARKS.md";

/// Options of `bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Few and short rounds: to see that it works, not to compare
    #[arg(long)]
    quick: bool,
    /// Measure this part only (repeatable)
    #[arg(long, value_name = "PART", conflicts_with = "save")]
    only: Vec<Part>,
    /// How the result is printed
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
    /// Write the result to BENCHMARKS.md
    #[arg(long, conflicts_with = "quick")]
    save: bool,
    /// Run this tracer binary instead of building one; instructions need a static one
    #[arg(long, value_name = "PATH")]
    tracer: Option<PathBuf>,
    /// Debian kernel on which instructions are counted
    #[arg(long, value_name = "SERIES", default_value = "6.12")]
    #[arg(value_parser = PossibleValuesParser::new(vm::series_names()))]
    kernel: String,
    /// Count instructions here, in the guest, and leave the rows in this file
    #[arg(long, value_name = "FILE", hide = true, requires = "tracer")]
    in_guest: Option<PathBuf>,
}

impl Args {
    fn measures(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// A table for people
    Text,
    /// One JSON object
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// ns per packet and connection in the kernel
    Kernel,
    /// CPU time of the daemon
    Daemon,
    /// Time and size of a scrape
    Scrape,
    /// Resident memory and maps
    Memory,
    /// Time of `tracer explain`
    Explain,
    /// Packets per second of `tracer replay`
    Replay,
    /// CPU time of `tracer top`
    Top,
    /// Rates and CPU time with and without the daemon
    Pairs,
    /// Instructions with and without the daemon, in a virtual machine
    Instructions,
}

impl Part {
    const ALL: [Self; 9] = [
        Self::Kernel,
        Self::Daemon,
        Self::Scrape,
        Self::Memory,
        Self::Explain,
        Self::Replay,
        Self::Top,
        Self::Pairs,
        Self::Instructions,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel programs",
            Self::Daemon => "CPU time of the daemon",
            Self::Scrape => "scrapes",
            Self::Memory => "memory",
            Self::Explain => "explanations",
            Self::Replay => "replay of captures",
            Self::Top => "top",
            Self::Pairs => "with and without the daemon",
            Self::Instructions => "instructions",
        }
    }

    fn rows(self, bed: &Bed, binary: &Path, plan: &Plan, args: &Args) -> Result<Vec<Row>> {
        match self {
            Self::Kernel => kernel::rows(bed, binary, plan, kernel::TAPS, &kernel::TIME),
            Self::Daemon => daemon::rows(bed, binary, plan),
            Self::Scrape => scrape::rows(bed, binary, plan),
            Self::Memory => memory::rows(bed, binary),
            Self::Explain => explain::rows(binary, plan),
            Self::Replay => replay::rows(binary, plan),
            Self::Top => top::rows(binary, plan),
            Self::Pairs => pairs::rows(bed, binary, plan),
            Self::Instructions => instructions::rows(binary, &args.kernel, args.quick),
        }
    }
}

/// How much is measured.
struct Plan {
    /// Rounds of the kernel programs' figures and of scrapes.
    rounds: usize,
    /// Messages and echoes, or datagrams, per round.
    round_trips: usize,
    /// Chunks of 64 KiB per bulk round.
    bulk_chunks: usize,
    /// Short connections per round.
    connections: usize,
    /// Rounds of the daemon's CPU time.
    cpu_rounds: usize,
    /// Time at rest per round: as long as the daemon takes between two looks at the system.
    idle: Duration,
    /// Paced connections per round: for as long, in the full plan.
    paced_connections: u32,
    /// Rounds with and without the daemon.
    pairs: usize,
    /// Connections per turn of an arm.
    pair_connections: usize,
    /// Chunks of 64 KiB per turn of an arm.
    pair_chunks: usize,
}

const FULL: Plan = Plan {
    rounds: 15,
    round_trips: 10_000,
    bulk_chunks: 4_000,
    connections: 3_000,
    cpu_rounds: 5,
    idle: Duration::from_secs(5),
    paced_connections: 5_000,
    pairs: 30,
    pair_connections: 600,
    pair_chunks: 1_600,
};

const QUICK: Plan = Plan {
    rounds: 3,
    round_trips: 2_000,
    bulk_chunks: 1_000,
    connections: 500,
    cpu_rounds: 2,
    idle: Duration::from_secs(5),
    paced_connections: 1_000,
    pairs: 3,
    pair_connections: 600,
    pair_chunks: 800,
};

/// Measures and prints. Progress goes to stderr, the result to stdout. A missed promise is said
/// in the result; it does not change the exit status. A part that fails does, with its error among
/// what was not measured, and nothing is saved then.
///
/// # Errors
/// Something that the bench needs is missing (exit status 69).
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    if !setup::is_root() {
        let line = "missing root (network namespaces and kernel programs): run as root, \
                    for example: sudo -E env \"PATH=$PATH\" cargo xtask bench";
        return Err(Unavailable(vec![line.to_owned()]).into());
    }
    #[cfg(target_arch = "x86_64")]
    if let (Some(out), Some(binary)) = (&args.in_guest, &args.tracer) {
        instructions::guest::count(binary, out, args.quick)?;
        return Ok(ExitCode::SUCCESS);
    }
    let guest = args.measures(Part::Instructions);
    let all = &[PACKAGES, packages::VIRTUAL_MACHINES];
    setup::ensure(&Needs {
        bpf: args.tracer.is_none(),
        musl: args.tracer.is_none() || guest,
        python: false,
        packages: if guest { all } else { &all[..1] },
        ..Needs::default()
    })?;
    let binary = match &args.tracer {
        Some(path) => path.clone(),
        None => artifacts::tracer()?,
    };
    let report = measure(&args, &binary)?;
    match args.output {
        Format::Text => print!("{}", report.text()),
        Format::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    if report.failed {
        eprintln!("error: a part failed: see what was not measured");
        return Ok(ExitCode::FAILURE);
    }
    if args.save {
        let path = workspace::root().join(PAGE);
        fs::write(&path, report.markdown()).with_context(|| format!("write {}", path.display()))?;
        eprintln!("  written: {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(args: &Args, binary: &Path) -> Result<Report> {
    let start = Instant::now();
    let plan = if args.quick { QUICK } else { FULL };
    let machine = Machine::read(binary)?;
    let bed = Bed::new()?;
    let mut rows = Vec::new();
    let mut left_out = Vec::new();
    for part in Part::ALL {
        if !args.measures(part) {
            continue;
        }
        let progress = proc::Progress::new(part.name());
        let measured = part.rows(&bed, binary, &plan, args);
        progress.finish(measured.is_ok(), "failed");
        match measured {
            Ok(measured) => rows.extend(measured),
            Err(error) => left_out.push(format!("{}: {error:#}", part.name())),
        }
    }
    let failed = !left_out.is_empty();
    left_out.extend(LEFT_OUT.map(str::to_owned));
    let options = if args.quick { " --quick" } else { "" };
    Ok(Report {
        machine,
        command: format!("cargo xtask bench{options}"),
        seconds: start.elapsed().as_secs(),
        rows,
        left_out,
        failed,
    })
}

const LEFT_OUT: [&str; 1] = ["other programs side by side (tcplife, bpftrace scripts)"];

/// The daemon in the node's namespace, with its tap on the one interface there.
fn start<'a>(bed: &'a Bed, binary: &Path, more: &[&str]) -> Result<Tracer<'a>> {
    let args = [&["--interface", "eth0"], more].concat();
    Tracer::start_binary(&bed.topology.node, binary, &args)
}
