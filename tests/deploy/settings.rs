//! The chart's `settings` and the daemon's configuration are one: the same keys, and what the
//! daemon would refuse Helm refuses, before a pod crashes of it.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::{Tracer, cleanup::ScratchDir, peers::thrift, process::run};

use super::{
    chart::{of_kind, of_name, rendered},
    documents, list, read, text, tool, yaml,
};

/// By `values.schema.json`.
const WRONG: [&str; 44] = [
    "probe_sources: [10.0.0.0/8]",
    "web: {listen: ':1'}",
    "log: {lvl: info}",
    "interface: [a/b]",
    "interface: [0123456789abcdef]",
    "interface: ['']",
    "node_ports: 0",
    "node_ports: 70000",
    "node_ports: ''",
    "node_ports: []",
    "node_ports: 5-",
    "node_ports: 30080,,30090",
    "node_ports: [30080, 65536]",
    "handshake_timeout: soon",
    "handshake_timeout: 5",
    "idle_after: 5 parsecs",
    "expire_after: -1s",
    "probe_source: [10.0.0.0/33]",
    "probe_source: [10.0.0.256]",
    "probe_source: [fd00::/129]",
    "probe_source: [balancer.example]",
    "probe_method: [pi ng]",
    "probe_method: [a_name_of_21_letters_]",
    "probe_method: [a, b, c, d, e]",
    "flows: 63",
    "flows: 4194305",
    "flows: many",
    "socket: tracer.sock",
    "socket: /run/",
    "backend_metrics: maybe",
    "backend_metrics_limit: 0",
    "backend_metrics_limit: 1025",
    "health_check_gate: first",
    "wire_tap: xdp",
    "connect_hook: uprobe",
    "tracepoint_hook: perf",
    "kernel_log: loud",
    "node_name: Not_A_Node",
    "web: {telemetry_path: metrics}",
    "web: {telemetry_path: /livez}",
    "web: {telemetry_path: //a}",
    "log: {level: loud}",
    "log: {format: xml}",
    "log: [info]",
];
/// By the templates, with what they say: no schema can compare.
const DISAGREEING: [(&str, &str); 5] = [
    (
        "{handshake_timeout: 10m 1s}",
        "handshake_timeout: `10m 1s` is not between 100ms and 10m",
    ),
    (
        "{idle_after: 99ms}",
        "idle_after: `99ms` is not between 100ms and 1h",
    ),
    (
        "{expire_after: 8days}",
        "expire_after: `8days` is not between 10s and 7days",
    ),
    (
        "{expire_after: 10s, idle_after: 11s}",
        "expire_after is below idle_after",
    ),
    (
        "{node_ports: [30000, 5-4]}",
        "node_ports: the range `5-4` runs backwards",
    ),
];
/// What the chart sets itself, and by which value.
const TAKEN: [(&str, &str); 5] = [
    ("{kubernetes: 'on'}", "use kubernetes.enabled"),
    ("{pod_evidence: false}", "use evidence.pods"),
    ("{node_name: node-1}", "it is the Node's name"),
    (
        "{web: {listen_address: ':1'}}",
        "use web.address and web.port",
    ),
    ("{web: {config_file: /web.yml}}", "use web.configSecret"),
];
/// Each key that the chart does not set itself, by a value that it may have.
const GOOD: &str = "
interface: [eth0, ens5.100]
node_ports: [30080, 30100-30102, '31000,31001']
handshake_timeout: 500ms
idle_after: 1m 30s
expire_after: 7days
probe_source: [10.0.0.0/8, 192.0.2.1, 'fd00::/8', '::1']
probe_method: [ping, 'Health:check']
flows: 4194304
socket: /tmp/tracer.sock
backend_metrics: true
backend_metrics_limit: 5
services: /etc/tracer/services.yaml
kubeconfig: /etc/kubeconfig
health_check_gate: first-port
wire_tap: packet
connect_hook: set-state
tracepoint_hook: raw-tp
kernel_log: off
web: {telemetry_path: /m}
log: {level: warn, format: json}
";

/// Whether the daemon's program takes this file: status 78 is a wrong configuration.
fn daemon_takes(settings: &str) -> Result<bool> {
    let dir = ScratchDir::new()?;
    let file = dir.write("tracer.yaml", settings)?;
    let mut health = tool(Tracer::binary()?, "deploy");
    // Asks nobody, once it has read its configuration.
    health.arg("health").arg("--config").arg(file);
    let output = health
        .args(["--socket", "/nonexistent/tracer.sock"])
        .output()?;
    match output.status.code() {
        Some(78) => Ok(false),
        Some(1) => Ok(true),
        other => anyhow::bail!("{other:?}: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// Which of these `settings` the chart's schema takes.
fn schema_takes(settings: &[Value]) -> Result<Vec<bool>> {
    const JUDGE: &str = "
import json, sys
from jsonschema import Draft7Validator
schema, settings = json.load(sys.stdin)
Draft7Validator.check_schema(schema)
judge = Draft7Validator(schema)
print(json.dumps([judge.is_valid({'settings': one}) for one in settings]))
";
    let schema: Value = serde_json::from_str(&read("deploy/chart/values.schema.json")?)?;
    let mut python = tool(thrift::python()?, "deploy");
    python.args(["-c", JUDGE]);
    Ok(serde_json::from_str(&run(
        python,
        &json!([schema, settings]).to_string(),
    )?)?)
}

#[test]
fn the_schema_refuses_what_the_daemon_refuses() -> Result<()> {
    let all: Vec<&str> = WRONG.into_iter().chain([GOOD]).collect();
    let values = all
        .iter()
        .map(|text| yaml(text))
        .collect::<Result<Vec<_>>>()?;
    for (text, schema) in all.into_iter().zip(schema_takes(&values)?) {
        assert_eq!(schema, text == GOOD, "the schema: {text}");
        assert_eq!(daemon_takes(text)?, text == GOOD, "the daemon: {text}");
    }
    Ok(())
}

#[test]
fn the_schema_has_the_keys_of_the_daemon() -> Result<()> {
    let mut help = tool(Tracer::binary()?, "deploy");
    help.args(["run", "--help"]);
    let help = run(help, "")?;
    let flags = help
        .lines()
        .filter_map(|line| line.trim().strip_prefix("--"));
    let flags = flags.map(|flag| flag.split([' ', '[', '=']).next().unwrap_or(flag));
    let daemon: BTreeSet<String> = flags
        .filter(|flag| *flag != "config")
        .map(|flag| match flag.split_once('.') {
            Some((section, key)) => format!("{section}.{}", key.replace(['-', '.'], "_")),
            None => flag.replace('-', "_"),
        })
        .collect();
    let schema: Value = serde_json::from_str(&read("deploy/chart/values.schema.json")?)?;
    let mut chart = BTreeSet::new();
    keys(&schema["properties"]["settings"], "", &mut chart)?;
    assert!(daemon.len() > 20, "{help}");
    assert_eq!(chart, daemon);
    Ok(())
}

/// The keys of a closed object and of those in it.
fn keys(schema: &Value, section: &str, into: &mut BTreeSet<String>) -> Result<()> {
    ensure!(schema["additionalProperties"] == false, "{section} is open");
    for (key, value) in schema["properties"].as_object().context("no properties")? {
        if value["properties"].is_object() {
            keys(value, &format!("{section}{key}."), into)?;
        } else {
            into.insert(format!("{section}{key}"));
        }
    }
    Ok(())
}

#[test]
fn helm_says_what_no_schema_can() -> Result<()> {
    let refused = |settings: &str| {
        let settings = yaml(settings)?.to_string();
        let done = rendered(&["--set-json", &format!("settings={settings}")]);
        Ok::<String, anyhow::Error>(done.map_or_else(|e| format!("{e:#}"), |_| String::new()))
    };
    for (settings, complaint) in DISAGREEING {
        assert!(!daemon_takes(settings)?, "{settings}");
        let said = refused(settings)?;
        assert!(said.contains(complaint), "{settings}: {said}");
    }
    let probed = ["--set", "settings.socket=none,web.configSecret=tracer-web"];
    let said = rendered(&probed).map_or_else(|e| format!("{e:#}"), |_| String::new());
    assert!(said.contains("the probes ask by the socket"), "{said}");
    for (settings, complaint) in TAKEN {
        assert!(daemon_takes(settings)?, "{settings}");
        let said = refused(settings)?;
        assert!(
            said.contains("has no effect") && said.contains(complaint),
            "{said}"
        );
    }
    Ok(())
}

/// Through Helm, which takes `off` for false and reads every number as a float.
#[test]
fn what_helm_writes_the_daemon_takes() -> Result<()> {
    let dir = ScratchDir::new()?;
    let indented: String = GOOD.lines().map(|line| format!("  {line}\n")).collect();
    let values = dir.write("values.yaml", &format!("settings:\n{indented}"))?;
    let objects = documents(&rendered(&["--values", &values.to_string_lossy()])?)?;
    // Programs that are run in the container read it too, or they would miss the socket.
    let container = &of_kind(&objects, "DaemonSet")?["spec"]["template"]["spec"]["containers"][0];
    let config = json!({"name": "TRACER_CONFIG", "value": "/etc/tracer/tracer.yaml"});
    assert!(list(&container["env"]).contains(&config), "{container}");
    let written = of_name(&objects, "ConfigMap", "tracer")?;
    let written = text(&written["data"]["tracer.yaml"]);
    assert!(daemon_takes(written)?, "{written}");
    let mut good = yaml(GOOD)?;
    good["kernel_log"] = "off".into();
    assert_eq!(yaml(written)?, good);
    Ok(())
}
