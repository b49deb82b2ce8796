//! Real kube-apiserver, kube-proxy, etcd and kubectl: names, outcomes and verdicts follow what
//! becomes of a Service, and counts go on whatever becomes of the API.

#[path = "kubernetes/bed.rs"]
mod bed;

use std::{collections::BTreeSet, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use bed::{Bed, End, Ends, elsewhere, pod};
use serde_json::Value;
use testbed::{
    Metrics, Policy, Topology, Tracer,
    kube_proxy::Recorded,
    kubernetes::{NOBODY, NODE, TRACER, objects},
    metrics::Labels,
    process::poll_until,
};

/// The hooks see the sockets of every namespace: this port is this test's.
const PORT: u16 = 31720;
const OTHER: u16 = 31721;
/// Until a change has come from the API through kube-proxy or tracer.
const LIMIT: Duration = Duration::from_secs(30);
const HANDSHAKES: &str = "tracer_handshakes_total";
const SYNCED: &str = "tracer_kubernetes_synced";

/// The objects of the shipped manifest, one after the other.
fn manifest() -> Result<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/manifest/tracer.yaml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    let objects = text.split("\n---\n").map(str::to_owned);
    Ok(objects.filter(|object| object.contains("kind:")).collect())
}

/// Those that give tracer its rights.
fn access() -> Result<String> {
    let kinds = [
        "Namespace",
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
    ];
    let is_access = |object: &String| {
        let kind = object.lines().find_map(|line| line.strip_prefix("kind: "));
        kind.is_some_and(|kind| kinds.contains(&kind.trim()))
    };
    let objects: Vec<String> = manifest()?.into_iter().filter(is_access).collect();
    ensure!(objects.len() == kinds.len(), "{objects:#?}");
    Ok(objects.join("\n---\n"))
}

/// The names that `/metrics` has for a port.
fn names(metrics: &Metrics, port: u16) -> BTreeSet<String> {
    let port = port.to_string();
    let labels = [("node_port", port.as_str())];
    let series = metrics.series("tracer_node_port_info", &labels);
    let name = |labels: &Labels| {
        let of = |key: &str| labels.get(key).map_or("", String::as_str);
        format!("{}/{}:{}", of("namespace"), of("service"), of("port_name"))
    };
    series.map(|(labels, _)| name(labels)).collect()
}

fn full_name(service: &str) -> String {
    format!("{}/{service}:thrift", objects::NAMESPACE)
}

/// Waits until a port has this name alone.
fn named(tracer: &Tracer<'_>, port: u16, service: &str) -> Result<Metrics> {
    let expected = BTreeSet::from([full_name(service)]);
    tracer.metrics_when(LIMIT, "the name does not follow", |metrics| {
        names(metrics, port) == expected
    })
}

fn synced(tracer: &Tracer<'_>, wanted: f64) -> Result<Metrics> {
    tracer.metrics_when(
        LIMIT,
        "tracer_kubernetes_synced does not follow",
        |metrics| metrics.get(SYNCED, &[]) == Some(wanted),
    )
}

/// Waits until `tracer explain` finds this at the port, under this name, in the last seconds: what
/// the port did before it was changed would count as evidence too.
fn explained(tracer: &Tracer<'_>, verdict: &str, service: &str) -> Result<()> {
    let mut last = Value::Null;
    let found = poll_until(LIMIT, "explain does not say so", || {
        let mut command = Command::new(Tracer::binary()?);
        command.args(["explain", "-o", "json", "--last", "10s", "--socket"]);
        let output = command.arg(tracer.socket()).output()?;
        last = serde_json::from_slice(&output.stdout)?;
        let findings = last["verdicts"].as_array().context("no verdicts")?;
        let found = findings.iter().any(|finding| {
            finding["verdict"] == verdict
                && finding["node_port"] == PORT
                && finding["service"] == full_name(service)
        });
        Ok(found.then_some(()))
    });
    found.with_context(|| format!("{verdict} of {service}: {:#}", last["verdicts"]))
}

#[test]
fn names_outcomes_and_verdicts_follow_a_service() -> Result<()> {
    let topology = Topology::builder().pods(2).build()?;
    let bed = Bed::new(&topology)?;
    let api = &bed.kubernetes;
    bed.publish("users", PORT)?;
    let tracer = bed.trace(TRACER)?;
    let mut ends = Ends::default();
    synced(&tracer, 1.0)?;
    named(&tracer, PORT, "users")?;
    ends.until(&bed, "users", End::Answered)?;
    ends.agree(&tracer)?;

    // The same NodePort under another name.
    bed.withdraw("users")?;
    bed.publish("accounts", PORT)?;
    named(&tracer, PORT, "accounts")?;
    ends.until(&bed, "accounts", End::Answered)?;
    ends.agree(&tracer)?;

    api.delete("endpointslice/accounts")?;
    ends.until(&bed, "accounts", End::Refused)?;
    explained(&tracer, "no_endpoints", "accounts")?;
    api.apply(&objects::endpoints("accounts", NODE, &[pod(0), pod(1)]))?;
    ends.until(&bed, "accounts", End::Answered)?;
    ends.agree(&tracer)?;

    // Without a kubelet kube-proxy 1.20 drops nothing: its own listener answers.
    api.apply(&objects::service("accounts", PORT, Policy::Local))?;
    api.apply(&objects::endpoints("accounts", "node9", &[elsewhere()]))?;
    ends.until(&bed, "accounts", End::Held)?;
    Recorded::apply_kubelet(&topology.node)?;
    ends.until(&bed, "accounts", End::Silent)?;
    explained(&tracer, "no_local_endpoint", "accounts")?;
    api.apply(&objects::endpoints("accounts", NODE, &[pod(0)]))?;
    api.apply(&objects::service("accounts", PORT, Policy::Cluster))?;
    ends.until(&bed, "accounts", End::Answered)?;
    named(&tracer, PORT, "accounts")?;
    ends.agree(&tracer)
}

#[test]
fn counts_go_on_and_names_stay_without_the_api() -> Result<()> {
    let topology = Topology::builder().pods(2).build()?;
    let mut bed = Bed::new(&topology)?;
    bed.publish("users", PORT)?;
    let tracer = bed.trace(TRACER)?;
    let mut ends = Ends::default();
    named(&tracer, PORT, "users")?;
    ends.until(&bed, "users", End::Answered)?;
    let said = |line: &str| tracer.process().stderr().matches(line).count();
    let well = said("names from Kubernetes are up to date");
    bed.kubernetes.stop_api();
    synced(&tracer, 0.0)?;
    ensure!(said("names from Kubernetes stay as they were; counts go on") > 0);
    for _ in 0..20 {
        ensure!(ends.call(&bed)? == End::Answered);
    }
    ends.agree(&tracer)?;
    named(&tracer, PORT, "users")?;
    bed.kubernetes.start_api()?;
    synced(&tracer, 1.0)?;
    ensure!(said("names from Kubernetes are up to date") > well);
    bed.publish("late", OTHER)?;
    named(&tracer, OTHER, "late")?;
    named(&tracer, PORT, "users")?;
    ends.until(&bed, "users", End::Answered)?;
    ends.agree(&tracer)
}

#[test]
fn counts_go_on_without_rights() -> Result<()> {
    let topology = Topology::builder().pods(2).build()?;
    let bed = Bed::new(&topology)?;
    bed.publish("users", PORT)?;
    let tracer = bed.trace(NOBODY)?;
    let mut ends = Ends::default();
    ends.until(&bed, "users", End::Answered)?;
    let metrics = synced(&tracer, 0.0)?;
    ensure!(names(&metrics, PORT).is_empty());
    ends.agree(&tracer)?;
    let grant = [
        "create",
        "clusterrolebinding",
        NOBODY,
        "--clusterrole=tracer",
    ];
    let user = format!("--user={NOBODY}");
    bed.kubernetes
        .kubectl(&[&grant[..], &[&user]].concat(), "")?;
    synced(&tracer, 1.0)?;
    named(&tracer, PORT, "users")?;
    ends.agree(&tracer)
}

#[test]
fn the_api_takes_the_manifest() -> Result<()> {
    let topology = Topology::builder().pods(2).build()?;
    let bed = Bed::new(&topology)?;
    let objects = manifest()?;
    ensure!(!objects.is_empty());
    for object in objects {
        let applied = bed
            .kubernetes
            .kubectl(&["apply", "--dry-run=server", "-f", "-"], &object);
        let said = applied.with_context(|| object.clone())?;
        ensure!(said.contains("(server dry run)"), "{said}");
    }
    Ok(())
}
