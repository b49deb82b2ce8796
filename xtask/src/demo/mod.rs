//! `cargo xtask demo`: a small cluster in network namespaces, broken on purpose, and what tracer
//! says about it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use testbed::{Topology, tracer::LISTEN};

use crate::setup::{self, Needs, Unavailable};
use crate::{artifacts, packages, proc, workspace};

mod report;
mod samples;
mod stage;
mod story;
mod table;

use report::Report;
use stage::Stage;

/// Options of `demo`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long traffic flows before the table is printed
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Leave everything running after the table, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// The load balancer with 300, then 1000 connection errors a minute, on three and nine nodes
    #[arg(long, conflicts_with_all = ["seconds", "keep"])]
    story: bool,
    /// Write what is printed into the README's samples
    #[arg(long, conflicts_with_all = ["seconds", "keep", "story"])]
    readme: bool,
    /// How the result is printed
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
    /// Run this tracer binary instead of building one
    #[arg(long, value_name = "PATH")]
    tracer: Option<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// A table for people
    Text,
    /// One JSON object
    Json,
}

/// Builds and runs the demo. Progress goes to stderr, the result to stdout.
///
/// # Errors
/// Something that the demo needs is missing (exit status 69), or a part of it does not start.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    if !setup::is_root() {
        let line = "missing root (network namespaces and kernel programs): run as root, \
                    for example: sudo -E env \"PATH=$PATH\" cargo xtask demo";
        return Err(Unavailable(vec![line.to_owned()]).into());
    }
    let tools = setup::ensure(&Needs {
        bpf: args.tracer.is_none(),
        musl: args.tracer.is_none(),
        python: !args.story,
        packages: &[packages::NAMESPACE_TESTS],
        ..Needs::default()
    })?;
    let binary = match args.tracer {
        Some(path) => path,
        None => artifacts::tracer()?,
    };
    if args.story {
        story::run(&binary, args.output)?;
        return Ok(ExitCode::SUCCESS);
    }
    let python = tools.python.context("no Python environment")?;

    if args.readme {
        write_readme(&binary, &python)?;
        return Ok(ExitCode::SUCCESS);
    }

    let progress = proc::Progress::new("load balancer, node and pods in network namespaces");
    let topology = stage::topology()?;
    progress.finish(true, "");
    let progress = proc::Progress::new("Thrift servers, tracer, HAProxy, Thrift clients");
    let stage = Stage::start(&topology, &binary, &python)?;
    progress.finish(true, "");
    eprintln!("  metrics: {}", look(&topology, "curl -s"));
    let_traffic_flow(args.seconds);

    let report = Report::collect(&stage, args.seconds)?;
    match args.output {
        Format::Text => {
            let told = stage.explain(args.seconds, &[])?;
            let socket = stage.tracer.socket().display();
            print!("{}", table::text(&report));
            print!("\nwhat breaks, by `tracer explain --socket {socket}` at the node:\n\n{told}");
        }
        Format::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    if args.keep {
        keep(&topology, &binary, &stage);
    }
    Ok(ExitCode::SUCCESS)
}

/// Seconds of traffic in the README's samples.
const SAMPLE_S: u64 = 15;

/// Runs the demo for the README's samples.
fn samples(binary: &Path, python: &Path) -> Result<Vec<samples::Sample>> {
    let topology = stage::topology()?;
    let stage = Stage::start(&topology, binary, python)?;
    sleep(Duration::from_secs(SAMPLE_S));
    samples::take(&stage, &Report::collect(&stage, SAMPLE_S)?)
}

fn write_readme(binary: &Path, python: &Path) -> Result<()> {
    let path = workspace::root().join("README.md");
    let readme = std::fs::read_to_string(&path).context("read the README")?;
    let readme = samples::put(&readme, &samples(binary, python)?)?;
    std::fs::write(&path, readme).context("write the README")
}

/// Words in the README's samples that a run of the demo does not print; `None`: they are
/// of another kernel.
///
/// # Errors
/// The demo does not start, or the README has no place for a sample.
pub(crate) fn strange_words(binary: &Path, python: &Path) -> Result<Option<Vec<String>>> {
    let path = workspace::root().join("README.md");
    let readme = std::fs::read_to_string(path).context("read the README")?;
    let samples = samples(binary, python)?;
    if !samples::comparable(&readme, &samples)? {
        return Ok(None);
    }
    samples::strange(&readme, &samples).map(Some)
}

fn let_traffic_flow(seconds: u64) {
    let mut progress = proc::Progress::new(&format!("traffic for {seconds} s"));
    while progress.elapsed() < Duration::from_secs(seconds) {
        progress.tick();
        sleep(Duration::from_millis(100));
    }
    progress.finish(true, "");
}

/// A command line that asks for the metrics from outside the namespace.
fn look(topology: &Topology, program: &str) -> String {
    let node = topology.node.name();
    format!("ip netns exec {node} {program} http://{LISTEN}/metrics")
}

/// Waits for Ctrl-C, at which the test bed removes everything and ends the process.
fn keep(topology: &Topology, binary: &Path, stage: &Stage<'_>) {
    let (client, node) = (topology.client.name(), topology.node.name());
    eprintln!("\neverything keeps running; Ctrl-C ends it and removes it. To look:");
    eprintln!("  {}", look(topology, "curl -s"));
    let (tracer, socket) = (binary.display(), stage.tracer.socket().display());
    eprintln!("  {tracer} explain --socket {socket}");
    eprintln!("  {tracer} events --socket {socket} --follow");
    eprintln!("  ip netns exec {node} tcpdump -ni eth0 tcp");
    eprintln!("  ip netns exec {node} conntrack -L -p tcp");
    eprintln!("  ip netns exec {node} iptables-nft-save");
    for (i, pod) in topology.pods.iter().enumerate() {
        eprintln!("  ip netns exec {} ss -tlnp   # pod {i}", pod.name());
    }
    eprintln!("  ip netns exec {client} bash   # a shell at the load balancer");
    loop {
        std::thread::park();
    }
}
