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
    /// Whether the median keeps it.
    kept: Option<bool>,
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
            kept: None,
        }
    }

    /// Promised: no more than this, in the row's unit.
    pub(super) fn at_most(mut self, limit: Option<f64>) -> Self {
        if let Some(limit) = limit {
            self.promise = Some(format!("≤ {limit}"));
            self.kept = Some(self.value.median <= limit);
        }
        self
    }

    /// Promised in words, with the judgement.
    pub(super) fn promised(mut self, promise: impl Into<String>, kept: bool) -> Self {
        self.promise = Some(promise.into());
        self.kept = Some(kept);
        self
    }

    fn verdict(&self) -> &'static str {
        match self.kept {
            Some(true) => "kept",
            Some(false) => "MISSED",
            None => "",
        }
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
        let count = |kept| self.rows.iter().filter(|r| r.kept == Some(kept)).count();
        format!("Promises: {} kept, {} missed.", count(true), count(false))
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

const INTRODUCTION: &str = "\
# Benchmarks

What `tracer` costs, measured by `cargo xtask bench --save` (root; Debian or Ubuntu), which writes
this page.

## How to read it

- Each figure is the median over its rounds; *Q1–Q3* (half of the rounds) and *min–max* show the
  spread. *promised* is the limit that the project sets itself; *kept* and *MISSED* judge the median.
- What else runs on the machine makes all times longer: its load before the run is named below, and
  the smallest value comes closest to a machine of its own.
- *Kernel programs*: the kernel's own statistics (`BPF_ENABLE_STATS`; `run_time_ns` and `run_cnt` of
  each program), less those of an empty program at the same hook in the same round. The statistics
  themselves cost what the rows *subtracted* show. The tap runs before the empty program, so reading
  the packet's headers for the first time is on its account. Programs at tracepoints run for the
  whole machine: for both ends of each connection, and for what else goes on. *Dialed here*: the client's
  sockets count as dials made on the node; else its NAT hides the NodePort from it, so that they cost what
  they cost on a node whose clients are elsewhere, or a little more.
- Clients and servers are two network namespaces joined by veth, without kube-proxy rules or
  forwarding, unless a section says so: that makes the bare side cheap and the share of the programs
  large.
- `dev_queue…` (at `net_dev_queue`) runs for every packet that any interface sends, `drop_skb` (at
  `kfree_skb`) for every packet that the kernel drops: with UDP here as nobody reads them.
- *Daemon* is CPU time of the process (`CLOCK_PROCESS_CPUTIME_ID`), without the kernel programs.
- *Never in the way* compares work with and without the daemon, and as the noise level work without
  it against the same, in turns within one run; each time the best of five turns. CPU
  ratios are CPU time of client, server (which includes the kernel programs, as they run in the
  sender's context) and daemon.
- *Instructions* are counted, not timed: QEMU emulates one CPU (TCG, `-icount`) under a stock Debian
  kernel, whose clock then goes by the instructions that it executes, in user space, kernel, interrupts
  and compiled BPF alike; what it idles is taken off, and the rows *check* show that this holds. So the
  figures are nearly the same in each run and on each machine, but they are no time: a cache miss costs
  nothing, a division as much as an addition, and each turn of a repeated string instruction counts. The
  ratios take in all that the guest executes: client, server, kernel and daemon; between two versions of
  the kernel programs, they and the rows per packet are the figures to compare.
- Differences smaller than the spread of the bare-against-bare row are noise.
";

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
    fn numbers_keep_three_digits() {
        let shown = [1234.5, 99.94, 1.0, 0.01234, 0.0].map(number);
        assert_eq!(shown, ["1234", "99.9", "1.00", "0.0123", "0.00"]);
    }
}
