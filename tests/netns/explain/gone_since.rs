//! What made attempts fail is gone by the time somebody asks: the rounds in which they
//! failed remember it, so that `explain` says of the past what metrics and events said.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;
use testbed::{Tracer, process::poll_until, rules};

use super::{
    expect::{Finding, ask, explain},
    scenario::{OPTIONS, Scenario},
    scene::{Reply, SOON, Scene},
};

const FAILURES: &str = "tracer_handshake_failures_total";
const LIMIT: Duration = Duration::from_secs(20);

/// Waits until so many failures of the scenario's port are counted under the verdict.
fn counted(s: &Scene, tracer: &Tracer<'_>, verdict: &str, count: f64) -> Result<()> {
    let port = s.port.to_string();
    let labels = [("node_port", port.as_str()), ("verdict", verdict)];
    let enough = |metrics: &testbed::Metrics| metrics.sum(FAILURES, &labels) == count;
    tracer.metrics_when(LIMIT, "the failures are not judged so", enough)?;
    Ok(())
}

/// The only finding of the last ten minutes, which is certain; every event has its verdict.
fn only(tracer: &Tracer<'_>, verdict: &str, failed: u64) -> Result<Finding> {
    let (_, mut told) = explain(tracer, &["--last", "10m"])?;
    let finding = told.verdicts.pop().context("nothing is found")?;
    ensure!(told.verdicts.is_empty(), "{:#?}", told.verdicts);
    let said = (finding.verdict.as_str(), finding.failed);
    ensure!(said == (verdict, failed), "{finding:#?}");
    ensure!(finding.certainty == "certain", "{finding:#?}");
    let (_, events, _) = ask(tracer, &["events", "-o", "json"])?;
    let named = format!("\"verdict\":\"{verdict}\"");
    let same = events.lines().filter(|line| line.contains(&named)).count() as u64;
    ensure!(same == failed, "{events}");
    Ok(finding)
}

/// The same, once the rules have been read anew: they are good for a second, and longer
/// where reading them takes long.
fn only_gone(tracer: &Tracer<'_>, verdict: &str, failed: u64) -> Result<Finding> {
    poll_until(LIMIT, "the rule is not told to be gone", || {
        let finding = only(tracer, verdict, failed)?;
        Ok(finding.says("gone since").then_some(finding))
    })
}

#[test]
fn a_rule_that_was_taken_away() -> Result<()> {
    let s = Scene::new(&Scenario::new(31980))?;
    let tracer = s.trace(OPTIONS)?;
    let rule = rules::drop_syns(&s.bed.node, s.port)?;
    s.dials_end(3, SOON, Errno::EINPROGRESS)?;
    counted(&s, &tracer, "dropped_by_rule", 3.0)?;
    let before = only(&tracer, "dropped_by_rule", 3)?;
    ensure!(!before.says("gone since"), "{before:#?}");
    rule.remove(&s.bed.node)?;
    s.calls(2, SOON, Reply::Whole)?;
    let finding = only_gone(&tracer, "dropped_by_rule", 3)?;
    for said in ["A rule took the SYN", "table bed-", "chain c0"] {
        ensure!(finding.says(said), "{said}: {finding:#?}");
    }
    ensure!(finding.next.contains("gone"), "{finding:#?}");
    counted(&s, &tracer, "dropped_by_rule", 3.0)
}

/// Another rule takes the SYNs of today: the past keeps its own.
#[test]
fn a_rule_in_place_of_another() -> Result<()> {
    let s = Scene::new(&Scenario::new(31982))?;
    let tracer = s.trace(OPTIONS)?;
    let rule = rules::drop_syns(&s.bed.node, s.port)?;
    s.dials_end(3, SOON, Errno::EINPROGRESS)?;
    counted(&s, &tracer, "dropped_by_rule", 3.0)?;
    rule.remove(&s.bed.node)?;
    let text = format!("tcp dport {} drop", s.port);
    s.keep(rules::add(&s.bed.node, &[("prerouting", "-290")], &text)?);
    only_gone(&tracer, "dropped_by_rule", 3).map(drop)
}

#[test]
fn a_neighbour_that_answers_again() -> Result<()> {
    let s = Scene::new(&Scenario::new(31984))?;
    let tracer = s.trace(OPTIONS)?;
    s.bed.pods[0].ip("addr flush dev eth0\n")?;
    s.bed.node.ip("neigh flush dev cbr0\n")?;
    // Each asks for the neighbour anew, for 3 s.
    for _ in 0..2 {
        s.dials_end(3, SOON, Errno::EINPROGRESS)?;
        std::thread::sleep(Duration::from_secs(1));
    }
    counted(&s, &tracer, "backend_unreachable", 6.0)?;
    s.bed.pods[0].ip("addr add 10.244.0.2/24 dev eth0\nroute add default via 10.244.0.1\n")?;
    s.bed.node.ip("neigh flush dev cbr0\n")?;
    s.bed.node.run(&["conntrack", "-F"])?;
    poll_until(LIMIT, "the pod does not answer", || {
        Ok(s.calls(1, SOON, Reply::Whole).ok())
    })?;
    let (_, told) = explain(&tracer, &["--last", "10m"])?;
    let [finding] = &told.verdicts[..] else {
        anyhow::bail!("{:#?}", told.verdicts)
    };
    let said = (finding.verdict.as_str(), finding.backend.as_deref());
    ensure!(
        said == ("backend_unreachable", Some("10.244.0.2:9090")),
        "{finding:#?}"
    );
    ensure!(finding.failed >= 6, "{finding:#?}");
    ensure!(
        finding.says("before the end of this window"),
        "{finding:#?}"
    );
    counted(&s, &tracer, "backend_unreachable", finding.failed as f64)
}
