//! The `vm_` tests in guests, three at once.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::report::{Outcome, Report};
use crate::artifacts::TestBinary;
use crate::libtest::{self, Counts};
use crate::{proc, vm, workspace};

/// Tests that need nothing but a kernel and the guest's tools are named so.
const VM_PREFIX: &str = "vm_";
/// Each has one CPU and mostly waits: two CPUs do for three.
const AT_ONCE: usize = 3;

/// What runs in each guest.
#[derive(Clone, Copy)]
pub(super) struct Guests<'a> {
    pub(super) tests: &'a [TestBinary],
    pub(super) filter: Option<&'a str>,
    pub(super) tracer: &'a Path,
}

/// What the tests in one guest saw.
pub(super) struct Seen {
    /// The kernel's series.
    pub(super) series: String,
    pub(super) lines: Vec<testbed::seen::Seen>,
}

/// One guest's end.
struct Done {
    series: String,
    outcome: Outcome,
    elapsed: Duration,
    lines: Vec<testbed::seen::Seen>,
}

impl Guests<'_> {
    /// Runs the tests on each kernel; returns what they saw, the oldest kernel first.
    pub(super) fn run(self, series: &[String], report: &mut Report) -> Vec<Seen> {
        let waiting = Mutex::new(series.iter().rev().collect::<Vec<_>>());
        let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let worker = || {
            std::iter::from_fn(next)
                .map(|series| self.guest(series))
                .collect()
        };
        let mut done: Vec<Done> = thread::scope(|scope| {
            let workers = [(); AT_ONCE].map(|()| scope.spawn(|| -> Vec<Done> { worker() }));
            let ended = workers.map(|worker| match worker.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            ended.into_iter().flatten().collect()
        });
        let known = vm::series_names();
        done.sort_by_key(|done| known.iter().position(|known| *known == done.series));
        let seen = done.into_iter().map(|done| {
            report.add(
                &format!("kernel {}", done.series),
                done.outcome,
                done.elapsed,
            );
            Seen {
                series: done.series,
                lines: done.lines,
            }
        });
        seen.collect()
    }

    fn guest(self, series: &str) -> Done {
        let start = Instant::now();
        let mut lines = Vec::new();
        let outcome = self.tests_in(series, &mut lines).unwrap_or_else(|error| {
            eprintln!("error: kernel {series}: {error:#}");
            Outcome::failed(Counts::default(), format!("{error:#}"))
        });
        Done {
            series: series.to_owned(),
            outcome,
            elapsed: start.elapsed(),
            lines,
        }
    }

    fn tests_in(self, series: &str, seen: &mut Vec<testbed::seen::Seen>) -> Result<Outcome> {
        let mut binaries = vec![vm::Binary::file(self.tracer.to_owned())];
        let mut expected = 0;
        for test in self.tests {
            let names = names(test, self.filter)?;
            if names.is_empty() {
                continue;
            }
            expected += names.len();
            binaries.push(self.binary(&test.path, names)?);
        }
        if expected == 0 && self.filter.is_some() {
            return Ok(Outcome::Skipped("no test of this name".to_owned()));
        }
        if expected == 0 {
            bail!("package testbed has no test whose name begins with {VM_PREFIX}");
        }
        let report = vm::run(series, &binaries, vm::Clock::Host)?;
        for line in &report.seen {
            seen.push(serde_json::from_str(line).with_context(|| line.clone())?);
        }
        judge(&report, expected)
    }

    /// A test executable that runs these tests.
    fn binary(self, path: &Path, names: Vec<String>) -> Result<vm::Binary> {
        let mut args = vec!["--test-threads=1".to_owned(), "--exact".to_owned()];
        args.extend(names);
        let tracer = vm::Binary::file(self.tracer.to_owned()).in_guest()?;
        let variables = [
            ("TRACER_BIN", tracer.as_str()),
            // What belongs to the whole machine may be changed there.
            ("TRACER_GUEST", "1"),
            vm::SEEN,
            ("RUST_BACKTRACE", "0"),
            ("TERM", "dumb"),
        ];
        let env = variables.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Ok(vm::Binary {
            path: path.to_owned(),
            args,
            env: env.to_vec(),
            run: true,
        })
    }
}

/// How it went with one guest.
fn judge(report: &vm::GuestReport, expected: usize) -> Result<Outcome> {
    let counts = libtest::counts(&report.output);
    let ran = (counts.passed + counts.failed + counts.ignored) as usize;
    let note = format!(
        "{}, shell after {:.0} s, tests {:.0} s",
        report.kernel_release,
        report.boot.as_secs_f64(),
        report.run.as_secs_f64()
    );
    if report.exit == 0 && ran == expected {
        return Ok(Outcome::Passed { counts, note });
    }
    eprintln!("---- {}\n{}\n----", report.log.display(), report.output);
    let failures = libtest::failures(&report.output).join(", ");
    let why = format!(
        "{ran} of {expected} tests ran, exit status {}: {failures}",
        report.exit
    );
    Ok(Outcome::failed(
        counts,
        format!("{note}; {why}; see {}", report.log.display()),
    ))
}

/// Names of the tests of `test` that can run in a guest and contain `filter`.
fn names(test: &TestBinary, filter: Option<&str>) -> Result<Vec<String>> {
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
