//! More clients connect than the table of connections has places: the counts are whole,
//! and no verdict takes what was not told apart for what did not work.

use std::{net::SocketAddr, process::Command};

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;
use serde_json::Value;
use testbed::{
    Topology, Tracer,
    addr::{NODE_V4, phantom_v4},
    peer::{Behaviour, Dial, Server},
};

use super::tables::{LIMIT, lost};

/// The hooks see the sockets of every namespace: these are this file's.
const PORTS: &str = "31534-31535";
const CLOSED: u16 = 31534;
const OPEN: u16 = 31535;
/// Places of the table.
const PLACES: u32 = 1024;
const MORE: u32 = 200;

fn node(port: u16) -> SocketAddr {
    (NODE_V4, port).into()
}

fn findings(tracer: &Tracer<'_>) -> Result<Value> {
    let mut command = Command::new(Tracer::binary()?);
    command.args(["explain", "--last", "5m", "-o", "json", "--socket"]);
    let output = command.arg(tracer.socket()).output()?;
    let mut told: Value = serde_json::from_slice(&output.stdout)?;
    Ok(told["verdicts"].take())
}

#[test]
fn more_clients_than_places() -> Result<()> {
    let bed = Topology::builder().pods(0).build()?;
    bed.client.ip("route add local 172.16.0.0/12 dev lo\n")?;
    let _server = Server::start(&bed.node, node(OPEN), Behaviour::Echo)?;
    let args = ["--node-ports", PORTS, "--handshake-timeout", "1s"];
    let tracer = Tracer::start(&bed.node, &args)?;
    let refused = Dial::new(&bed.client, node(CLOSED)).connect()?.err();
    ensure!(refused == Some(Errno::ECONNREFUSED), "{refused:?}");
    tracer.metrics_when(LIMIT, "the refusal is not judged", |metrics| {
        metrics.sum("tracer_handshake_failures_total", &[]) == 1.0
    })?;
    let before = findings(&tracer)?;
    let certainty = before[0]["certainty"].as_str().context("no finding")?;
    // Nobody empties the table meanwhile.
    tracer.pause()?;
    for i in 0..PLACES + MORE {
        let from = SocketAddr::from((phantom_v4(i), 0));
        Dial::new(&bed.client, node(OPEN))
            .from(from)
            .connect_fin()?;
    }
    tracer.resume()?;
    let full = tracer.metrics_when(LIMIT, "nothing is lost", |metrics| {
        lost(metrics, "served") == f64::from(MORE)
    })?;
    full.balanced()?;
    let log = tracer.process().stderr();
    let line = log.lines().find(|line| line.contains("stage=served"));
    line.context("not told")?;
    let after = findings(&tracer)?;
    let finding = &after[0];
    let kind = |finding: &Value| finding["verdict"].clone();
    ensure!(kind(finding) == kind(&before[0]), "{finding:#}");
    ensure!(certainty == "certain", "{before:#}");
    ensure!(finding["certainty"] == "likely", "{finding:#}");
    let text = finding["evidence"].to_string();
    ensure!(
        text.contains("200 other connections of this window"),
        "{text}"
    );
    Ok(())
}
