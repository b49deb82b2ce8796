//! Idle connections by the hundred thousand: the flow table is full, and stays
//! so for as long as they are.

use std::{
    net::{IpAddr, SocketAddr},
    ops::Range,
};

use anyhow::{Result, ensure};
use testbed::{
    RawClient, Tracer,
    addr::{NODE_V4, phantom_v4},
    flood::Frames,
    process::poll_until,
    segment::{Segment, flags},
};

use crate::bed::{Before, LIMIT, QUIET, SILENT, Scene, at, attempts, sum};

/// Four times what the table holds.
const IDLE: u32 = 200_000;

/// A client's three segments up to an established connection; the node's
/// SYN-ACK is sent by [`answers`].
fn connection(number: u32) -> (SocketAddr, SocketAddr) {
    let port = 1024 + (number % 50_000) as u16;
    (at(phantom_v4(number), port), at(NODE_V4, SILENT))
}

/// Two sides whose kernels know nothing of it: SYN, SYN-ACK, ACK.
fn establish(scene: &Scene, numbers: Range<u32>) -> Result<()> {
    let to_node = Frames::to_node(&scene.bed.client)?;
    let from_node = Frames::from_node(&scene.bed.node)?;
    for first in numbers.clone().step_by(50) {
        let each = || (first..numbers.end.min(first + 50)).map(connection);
        to_node.send(each().map(|(c, n)| Segment::syn(c, n, 1)))?;
        let syn_ack = flags::SYN | flags::ACK;
        from_node.send(each().map(|(c, n)| Segment::new(n, c, syn_ack, 7, 2)))?;
        to_node.send(each().map(|(c, n)| Segment::new(c, n, flags::ACK, 2, 8)))?;
    }
    Ok(())
}

#[test]
fn more_idle_connections_than_places() -> Result<()> {
    let scene = Scene::new()?;
    let tracer = scene.trace(&["--handshake-timeout", "1s", "--idle-after", "2s"])?;
    // One, so that its port has the series of connections.
    establish(&scene, IDLE..IDLE + 1)?;
    let before = Before::flood(&scene, &tracer)?;
    let first = tracer.metrics()?;
    let drops = scene.drops()?;
    establish(&scene, 0..IDLE)?;
    ensure!(scene.drops()? == drops, "the links dropped frames");
    let metrics = before.holds(&tracer)?;
    let rise = |name, labels: &[_]| {
        sum(&metrics, name, SILENT, labels) - sum(&first, name, SILENT, labels)
    };
    let attempted = attempts(&metrics, SILENT) - attempts(&first, SILENT);
    assert_eq!(attempted, u64::from(IDLE));
    let untracked = rise("tracer_untracked_syns_total", &[]);
    let idle = [("outcome", "established"), ("traffic", "idle")];
    let idle = rise("tracer_handshakes_total", &idle);
    eprintln!("{idle} idle, {untracked} untracked");
    assert_eq!(idle + untracked, u64::from(IDLE));
    assert!(idle > 45_000 && untracked > 100_000, "{idle}, {untracked}");
    poll_until(LIMIT, "not told", || {
        let said = tracer.process().stderr();
        Ok(said.contains("the flow table is full").then_some(()))
    })?;
    room_again(&scene, &tracer)
}

/// When some are closed, their places go to new ones.
fn room_again(scene: &Scene, tracer: &Tracer<'_>) -> Result<()> {
    let untracked = |m: &testbed::Metrics| sum(m, "tracer_untracked_syns_total", QUIET, &[]);
    let raw = RawClient::open(&scene.bed.client)?;
    let syn_only = |port| {
        let from = at(IpAddr::from(phantom_v4(0xf_0000)), port);
        raw.syn_only(from, at(NODE_V4, QUIET), 1)
    };
    // As many as closed since, and a few more.
    for port in 2000..2100 {
        syn_only(port)?;
    }
    tracer.metrics_when(LIMIT, "the table has room", |m| untracked(m) > 0)?;
    let resets = (0..1000).map(connection);
    Frames::to_node(&scene.bed.client)?
        .send(resets.map(|(c, n)| Segment::new(c, n, flags::RST | flags::ACK, 2, 8)))?;
    let before = tracer.metrics_when(LIMIT, "not closed", |m| {
        m.sum("tracer_flows_capacity", &[]) - m.sum("tracer_flows", &[]) > 500.0
    })?;
    for port in 3000..3010 {
        syn_only(port)?;
    }
    let after = tracer.metrics_when(LIMIT, "not counted", |m| {
        attempts(m, QUIET) == attempts(&before, QUIET) + 10
    })?;
    assert_eq!(untracked(&after), untracked(&before));
    Ok(())
}
