//! The table of steps and the last line.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::matrix::Matrix;
use crate::libtest::Counts;

/// What became of a step.
pub(crate) enum Outcome {
    /// It passed.
    Passed {
        /// Tests it ran.
        counts: Counts,
        /// Anything worth a place in the table.
        note: String,
    },
    /// It failed.
    Failed {
        /// Tests it ran.
        counts: Counts,
        /// Why, and where to read more.
        why: String,
    },
    /// It did not run, for this reason.
    Skipped(String),
}

impl Outcome {
    pub(crate) fn passed(counts: Counts) -> Self {
        Self::Passed {
            counts,
            note: String::new(),
        }
    }

    pub(crate) fn failed(counts: Counts, why: String) -> Self {
        Self::Failed { counts, why }
    }
}

struct Step {
    name: String,
    outcome: Outcome,
    elapsed: Duration,
}

/// All steps so far. Its display is the table, that of hooks and kernels and, alone on the last
/// line, the sum of the tests.
#[derive(Default)]
pub(crate) struct Report {
    steps: Vec<Step>,
    /// What the guests saw.
    pub(crate) hooks: Matrix,
}

impl Report {
    pub(crate) fn add(&mut self, name: &str, outcome: Outcome, elapsed: Duration) {
        self.steps.push(Step {
            name: name.to_owned(),
            outcome,
            elapsed,
        });
    }

    pub(crate) fn skip(&mut self, name: &str, reason: &str) {
        self.add(name, Outcome::Skipped(reason.to_owned()), Duration::ZERO);
    }

    /// Runs a step; that it could not run is a failure of it.
    pub(crate) fn measure(&mut self, name: &str, step: impl FnOnce() -> Result<Outcome>) {
        let start = Instant::now();
        let outcome = step().unwrap_or_else(|error| {
            eprintln!("error: {name}: {error:#}");
            Outcome::failed(Counts::default(), format!("{error:#}"))
        });
        self.add(name, outcome, start.elapsed());
    }

    /// Whether any step failed.
    pub(crate) fn failed(&self) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(step.outcome, Outcome::Failed { .. }))
    }

    /// Tests of all steps. A step that failed without a failed test counts as one.
    fn sum(&self) -> Counts {
        let mut sum = Counts::default();
        for step in &self.steps {
            match &step.outcome {
                Outcome::Passed { counts, .. } => sum += *counts,
                Outcome::Failed { counts, .. } => {
                    sum += Counts {
                        failed: counts.failed.max(1),
                        ..*counts
                    };
                }
                Outcome::Skipped(_) => {}
            }
        }
        sum
    }
}

/// `12 passed, 0 failed`, with the ignored ones where there are any.
fn in_words(counts: Counts) -> String {
    let Counts {
        passed,
        failed,
        ignored,
    } = counts;
    let ignored = if ignored == 0 {
        String::new()
    } else {
        format!(", {ignored} ignored")
    };
    format!("{passed} passed, {failed} failed{ignored}")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .steps
            .iter()
            .map(|step| step.name.chars().count())
            .max()
            .unwrap_or(0);
        writeln!(f, "\n{:width$}  result   seconds", "step")?;
        for Step {
            name,
            outcome,
            elapsed,
        } in &self.steps
        {
            let (result, detail) = match outcome {
                Outcome::Passed { counts, note } if *counts == Counts::default() => {
                    ("ok", note.clone())
                }
                Outcome::Passed { counts, note } => ("ok", join(in_words(*counts), note)),
                Outcome::Failed { counts, why } if *counts == Counts::default() => {
                    ("FAILED", why.clone())
                }
                Outcome::Failed { counts, why } => ("FAILED", join(in_words(*counts), why)),
                Outcome::Skipped(reason) => ("skipped", reason.clone()),
            };
            let line = format!(
                "{name:width$}  {result:7}  {:7.1}  {detail}",
                elapsed.as_secs_f64()
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        write!(f, "{}\n{}", self.hooks, in_words(self.sum()))
    }
}

fn join(counts: String, detail: &str) -> String {
    if detail.is_empty() {
        counts
    } else {
        format!("{counts}; {detail}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: u32, failed: u32) -> Counts {
        Counts {
            passed,
            failed,
            ignored: 0,
        }
    }

    #[test]
    fn last_line_is_the_sum_alone() {
        let mut report = Report::default();
        report.add("a", Outcome::passed(counts(3, 0)), Duration::from_secs(1));
        report.skip("b", "no reason");
        assert!(!report.failed());
        assert_eq!(
            report.to_string().lines().last(),
            Some("3 passed, 0 failed")
        );
        report.add(
            "c",
            Outcome::failed(counts(2, 4), "why".to_owned()),
            Duration::ZERO,
        );
        assert!(report.failed());
        assert_eq!(
            report.to_string().lines().last(),
            Some("5 passed, 4 failed")
        );
    }

    #[test]
    fn a_step_that_cannot_run_counts_as_a_failure() {
        let mut report = Report::default();
        report.measure("a", || anyhow::bail!("no such thing"));
        assert!(report.to_string().contains("no such thing"));
        assert_eq!(
            report.to_string().lines().last(),
            Some("0 passed, 1 failed")
        );
    }
}
