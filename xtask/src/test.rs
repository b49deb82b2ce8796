//! `cargo xtask test`: lint, unit tests, namespace tests on this kernel, other kernels.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::builder::PossibleValuesParser;

use crate::artifacts::{self, TestBinary};
use crate::libtest::{self, Counts};
use crate::setup::{self, Needs, Tools};
use crate::{apt, demo, image, kubernetes, lint, packages, proc, reproduce, vm, workspace};

mod guests;
mod instructions;
mod matrix;
mod report;

use guests::Guests;
use matrix::Matrix;
use report::{Outcome, Report};

/// Limit of one test executable, on this kernel.
const LIMIT: Duration = Duration::from_secs(900);
/// Kernel series that run where none are named: the oldest supported one, one without tcx but
/// with reasons of drops, and one with all of it.
const DEFAULT_SERIES: &str = "5.10,6.12,6.1";
/// Test executables whose tests mostly wait, each in namespaces of its own: these many run
/// at once. The others measure time or memory, or count what the whole machine does.
const SIDE_BY_SIDE: (&[&str], usize) = (&["explain", "faults", "pods", "robust", "wire"], 3);
/// The test executable that needs real Kubernetes programs.
const KUBERNETES: &str = "kubernetes";

/// Options of `test`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Stock Debian kernels to boot
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = DEFAULT_SERIES)]
    #[arg(value_parser = PossibleValuesParser::new(vm::series_names()))]
    vm: Vec<String>,
    /// Nothing but these kernels: no lint, no unit tests, no tests on this kernel
    #[arg(long, conflicts_with_all = ["no_vm", "kubernetes"])]
    only_vm: bool,
    /// Take the instruction counts of this run for the right ones
    #[arg(long)]
    accept_instructions: bool,
    /// Boot no other kernels
    #[arg(long, conflicts_with = "vm")]
    no_vm: bool,
    /// Also against real Kubernetes programs, which are built first (about ten minutes, once)
    #[arg(long)]
    kubernetes: bool,
    /// Only tests whose name contains this; no lint
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Run this static tracer binary instead of building one
    #[arg(long, value_name = "PATH", value_parser = existing)]
    tracer: Option<PathBuf>,
}

/// An absolute path: tests run elsewhere.
fn existing(path: &str) -> Result<PathBuf> {
    std::fs::canonicalize(path).with_context(|| path.to_owned())
}

/// Runs all steps and prints a table of them, last the number of tests.
///
/// # Errors
/// Something that the tests need is missing (exit status 69), or a step cannot be started.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let series: &[String] = if args.no_vm { &[] } else { &args.vm };
    let tools = prepare(&args, series)?;
    let filter = args.filter.as_deref();
    let mut report = Report::default();
    if !args.only_vm {
        lint_steps(filter, &mut report)?;
        if !report.failed() {
            report.measure("unit tests", || unit_tests(filter));
        }
    }
    if report.failed() {
        report.skip("namespace tests and kernels", "an earlier step failed");
    } else {
        kernel_steps(&args, &tools, series, &mut report);
    }
    println!("{report}");
    Ok(if report.failed() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Says early what is missing, before anything long starts.
fn prepare(args: &Args, series: &[String]) -> Result<Tools> {
    let all = &[
        packages::DEPLOYMENT,
        packages::NAMESPACE_TESTS,
        packages::VIRTUAL_MACHINES,
    ];
    let packages = match (args.only_vm, series.is_empty()) {
        (true, _) => &all[1..],
        (false, true) => &all[..2],
        (false, false) => &all[..],
    };
    let otherwise = "run as root; without it there are `cargo test` and `cargo xtask lint`";
    setup::require_root("namespaces and kernel programs", otherwise, packages)?;
    let mut tools = setup::ensure(&Needs {
        bpf: true,
        musl: true,
        python: !args.only_vm,
        captures: !args.only_vm,
        checkers: !args.only_vm,
        fuzz: false,
        node: !args.only_vm,
        packages,
    })?;
    if !series.is_empty() || args.kubernetes {
        apt::require_mirror()?;
    }
    if args.kubernetes {
        let packages = &[packages::KUBERNETES];
        setup::ensure(&Needs {
            packages,
            ..Needs::default()
        })?;
        tools.kubernetes = Some(kubernetes::ensure()?);
    }
    Ok(tools)
}

fn lint_steps(filter: Option<&str>, report: &mut Report) -> Result<()> {
    if filter.is_some() {
        report.skip("lint", "--filter was given");
        return Ok(());
    }
    for (name, check) in lint::checks()? {
        match check {
            lint::Check::Done(done) => report.add(name, outcome(&done)?, done.elapsed),
            lint::Check::Skipped(reason) => report.skip(name, &reason),
        }
    }
    Ok(())
}

/// What a finished step amounts to; shows the end of its log if it failed.
fn outcome(done: &proc::Finished) -> Result<Outcome> {
    let counts = libtest::counts(&done.output()?);
    if done.success {
        return Ok(Outcome::passed(counts));
    }
    done.show_tail()?;
    Ok(Outcome::failed(
        counts,
        format!("{}; see {}", done.ending, done.log.display()),
    ))
}

fn unit_tests(filter: Option<&str>) -> Result<Outcome> {
    let mut cargo = workspace::cargo(&["test", "--no-fail-fast"]);
    cargo.args(filter.map(|text| ["--", text]).into_iter().flatten());
    outcome(&proc::step("unit tests", cargo, LIMIT)?)
}

/// The steps that need the static binaries; each runs whatever became of the others.
fn kernel_steps(args: &Args, tools: &Tools, series: &[String], report: &mut Report) {
    let mut built = None;
    report.measure("static binaries", || {
        let tracer = args.tracer.clone().map_or_else(artifacts::tracer, Ok)?;
        built = Some((tracer, artifacts::testbed()?));
        Ok(Outcome::passed(Counts::default()))
    });
    let Some((tracer, tests)) = built else {
        report.skip(
            "namespace tests and kernels",
            "the static binaries are missing",
        );
        return;
    };
    if !args.only_vm {
        here(args, tools, &tracer, &tests, report);
    }
    let guests = Guests {
        tests: &tests,
        filter: args.filter.as_deref(),
        tracer: &tracer,
    };
    let seen = guests.run(series, report);
    instructions_step(args.accept_instructions, &seen, report);
    report.hooks = Matrix::new(&seen);
}

/// The tests on this kernel.
fn here(args: &Args, tools: &Tools, tracer: &Path, tests: &[TestBinary], report: &mut Report) {
    if args.tracer.is_none() && args.filter.is_none() {
        report.measure("kernel object again", || {
            let note = format!("the same {} bytes", reproduce::kernel_object(tracer)?);
            let counts = Counts::default();
            Ok(Outcome::Passed { counts, note })
        });
    }
    // The tests of `deploy` look for them where they are made.
    report.measure("package and bill", || {
        image::package(tracer)?;
        image::bill()?;
        Ok(Outcome::passed(Counts::default()))
    });
    if args.filter.is_none() {
        report.measure("README's samples", || samples(tracer, tools));
    }
    for test in tests {
        let name = format!("namespaces: {}", test.name);
        if test.name == KUBERNETES && tools.kubernetes.is_none() {
            report.skip(&name, "--kubernetes runs it");
            continue;
        }
        report.measure(&name, || {
            namespace_tests(&name, test, args.filter.as_deref(), tracer, tools)
        });
    }
}

/// The README's samples beside what the program prints.
fn samples(tracer: &Path, tools: &Tools) -> Result<Outcome> {
    let python = tools.python.as_deref().context("no Python environment")?;
    let counts = Counts::default();
    let Some(strange) = demo::strange_words(tracer, python)? else {
        let note = "of another kernel: not compared".to_owned();
        return Ok(Outcome::Passed { counts, note });
    };
    if strange.is_empty() {
        return Ok(Outcome::passed(counts));
    }
    let words = strange.join(", ");
    let why = format!("not printed any more ({words}): `cargo xtask demo --readme` writes them");
    Ok(Outcome::failed(counts, why))
}

/// What the verifier made of the programs, beside what is on file.
fn instructions_step(accept: bool, seen: &[guests::Seen], report: &mut Report) {
    let measured = instructions::measured(seen);
    if measured.is_empty() {
        return;
    }
    report.measure("instructions", || {
        if accept {
            instructions::accept(&measured)
        } else {
            instructions::compare(&measured)
        }
    });
}

fn namespace_tests(
    step: &str,
    test: &TestBinary,
    filter: Option<&str>,
    tracer: &Path,
    tools: &Tools,
) -> Result<Outcome> {
    let mut command = workspace::command(&test.path);
    // As cargo runs tests: in the directory of their package.
    command.current_dir(workspace::root().join("tests"));
    // Stripped executables have no names for a backtrace.
    command.env("RUST_BACKTRACE", "0");
    let (side_by_side, at_once) = SIDE_BY_SIDE;
    let waits = side_by_side.contains(&test.name.as_str());
    let threads = if waits { at_once } else { 1 };
    command
        .args(filter)
        .arg(format!("--test-threads={threads}"))
        .env("TRACER_BIN", tracer);
    if let Some(venv) = tools.venv() {
        command.env("TRACER_VENV", venv);
    }
    if let Some(captures) = &tools.captures {
        command.env("TRACER_CAPTURES", captures);
    }
    if let Some(kubernetes) = &tools.kubernetes {
        command.env("TRACER_KUBERNETES_PROGRAMS", kubernetes);
    }
    if let Some(node) = &tools.node {
        command.env("TRACER_NODE", node);
    }
    outcome(&proc::step(step, command, LIMIT)?)
}
