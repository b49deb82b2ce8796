//! SYNs from everywhere.

use std::{net::SocketAddrV4, time::Duration};

use anyhow::Result;
use testbed::{
    Metrics, RawClient,
    addr::{NODE_V4, phantom_v4},
    flood,
    process::poll_until,
};

use crate::bed::{Before, FLOODED, LIMIT, Scene, at, attempts, sum};

/// Each with one SYN, and no answer to the SYN-ACK.
const SOURCES: u32 = 1_000_000;
/// More than two cores can drive.
const AT_ONCE: u32 = 10_000_000;
/// A flood that takes several rounds to show as one.
const FEW: u32 = 4000;
const SLOWLY: u32 = 400;

#[test]
fn a_million_sources() -> Result<()> {
    let scene = Scene::new()?;
    let tracer = scene.trace(&["--handshake-timeout", "1s"])?;
    let before = Before::flood(&scene, &tracer)?;
    let first = attempts(&tracer.metrics()?, FLOODED);
    let to = SocketAddrV4::new(NODE_V4, FLOODED);
    let left = flood::syns_that_left(&scene.bed.client, to, 0..SOURCES, AT_ONCE)?;
    let metrics = before.holds(&tracer)?;
    let counted = attempts(&metrics, FLOODED) - first;
    assert!(left.contains(&(counted as f64)), "{counted}, {left:?}");
    // The table cannot hold them all, and what it holds is not acknowledged.
    let of = |name, labels: &[_]| sum(&metrics, name, FLOODED, labels);
    let untracked = of("tracer_untracked_syns_total", &[]);
    let unacked = of("tracer_handshakes_total", &[("outcome", "unacked")]);
    assert!(untracked > 0 && unacked > 10_000, "{untracked}, {unacked}");
    is_told(&scene, &tracer)
}

/// Both who reads metrics and who asks is told that it is a flood.
fn is_told(scene: &Scene, tracer: &testbed::Tracer<'_>) -> Result<()> {
    let flood = [("verdict", "syn_flood")];
    tracer.metrics_when(LIMIT, "no verdict", |metrics| {
        sum(metrics, "tracer_handshake_failures_total", FLOODED, &flood) > 10_000
    })?;
    let text = poll_until(Duration::from_secs(10), "not explained", || {
        let text = scene.explain(tracer)?;
        Ok(text.contains("syn_flood").then_some(text))
    })?;
    for words in ["Port 31500: a flood of SYNs", "addresses", "not followed"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    Ok(())
}

/// What was known before a flood grew to one does not go for the failures after.
#[test]
fn a_slow_one_is_told_from_a_dead_return_path() -> Result<()> {
    let scene = Scene::new()?;
    let tracer = scene.trace(&["--handshake-timeout", "1s"])?;
    let of = |metrics: &Metrics, labels: &[_]| {
        sum(metrics, "tracer_handshake_failures_total", FLOODED, labels)
    };
    let failed = |count| {
        let all = |metrics: &Metrics| of(metrics, &[]) == u64::from(count);
        tracer.metrics_when(LIMIT, "not all failed", all)
    };
    // One failed a moment before.
    let raw = RawClient::open(&scene.bed.client)?;
    raw.syn_only(at(phantom_v4(0xf_ffff), 999), at(NODE_V4, FLOODED), 7)?;
    failed(1)?;
    let to = SocketAddrV4::new(NODE_V4, FLOODED);
    flood::syns(&scene.bed.client, to, 1..FEW, SLOWLY)?;
    let metrics = failed(FEW)?;
    metrics.balanced()?;
    let flood = of(&metrics, &[("verdict", "syn_flood")]);
    let path = of(&metrics, &[("verdict", "return_path")]);
    eprintln!("{flood} syn_flood, {path} return_path");
    assert_eq!(flood + path, u64::from(FEW));
    // Those that came before there were addresses enough.
    assert!(path < u64::from(FEW / 5), "{path} return_path");
    Ok(())
}
