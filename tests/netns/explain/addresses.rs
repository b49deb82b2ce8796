//! `tracer events` tells which of the node's addresses was dialled: of two families,
//! of several on one interface, and of one that came while the daemon ran.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use testbed::{
    Topology,
    addr::{NODE_V4, NODE_V6, client_v4, client_v6},
    peer::Dial,
    process::poll_until,
};

use super::{
    expect::ask,
    scenario::{OPTIONS, Scenario},
    scene::{SOON, Scene},
};

#[derive(Debug, Deserialize)]
struct Event {
    client: SocketAddr,
    address: IpAddr,
    interface: Option<String>,
    node_port: u16,
}

/// By client and address dialled.
type Counts = BTreeMap<(IpAddr, IpAddr), usize>;

const PORT: u16 = 31600;

const SCENARIO: Scenario = Scenario {
    topology: || Topology::builder().pods(2).client_addresses(2),
    services: |s| vec![s.service().backend(s.pod(0, 9099))],
    ..Scenario::new(PORT)
};

fn counts(text: &str) -> Result<Counts> {
    let mut counts = Counts::new();
    for line in text.lines() {
        let event: Event = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let by_eth0 = event.interface.as_deref() == Some("eth0");
        ensure!(event.node_port == PORT && by_eth0, "{event:?}");
        *counts
            .entry((event.client.ip(), event.address))
            .or_default() += 1;
    }
    Ok(counts)
}

#[test]
fn vm_the_address_dialled_is_told() -> Result<()> {
    let s = Scene::new(&SCENARIO)?;
    s.bed.node.ip("addr add 10.60.0.2/24 dev eth0\n")?;
    let tracer = s.trace(OPTIONS)?;
    s.bed.node.ip("addr add 10.60.0.3/24 dev eth0\n")?;
    poll_until(SOON * 5, "10.60.0.3 is not seen", || {
        let log = tracer.process().stderr();
        Ok(log.contains("own address added").then_some(()))
    })?;
    let (second, third) = ([10, 60, 0, 2].into(), [10, 60, 0, 3].into());
    let (first, v6): (IpAddr, IpAddr) = (NODE_V4.into(), NODE_V6.into());
    let client = |i: u8, to: IpAddr| match to {
        IpAddr::V4(_) => IpAddr::from(client_v4(i)),
        IpAddr::V6(_) => IpAddr::from(client_v6(i)),
    };
    let dials = [
        (0, first, 2),
        (1, first, 1),
        (1, second, 3),
        (0, third, 1),
        (0, v6, 1),
        (1, v6, 2),
    ];
    let mut expected = Counts::new();
    for (from, to, count) in dials {
        let from = client(from, to);
        expected.insert((from, to), count);
        let dial = Dial::new(&s.bed.client, SocketAddr::new(to, PORT));
        let dial = dial.from(SocketAddr::new(from, 0)).limit(SOON);
        for _ in 0..count {
            ensure!(dial.connect()?.is_err(), "{from} was served at {to}");
        }
    }
    let port = PORT.to_string();
    let mut seen = Counts::new();
    let told = poll_until(SOON * 8, "not all are told", || {
        let (status, text, error) = ask(&tracer, &["events", "-o", "json", "--port", &port])?;
        ensure!(status == 0, "exit status {status}: {error}");
        seen = counts(&text)?;
        Ok((seen == expected).then_some(()))
    });
    told.with_context(|| format!("seen {seen:#?}\nexpected {expected:#?}"))
}
