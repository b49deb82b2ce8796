//! `cargo xtask soak`: mixed traffic for hours at a moderate rate, and once a second a look at the
//! daemon: whether its numbers add up and only rise, and whether it grows.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use testbed::cleanup::asked_to_end;
use testbed::leftovers::{Held, nothing_attached};
use testbed::{Metrics, Netns, Tracer};

use crate::bench::machine::Machine;
use crate::explain::explain;
use crate::setup::{self, Needs};
use crate::{artifacts, packages, proc, workspace};

mod line;
mod report;
mod traffic;
mod watch;

use report::Report;
use traffic::{Made, Scene, Traffic};
use watch::Watch;

/// Where the last result is kept.
const PAGE: &str = "docs/soak.md";
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Time between two questions to `tracer explain`, and between two changes of the node's
/// interfaces.
const ASK_EVERY: Duration = Duration::from_secs(60);
const CHANGE_EVERY: Duration = Duration::from_secs(30);
const BURST_EVERY: Duration = Duration::from_secs(300);
/// After the last attempt everything is decided within that.
const SETTLE: Duration = Duration::from_secs(60);

/// Options of `soak`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long, in hours
    #[arg(long, value_name = "H", default_value_t = 1.0, value_parser = hours)]
    hours: f64,
    /// Attempts a second
    #[arg(long, value_name = "N", default_value_t = 25)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    rate: u16,
    /// Decides the order of the traffic
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Write the result to docs/soak.md
    #[arg(long)]
    save: bool,
    /// Run this tracer binary instead of building one
    #[arg(long, value_name = "PATH")]
    tracer: Option<PathBuf>,
}

fn hours(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(hours) if (0.001..=1000.0).contains(&hours) => Ok(hours),
        Ok(_) => Err("give something from 0.001 to 1000 hours".into()),
        Err(_) => Err("not a number of hours such as 1 or 0.5".into()),
    }
}

/// Runs the soak; progress goes to stderr, the result to stdout. The first Ctrl-C ends it early,
/// with its result; the second ends everything at once.
///
/// # Errors
/// Something that it needs is missing (exit status 69), a part does not start, or the daemon ends.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let packages: &'static [_] = &[packages::NAMESPACE_TESTS];
    let otherwise = "run as root, for example: sudo -E env \"PATH=$PATH\" cargo xtask soak";
    setup::require_root("namespaces and kernel programs", otherwise, packages)?;
    setup::ensure(&Needs {
        bpf: args.tracer.is_none(),
        musl: args.tracer.is_none(),
        packages,
        ..Needs::default()
    })?;
    let binary = match &args.tracer {
        Some(path) => path.clone(),
        None => artifacts::tracer()?,
    };
    let report = soak(&args, &binary)?;
    print!("{}", report.text());
    if args.save {
        let page = workspace::root().join(PAGE);
        if let Some(folder) = page.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&page, report.markdown()).context("write the page")?;
    }
    Ok(if report.kept() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn soak(args: &Args, binary: &Path) -> Result<Report> {
    let machine = Machine::read(binary)?;
    let scene = Scene::new()?;
    // From here on Ctrl-C is asked for below.
    asked_to_end();
    let node = &scene.bed.node;
    let tracer = Tracer::start_binary(node, binary, &["--node-ports", traffic::PORTS])?;
    let held = Held::by(tracer.process().pid())?;
    let start = Instant::now();
    let (mut watch, asked, made) = under_traffic(args, &scene, binary, &tracer)?;
    let seconds = start.elapsed().as_secs_f64();
    settle(&mut watch, &tracer)?;
    let (status, said) = tracer.stop()?;
    ensure!(status.success(), "the daemon ended with {status}: {said}");
    nothing_attached(node)?;
    held.is_freed()?;
    Ok(Report {
        machine,
        command: format!(
            "cargo xtask soak --hours {} --rate {} --seed {}",
            args.hours, args.rate, args.seed
        ),
        seconds,
        is_early: seconds < args.hours * 3600.0,
        watch,
        asked,
        made,
        warnings: said
            .lines()
            .filter(|line| !line.contains("level=info"))
            .map(str::to_owned)
            .collect(),
    })
}

/// Traffic and looks until the time has passed, or the user has enough of it. Returns what was
/// seen, what became of questions to `tracer explain`, and what the clients made.
fn under_traffic(
    args: &Args,
    scene: &Scene,
    binary: &Path,
    tracer: &Tracer<'_>,
) -> Result<(Watch, Asked, Made)> {
    let stop = AtomicBool::new(false);
    let traffic = Traffic::new(scene, args.seed)?;
    std::thread::scope(|scope| {
        let stopped = || stop.load(Ordering::Relaxed);
        let traffic = scope.spawn(move || traffic.run(args.rate.into(), BURST_EVERY, stopped));
        let end = || asked_to_end() || traffic.is_finished();
        let seen = looks(args, scene, binary, tracer, end);
        stop.store(true, Ordering::Relaxed);
        let made = traffic
            .join()
            .map_err(|_| anyhow!("the traffic's thread panicked"))?;
        let (watch, asked) = seen?;
        Ok((watch, asked, made.context("traffic")?))
    })
}

fn looks(
    args: &Args,
    scene: &Scene,
    binary: &Path,
    tracer: &Tracer<'_>,
    end: impl Fn() -> bool,
) -> Result<(Watch, Asked)> {
    let all = Duration::from_secs_f64(args.hours * 3600.0);
    let mut progress = proc::Progress::new(&format!("soak for {} s", all.as_secs()));
    let (mut watch, mut asked) = (Watch::new(), Asked::default());
    let mut next = [LOOK_EVERY, ASK_EVERY, CHANGE_EVERY];
    let mut interface = Passing::default();
    while progress.elapsed() < all && !end() {
        watch.look(tracer)?;
        let now = progress.elapsed();
        if now >= next[1] {
            next[1] = now + ASK_EVERY;
            let args = ["--last", "10m", "-o", "json"];
            let answer = explain(&scene.bed.node, binary, tracer, &args);
            asked.count(answer);
        }
        if now >= next[2] {
            next[2] = now + CHANGE_EVERY;
            interface.change(&scene.bed.node)?;
        }
        progress.note(report::progress(&watch));
        progress.tick();
        // A late look is not made up for.
        sleep(next[0].saturating_sub(progress.elapsed()));
        next[0] = (next[0] + LOOK_EVERY).max(progress.elapsed());
    }
    progress.finish(watch.bad() == 0, "see below");
    Ok((watch, asked))
}

/// Looks on until nothing is pending.
fn settle(watch: &mut Watch, tracer: &Tracer<'_>) -> Result<()> {
    let start = Instant::now();
    let pending = |metrics: &Metrics| metrics.sum("tracer_handshakes_pending", &[]);
    while pending(&watch.metrics) > 0.0 && start.elapsed() < SETTLE {
        sleep(LOOK_EVERY);
        watch.look(tracer)?;
    }
    Ok(())
}

/// Questions to `tracer explain`.
#[derive(Default)]
struct Asked {
    times: u64,
    failed: u64,
}

impl Asked {
    fn count(&mut self, answer: Result<String>) {
        self.times += 1;
        if let Err(error) = answer {
            self.failed += 1;
            eprintln!("\n  {error:#}");
        }
    }
}

/// A pod that comes and goes, and with it an interface and an address of the node's.
#[derive(Default)]
struct Passing {
    pod: Option<Netns>,
}

impl Passing {
    fn change(&mut self, node: &Netns) -> Result<()> {
        // Deleting the namespace deletes the pair.
        if self.pod.take().is_some() {
            return Ok(());
        }
        let pod = Netns::new("passing")?;
        node.ip(&format!(
            "link add passing type veth peer name eth0 netns {}\n\
             link set passing up\n\
             addr add 10.99.0.1/24 dev passing\n",
            pod.name()
        ))?;
        self.pod = Some(pod);
        Ok(())
    }
}
