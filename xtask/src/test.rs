//! `cargo xtask test`: lint, unit tests, namespace tests on this kernel, other kernels.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::builder::PossibleValuesParser;

use crate::artifacts::{self, TestBinary};
use crate::libtest::{self, Counts};
use crate::setup::{self, Needs, Tools};
use crate::{apt, image, kubernetes, lint, packages, proc, vm, workspace};

mod report;

use report::{Outcome, Report};

/// Limit of one test executable, on this kernel.
const LIMIT: Duration = Duration::from_secs(900);
/// Kernel series that run where none are named: the oldest supported one and a current one.
const DEFAULT_SERIES: &str = "5.10,6.12";
/// Tests that need nothing but a kernel and the guest's tools are named so.
const VM_PREFIX: &str = "vm_";
/// The test executable that needs real Kubernetes programs.
const KUBERNETES: &str = "kubernetes";

/// Options of `test`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Stock Debian kernels to boot
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = DEFAULT_SERIES)]
    #[arg(value_parser = PossibleValuesParser::new(vm::series_names()))]
    vm: Vec<String>,
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
    let tools = prepare(series, args.kubernetes)?;
    let filter = args.filter.as_deref();
    let mut report = Report::default();
    lint_steps(filter, &mut report)?;
    if !report.failed() {
        report.measure("unit tests", || unit_tests(filter));
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
fn prepare(series: &[String], kubernetes: bool) -> Result<Tools> {
    let all = &[
        packages::NAMESPACE_TESTS,
        packages::DEPLOYMENT,
        packages::VIRTUAL_MACHINES,
    ];
    let packages = if series.is_empty() {
        &all[..2]
    } else {
        &all[..]
    };
    let otherwise = "run as root; without it there are `cargo test` and `cargo xtask lint`";
    setup::require_root("namespaces and kernel programs", otherwise, packages)?;
    let mut tools = setup::ensure(&Needs {
        bpf: true,
        musl: true,
        python: true,
        captures: true,
        fuzz: false,
        node: true,
        packages,
    })?;
    if !series.is_empty() || kubernetes {
        apt::require_mirror()?;
    }
    if kubernetes {
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
    let filter = args.filter.as_deref();
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
    // The tests of `deploy` look for it where it is built.
    report.measure("Debian package", || {
        image::package(&tracer)?;
        Ok(Outcome::passed(Counts::default()))
    });
    for test in &tests {
        let name = format!("namespaces: {}", test.name);
        if test.name == KUBERNETES && tools.kubernetes.is_none() {
            report.skip(&name, "--kubernetes runs it");
            continue;
        }
        report.measure(&name, || {
            namespace_tests(&name, test, filter, &tracer, tools)
        });
    }
    for name in series {
        report.measure(&format!("kernel {name}"), || {
            guest_tests(name, &tests, filter, &tracer)
        });
    }
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
    command
        .args(filter)
        .arg("--test-threads=1")
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

/// The `vm_` tests in a guest.
fn guest_tests(
    series: &str,
    tests: &[TestBinary],
    filter: Option<&str>,
    tracer: &Path,
) -> Result<Outcome> {
    let mut binaries = vec![vm::Binary::file(tracer.to_owned())];
    let mut expected = 0;
    for test in tests {
        let names = guest_test_names(test, filter)?;
        if names.is_empty() {
            continue;
        }
        expected += names.len();
        binaries.push(guest_binary(&test.path, names));
    }
    if expected == 0 && filter.is_some() {
        return Ok(Outcome::Skipped("no test of this name".to_owned()));
    }
    if expected == 0 {
        bail!("package testbed has no test whose name begins with {VM_PREFIX}");
    }
    let report = vm::run(series, &binaries)?;
    let counts = libtest::counts(&report.output);
    let seen = (counts.passed + counts.failed + counts.ignored) as usize;
    let note = format!(
        "{}, shell after {:.0} s, tests {:.0} s",
        report.kernel_release,
        report.boot.as_secs_f64(),
        report.run.as_secs_f64()
    );
    if report.exit == 0 && seen == expected {
        return Ok(Outcome::Passed { counts, note });
    }
    eprintln!("---- {}\n{}\n----", report.log.display(), report.output);
    let failures = libtest::failures(&report.output).join(", ");
    let why = format!(
        "{seen} of {expected} tests ran, exit status {}: {failures}",
        report.exit
    );
    Ok(Outcome::failed(
        counts,
        format!("{note}; {why}; see {}", report.log.display()),
    ))
}

fn guest_binary(path: &Path, names: Vec<String>) -> vm::Binary {
    let mut args = vec!["--test-threads=1".to_owned(), "--exact".to_owned()];
    args.extend(names);
    let variables = [
        ("TRACER_BIN", "/tests/tracer"),
        // What belongs to the whole machine may be changed there.
        ("TRACER_GUEST", "1"),
        ("RUST_BACKTRACE", "0"),
        ("TERM", "dumb"),
    ];
    let env = variables.map(|(key, value)| (key.to_owned(), value.to_owned()));
    vm::Binary {
        path: path.to_owned(),
        args,
        env: env.to_vec(),
        run: true,
    }
}

/// Names of the tests of `test` that can run in a guest and contain `filter`.
fn guest_test_names(test: &TestBinary, filter: Option<&str>) -> Result<Vec<String>> {
    let mut command = workspace::command(&test.path);
    let output = proc::output(command.args(["--list", "--format", "terse"]))
        .with_context(|| format!("tests of {}", test.name))?;
    let mut names = libtest::list(&output);
    names.retain(|name| {
        let last = name.rsplit("::").next().unwrap_or(name);
        last.starts_with(VM_PREFIX) && filter.is_none_or(|text| name.contains(text))
    });
    Ok(names)
}
