//! What the daemon says of each failure, beside what the client saw.

use std::{collections::BTreeMap, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use testbed::{Tracer, process::poll_until};

const LIMIT: Duration = Duration::from_secs(20);
/// Overdue flows are looked for once a second, and failures judged as often.
const JUDGED: Duration = Duration::from_millis(2500);
const FAILED: [&str; 5] = [
    "refused",
    "unreachable",
    "timed_out",
    "unacked",
    "cancelled",
];

/// One failure.
#[derive(Clone, Debug, Deserialize)]
pub struct Event {
    pub outcome: String,
    pub verdict: String,
    pub pod: Option<String>,
    #[serde(rename = "time_s")]
    pub time: f64,
    pub latency: f64,
}

#[derive(Deserialize)]
struct Explained {
    verdicts: Vec<Finding>,
}

#[derive(Deserialize)]
struct Finding {
    verdict: String,
}

impl Event {
    /// When its SYN was sent, seconds.
    pub fn sent(&self) -> f64 {
        self.time - self.latency
    }

    pub fn is_attempt(&self) -> bool {
        FAILED.contains(&self.outcome.as_str())
    }
}

fn ask(tracer: &Tracer<'_>, args: &[&str]) -> Result<String> {
    let mut command = Command::new(Tracer::binary()?);
    command.args(args).arg("--socket").arg(tracer.socket());
    let output = command.output().context("start tracer")?;
    Ok(String::from_utf8(output.stdout)?)
}

/// What `tracer explain` says, for people.
pub fn explained(tracer: &Tracer<'_>) -> Result<String> {
    ask(tracer, &["explain"])
}

/// All failures, once none is pending any more.
pub fn events(tracer: &Tracer<'_>) -> Result<Vec<Event>> {
    std::thread::sleep(JUDGED);
    let text = poll_until(LIMIT, "attempts are still pending", || {
        let pending = tracer.metrics()?.sum("tracer_handshakes_pending", &[]);
        let text = ask(tracer, &["events", "-o", "json"])?;
        Ok((pending == 0.0).then_some(text))
    })?;
    let line = |line: &str| serde_json::from_str(line).with_context(|| line.to_owned());
    text.lines().map(line).collect()
}

/// At least 95 of 100 failed attempts have one of these verdicts, and none has any
/// other but `unexplained`; the metrics say the same. Also what else went wrong.
pub fn named(tracer: &Tracer<'_>, events: &[Event], verdicts: &[&str]) -> Result<()> {
    let mut counts: BTreeMap<(&str, bool), usize> = BTreeMap::new();
    for event in events {
        *counts
            .entry((&event.verdict, event.is_attempt()))
            .or_default() += 1;
    }
    let said = || format!("{counts:?}\n{}", explained(tracer).unwrap_or_default());
    let fits = |verdict: &str| verdicts.contains(&verdict);
    for (verdict, _) in counts.keys() {
        ensure!(
            fits(verdict) || *verdict == "unexplained",
            "{verdict}: {}",
            said()
        );
    }
    let attempts = events.iter().filter(|e| e.is_attempt());
    let all = attempts.clone().count();
    let right = attempts.filter(|e| fits(&e.verdict)).count();
    ensure!(right * 100 >= all * 95, "{right} of {all}: {}", said());
    ensure!(all > 0, "nothing failed: {}", said());
    let metrics = tracer.metrics()?;
    for verdict in metrics.values_of("tracer_handshake_failures_total", "verdict") {
        let count = metrics.sum("tracer_handshake_failures_total", &[("verdict", &verdict)]);
        let fits = fits(&verdict) || verdict == "unexplained";
        ensure!(fits || count == 0.0, "{count} {verdict}: {}", said());
    }
    metrics.balanced()?;
    let explained: Explained = serde_json::from_str(&ask(tracer, &["explain", "-o", "json"])?)?;
    for finding in explained.verdicts {
        let fits = fits(&finding.verdict) || finding.verdict == "unexplained";
        ensure!(fits, "explain: {}: {}", finding.verdict, said());
    }
    eprintln!("{right} of {all} failed attempts named: {counts:?}");
    Ok(())
}
