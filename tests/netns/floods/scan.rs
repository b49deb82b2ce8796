//! A scan of all ports of the node. What is watched and nobody's counts together,
//! and the dead port that a load balancer goes on trying is not lost in it.

use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use anyhow::{Context as _, Result, ensure};
use testbed::{
    Metrics, RawClient, Tracer,
    addr::{NODE_V4, phantom_v4},
    cleanup::ScratchDir,
    flood::Frames,
    peer::{Behaviour, Dial, Server},
    process::poll_until,
    raw::Answer,
    segment::Segment,
};

use crate::bed::{
    Before, CLOSED, FLOODED, LIMIT, QUIET, RESIDENT, SILENT, Scene, at, attempts, charged, memory,
    sum,
};

/// The default: kube-apiserver's range.
const WATCHED: std::ops::RangeInclusive<u16> = 30_000..=32_767;
/// One scans, then so many at once.
const SOURCES: [u32; 2] = [1, 4];
/// Promised for every port.
const EVERY_PORT: u64 = 64 * 1024 * 1024;
/// Ports with series of their own from their first attempt on, where nobody answers.
const AT_ONCE: usize = 64;
/// Not one of those that a scan comes to first; nothing listens.
const CHECKED: u16 = 32_766;
/// A server's, to which a scan comes when no port gets a row any more.
const SERVED_LATE: u16 = 60_000;
/// All that one port can have, for now.
const SERIES_EACH: usize = 100;

fn watched() -> usize {
    WATCHED.count()
}

/// One SYN to every port there is from each source.
fn scan(scene: &Scene, first: u32, sources: u32) -> Result<()> {
    let to_node = Frames::to_node(&scene.bed.client)?;
    let drops = scene.drops()?;
    let tries = |port| {
        let try_it = move |source| {
            let from = at(phantom_v4(first + source), 40_000);
            Segment::syn(from, at(NODE_V4, port), 1)
        };
        (0..sources).map(try_it)
    };
    to_node.send((1..=u16::MAX).flat_map(tries))?;
    ensure!(scene.drops()? == drops, "the links dropped frames");
    Ok(())
}

fn all_attempts(metrics: &Metrics) -> u64 {
    metrics.sum("tracer_attempts_total", &[]) as u64
}

fn ports(metrics: &Metrics) -> BTreeSet<String> {
    metrics.values_of("tracer_attempts_total", "node_port")
}

#[test]
fn of_all_ports() -> Result<()> {
    let scene = Scene::new()?;
    let args = ["--interface", "eth0", "--handshake-timeout", "1s"];
    let tracer = Tracer::start(&scene.bed.node, &args)?;
    let before = Before::flood(&scene, &tracer)?;
    let counts = |m: &Metrics| all_attempts(m) == 44;
    let first = tracer.metrics_when(LIMIT, "not counted", counts)?;
    let own = [FLOODED, QUIET, CLOSED, SILENT].map(|port| port.to_string());
    let own = BTreeSet::from_iter(own.into_iter().chain(["other".to_owned()]));
    // A dial of another test's may have given its port a series.
    ensure!(ports(&first).is_superset(&own), "{:?}", ports(&first));
    let mut expected = 44;
    for (round, sources) in (1..).zip(SOURCES) {
        scan(&scene, 100 * round, sources)?;
        expected += u64::from(sources) * watched() as u64;
    }
    tracer.metrics_when(LIMIT, "not all counted", |m| all_attempts(m) == expected)?;
    let metrics = before.followed(&tracer)?;
    assert_eq!(all_attempts(&metrics), expected);
    // Those that have answered, and those that the scan came to first.
    assert_eq!(ports(&metrics).len(), 2 + AT_ONCE + 1);
    is_told(&tracer, &metrics)?;
    a_checked_port_is_found(&scene, &tracer)
}

/// By a metric, a line of the log and the failures' verdict.
fn is_told(tracer: &Tracer<'_>, metrics: &Metrics) -> Result<()> {
    let others = metrics.sum("tracer_other_ports", &[]);
    assert_eq!(others as usize, watched() - 2 - AT_ONCE);
    let said = tracer.process().stderr();
    ensure!(said.contains("as by a port scan"), "{said}");
    // As many kinds of failures as ports are more than their table holds.
    for words in ["stage=failures", "the table of kinds of failures is full"] {
        ensure!(said.contains(words), "{words}: {said}");
    }
    let lost = metrics.sum("tracer_events_lost_total", &[("stage", "failures")]);
    ensure!(lost > 0.0, "no kind of failure was lost");
    let of = |verdict| {
        let labels = [("node_port", "other"), ("verdict", verdict)];
        metrics.sum("tracer_handshake_failures_total", &labels)
    };
    let tries = f64::from(SOURCES.iter().sum::<u32>());
    let refused = (watched() - 2 - AT_ONCE) as f64 * tries;
    ensure!(
        of("no_service_rule") + of("unexplained") >= refused,
        "{}",
        of("no_service_rule")
    );
    Ok(())
}

/// A load balancer that tries it again and again: it gets its own series, from
/// which nothing is missing from then on.
fn a_checked_port_is_found(scene: &Scene, tracer: &Tracer<'_>) -> Result<()> {
    let raw = RawClient::open(&scene.bed.client)?;
    let mut tries = 0_u16;
    let mut check = || -> Result<()> {
        tries += 1;
        let answer = raw.syn(at(phantom_v4(7), 2000 + tries), at(NODE_V4, CHECKED), 1)?;
        ensure!(answer == Answer::Rst, "{answer:?}");
        Ok(())
    };
    let refused = |m: &Metrics| {
        let refused = [("outcome", "refused")];
        sum(m, "tracer_handshakes_total", CHECKED, &refused)
    };
    // Three spells of 20 s.
    let mut found = None;
    for _ in 0..40 {
        check()?;
        std::thread::sleep(Duration::from_secs(2));
        found = Some(tracer.metrics()?).filter(|m| refused(m) > 0);
        if found.is_some() {
            break;
        }
    }
    let before = found.context("no series of its own")?;
    for _ in 0..5 {
        check()?;
    }
    let counted = |m: &Metrics| attempts(m, CHECKED) == attempts(&before, CHECKED) + 5;
    let after = tracer.metrics_when(LIMIT, "not counted", |m| counted(m) && refused(m) > 5)?;
    after.balanced()?;
    let fallen = after.fallen_since(&before);
    ensure!(fallen.is_empty(), "{fallen:?}");
    Ok(())
}

/// Every port there is, watched and scanned: memory goes by what came, not by what is
/// watched.
#[test]
fn of_every_port_watched() -> Result<()> {
    let scene = Scene::new()?;
    let server = (NODE_V4, SERVED_LATE);
    let _server = Server::start(&scene.bed.node, server, Behaviour::Echo)?;
    let args = ["--interface", "eth0", "--node-ports", "1-65535"];
    let tracer = Tracer::start(&scene.bed.node, &args)?;
    charged(&tracer, EVERY_PORT)?;
    scan(&scene, 100, 1)?;
    let all = u64::from(u16::MAX);
    let metrics = tracer.metrics_when(LIMIT, "not all counted", |m| all_attempts(m) == all)?;
    metrics.balanced()?;
    let scanned = SERVED_LATE.to_string();
    ensure!(!ports(&metrics).contains(&scanned), "a row was left");
    // Connections show that it is somebody's: those from then on are its own.
    let dial = Dial::new(&scene.bed.client, server).limit(LIMIT);
    let after = poll_until(LIMIT, "no row of its own", || {
        drop(dial.stream()?);
        let metrics = tracer.metrics()?;
        Ok(ports(&metrics).contains(&scanned).then_some(metrics))
    })?;
    after.balanced()?;
    let fallen = after.fallen_since(&metrics);
    ensure!(fallen.is_empty(), "{fallen:?}");
    charged(&tracer, EVERY_PORT)
}

/// A Service at each port there is: all of them have their series, and that is
/// the most there can be.
#[test]
fn of_ports_that_all_have_a_name() -> Result<()> {
    let scene = Scene::new()?;
    let dir = ScratchDir::new()?;
    let mut names = "ports:\n".to_owned();
    for port in WATCHED {
        let _ = writeln!(
            names,
            "- {{node_port: {port}, namespace: shop, service: s{port}}}"
        );
    }
    let names = dir.write("names.yaml", &names)?;
    let names = names.to_str().context("path")?;
    let args = ["--interface", "eth0", "--services", names];
    let tracer = Tracer::start(&scene.bed.node, &args)?;
    scan(&scene, 100, 2)?;
    let all = 2 * watched() as u64;
    let metrics = tracer.metrics_when(LIMIT, "not all counted", |m| all_attempts(m) == all)?;
    metrics.balanced()?;
    eprintln!(
        "{} series, {} bytes",
        metrics.len(),
        tracer.scrape("*/*")?.len()
    );
    assert_eq!(ports(&metrics).len(), watched() + 1);
    ensure!(
        metrics.len() < watched() * SERIES_EACH,
        "{} series",
        metrics.len()
    );
    memory(&tracer, RESIDENT)
}
