//! What the backends' own sockets tell: handshakes that they complete, RSTs that
//! their processes make.

use std::{io::Read as _, net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use testbed::{
    RawClient, Tracer,
    peer::{Behaviour, Dial, thrift::Message},
    process::poll_until,
    raw::Answer,
    tun::TunPeer,
};

use super::{
    expect::{BackendRow, ask, explain},
    scenario::{OPTIONS, Scenario},
    scene::{Reply, SOON, Scene, call},
};

/// Completes handshakes, but no kernel's socket does.
const ELSEWHERE: u16 = 31558;
/// Replies, then closes with the next request unread.
const HASTY: u16 = 31560;
const LIMIT: Duration = Duration::from_secs(5);

const SCENARIO: Scenario = Scenario {
    services: |s| {
        let elsewhere = s.service_at(ELSEWHERE).backend(([10, 250, 0, 9], 9090));
        let hasty = s.service_at(HASTY).backend(s.pod(0, 9091));
        vec![s.service().backend(s.pod(0, 9090)), elsewhere, hasty]
    },
    servers: |s| {
        // IPv4 clients show as ::ffff:a.b.c.d there.
        let dual = SocketAddr::from(([0_u16; 8], 9090));
        s.serve_in(&s.bed.pods[0], dual, Behaviour::Echo)?;
        s.serve(0, 9091, Behaviour::ReplyUnread(b"reply".to_vec()))
    },
    ..Scenario::new(31556)
};

#[test]
fn vm_opens_and_resets() -> Result<()> {
    let s = Scene::new(&SCENARIO)?;
    s.keep(TunPeer::late(&s.bed.node, "10.250.0.0/24", Duration::ZERO)?);
    let tracer = s.trace(OPTIONS)?;
    for _ in 0..4 {
        ensure!(call(&s.dial(SOON))?.0 == Reply::Whole);
        s.dial(SOON).connect_rst()?;
    }
    let raw = RawClient::open(&s.bed.client)?;
    for source in 4000..4003 {
        let answer = raw.half_open(s.phantom(1, source), s.node_port(s.port), 1)?;
        ensure!(matches!(answer, Answer::SynAck(_)), "{answer:?}");
    }
    for _ in 0..3 {
        let dial = Dial::new(&s.bed.client, s.node_port(ELSEWHERE));
        s.keep(dial.limit(SOON).stream()?);
    }
    for _ in 0..2 {
        hasty(&s)?;
    }
    let at = |port| backend(&tracer, port);
    let dual = poll_until(LIMIT, "not all handshakes are told", || {
        Ok(Some(at(s.port)?).filter(|b| b.passive_opens >= 8))
    })?;
    let told = (dual.place.as_str(), dual.attempts, dual.passive_opens);
    ensure!(told == ("here", 11, 8), "{dual:?}");
    let elsewhere = at(ELSEWHERE)?;
    let told = (elsewhere.attempts, elsewhere.passive_opens);
    ensure!(
        told == (3, 0) && elsewhere.place == "beyond",
        "{elsewhere:?}"
    );
    resets(&tracer, &s)
}

/// A call that is answered, and another that is not read.
fn hasty(s: &Scene) -> Result<()> {
    let mut stream = Dial::new(&s.bed.client, s.node_port(HASTY))
        .limit(SOON)
        .stream()?;
    let request = Message::call("getUser").strict();
    std::io::Write::write_all(&mut stream, &request)?;
    let mut reply = [0; 5];
    stream.read_exact(&mut reply)?;
    let end = stream.read(&mut reply).map_err(|e| e.kind());
    ensure!(end == Err(std::io::ErrorKind::ConnectionReset), "{end:?}");
    Ok(())
}

/// Healthy servers close so now and then: an event each, and no verdict.
fn resets(tracer: &Tracer<'_>, s: &Scene) -> Result<()> {
    let port = HASTY.to_string();
    let events = poll_until(LIMIT, "the resets are not told", || {
        let args = ["events", "-o", "json", "--port", &port];
        let text = ask(tracer, &args)?.1;
        Ok((text.lines().count() >= 2).then_some(text))
    })?;
    for line in events.lines() {
        let event: serde_json::Value = serde_json::from_str(line)?;
        let evidence = event["evidence"].as_str().unwrap_or_default();
        ensure!(event["outcome"] == "reset", "{line}");
        ensure!(
            evidence.starts_with("RST by the backend's process"),
            "{line}"
        );
    }
    let hasty = backend(tracer, HASTY)?;
    ensure!(
        hasty.passive_opens == 2 && hasty.failures["reset"] == 2,
        "{hasty:?}"
    );
    ensure!(hasty.address == s.pod(0, 9091));
    let (_, told) = explain(tracer, &["--last", "60s"])?;
    ensure!(told.verdicts.is_empty(), "{told:#?}");
    Ok(())
}

/// The only backend of a port.
fn backend(tracer: &Tracer<'_>, port: u16) -> Result<BackendRow> {
    let (_, told) = explain(tracer, &["--last", "60s"])?;
    let mut ports = told.ports.into_iter();
    let row = ports.find(|row| row.node_port == port).context("no row")?;
    let mut backends = row.backends;
    ensure!(backends.len() == 1, "{backends:?}");
    Ok(backends.remove(0))
}
