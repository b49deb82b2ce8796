//! The tracer's counts against those of real peers: HAProxy's checks, Apache
//! Thrift's clients, a Prometheus that scrapes.

#[path = "peers/pages.rs"]
mod pages;

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::Result;
use testbed::{
    Capture, KubeProxy, Metrics, Mode, Netns, ServicePort, Topology, Tracer,
    addr::{NODE_V4, NODE_V6, client_v4, pod_v4, pod_v6},
    oracle,
    peer::{
        Behaviour, Dial, Server,
        thrift::{Kind, Message},
    },
    peers::{
        Haproxy,
        haproxy::{Check, Listener, Stat},
        thrift::{self, Wire},
    },
    process::poll_until,
};

/// The hooks see the sockets of every namespace: these ports are this test's.
const HALF_OPEN: u16 = 31120;
const FIN: u16 = 31121;
const RST: u16 = 31122;
const IPV6: u16 = 31123;
const DIES: u16 = 31124;
const WIRES: [(Wire, u16, &str); 3] = [
    (Wire::Binary, 31126, "binary"),
    (Wire::Framed, 31127, "binary"),
    (Wire::Compact, 31128, "compact"),
];

const ARGS: [&str; 6] = [
    "--interface",
    "eth0",
    "--node-ports",
    "31120-31132",
    "--idle-after",
    "1s",
];
const LIMIT: Duration = Duration::from_secs(30);
const HANDSHAKES: &str = "tracer_handshakes_total";

fn at(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into(), port)
}

fn service(node_port: u16, pod_port: u16) -> ServicePort {
    ServicePort::new(&format!("default/p{node_port}:thrift"), node_port)
        .backend(at(pod_v4(0), pod_port))
        .backend(at(pod_v6(0), pod_port))
}

/// A listener of HAProxy's, at the client, with the port's own number.
fn listener(name: &str, node: IpAddr, port: u16, check: Check) -> Listener {
    Listener {
        name: name.to_owned(),
        bind: at(client_v4(0), port),
        target: at(node, port),
        source: None,
        check,
    }
}

/// Handshakes of a port by outcome and class; zeros are left out.
fn handshakes(metrics: &Metrics, port: u16) -> BTreeMap<(String, String), f64> {
    let port = port.to_string();
    let labels = [("node_port", port.as_str())];
    let series = metrics.series(HANDSHAKES, &labels);
    series
        .filter(|(_, value)| *value > 0.0)
        .map(|(labels, value)| {
            (
                (labels["outcome"].clone(), labels["traffic"].clone()),
                value,
            )
        })
        .collect()
}

fn drained(metrics: &Metrics) -> bool {
    metrics.sum("tracer_handshakes_pending", &[]) == 0.0
}

fn one(outcome: &str, traffic: &str, count: f64) -> BTreeMap<(String, String), f64> {
    BTreeMap::from([((outcome.to_owned(), traffic.to_owned()), count)])
}

/// A HAProxy that checks each port in its own way, ten times a second.
fn checks(client: &Netns) -> Result<Haproxy> {
    let every = Duration::from_millis(100);
    let (four, six) = (NODE_V4.into(), NODE_V6.into());
    Haproxy::start(
        client,
        &[
            listener("half-open", four, HALF_OPEN, Check::HalfOpen(every)),
            listener("fin", four, FIN, Check::Full(every)),
            listener("rst", four, RST, Check::Connect(every)),
            listener("ipv6", six, IPV6, Check::HalfOpen(every)),
            listener("dies", four, DIES, Check::HalfOpen(every)),
        ],
    )
}

/// Both say that nothing has failed, and every attempt was a check.
fn healthy(stats: &BTreeMap<String, Stat>, metrics: &Metrics) {
    for (name, port, outcome) in [
        ("half-open", HALF_OPEN, "half_open"),
        ("fin", FIN, "established"),
        ("rst", RST, "half_open"),
        ("ipv6", IPV6, "half_open"),
    ] {
        let stat = &stats[name];
        assert_eq!(
            (stat.status.as_str(), stat.failed_checks),
            ("UP", 0),
            "{stat:?}"
        );
        assert_eq!(stat.last_check, "L4OK", "{stat:?}");
        let label = port.to_string();
        let attempts = metrics.sum("tracer_attempts_total", &[("node_port", &label)]);
        assert_eq!(
            handshakes(metrics, port),
            one(outcome, "health_check", attempts)
        );
    }
}

#[test]
fn haproxy_checks_are_no_failures() -> Result<()> {
    let bed = Topology::builder().build()?;
    let pod = &bed.pods[0];
    let _four = Server::start(pod, at(pod_v4(0), 9090), Behaviour::Echo)?;
    let _six = Server::start(pod, at(pod_v6(0), 9090), Behaviour::Echo)?;
    let dies = Server::start(pod, at(pod_v4(0), 9091), Behaviour::Echo)?;
    let ports = [HALF_OPEN, FIN, RST, IPV6, DIES];
    let mut rules = KubeProxy::new(Mode::IptablesNft).port(service(DIES, 9091));
    for port in [HALF_OPEN, FIN, RST, IPV6] {
        rules = rules.port(service(port, 9090));
    }
    rules.apply(&bed.node)?;
    let capture = Capture::start(&bed.node, "eth0", "tcp or icmp or icmp6")?;
    let tracer = Tracer::start(&bed.node, &ARGS)?;
    let haproxy = checks(&bed.client)?;
    tracer.metrics_when(LIMIT, "twenty checks of each port", |metrics| {
        let attempts =
            |port: &u16| metrics.get("tracer_attempts_total", &[("node_port", &port.to_string())]);
        ports.iter().all(|port| attempts(port) >= Some(20.0))
    })?;
    drop(dies);
    let stats = poll_until(LIMIT, "a dead target is not seen", || {
        let stats = haproxy.stats()?;
        Ok((stats["dies"].status == "DOWN").then_some(stats))
    })?;
    drop(haproxy);
    let metrics = tracer.metrics_when(LIMIT, "still pending", drained)?;
    let judged = oracle::judge(&capture.stop()?, &ports)?;
    let differences = oracle::differences(&judged, &oracle::from_metrics(&metrics));
    assert!(differences.is_empty(), "\n{differences}");
    healthy(&stats, &metrics);
    let dead = handshakes(&metrics, DIES);
    let refused = dead[&("refused".to_owned(), "unknown".to_owned())];
    // HAProxy counts those that brought it down, not those after.
    assert_eq!(stats["dies"].failed_checks, 6);
    assert!(refused >= 6.0, "{dead:?}");
    assert_eq!(dead.len(), 2, "{dead:?}");
    Ok(())
}

/// What all clients of one wire format counted, directly and through HAProxy.
fn calls(client: &Netns, wire: Wire, port: u16) -> Result<(f64, f64)> {
    let python = thrift::python()?;
    let load = thrift::Load {
        wire,
        connections: Some(6),
        calls: 5,
        pause: Duration::ZERO,
    };
    let targets = [at(NODE_V4, port), at(NODE_V6, port), at(client_v4(0), port)];
    let started = targets.map(|to| thrift::Client::start(client, &python, to, load));
    let mut total = (0.0, 0.0);
    for client in started {
        let counts = client?.finish(LIMIT)?;
        assert_eq!(counts.failed, 0, "{wire}");
        total.0 += counts.connections as f64;
        total.1 += counts.ok as f64;
    }
    Ok(total)
}

fn messages(metrics: &Metrics, port: u16, kind: &str, protocol: &str) -> Option<f64> {
    let port = port.to_string();
    let labels = [
        ("node_port", port.as_str()),
        ("type", kind),
        ("protocol", protocol),
    ];
    metrics.get("tracer_thrift_messages_total", &labels)
}

fn connections(metrics: &Metrics, port: u16, traffic: &str) -> Option<f64> {
    let port = port.to_string();
    metrics.get(
        "tracer_connections_total",
        &[("node_port", &port), ("traffic", traffic)],
    )
}

#[test]
fn thrift_clients_and_the_tracer_count_the_same() -> Result<()> {
    let python = thrift::python()?;
    let bed = Topology::builder().build()?;
    let mut rules = KubeProxy::new(Mode::Nftables);
    let mut servers = Vec::new();
    let mut listeners = Vec::new();
    for (wire, port, _) in WIRES {
        for pod in [at(pod_v4(0), port), at(pod_v6(0), port)] {
            servers.push(thrift::Server::start(&bed.pods[0], &python, pod, wire)?);
        }
        rules = rules.port(service(port, port));
        listeners.push(listener(
            &wire.to_string(),
            NODE_V4.into(),
            port,
            Check::Off,
        ));
    }
    rules.apply(&bed.node)?;
    let tracer = Tracer::start(&bed.node, &ARGS)?;
    let haproxy = Haproxy::start(&bed.client, &listeners)?;
    let mut counted = Vec::new();
    for (wire, port, _) in WIRES {
        counted.push(calls(&bed.client, wire, port)?);
    }
    let metrics = tracer.metrics_when(LIMIT, "still pending", drained)?;
    let stats = haproxy.stats()?;
    for ((wire, port, protocol), (made, ok)) in WIRES.into_iter().zip(&counted) {
        assert_eq!((*made, *ok), (18.0, 90.0), "{wire}");
        assert_eq!(stats[&wire.to_string()].sessions, 6);
        assert_eq!(
            messages(&metrics, port, "call", protocol),
            Some(*ok),
            "{wire}"
        );
        assert_eq!(
            messages(&metrics, port, "reply", protocol),
            Some(*ok),
            "{wire}"
        );
        assert_eq!(connections(&metrics, port, "thrift"), Some(*made), "{wire}");
        assert_eq!(
            handshakes(&metrics, port),
            one("established", "thrift", *made)
        );
    }
    let all: f64 = counted.iter().map(|(_, ok)| 2.0 * ok).sum();
    assert_eq!(metrics.sum("tracer_thrift_messages_total", &[]), all);
    used_late(&bed.client, &tracer)
}

/// A connection opened in advance, as pools do, that carries a call at last.
fn used_late(client: &Netns, tracer: &Tracer<'_>) -> Result<()> {
    let (_, port, protocol) = WIRES[0];
    let before = tracer.metrics()?;
    let mut stream = Dial::new(client, at(NODE_V4, port)).stream()?;
    let mut expected = handshakes(&before, port);
    expected.extend(one("established", "idle", 1.0));
    let idle = tracer.metrics_when(LIMIT, "not idle", |metrics| {
        handshakes(metrics, port) == expected
    })?;
    assert_eq!(connections(&idle, port, "thrift"), Some(18.0));
    assert_eq!(connections(&idle, port, "idle"), Some(0.0));
    stream.write_all(&Message::call("get").strict())?;
    let mut reply = [0; 4];
    stream.read_exact(&mut reply)?;
    assert_eq!(reply, [0x80, 1, 0, Kind::Reply as u8]);
    let used = tracer.metrics()?;
    assert_eq!(connections(&used, port, "thrift"), Some(19.0));
    assert_eq!(messages(&used, port, "call", protocol), Some(91.0));
    assert_eq!(handshakes(&used, port), expected);
    drop(stream);
    Ok(())
}
