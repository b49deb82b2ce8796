//! The pages of `/metrics` as promtool and a real Prometheus read them.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use anyhow::{Context as _, Result};
use testbed::{
    KubeProxy, Metrics, Mode, RawClient, ServicePort, Topology, Tracer,
    addr::{NODE_V4, phantom_v4, pod_v4},
    peer::{
        Behaviour, Dial, Server,
        thrift::{Kind, Message},
    },
    peers::Prometheus,
    process::{poll_until, run},
};

use super::{ARGS, HANDSHAKES, LIMIT, at, drained, service};

const SHOWN: u16 = 31130;
const CLOSED: u16 = 31131;
const EMPTY: u16 = 31132;

const TEXT: &str = "text/plain;version=0.0.4";
const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0";

/// Some of every family that needs traffic to be there.
fn show(bed: &Topology) -> Result<Vec<Server>> {
    let pod = &bed.pods[0];
    let call = Message::call("getUser").strict();
    let reply = Message {
        kind: Kind::Reply,
        ..Message::call("getUser")
    };
    let servers = vec![Server::start(
        pod,
        at(pod_v4(0), 9090),
        Behaviour::Reply(reply.strict()),
    )?];
    KubeProxy::new(Mode::IptablesNft)
        .port(service(SHOWN, 9090))
        .port(service(CLOSED, 9099))
        .port(ServicePort::new("default/empty:thrift", EMPTY))
        .apply(&bed.node)?;
    let dial = |port| Dial::new(&bed.client, at(NODE_V4, port));
    for _ in 0..5 {
        dial(SHOWN).send(&[&call])?;
        dial(SHOWN).connect_fin()?;
        assert!(dial(CLOSED).connect()?.is_err());
    }
    dial(SHOWN).send(&[b"GET / HTTP/1.0\r\n\r\n"])?;
    let raw = RawClient::open(&bed.client)?;
    raw.half_open(at(phantom_v4(1), 4001), at(NODE_V4, SHOWN), 7)?;
    raw.syn_only(at(phantom_v4(1), 4002), at(NODE_V4, EMPTY), 7)?;
    Ok(servers)
}

/// Values by the three labels, as Prometheus answers the query.
fn queried(prometheus: &Prometheus<'_>) -> Result<BTreeMap<[String; 3], f64>> {
    let query = format!("sum by (node_port, outcome, traffic) ({HANDSHAKES})");
    let row = |row: serde_json::Value| {
        let label = |name| row["metric"][name].as_str().unwrap_or("").to_owned();
        let value = row["value"][1].as_str().context("no value")?.parse()?;
        Ok((["node_port", "outcome", "traffic"].map(label), value))
    };
    prometheus.query(&query)?.into_iter().map(row).collect()
}

/// All that does not change by itself.
fn steady(metrics: &Metrics, families: &BTreeSet<String>) -> BTreeMap<String, f64> {
    let names = families.iter().filter(|name| !name.starts_with("process_"));
    let series = names.flat_map(|name| {
        ["", "_total", "_bucket", "_sum", "_count"].map(|end| format!("{name}{end}"))
    });
    series
        .flat_map(|name| {
            let found = metrics.series(&name, &[]);
            found
                .map(|(labels, value)| (format!("{name}{labels:?}"), value))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The names after `# TYPE`, without what marks a counter in the text format.
fn families(page: &str) -> BTreeSet<String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .filter_map(|line| line.split(' ').next())
        .map(|name| name.trim_end_matches("_total").to_owned())
        .collect()
}

#[test]
fn prometheus_reads_what_the_page_says() -> Result<()> {
    let bed = Topology::builder().build()?;
    let tracer = Tracer::start(&bed.node, &ARGS)?;
    let _servers = show(&bed)?;
    let metrics = tracer.metrics_when(LIMIT, "still pending", drained)?;
    let scraped: BTreeMap<[String; 3], f64> = metrics
        .series(HANDSHAKES, &[])
        .map(|(labels, value)| {
            let label = |name| labels[name].clone();
            (["node_port", "outcome", "traffic"].map(label), value)
        })
        .collect();
    assert_eq!(scraped.values().sum::<f64>(), 18.0);
    let prometheus = Prometheus::start(&bed.node, &[tracer.address()], &[])?;
    let answer = poll_until(LIMIT, "no scrape", || {
        let answer = queried(&prometheus)?;
        Ok((!answer.is_empty()).then_some(answer))
    })?;
    assert_eq!(answer, scraped);
    assert_eq!(prometheus.value("up{job=\"tracer\"}")?, 1.0);
    Ok(())
}

#[test]
fn pages_are_sound() -> Result<()> {
    let bed = Topology::builder().build()?;
    let tracer = Tracer::start(&bed.node, &ARGS)?;
    let _servers = show(&bed)?;
    tracer.metrics_when(LIMIT, "still pending", drained)?;
    let (text, open) = (tracer.scrape(TEXT)?, tracer.scrape(OPEN_METRICS)?);
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]);
    assert_eq!(run(promtool, &text)?, "");
    assert!(open.ends_with("# EOF\n"));
    let names = families(&text);
    assert_eq!(names, families(&open));
    let per_port = [
        "attempts",
        "handshakes",
        "handshakes_pending",
        "untracked_syns",
        "handshake_answer_seconds",
        "connections",
        "connections_open",
        "connection_closes",
        "retransmits",
        "resets",
        "local_connects",
        "thrift_messages",
        "hook_attached",
        "events_lost",
        "flows",
        "flows_capacity",
        "build_info",
    ];
    for name in per_port {
        assert!(
            names.contains(&format!("tracer_{name}")),
            "{name}: {names:?}"
        );
    }
    let (text, open) = (Metrics::parse(&text)?, Metrics::parse(&open)?);
    assert_eq!(text.len(), open.len());
    assert_eq!(steady(&text, &names), steady(&open, &names));
    Ok(())
}
