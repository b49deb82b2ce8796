//! The chart in another chart's hands: copied alone, below a parent, and with every value that
//! is off or empty by default.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::{cleanup::ScratchDir, process::run};

use super::{
    chart::{of_kind, of_name},
    documents, list, python_tool, repository, text,
};

/// Versions as continuous integration makes them.
const VERSION: &str = "0.1.0+build.7";
const PARENT: &str = "
apiVersion: v2
name: parent
version: 1.0.0
dependencies:
  - {name: tracer, version: '>=0.0.0-0', condition: tracer.enabled}
";
/// What the parent says to tracer, and to all of its charts.
const VALUES: &str = r#"
global:
  imageRegistry: registry.example/
  imagePullSecrets: [everybody, {name: ours}]
  somebodyElses: 1
tracer:
  enabled: true
  image: {registry: not.this.one, repository: team/tracer}
  imagePullSecrets: [{name: ours}]
  commonLabels: {team: platform}
  revisionHistoryLimit: 3
  extraArgs: [--backend-metrics]
  extraEnv: [{name: A, value: b}]
  extraVolumes: [{name: names, configMap: {name: names}}]
  extraVolumeMounts: [{name: names, mountPath: /etc/names}]
  serviceMonitor: {enabled: true, labels: {release: prometheus}}
  prometheusRule: {runbookBaseUrl: 'https://runbooks.example/'}
  dashboards: {enabled: true, labels: {}}
  settings:
    web: {telemetry_path: /m}
    health_check_gate: off
    probe_source: 10.0.0.0/16
"#;

/// Copies a folder as a tool would that follows no links.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        ensure!(!kind.is_symlink(), "{} is a link", entry.path().display());
        if kind.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// A parent chart with the chart below it, whose notes are an object too.
fn parent() -> Result<ScratchDir> {
    let dir = ScratchDir::new()?;
    let chart = dir.path().join("charts/tracer");
    copy(&repository("deploy/chart"), &chart)?;
    let about = fs::read_to_string(chart.join("Chart.yaml"))?;
    let about = about.replace("ersion: 0.1.0", &format!("ersion: {VERSION}"));
    ensure!(about.matches(VERSION).count() == 2, "{about}");
    fs::write(chart.join("Chart.yaml"), about)?;
    let notes = fs::read_to_string(chart.join("templates/NOTES.txt"))?;
    let notes = format!("kind: Notes\nnotes: |2\n\n{}", indented(&notes));
    fs::write(chart.join("templates/notes.yaml"), notes)?;
    dir.write("Chart.yaml", PARENT)?;
    dir.write("values.yaml", VALUES)?;
    Ok(dir)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

fn rendered(parent: &ScratchDir, args: &[&str]) -> Result<Vec<Value>> {
    let mut helm = python_tool("helm", "deploy")?;
    helm.args(["template", "release"]).arg(parent.path());
    documents(&run(
        {
            helm.args(args);
            helm
        },
        "",
    )?)
}

#[test]
fn a_parent_chart_switches_it_and_sets_everything() -> Result<()> {
    let parent = parent()?;
    let off = rendered(&parent, &["--set", "tracer.enabled=false"])?;
    assert_eq!(off, Vec::<Value>::new());
    let objects = rendered(&parent, &[])?;
    let daemon_set = of_kind(&objects, "DaemonSet")?;
    pod_has_it_all(&daemon_set["spec"]["template"]["spec"]);
    assert_eq!(daemon_set["spec"]["revisionHistoryLimit"], 3);
    assert_eq!(
        daemon_set["spec"]["selector"]["matchLabels"]["team"],
        Value::Null
    );
    let scrape = &daemon_set["spec"]["template"]["metadata"]["annotations"]["prometheus.io/scrape"];
    assert_eq!(*scrape, Value::Null, "a second job of the same targets");
    labels_are_valid(&objects)?;
    let settings = of_name(&objects, "ConfigMap", "release-tracer")?;
    let settings = super::yaml(text(&settings["data"]["tracer.yaml"]))?;
    assert_eq!(settings["health_check_gate"], "off");
    assert_eq!(settings["probe_source"], json!(["10.0.0.0/16"]));
    let monitor = of_kind(&objects, "ServiceMonitor")?;
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
    let endpoint = &monitor["spec"]["endpoints"][0];
    assert_eq!(
        (&endpoint["path"], &endpoint["port"]),
        (&"/m".into(), &"metrics".into())
    );
    assert_eq!(endpoint["honorLabels"], true);
    let service = of_kind(&objects, "Service")?;
    assert_eq!(service["spec"]["clusterIP"], "None");
    assert_eq!(
        service["spec"]["selector"],
        daemon_set["spec"]["selector"]["matchLabels"]
    );
    for (key, value) in monitor["spec"]["selector"]["matchLabels"]
        .as_object()
        .context("none")?
    {
        assert_eq!(service["metadata"]["labels"][key], *value);
    }
    notes_say_what_is_needed(&of_kind(&objects, "Notes")?);
    dashboards_link_the_runbooks(&objects)
}

fn pod_has_it_all(pod: &Value) {
    let container = &pod["containers"][0];
    assert_eq!(
        container["image"],
        "registry.example/team/tracer:0.1.0_build.7"
    );
    assert_eq!(
        pod["imagePullSecrets"],
        json!([{"name": "ours"}, {"name": "everybody"}])
    );
    assert_eq!(
        list(&container["args"]).last(),
        Some(&"--backend-metrics".into())
    );
    for (from, name) in [
        (&container["env"], "A"),
        (&container["env"], "TRACER_NODE_NAME"),
        (&container["volumeMounts"], "names"),
        (&pod["volumes"], "names"),
        (&pod["volumes"], "settings"),
    ] {
        assert!(
            list(from).iter().any(|one| one["name"] == name),
            "{name}: {from}"
        );
    }
    let named = list(&container["env"])
        .iter()
        .find(|one| one["name"] == "TRACER_NODE_NAME");
    let field = named.map(|one| &one["valueFrom"]["fieldRef"]["fieldPath"]);
    assert_eq!(field, Some(&"spec.nodeName".into()));
}

/// As Kubernetes wants them, and the common ones everywhere.
fn labels_are_valid(objects: &[Value]) -> Result<()> {
    for object in objects.iter().filter(|object| object["kind"] != "Notes") {
        let labels = object["metadata"]["labels"]
            .as_object()
            .context("no labels")?;
        assert_eq!(labels["team"], "platform", "{}", object["kind"]);
        for (key, value) in labels {
            let value = text(value);
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            let whole = value.trim_matches(|c: char| !c.is_ascii_alphanumeric()) == value;
            assert!(
                value.len() <= 63 && value.chars().all(plain) && whole,
                "{key}: {value}"
            );
        }
    }
    Ok(())
}

fn notes_say_what_is_needed(notes: &Value) {
    let notes = text(&notes["notes"]);
    for said in [
        "kubectl label namespace default pod-security.kubernetes.io/enforce=privileged",
        "`kubectl port-forward` dials the node's loopback",
        "web.address=0.0.0.0",
        "http://NODE:9400/m",
        "exit code 3",
    ] {
        assert!(notes.contains(said), "{said}: {notes}");
    }
    assert!(!notes.contains("Nothing tells Prometheus"), "{notes}");
}

/// The chart alone knows where the pages are.
fn dashboards_link_the_runbooks(objects: &[Value]) -> Result<()> {
    let boards = objects
        .iter()
        .filter_map(|object| object["data"].as_object());
    let boards = boards.flatten().filter(|(name, _)| name.ends_with(".json"));
    let mut seen = 0;
    for (name, board) in boards {
        let board: Value = serde_json::from_str(text(board))?;
        let file = name.strip_prefix("tracer-").context("no prefix")?;
        let mut shipped: Value =
            serde_json::from_str(&super::read(&format!("deploy/grafana/{file}"))?)?;
        let link = list(&board["links"]).last().context("no link")?.clone();
        assert_eq!(
            link["url"],
            "https://runbooks.example/docs/runbooks/README.md"
        );
        shipped["links"]
            .as_array_mut()
            .context("no links")?
            .push(link);
        assert_eq!(board, shipped, "{name}");
        seen += 1;
    }
    assert_eq!(seen, 3);
    Ok(())
}
