//! What `tracer explain` must say, and the counts it must agree with.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use testbed::{Metrics, Tracer, process::poll_until};

use super::scene::Scene;
pub use super::told::{BackendRow, Explanation, Finding, Whom};

const LIMIT: Duration = Duration::from_secs(20);
/// Overdue flows are looked for once a second, and failures judged as often.
const JUDGED: Duration = Duration::from_millis(3500);
const HANDSHAKES: &str = "tracer_handshakes_total";
const UNEXPLAINED: &str = "unexplained";
const FAILURES: &str = "tracer_handshake_failures_total";
/// Outcomes that are failed attempts.
const FAILED: [&str; 5] = [
    "refused",
    "unreachable",
    "timed_out",
    "unacked",
    "cancelled",
];

/// How many.
#[derive(Clone, Copy, Debug)]
pub enum Count {
    Exactly(u64),
    AtLeast(u64),
}

impl Count {
    fn admits(self, value: u64) -> bool {
        match self {
            Self::Exactly(n) => value == n,
            Self::AtLeast(n) => value >= n,
        }
    }
}

/// Where NAT sent the attempts, if that is part of the problem.
#[derive(Clone, Copy, Debug)]
pub enum Backend {
    None,
    Pod(usize, u16),
    Far(u16),
    Address(&'static str),
    /// Either way.
    Any,
}

/// A verdict that must be there, at the scenario's port unless said otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    verdict: &'static str,
    /// How sure it may be.
    certainty: &'static [&'static str],
    failed: Count,
    connections: Count,
    backend: Backend,
    port: Option<u16>,
    says: &'static [&'static str],
    never_says: &'static [&'static str],
    whom: Whom,
}

/// `name` for `count` failed attempts, certain, without a backend.
pub const fn failed(name: &'static str, count: u64) -> Expected {
    Expected {
        verdict: name,
        certainty: &["certain"],
        failed: Count::Exactly(count),
        connections: Count::Exactly(0),
        backend: Backend::None,
        port: None,
        says: &[],
        never_says: &[],
        whom: Whom::Any,
    }
}

/// `count` failed attempts of which it is known how far they came, and no cause.
pub const fn unexplained(count: u64) -> Expected {
    Expected {
        certainty: &["unknown"],
        ..failed(UNEXPLAINED, count)
    }
}

/// `name` for `count` connections that came to nothing; no attempt failed.
pub const fn spoilt(name: &'static str, count: u64) -> Expected {
    Expected {
        failed: Count::Exactly(0),
        connections: Count::Exactly(count),
        ..failed(name, 0)
    }
}

impl Expected {
    /// Others fit the facts as well.
    pub const fn or_likely(self) -> Self {
        Self {
            certainty: &["certain", "likely"],
            ..self
        }
    }

    /// Something else may have done the same.
    pub const fn likely(self) -> Self {
        Self {
            certainty: &["likely"],
            ..self
        }
    }

    pub const fn by(self, pod: usize, port: u16) -> Self {
        self.backend(Backend::Pod(pod, port))
    }

    pub const fn backend(self, backend: Backend) -> Self {
        Self { backend, ..self }
    }

    pub const fn failures(self, failed: Count) -> Self {
        Self { failed, ..self }
    }

    pub const fn connections(self, connections: Count) -> Self {
        Self {
            connections,
            ..self
        }
    }

    pub const fn at(self, port: u16) -> Self {
        Self {
            port: Some(port),
            ..self
        }
    }

    /// Its evidence contains these.
    pub const fn says(self, says: &'static [&'static str]) -> Self {
        Self { says, ..self }
    }

    /// Nor may its evidence contain these.
    pub const fn never_says(self, never_says: &'static [&'static str]) -> Self {
        Self { never_says, ..self }
    }

    pub const fn only(self, whom: Whom) -> Self {
        Self { whom, ..self }
    }

    fn admits(&self, scene: &Scene, finding: &Finding) -> bool {
        let backend = match self.backend {
            Backend::Any => finding.backend.clone(),
            Backend::None => None,
            Backend::Pod(i, port) => Some(scene.pod(i, port).to_string()),
            Backend::Far(port) => Some(scene.far_pod(port).to_string()),
            Backend::Address(address) => Some(address.to_owned()),
        };
        finding.verdict == self.verdict
            && finding.node_port == self.port.unwrap_or(scene.port)
            && finding.backend == backend
            && self.failed.admits(finding.failed)
            && self.connections.admits(finding.connections)
            && self.says.iter().all(|said| finding.says(said))
            && !self.never_says.iter().any(|said| finding.says(said))
            && self.whom.is(&finding.scope)
            && self.certainty.contains(&finding.certainty.as_str())
    }
}

/// All attempts with a failed outcome.
fn failed_attempts(metrics: &Metrics) -> f64 {
    let count = |outcome: &&str| metrics.sum(HANDSHAKES, &[("outcome", outcome)]);
    FAILED.iter().map(count).sum()
}

/// Waits until every attempt has its outcome.
pub fn settled(tracer: &Tracer<'_>) -> Result<Metrics> {
    tracer.metrics_when(LIMIT, "attempts are still pending", |metrics| {
        metrics.sum("tracer_handshakes_pending", &[]) == 0.0 && metrics.sum(HANDSHAKES, &[]) > 0.0
    })
}

/// Runs `tracer` with `args` against a daemon; returns the exit
/// status and what it printed.
pub fn ask(tracer: &Tracer<'_>, args: &[&str]) -> Result<(i32, String, String)> {
    let mut command = Command::new(Tracer::binary()?);
    command.args(args).arg("--socket").arg(tracer.socket());
    let output = command.output().context("start tracer")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let status = output.status.code().context("ended by a signal")?;
    Ok((status, text(&output.stdout), text(&output.stderr)))
}

/// Runs `tracer explain`; returns its exit status and answer.
pub fn explain(tracer: &Tracer<'_>, args: &[&str]) -> Result<(i32, Explanation)> {
    let args = [&["explain", "-o", "json"][..], args].concat();
    let (status, text, error) = ask(tracer, &args)?;
    let answer = serde_json::from_str(&text);
    let answer = answer.with_context(|| format!("exit status {status}: {text}{error}"))?;
    Ok((status, answer))
}

/// Exactly the expected verdicts, as many failures as the metrics have, and
/// the exit status that goes with them. Where nothing is expected, nothing may
/// come later either.
pub fn check(scene: &Scene, tracer: &Tracer<'_>, expected: &[Expected]) -> Result<()> {
    let metrics = settled(tracer)?;
    if expected.is_empty() {
        std::thread::sleep(JUDGED);
    }
    let mut last = Err(anyhow::anyhow!("not asked"));
    let told = poll_until(JUDGED, "explain does not say what is expected", || {
        let (status, told) = explain(tracer, &["--last", "60s"])?;
        let judged = matches(scene, &metrics, status, &told, expected);
        last = judged.with_context(|| format!("exit status {status}, {told:#?}"));
        Ok(last.is_ok().then_some(told))
    });
    let told = told.or_else(|_| {
        last?;
        anyhow::bail!("not asked")
    });
    let told = told.with_context(|| {
        let events = ask(tracer, &["events", "-o", "json"]).map(|(_, text, _)| text);
        format!("expected {expected:#?}\n{}", events.unwrap_or_default())
    })?;
    let is_same = |metrics: &Metrics| {
        let all = told.verdicts.iter();
        metrics.sum(FAILURES, &[]) == failed_attempts(metrics)
            && all.clone().all(|finding| {
                let same = |f: &&Finding| (f.node_port, &f.verdict) == finding.key();
                let failed: u64 = all.clone().filter(same).map(|f| f.failed).sum();
                let port = finding.node_port.to_string();
                let labels = [("node_port", port.as_str()), ("verdict", &finding.verdict)];
                metrics.sum(FAILURES, &labels) == failed as f64
            })
    };
    let judged = tracer.metrics_when(JUDGED, "the metric is not what explain says", is_same);
    judged.map(drop).with_context(|| format!("{told:#?}"))
}

fn matches(
    scene: &Scene,
    metrics: &Metrics,
    status: i32,
    told: &Explanation,
    expected: &[Expected],
) -> Result<()> {
    let mut rest: Vec<&Finding> = told.verdicts.iter().collect();
    for wanted in expected {
        let found = rest.iter().position(|f| wanted.admits(scene, f));
        let found = found.with_context(|| format!("no {} as expected", wanted.verdict))?;
        let finding = rest.remove(found);
        ensure!(
            !finding.evidence.is_empty(),
            "{}: no evidence",
            finding.verdict
        );
        ensure!(
            !finding.next.is_empty(),
            "{}: no next step",
            finding.verdict
        );
    }
    ensure!(rest.is_empty(), "verdicts that nobody expected");
    let failed = failed_attempts(metrics) as u64;
    let of = |f: &&Finding| f.verdict == UNEXPLAINED;
    let explained = told.verdicts.iter().filter(|f| !of(f));
    let explained: u64 = explained.map(|f| f.failed).sum();
    let open: u64 = told.verdicts.iter().filter(of).map(|f| f.failed).sum();
    ensure!(
        explained + told.unexplained == failed,
        "{explained} explained, {} not, {failed} failed",
        told.unexplained
    );
    ensure!(told.unexplained == open, "attempts that are nowhere");
    for finding in &told.verdicts {
        let share = if failed == 0 {
            0.0
        } else {
            finding.failed as f64 / failed as f64
        };
        ensure!(
            (finding.share - share).abs() < 0.01,
            "share {}",
            finding.share
        );
    }
    let wanted = if expected.is_empty() { 0 } else { 3 };
    ensure!(status == wanted, "exit status {status}");
    Ok(())
}
