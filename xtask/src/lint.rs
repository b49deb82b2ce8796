//! `cargo xtask lint`: format, clippy, and the crates that we build with.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Result;

use crate::{proc, setup, workspace};

/// Limit of one check.
const LIMIT: Duration = Duration::from_secs(1200);

const BPF_CLIPPY: &str = "clippy (kernel programs)";
const LICENCES: &str = "licences, bans, sources";
const UNUSED: &str = "unused dependencies";
const ADVISORIES: &str = "advisories";
/// Where cargo-deny has the advisories from.
const DATABASE: &str = "https://github.com/RustSec/advisory-db";
/// How long the host of the database may take to answer.
const REACH: Duration = Duration::from_secs(20);

/// Options of `lint`: none so far.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Result of one check.
pub(crate) enum Check {
    /// It ran.
    Done(proc::Finished),
    /// It did not, for this reason.
    Skipped(String),
}

/// Runs all checks, the failed ones with the end of their log.
///
/// # Errors
/// A check cannot be started.
pub(crate) fn run(_: Args) -> Result<ExitCode> {
    let mut failed = Vec::new();
    for (name, check) in checks()? {
        match check {
            Check::Done(done) if !done.success => {
                done.show_tail()?;
                failed.push(name);
            }
            Check::Done(_) => {}
            Check::Skipped(reason) => eprintln!("  {name}: skipped: {reason}"),
        }
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("failed: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

/// All checks by name, each run whatever became of the others.
///
/// # Errors
/// A check cannot be started.
pub(crate) fn checks() -> Result<Vec<(&'static str, Check)>> {
    let fmt = workspace::cargo(&["fmt", "--all", "--check", "--", "--color", "never"]);
    let mut checks = vec![
        ("fmt", run_check("fmt", fmt)?),
        ("clippy", run_check("clippy", clippy())?),
        (BPF_CLIPPY, bpf_check()?),
    ];
    checks.extend(dependencies()?);
    Ok(checks)
}

fn run_check(name: &str, command: Command) -> Result<Check> {
    proc::step(name, command, LIMIT).map(Check::Done)
}

fn bpf_check() -> Result<Check> {
    if setup::has_rust_src()? {
        return run_check(BPF_CLIPPY, bpf_clippy());
    }
    let reason = "rust-src is not installed (rustup component add rust-src)";
    Ok(Check::Skipped(reason.to_owned()))
}

fn clippy() -> Command {
    let args = [
        "clippy",
        "--workspace",
        "--exclude",
        "tracer-ebpf",
        "--all-targets",
        "--",
    ];
    let mut clippy = workspace::cargo(&args);
    clippy.args(["-D", "warnings"]);
    clippy
}

/// Clippy for the BPF target, whose `core` is built from rust-src: an unstable option that the
/// pinned compiler accepts with `RUSTC_BOOTSTRAP`.
fn bpf_clippy() -> Command {
    let mut clippy = workspace::cargo(&["clippy", "-p", "tracer-ebpf", "--release"]);
    clippy.args([
        "--target",
        "bpfel-unknown-none",
        "-Z",
        "build-std=core",
        "--",
    ]);
    clippy.args(["-D", "warnings"]).env("RUSTC_BOOTSTRAP", "1");
    // Apart from the other builds, which that variable would make start over.
    clippy.env("CARGO_TARGET_DIR", workspace::target("bpf-lint"));
    clippy
}

fn dependencies() -> Result<Vec<(&'static str, Check)>> {
    let checkers = match setup::ensure_checkers()? {
        Ok(checkers) => checkers,
        Err(reason) => {
            let names = [LICENCES, UNUSED, ADVISORIES];
            let skipped = names.map(|name| (name, Check::Skipped(reason.clone())));
            return Ok(skipped.into());
        }
    };
    let mut licences = deny(&checkers.deny);
    // Exceptions that are no longer needed go.
    licences.args(["--deny", "unmatched-skip", "licenses", "bans", "sources"]);
    let mut shear = workspace::command(&checkers.shear);
    shear.args(["--locked", "--deny-warnings", "--color", "never"]);
    Ok(vec![
        (LICENCES, run_check(LICENCES, licences)?),
        (UNUSED, run_check(UNUSED, shear)?),
        (ADVISORIES, advisories(&checkers.deny)?),
    ])
}

fn deny(program: &Path) -> Command {
    let mut deny = workspace::command(program);
    deny.args(["--locked", "--color", "never", "check"]);
    deny
}

/// Known flaws of our crates, and withdrawn versions, where the database can be had.
fn advisories(program: &Path) -> Result<Check> {
    let mut host = workspace::command("git");
    host.args(["ls-remote", DATABASE, "HEAD"])
        .env("GIT_TERMINAL_PROMPT", "0");
    let host = proc::step("database of advisories", host, REACH)?;
    if !host.success {
        let said = host.output()?;
        let why = said.lines().last().unwrap_or(&host.ending);
        return Ok(Check::Skipped(format!("{DATABASE}: {why}")));
    }
    let mut advisories = deny(program);
    advisories.arg("advisories");
    run_check(ADVISORIES, advisories)
}
