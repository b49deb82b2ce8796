//! `cargo xtask fuzz`: the fuzz targets, one after the other.

use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Result;
use clap::builder::PossibleValuesParser;

use crate::setup::{self, Needs};
use crate::{packages, proc, workspace};

const TARGETS: [&str; 5] = ["packet", "capture", "machine", "first_bytes", "replay"];
/// Limit of the build.
const BUILD: Duration = Duration::from_secs(900);
/// Resident memory that no input may exceed, in MiB.
const MEMORY_MIB: u32 = 512;

/// Options of `fuzz`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seconds for each target
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Run this target only (repeatable)
    #[arg(long, value_name = "TARGET", value_parser = PossibleValuesParser::new(TARGETS))]
    only: Vec<String>,
}

/// Runs the targets; stops at the first that finds something.
///
/// # Errors
/// cargo-fuzz or a C++ compiler is missing (exit status 69), or a step cannot be started.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    setup::ensure(&Needs {
        fuzz: true,
        packages: &[packages::FUZZING],
        ..Needs::default()
    })?;
    proc::must("build fuzz targets", cargo_fuzz(&["build"]), BUILD)?;
    for target in TARGETS {
        if !args.only.is_empty() && !args.only.iter().any(|only| only == target) {
            continue;
        }
        let limit = Duration::from_secs(args.seconds) + BUILD;
        let done = proc::step(
            &format!("fuzz {target}"),
            command(target, args.seconds)?,
            limit,
        )?;
        println!("{target}: {}", summary(&done.output()?));
        if !done.success {
            done.show_tail()?;
            println!("the input is in fuzz/artifacts/{target}: add it to fuzz/corpus/{target}");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Without a sanitizer: there is no unsafe code in what the targets call. That is also what the
/// stable compiler has.
fn cargo_fuzz(args: &[&str]) -> Command {
    let mut cargo = workspace::cargo(&["fuzz"]);
    cargo.args(args);
    cargo.args(["--fuzz-dir", "fuzz", "--sanitizer", "none"]);
    cargo.env("RUSTC_BOOTSTRAP", "1");
    // Apart from the other builds, which its flags would make start over.
    cargo.env("CARGO_TARGET_DIR", workspace::target("fuzz"));
    cargo
}

/// What is found goes to `target/fuzz/corpus`; the committed corpus is read.
fn command(target: &str, seconds: u64) -> Result<Command> {
    let found = workspace::target_dir(&format!("fuzz/corpus/{target}"))?;
    let mut cargo = cargo_fuzz(&["run"]);
    cargo.arg(target).arg(found);
    cargo.arg(workspace::root().join("fuzz/corpus").join(target));
    cargo.args(["--", "-print_final_stats=1", "-timeout=10"]);
    cargo.arg(format!("-max_total_time={seconds}"));
    cargo.arg(format!("-rss_limit_mb={MEMORY_MIB}"));
    Ok(cargo)
}

/// Runs, coverage and memory from libFuzzer's log.
fn summary(log: &str) -> String {
    let stat = |name: &str| {
        let line = log.lines().rfind(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_whitespace().last());
        value.unwrap_or("?").to_owned()
    };
    let covered = log
        .rsplit("cov: ")
        .next()
        .filter(|rest| rest.len() < log.len());
    let covered = covered.and_then(|rest| rest.split_whitespace().next());
    format!(
        "{} runs, {} edges covered, {} MiB",
        stat("stat::number_of_executed_units"),
        covered.unwrap_or("?"),
        stat("stat::peak_rss_mb")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_summed_up() {
        let log = "#8 NEW cov: 3 ft: 4\n#9 DONE cov: 492 ft: 680 corp: 1\n\
                   stat::number_of_executed_units: 123\nstat::peak_rss_mb:              29\n";
        assert_eq!(summary(log), "123 runs, 492 edges covered, 29 MiB");
        assert_eq!(summary(""), "? runs, ? edges covered, ? MiB");
    }

    #[test]
    fn every_target_has_a_corpus() {
        for target in TARGETS {
            let dir = workspace::root().join("fuzz/corpus").join(target);
            assert!(std::fs::read_dir(dir).unwrap().count() > 0, "{target}");
        }
    }
}
