//! `tracer events`: each failure is one line.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;
use serde::Deserialize;
use testbed::{peer::Dial, process::poll_until, rules};

use super::{
    expect::{ask, settled},
    scenario::{OPTIONS, Scenario},
    scene::{SOON, Scene, at_once},
};

#[derive(Debug, Deserialize)]
struct Event {
    #[serde(rename = "time_s")]
    time: f64,
    client: SocketAddr,
    node_port: u16,
    backend: Option<SocketAddr>,
    outcome: String,
    answered_by: String,
    verdict: String,
    latency: f64,
}

fn events(text: &str) -> Result<Vec<Event>> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
        .collect()
}

/// Refused by the pod.
const CLOSED: u16 = 31534;
/// Dropped after DNAT.
const CUT: u16 = 31536;

const SCENARIO: Scenario = Scenario {
    services: |s| {
        let cut = s.service_at(CUT).backend(s.pod(0, 9090));
        vec![s.service().backend(s.pod(0, 9099)), cut]
    },
    fault: |s| {
        s.keep(rules::drop_forwarded_syns(&s.bed.node, CUT)?);
        Ok(())
    },
    ..Scenario::new(CLOSED)
};

#[test]
fn one_line_each() -> Result<()> {
    let s = Scene::new(&SCENARIO)?;
    let tracer = s.trace(OPTIONS)?;
    (SCENARIO.fault)(&s)?;
    let mut command = s.bed.node.command(testbed::Tracer::binary()?)?;
    command
        .args(["events", "-f", "-o", "json", "--socket"])
        .arg(tracer.socket());
    let mut follower = s.bed.node.spawn(command)?;
    s.dials_end(3, SOON, Errno::ECONNREFUSED)?;
    let cut = Dial::new(&s.bed.client, s.node_port(CUT)).limit(SOON);
    for ended in at_once(2, |_| cut.connect())? {
        ensure!(ended.err() == Some(Errno::EINPROGRESS));
    }
    s.healthy_traffic()?;
    settled(&tracer)?;
    let all = poll_until(SOON * 5, "not all lines are there", || {
        let (status, text, error) = ask(&tracer, &["events", "-o", "json"])?;
        ensure!(status == 0, "exit status {status}: {error}");
        let seen = events(&text)?;
        Ok((seen.len() >= 5).then_some(seen))
    })?;
    check(&s, &all).with_context(|| format!("{all:#?}"))?;

    let args = ["events", "-o", "json", "--outcome", "refused"];
    let refused = events(&ask(&tracer, &args)?.1)?;
    ensure!(refused.len() == 3 && refused.iter().all(|e| e.node_port == CLOSED));
    let args = ["events", "-o", "json", "--port", "31536"];
    ensure!(events(&ask(&tracer, &args)?.1)?.len() == 2);

    let followed = poll_until(SOON * 5, "the follower has not all lines", || {
        let seen = events(&follower.stdout())?;
        Ok((seen.len() >= 5).then_some(seen))
    })?;
    follower.kill();
    check(&s, &followed).with_context(|| format!("{followed:#?}"))
}

fn check(s: &Scene, all: &[Event]) -> Result<()> {
    ensure!(all.len() == 5, "{} lines", all.len());
    // Those of the same moment were seen by several processors.
    let in_order = |a: &Event, b: &Event| a.time <= b.time + 0.1;
    ensure!(all.is_sorted_by(in_order), "not in order");
    for event in all {
        let client = s.client().ip();
        ensure!(event.client.ip() == client && event.client.port() > 1024);
        let (outcome, by, verdict, backend) = match event.node_port {
            CLOSED => ("refused", "backend_rst", "nothing_listens", s.pod(0, 9099)),
            CUT => ("timed_out", "none", "dropped_by_rule", s.pod(0, 9090)),
            other => anyhow::bail!("port {other}"),
        };
        ensure!(event.outcome == outcome && event.answered_by == by);
        ensure!(event.verdict == verdict && event.backend == Some(backend));
        let late = event.outcome == "timed_out";
        ensure!((event.latency >= 1.0) == late, "latency {}", event.latency);
    }
    Ok(())
}
