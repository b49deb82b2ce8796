//! The soak's result as text and Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use testbed::Metrics;

use super::Asked;
use super::line::{Slope, slope};
use super::traffic::Made;
use super::watch::{Sample, Watch};
use crate::bench::machine::Machine;

/// Promised.
const RSS_MIB: f64 = 40.0;
/// Until then the daemon's memory of the last 15 minutes fills; of a short run, a third.
const WARM: Duration = Duration::from_secs(20 * 60);

/// All about one run.
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) command: String,
    pub(super) seconds: f64,
    /// Ended before its time.
    pub(super) is_early: bool,
    pub(super) watch: Watch,
    /// Questions to `tracer explain`.
    pub(super) asked: Asked,
    /// What the clients made.
    pub(super) made: Made,
    /// What the daemon logged but information.
    pub(super) warnings: Vec<String>,
}

/// A figure, what was found, and whether that is as promised.
type Row = (&'static str, String, Option<bool>);

/// What stands behind the seconds while it runs.
pub(super) fn progress(watch: &Watch) -> String {
    let Some(last) = watch.samples.last() else {
        return String::new();
    };
    let attempts = watch.metrics.sum("tracer_attempts_total", &[]);
    format!(
        ", {attempts} attempts, {:.1} MiB resident, {} breaches",
        last.rss_kib / 1024.0,
        watch.bad()
    )
}

impl Report {
    /// Whether everything is as promised.
    pub(super) fn kept(&self) -> bool {
        self.rows().iter().all(|(_, _, kept)| *kept != Some(false))
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{}\n{}, {}\n\n", self.machine, self.command, self.length());
        let rows = self.rows();
        let width = rows.iter().map(|(figure, _, _)| figure.len()).max();
        for (figure, found, kept) in &rows {
            let width = width.unwrap_or(0);
            let _ = writeln!(text, "{figure:<width$}  {:<6}  {found}", word(*kept));
        }
        for line in self.watch.breaches.iter().chain(&self.warnings) {
            let _ = writeln!(text, "  {line}");
        }
        text
    }

    /// The page.
    pub(super) fn markdown(&self) -> String {
        let mut text = String::from(INTRODUCTION);
        let _ = write!(
            text,
            "\n## The last result\n\n{}. `{}`, {}.\n\n| figure | found |  |\n|---|---|---|\n",
            self.machine,
            self.command,
            self.length()
        );
        for (figure, found, kept) in self.rows() {
            let _ = writeln!(text, "| {figure} | {found} | {} |", word(kept));
        }
        for line in self.watch.breaches.iter().chain(&self.warnings) {
            let _ = writeln!(text, "\n    {line}");
        }
        text
    }

    fn length(&self) -> String {
        let early = if self.is_early { " (ended early)" } else { "" };
        format!("{:.0} s{early}", self.seconds)
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows = self.counts();
        rows.extend(self.memory());
        rows.extend(self.process());
        rows
    }

    fn counts(&self) -> Vec<Row> {
        let watch = &self.watch;
        let looks = watch.samples.len() as u64 + watch.missed;
        let made: u64 = self.made.values().sum();
        let mut rows = vec![
            (
                "scrapes, one a second",
                format!("{looks}, {} failed", watch.missed),
                Some(watch.missed == 0),
            ),
            (
                "identity (attempts = outcomes + pending + untracked)",
                format!("broken in {} scrapes", watch.unbalanced),
                Some(watch.unbalanced == 0),
            ),
            (
                "counters only rise",
                format!("{} falls", watch.fallen),
                Some(watch.fallen == 0),
            ),
        ];
        let counted = watch.metrics.sum("tracer_attempts_total", &[]);
        rows.push((
            "attempts, counted by the daemon and by the clients",
            format!("{counted} and {made}"),
            Some(counted == made as f64),
        ));
        let (texts, wrong) = outcomes(&watch.metrics, &self.made);
        let stage = [("stage", "contention")];
        let skipped = watch.metrics.sum("tracer_events_lost_total", &stage);
        rows.push(("of them by outcome", texts.join(", "), None));
        rows.push((
            "outcomes unlike the clients' count",
            format!("{wrong}, with {skipped} packets skipped"),
            // A skipped segment can leave its connection with the wrong outcome.
            Some(wrong <= skipped),
        ));
        rows
    }

    fn memory(&self) -> Vec<Row> {
        let samples = &self.watch.samples;
        let all = Duration::from_secs_f64(self.seconds);
        let warm = WARM.min(all / 3);
        let of = |f: fn(&Sample) -> f64, from: Duration| -> Option<Slope> {
            let late = samples.iter().filter(|s| s.at >= from);
            let points: Vec<(f64, f64)> =
                late.map(|s| (s.at.as_secs_f64() / 3600.0, f(s))).collect();
            slope(&points)
        };
        let peak = range(samples, |s| s.rss_kib / 1024.0).1;
        let minutes = warm.as_secs() / 60;
        vec![
            (
                "resident memory, first, last, most",
                three(samples, |s| s.rss_kib / 1024.0, " MiB"),
                Some(peak <= RSS_MIB),
            ),
            (
                "its slope by least squares",
                format!(
                    "{} from the start; {} after {minutes} min",
                    slope_text(of(|s| s.rss_kib, Duration::ZERO)),
                    slope_text(of(|s| s.rss_kib, warm)),
                ),
                None,
            ),
            (
                "of it anonymous",
                three(samples, |s| s.anonymous_kib / 1024.0, " MiB"),
                None,
            ),
            (
                "slope of the anonymous part",
                format!(
                    "{} after {minutes} min",
                    slope_text(of(|s| s.anonymous_kib, warm))
                ),
                None,
            ),
        ]
    }

    fn process(&self) -> Vec<Row> {
        let samples = &self.watch.samples;
        let cpu = self.watch.metrics.sum("process_cpu_seconds_total", &[]);
        let mut scrapes: Vec<f64> = samples
            .iter()
            .map(|s| s.scrape.as_secs_f64() * 1e3)
            .collect();
        scrapes.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let index = (share * scrapes.len() as f64) as usize;
            let value = scrapes.get(index.min(scrapes.len().saturating_sub(1)));
            value.copied().unwrap_or(f64::NAN)
        };
        vec![
            (
                "CPU time of the daemon",
                format!("{cpu:.1} s, {:.2} % of a core", cpu / self.seconds * 100.0),
                None,
            ),
            (
                "scrape, median, 99th percentile, longest",
                format!("{:.1}, {:.1}, {:.1} ms", at(0.5), at(0.99), at(1.0)),
                None,
            ),
            (
                "series, first, last, most",
                three(samples, |s| s.series, ""),
                None,
            ),
            (
                "threads, first, last, most",
                three(samples, |s| s.threads, ""),
                None,
            ),
            (
                "file descriptors, first, last, most",
                three(samples, |s| s.descriptors, ""),
                None,
            ),
            (
                "questions to tracer explain",
                format!("{}, {} not answered", self.asked.times, self.asked.failed),
                Some(self.asked.failed == 0),
            ),
            (
                "after SIGTERM",
                "exit status 0, no program, link, filter or packet socket left".to_owned(),
                Some(true),
            ),
        ]
    }
}

const fn word(kept: Option<bool>) -> &'static str {
    match kept {
        Some(true) => "kept",
        Some(false) => "MISSED",
        None => "",
    }
}

/// `outcome N` for each outcome, and by how many the daemon's counts differ from the clients'.
fn outcomes(metrics: &Metrics, made: &Made) -> (Vec<String>, f64) {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    let mut wrong = 0.0;
    for ((port, outcome), count) in made {
        *sums.entry(outcome).or_default() += count;
        let port = port.to_string();
        let labels = [("node_port", port.as_str()), ("outcome", *outcome)];
        let counted = metrics.sum("tracer_handshakes_total", &labels);
        wrong += (counted - *count as f64).abs();
    }
    let text = |(outcome, count)| format!("{count} {outcome}");
    (sums.into_iter().map(text).collect(), wrong)
}

fn range(samples: &[Sample], f: fn(&Sample) -> f64) -> (f64, f64) {
    let values = samples.iter().map(f);
    values.fold((f64::INFINITY, 0.0), |(low, high), value| {
        (low.min(value), high.max(value))
    })
}

fn three(samples: &[Sample], f: fn(&Sample) -> f64, unit: &str) -> String {
    let number = |value: f64| {
        if value.fract() == 0.0 {
            value.to_string()
        } else {
            format!("{value:.2}")
        }
    };
    let [first, last] = [samples.first(), samples.last()].map(|s| s.map_or(f64::NAN, f));
    let most = range(samples, f).1;
    format!(
        "{}, {}, {}{unit}",
        number(first),
        number(last),
        number(most)
    )
}

fn slope_text(slope: Option<Slope>) -> String {
    slope.map_or_else(
        || "too few samples".to_owned(),
        |s| format!("{:+.1} ± {:.1} KiB/h", s.value, s.error),
    )
}

const INTRODUCTION: &str = "\
# Soak

What becomes of `tracer` in hours of mixed traffic, measured by `cargo xtask soak --hours 1 --save`
(root), which writes this page.

- Traffic, in an order that `--seed` decides: Thrift calls (strict, compact, framed), other calls,
  probes that close, reset or stay half open, idle connections, refused, unreachable, unanswered and
  unacknowledged attempts, connections that the server closes at once, IPv4 and IPv6; every five
  minutes a burst of 20,000 SYNs from as many sources.
- Meanwhile an interface with an address comes or goes every 30 s, and `tracer explain` is asked
  every minute.
- Once a second /metrics is scraped: the identity must hold on every port, and no counter may fall or
  vanish. At the end the daemon's counts must be those of the clients.
- The slope is that of a line through all samples of the resident memory; its error supposes that
  samples are independent, which steps of an allocator are not. The daemon remembers 15 minutes in at
  most 4 MiB, so that it grows until these are full.
- *kept* and *MISSED* judge what is promised; figures without a word are for reading.
";
