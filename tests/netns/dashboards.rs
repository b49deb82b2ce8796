//! Every query of the dashboards, asked of a real Prometheus that scrapes real daemons on two
//! nodes and has the shipped rules: each returns something. (Those of CloudWatch cannot be asked.)

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testbed::{
    KubeProxy, Mode, ServicePort, Tracer,
    cleanup::ScratchDir,
    cluster::{self, Cluster},
    http,
    peer::{Behaviour, Dial, Server, thrift::Message},
    peers::{Prometheus, prometheus::LISTEN},
    process::poll_until,
};

const NODES: usize = 2;
const METRICS_PORT: u16 = 9400;
/// Answers; nothing listens; no endpoints.
const PORTS: [u16; 3] = [31801, 31802, 31803];
const TARGETS: [Option<u16>; 3] = [Some(9801), Some(9802), None];
const LIMIT: Duration = Duration::from_secs(90);
const BOARDS: [&str; 3] = ["fleet", "node", "service"];

/// Writes what the pictures of docs/pictures are drawn from.
#[path = "dashboards/pictures.rs"]
mod pictures;

/// What Grafana puts for the variables; windows are shorter, as scrapes are more frequent.
const VARIABLES: [(&str, &str); 9] = [
    ("$cluster", ".*"),
    ("$job", "tracer"),
    ("$instance", "10.60.0.1:9400"),
    ("$namespace", "thrift"),
    ("$service", "apps"),
    ("$sources", "2"),
    ("$interval", "10"),
    ("$__rate_interval", "10s"),
    ("$__range", "1m"),
];

/// A query, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Query {
    place: String,
    promql: String,
}

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(path)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn substituted(expr: &str) -> String {
    let mut promql = expr.to_owned();
    for (name, value) in VARIABLES {
        promql = promql.replace(name, value);
    }
    promql
}

/// All queries of a dashboard to Prometheus: of its panels and of its variables.
fn queries(name: &str) -> Result<Vec<Query>> {
    let file = std::fs::read_to_string(deploy(&format!("grafana/{name}.json")))?;
    let board: Value = serde_json::from_str(&file)?;
    let mut queries = Vec::new();
    for panel in list(&board["panels"]) {
        for target in list(&panel["targets"]) {
            if target["datasource"]["type"] != "prometheus" {
                continue;
            }
            let place = format!(
                "{name}: {}: {}",
                text(&panel["title"]),
                text(&target["refId"])
            );
            queries.push((place, text(&target["expr"]).to_owned()));
        }
    }
    for variable in list(&board["templating"]["list"]) {
        let query = text(&variable["query"]["query"]);
        // Targets have no cluster here.
        if query.is_empty() || variable["name"] == "cluster" {
            continue;
        }
        let (series, label) = query
            .strip_prefix("label_values(")
            .and_then(|rest| rest.strip_suffix(')'))
            .and_then(|rest| rest.rsplit_once(", "))
            .with_context(|| query.to_owned())?;
        let place = format!("{name}: ${}", text(&variable["name"]));
        queries.push((place, format!("count by ({label}) ({series})")));
    }
    let substituted = queries.into_iter().map(|(place, expr)| {
        let promql = substituted(&expr);
        ensure!(!promql.contains('$'), "{place}: {promql}");
        Ok(Query { place, promql })
    });
    substituted.collect()
}

/// Servers and rules of the three ports, on every node.
fn services(cluster: &Cluster) -> Result<Vec<Server>> {
    let mut rules = KubeProxy::new(Mode::IptablesNft);
    for (port, target) in PORTS.into_iter().zip(TARGETS) {
        let mut service = ServicePort::new(&format!("thrift/apps:p{port}"), port);
        if let Some(target) = target {
            service = service.backend(cluster::pod(0, target));
        }
        rules = rules.port(service);
    }
    for node in &cluster.nodes {
        rules.apply(&node.ns)?;
    }
    let server = Server::start(
        &cluster.nodes[0].pod,
        cluster::pod(0, 9801),
        Behaviour::Echo,
    )?;
    Ok(vec![server])
}

fn daemons<'a>(cluster: &'a Cluster, names: &Path) -> Result<Vec<Tracer<'a>>> {
    let (names, binary) = (names.to_string_lossy(), Tracer::binary()?);
    let start = |(i, node): (usize, &'a cluster::Node)| {
        let args = [
            "--interface",
            "eth0",
            "--node-ports",
            "31801-31803",
            "--services",
            &names,
            "--backend-metrics",
            "--idle-after",
            "1s",
        ];
        Tracer::start_at(&node.ns, &binary, cluster::node(i, METRICS_PORT), &args)
    };
    cluster.nodes.iter().enumerate().map(start).collect()
}

/// Checks, calls and failures at every node.
fn traffic(cluster: &Cluster) -> Result<()> {
    let request = Message::call("ping").strict();
    for node in 0..NODES {
        let dial = |port| Dial::new(&cluster.balancers[0], cluster::node(node, port));
        dial(PORTS[0]).connect_fin()?;
        dial(PORTS[0]).call(&request, &mut vec![0; request.len()])?;
        for port in &PORTS[1..] {
            ensure!(dial(*port).connect()?.is_err(), "port {port} answers");
        }
    }
    Ok(())
}

/// Whether there is a row with a number in it.
fn answers(prometheus: &Prometheus<'_>, query: &Query) -> Result<bool> {
    let rows = prometheus
        .query(&query.promql)
        .with_context(|| query.place.clone())?;
    let number = |row: &Value| text(&row["value"][1]).parse().is_ok_and(f64::is_finite);
    Ok(rows.iter().any(number))
}

#[test]
fn every_query_of_the_dashboards_returns_rows() -> Result<()> {
    let cluster = Cluster::new(NODES, 1)?;
    let _servers = services(&cluster)?;
    let dir = ScratchDir::new()?;
    let names = PORTS.map(|port| {
        format!("  - {{node_port: {port}, namespace: thrift, service: apps, port_name: p{port}}}\n")
    });
    let names = dir.write("services.yaml", &format!("ports:\n{}", names.concat()))?;
    let _tracers = daemons(&cluster, &names)?;
    let targets: Vec<_> = (0..NODES).map(|i| cluster::node(i, METRICS_PORT)).collect();
    let rules = ["tracer.rules.yaml", "tracer.alerts.yaml"];
    let rules = rules.map(|name| deploy(&format!("prometheus/{name}")));
    let prometheus = Prometheus::start(&cluster.monitor, &targets, &rules)?;
    let _spare = Dial::new(&cluster.balancers[0], cluster::node(0, PORTS[0])).stream()?;
    let mut empty = BTreeSet::new();
    for name in BOARDS {
        empty.extend(queries(name)?);
    }
    assert!(empty.len() > 60, "{}", empty.len());
    let start = Instant::now();
    while !empty.is_empty() && start.elapsed() < LIMIT {
        traffic(&cluster)?;
        let mut still = BTreeSet::new();
        for query in empty {
            if !answers(&prometheus, &query)? {
                still.insert(query);
            }
        }
        empty = still;
    }
    ensure!(empty.is_empty(), "these returned nothing: {empty:#?}");
    rules_work(&cluster, &prometheus)
}

/// No rule fails, and the alerts of what is broken here are on their way.
fn rules_work(cluster: &Cluster, prometheus: &Prometheus<'_>) -> Result<()> {
    let page = http::get(
        &cluster.monitor,
        LISTEN,
        "/api/v1/rules",
        "application/json",
    )?;
    let answer: Value = serde_json::from_str(&page.body)?;
    let groups = list(&answer["data"]["groups"]).iter();
    let rules: Vec<&Value> = groups.flat_map(|group| list(&group["rules"])).collect();
    ensure!(rules.len() > 20, "{} rules", rules.len());
    for rule in rules {
        ensure!(rule["health"] == "ok", "{rule}");
    }
    let unanswered = |port: u16| ("TracerPortUnanswered".to_owned(), port.to_string());
    let expected = BTreeSet::from([unanswered(PORTS[1]), unanswered(PORTS[2])]);
    poll_until(LIMIT, "other alerts", || {
        // No alert is about one failure or two.
        traffic(cluster)?;
        let rows = prometheus.query("count by (alertname, node_port) (ALERTS)")?;
        let label = |row: &Value, name: &str| text(&row["metric"][name]).to_owned();
        let alerts: BTreeSet<(String, String)> = rows
            .iter()
            .map(|row| (label(row, "alertname"), label(row, "node_port")))
            .filter(|(name, _)| name != "TracerHookDegraded")
            .collect();
        Ok((alerts == expected).then_some(()))
    })
}
