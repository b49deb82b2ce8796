//! `cargo xtask lint`: format, clippy, licences.

use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Result;

use crate::{proc, setup, workspace};

/// Limit of one check.
const LIMIT: Duration = Duration::from_secs(1200);

const BPF_CLIPPY: &str = "clippy (kernel programs)";
const LICENCES: &str = "licences and bans";

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
    Ok(vec![
        ("fmt", run_check("fmt", fmt)?),
        ("clippy", run_check("clippy", clippy())?),
        (BPF_CLIPPY, bpf_check()?),
        (LICENCES, licences()?),
    ])
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

fn licences() -> Result<Check> {
    if workspace::find_command("cargo-deny").is_none() {
        let reason = "cargo-deny is not installed (cargo install cargo-deny --locked)";
        return Ok(Check::Skipped(reason.to_owned()));
    }
    let deny = workspace::cargo(&["deny", "check", "licenses", "bans"]);
    run_check(LICENCES, deny)
}
