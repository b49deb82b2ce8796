//! The result: rows of figures with what was promised, as text, JSON and Markdown.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::spread::Spread;

/// One figure.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Row {
    section: Cow<'static, str>,
    figure: String,
    unit: Cow<'static, str>,
    value: Spread,
    /// What the design promises, if anything.
    promise: Option<String>,
    /// What the median says of it.
    verdict: Option<Verdict>,
}

/// Of a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Kept,
    Missed,
    /// The same work without the daemon differs by as much: nothing can be said.
    Noise,
}

impl Verdict {
    fn of(kept: bool) -> Self {
        if kept { Self::Kept } else { Self::Missed }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Missed => "MISSED",
            Self::Noise => "in noise",
        }
    }
}

impl Row {
    /// A figure without a promise.
    pub(super) fn new(
        section: impl Into<Cow<'static, str>>,
        figure: impl Into<String>,
        unit: &'static str,
        value: Spread,
    ) -> Self {
        Self {
            section: section.into(),
            figure: figure.into(),
            unit: unit.into(),
            value,
            promise: None,
            verdict: None,
        }
    }

    /// Promised: no more than this, in the row's unit.
    pub(super) fn at_most(mut self, limit: Option<f64>) -> Self {
        if let Some(limit) = limit {
            self.promise = Some(format!("≤ {limit}"));
            self.verdict = Some(Verdict::of(self.value.median <= limit));
        }
        self
    }

    /// The same of a ratio, where `noise` is that of two measurements without the daemon: a ratio
    /// within its upper quartile tells nothing where that is beyond the limit.
    pub(super) fn at_most_beside(self, limit: f64, noise: &Spread) -> Self {
        let unclear = noise.q3 > limit && self.value.median <= noise.q3;
        let mut row = self.at_most(Some(limit));
        if unclear {
            row.verdict = Some(Verdict::Noise);
        }
        row
    }

    /// Promised in words, with the judgement.
    pub(super) fn promised(mut self, promise: impl Into<String>, kept: bool) -> Self {
        self.promise = Some(promise.into());
        self.verdict = Some(Verdict::of(kept));
        self
    }

    fn verdict(&self) -> &'static str {
        self.verdict.map_or("", Verdict::name)
    }

    /// The cells of a table line, the section left out.
    fn cells(&self) -> [String; 8] {
        let value = &self.value;
        // A few thousandths matter where two counts are compared.
        let shown = |value: f64| match self.unit.as_ref() {
            "ratio" => format!("{value:.3}"),
            _ => number(value),
        };
        let range = |low: f64, high: f64| match value.rounds {
            0 | 1 => String::new(),
            _ => format!("{}–{}", shown(low), shown(high)),
        };
        [
            self.figure.clone(),
            shown(value.median),
            self.unit.to_string(),
            range(value.q1, value.q3),
            range(value.min, value.max),
            value.rounds.to_string(),
            self.promise.clone().unwrap_or_default(),
            self.verdict().to_owned(),
        ]
    }
}

/// The whole result.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Where and when.
    pub(super) machine: Machine,
    /// The command line that gave it.
    pub(super) command: String,
    /// How long it took, in seconds.
    pub(super) seconds: u64,
    /// All figures.
    pub(super) rows: Vec<Row>,
    /// What was not measured, and why.
    pub(super) left_out: Vec<String>,
    /// Whether a part failed, which is among these.
    pub(super) failed: bool,
}

const HEAD: [&str; 8] = [
    "figure",
    "median",
    "unit",
    "Q1–Q3",
    "min–max",
    "rounds",
    "promised",
    "",
];

impl Report {
    /// For people.
    pub(super) fn text(&self) -> String {
        let lines: Vec<[String; 8]> = self.rows.iter().map(Row::cells).collect();
        let widths: Vec<usize> = (0..HEAD.len())
            .map(|i| {
                let cells = lines.iter().map(|line| line[i].chars().count());
                cells.chain([HEAD[i].len()]).max().unwrap_or(0)
            })
            .collect();
        let mut text = format!("{}\n", self.machine);
        let mut section = "";
        for (row, line) in self.rows.iter().zip(&lines) {
            if row.section != section {
                section = &row.section;
                let _ = writeln!(text, "\n{section}");
                push_line(&mut text, &HEAD.map(str::to_owned), &widths);
            }
            push_line(&mut text, line, &widths);
        }
        let _ = writeln!(text, "\n{}", self.summary());
        for line in &self.left_out {
            let _ = writeln!(text, "not measured: {line}");
        }
        text
    }

    /// `BENCHMARKS.md`.
    pub(super) fn markdown(&self) -> String {
        let mut text = String::from(INTRODUCTION);
        let _ = write!(
            text,
            "\n## The last result\n\n{}. `{}`, {} s. {}\n",
            self.machine,
            self.command,
            self.seconds,
            self.summary()
        );
        let mut section = "";
        for row in &self.rows {
            if row.section != section {
                section = &row.section;
                let _ = writeln!(text, "\n### {section}\n\n| {} |", HEAD.join(" | "));
                text.push_str("|---|--:|---|--:|--:|--:|--:|---|\n");
            }
            let _ = writeln!(text, "| {} |", row.cells().join(" | "));
        }
        text.push_str("\n### Not measured\n\n");
        for line in &self.left_out {
            let _ = writeln!(text, "- {line}");
        }
        text
    }

    fn summary(&self) -> String {
        let count = |verdict| {
            let judged = self.rows.iter().filter(|row| row.verdict == Some(verdict));
            judged.count()
        };
        let (kept, missed) = (count(Verdict::Kept), count(Verdict::Missed));
        let noise = count(Verdict::Noise);
        format!("Promises: {kept} kept, {missed} missed, {noise} in the noise.")
    }
}

fn push_line(text: &mut String, cells: &[String; 8], widths: &[usize]) {
    let mut line = String::from("  ");
    for (i, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let gap = " ".repeat(width - cell.chars().count());
        // Words to the left, numbers to the right.
        match i {
            0 | 2 | 7 => line.extend([cell.as_str(), &gap, "  "]),
            _ => line.extend([gap.as_str(), cell, "  "]),
        }
    }
    text.push_str(line.trim_end());
    text.push('\n');
}

/// Three significant digits or so, never fewer than the whole ones.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 0.1 || v == 0.0 => 2,
        _ => 4,
    };
    format!("{value:.digits$}")
}

/// Before the figures.
const INTRODUCTION: &str = include_str!("how-to-read.md");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_is_judged_by_the_median() {
        let row = |value| Row::new("s", "f", "ns", Spread::of([1.0, value, 90.0]));
        assert_eq!(row(10.0).at_most(Some(10.0)).verdict(), "kept");
        assert_eq!(row(10.1).at_most(Some(10.0)).verdict(), "MISSED");
        assert_eq!(row(10.1).at_most(None).verdict(), "");
    }

    #[test]
    fn a_ratio_is_not_judged_within_noise() {
        let row = |value| Row::new("s", "f", "ratio", Spread::of([value]));
        let verdict = |value, noise| {
            row(value)
                .at_most_beside(1.03, &Spread::of([noise]))
                .verdict()
        };
        assert_eq!(verdict(1.03, 1.01), "kept");
        assert_eq!(verdict(1.04, 1.01), "MISSED");
        assert_eq!(verdict(1.05, 1.08), "in noise");
        assert_eq!(verdict(0.99, 1.08), "in noise");
        assert_eq!(verdict(1.09, 1.08), "MISSED");
    }

    #[test]
    fn numbers_keep_three_digits() {
        let shown = [1234.5, 99.94, 1.0, 0.01234, 0.0].map(number);
        assert_eq!(shown, ["1234", "99.9", "1.00", "0.0123", "0.00"]);
    }
}
