//! A fault that starts and stops: `--last` tells what happened within it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;
use testbed::{peer::Behaviour, process::poll_until};

use super::{
    expect::{Explanation, explain, settled},
    scenario::{OPTIONS, Scenario},
    scene::{Reply, SOON, Scene},
};

const SCENARIO: Scenario = Scenario {
    services: |s| vec![s.service().backend(s.pod(0, 9099))],
    ..Scenario::new(31532)
};

fn named(told: &Explanation) -> Vec<(&str, u64)> {
    let verdicts = told.verdicts.iter();
    verdicts.map(|f| (f.verdict.as_str(), f.failed)).collect()
}

#[test]
fn starts_and_stops() -> Result<()> {
    let s = Scene::new(&SCENARIO)?;
    let tracer = s.trace(OPTIONS)?;
    s.dials_end(3, SOON, Errno::ECONNREFUSED)?;
    s.healthy_traffic()?;
    settled(&tracer)?;
    poll_until(SOON * 5, "the fault is not named", || {
        let (status, told) = explain(&tracer, &["--last", "60s"])?;
        let is_named = named(&told) == [("nothing_listens", 3)] && status == 3;
        Ok(is_named.then_some(()))
    })?;

    s.serve(0, 9099, Behaviour::Echo)?;
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(400));
        s.calls(1, SOON, Reply::Whole)?;
    }
    let (status, told) = explain(&tracer, &["--last", "2s"])?;
    ensure!(
        told.verdicts.is_empty() && status == 0,
        "{status} {told:#?}"
    );
    ensure!(told.window_s < 3.5, "{told:#?}");
    let row = told.ports.iter().find(|row| row.node_port == s.port);
    let row = row.context("the port has no row")?;
    ensure!(row.attempts > 0 && row.outcomes["refused"] == 0, "{row:?}");

    let (status, told) = explain(&tracer, &["--last", "60s"])?;
    ensure!(named(&told) == [("nothing_listens", 3)], "{told:#?}");
    ensure!(status == 3, "exit status {status}");
    let other = (s.port + 1).to_string();
    let (status, told) = explain(&tracer, &["--last", "60s", "--port", &other])?;
    ensure!(
        told.verdicts.is_empty() && status == 0,
        "{status} {told:#?}"
    );
    Ok(())
}
