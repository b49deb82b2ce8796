//! `tracer replay` on a capture that was taken while the daemon ran: the same
//! numbers, from the same machine.

#[path = "mixed.rs"]
mod mixed;

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use testbed::{
    Capture, Metrics, RawClient, Tracer,
    addr::{NODE_V4, NODE_V6, phantom_v4, phantom_v6},
    metrics::Labels,
    peer::Dial,
};

use mixed::{PORTS, at, dials, oddities, scene};

const LIMIT: Duration = Duration::from_secs(60);
/// Interfaces to capture on, and what. Nothing that makes tcpdump lose packets: long ones
/// make for few places in its ring, the scrapes are many, and `any` has each packet of a pod
/// several times.
const CAPTURES: [(&str, &str); 2] = [
    ("eth0", "-s 256 not port 9400 and ( tcp or icmp or icmp6 )"),
    (
        "any",
        "-s 256 portrange 31100-31107 or port 9 or icmp or icmp6",
    ),
];
/// Everything that packets alone decide.
const FAMILIES: [&str; 10] = [
    "tracer_attempts_total",
    "tracer_handshakes_total",
    "tracer_handshakes_pending",
    "tracer_untracked_syns_total",
    "tracer_connections_total",
    "tracer_connections_open",
    "tracer_connection_closes_total",
    "tracer_retransmits_total",
    "tracer_resets_total",
    "tracer_thrift_messages_total",
];

type Series = BTreeMap<(&'static str, Labels), f64>;

fn series(metrics: &Metrics) -> Series {
    let families = FAMILIES.iter();
    let all = families.flat_map(|name| {
        let found = metrics.series(name, &[]);
        found.map(|(labels, value)| ((*name, labels.clone()), value))
    });
    all.filter(|(_, value)| *value != 0.0).collect()
}

/// What only one of both has, or both have with another value.
fn differences(daemon: &Series, replay: &Series) -> Vec<String> {
    let keys = daemon.keys().chain(replay.keys());
    let mut found: Vec<String> = keys
        .filter(|key| daemon.get(*key) != replay.get(*key))
        .map(|key| {
            let (daemon, replay) = (daemon.get(key), replay.get(key));
            format!("{key:?}: daemon {daemon:?}, replay {replay:?}")
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

#[test]
fn a_capture_of_the_edge_gives_the_daemon_s_numbers() -> Result<()> {
    let (bed, _servers) = scene()?;
    let captures = CAPTURES.map(|(interface, filter)| {
        Capture::start(&bed.node, interface, filter).with_context(|| interface)
    });
    let captures: Vec<Capture> = captures.into_iter().collect::<Result<_>>()?;
    let args = ["--node-ports", PORTS, "--idle-after", "3s"];
    let tracer = Tracer::start(&bed.node, &[&args[..], &["--interface", "eth0"]].concat())?;
    let raw = RawClient::open(&bed.client)?;
    oddities(&raw, NODE_V4.into(), phantom_v4(1).into())?;
    oddities(&raw, NODE_V6.into(), phantom_v6(1).into())?;
    for node in [IpAddr::from(NODE_V4), NODE_V6.into()] {
        dials(&bed.client, node)?;
    }
    let mut last = None;
    let metrics = tracer.metrics_when(LIMIT, "it does not come to rest", |metrics| {
        let now = series(metrics);
        let rest = metrics.sum("tracer_handshakes_pending", &[]) == 0.0
            && last.as_ref() == Some(&now)
            && mixed::embryos(&bed.pods[0]).is_ok_and(|embryos| embryos == 0);
        last = Some(now);
        rest
    })?;
    assert_eq!(metrics.sum("tracer_events_lost_total", &[]), 0.0);
    // A capture's time ends with its last packet.
    let later = Dial::new(&bed.client, at(NODE_V4, 9)).connect()?;
    ensure!(later.is_err(), "something listens on port 9");
    let daemon = series(&metrics);
    ensure!(daemon.len() > 20, "too little has happened: {daemon:?}");
    let node = [NODE_V4.to_string(), NODE_V6.to_string()].join(",");
    for (capture, (interface, _)) in captures.into_iter().zip(CAPTURES) {
        let captured = capture.stop()?;
        for extra in [&[][..], &["--node-address", &node]] {
            let replayed = Tracer::replay(captured.path(), &[&args[..], extra].concat())?;
            let differences = differences(&daemon, &series(&replayed));
            assert!(
                differences.is_empty(),
                "{interface}: {}\n{}",
                captured.lost(),
                differences.join("\n")
            );
        }
    }
    Ok(())
}
