//! Pods may not be looked into: what packets tell is told all the same, and that
//! nobody has looked.

use anyhow::Result;
use nix::errno::Errno;
use testbed::process::poll_until;

use super::{
    expect::{explain, settled},
    scenario::{OPTIONS, Scenario},
    scene::{SOON, Scene},
};

const SCENARIO: Scenario = Scenario {
    services: |s| vec![s.service().backend(s.pod(0, 9099))],
    ..Scenario::new(31535)
};

#[test]
fn switched_off() -> Result<()> {
    let s = Scene::new(&SCENARIO)?;
    let options = [OPTIONS, &["--pod-evidence=false"]].concat();
    let tracer = s.trace(&options)?;
    s.dials_end(3, SOON, Errno::ECONNREFUSED)?;
    settled(&tracer)?;
    poll_until(SOON * 5, "the fault is not named", || {
        let (_, told) = explain(&tracer, &[])?;
        let verdicts = told.verdicts.iter();
        let found: Vec<_> = verdicts.map(|f| (f.verdict.as_str(), f.failed)).collect();
        let why = |line: &String| line.contains("--pod-evidence=false");
        let is_told = told.not_visible.iter().any(why);
        Ok((found == [("nothing_listens", 3)] && is_told).then_some(()))
    })
}
