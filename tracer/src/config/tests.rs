use std::path::Path;

use super::{file::parse, *};

fn config(text: &str) -> Result<Config, Invalid> {
    Config::new(Settings::default(), parse(text).unwrap())
}

#[test]
fn defaults_are_those_of_the_design() {
    for text in ["", "# nothing\n---\n"] {
        let config = config(text).unwrap();
        assert!(config.interfaces.is_empty());
        assert_eq!(config.ports.to_string(), "30000-32767");
        assert_eq!(config.handshake_timeout, Duration::from_secs(5));
        assert_eq!(config.idle_after, Duration::from_secs(5));
        assert_eq!(config.expire_after, Duration::from_secs(3_600));
        assert_eq!(config.listen.to_string(), "0.0.0.0:9400");
        assert_eq!(config.telemetry_path, "/metrics");
        assert_eq!(config.flows, 46_080);
        assert_eq!(
            config.socket.path(),
            Some(Path::new(values::DEFAULT_SOCKET))
        );
        assert_eq!(config.backend_metrics, None);
        assert_eq!(config.services, None);
        assert_eq!(config.kubernetes, Kubernetes::Auto);
        assert_eq!(config.kernel_log, KernelLog::Off);
        assert_eq!(config.log_level, LogLevel::Info);
    }
}

#[test]
fn a_file_sets_everything() {
    let text = "
interface: [eth0, ens5]
node_name: ip-10-0-3-18.ec2.internal
node_ports: [30080, 30100-30102]
handshake_timeout: 2s
idle_after: 500ms
expire_after: 10m
probe_source: [10.0.0.0/8, 'fd00::/8']
probe_method: [ping, Health:check]
flows: 1024
socket: /tmp/tracer.sock
backend_metrics: true
backend_metrics_limit: 5
services: /etc/tracer/services.yaml
kubernetes: on
kubeconfig: /etc/kubeconfig
health_check_gate: first-port
wire_tap: packet
connect_hook: set-state
tracepoint_hook: raw-tp
kernel_log: debug
web:
  listen_address: '[::1]:9000'
  telemetry_path: /m
  config_file: /etc/tracer/web.yml
pod_evidence: false
log:
  level: warn
  format: json
";
    let config = config(text).unwrap();
    assert_eq!(config.interfaces, ["eth0", "ens5"]);
    assert_eq!(
        config.node_name.as_deref(),
        Some("ip-10-0-3-18.ec2.internal")
    );
    assert_eq!(config.ports.as_slice(), [30080, 30100, 30101, 30102]);
    assert_eq!(config.handshake_timeout, Duration::from_secs(2));
    assert_eq!(config.idle_after, Duration::from_millis(500));
    assert_eq!(config.expire_after, Duration::from_secs(600));
    assert_eq!(config.probe_sources.len(), 2);
    assert_eq!(config.probe_methods, ["ping", "Health:check"]);
    assert_eq!(config.flows, 1024);
    assert_eq!(config.socket.path(), Some(Path::new("/tmp/tracer.sock")));
    assert_eq!(config.backend_metrics, Some(5));
    assert_eq!(
        config.services.as_deref(),
        Some(Path::new("/etc/tracer/services.yaml"))
    );
    assert_eq!(config.kubernetes, Kubernetes::On);
    assert_eq!(
        config.kubeconfig.as_deref(),
        Some(Path::new("/etc/kubeconfig"))
    );
    assert_eq!(config.health_check_gate, HealthCheckGate::FirstPort);
    assert_eq!(config.wire_tap, WireTap::Packet);
    assert_eq!(config.connect_hook, ConnectHook::SetState);
    assert_eq!(config.tracepoint_hook, TracepointHook::RawTp);
    assert_eq!(config.kernel_log, KernelLog::Debug);
    assert_eq!(config.listen.to_string(), "[::1]:9000");
    assert_eq!(config.telemetry_path, "/m");
    assert_eq!(
        config.web_config.as_deref(),
        Some(Path::new("/etc/tracer/web.yml"))
    );
    assert!(!config.pod_evidence);
    assert_eq!(config.log_level, LogLevel::Warn);
    assert_eq!(config.log_format, LogFormat::Json);
}

#[test]
fn the_upper_layer_wins_and_lists_are_not_joined() {
    let upper = parse("interface: [eth1]\nflows: 100\nlog: {level: error}").unwrap();
    let lower =
        parse("interface: [eth0]\nflows: 200\nidle_after: 9s\nlog: {format: json}").unwrap();
    let config = Config::new(upper, lower).unwrap();
    assert_eq!(config.interfaces, ["eth1"]);
    assert_eq!(config.flows, 100);
    assert_eq!(config.idle_after, Duration::from_secs(9));
    assert_eq!(config.log_level, LogLevel::Error);
    assert_eq!(config.log_format, LogFormat::Json);
}

#[test]
fn one_port_needs_no_quotes() {
    assert_eq!(
        config("node_ports: 30080").unwrap().ports.as_slice(),
        [30080]
    );
}

#[test]
fn unknown_keys_are_refused_with_their_place() {
    let error = parse("flows: 64\nidle_aftr: 5s\n").unwrap_err();
    assert!(
        error.contains("idle_aftr") && error.contains("line 2"),
        "{error}"
    );
    assert!(
        error.contains("idle_after"),
        "names the valid keys: {error}"
    );
    let error = parse("web:\n  listen: ':1'\n").unwrap_err();
    assert!(
        error.contains("`listen`") && error.contains("line 2"),
        "{error}"
    );
}

#[test]
fn bad_values_are_refused_with_their_place() {
    for (text, line) in [
        ("flows: 64\nhandshake_timeout: 1ms", "line 2"),
        ("node_ports: 0", "line 1"),
        ("node_ports: [30080, 70000]", "line 1"),
        ("\n\nprobe_source: [10.0.0.0/33]", "line 3"),
        ("flows: 64\nflows: 65", "line 2"),
        ("log:\n  level: loud", "line 2"),
        ("- a", "line 1"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(line), "{text}: {error}");
    }
}

#[test]
fn values_must_agree() {
    let error = config("expire_after: 10s\nidle_after: 11s").unwrap_err();
    assert!(error.settings.contains(&"expire_after"));
    let error = config("probe_method: [a, b, c, d, e]").unwrap_err();
    assert_eq!(error.settings, ["probe_method"]);
    let many: Vec<String> = (0..=PROBE_SOURCES_MAX)
        .map(|i| format!("10.0.{}.{}/32", i / 256, i % 256))
        .collect();
    let error = config(&format!("probe_source: [{}]", many.join(","))).unwrap_err();
    assert_eq!(error.settings, ["probe_source"]);
}

#[test]
fn empty_sections_and_values_are_as_absent() {
    for text in [
        "web:\n",
        "log:\n  # level: debug\nflows: 64\n",
        "flows:\n",
        "interface:\n",
    ] {
        assert!(parse(text).is_ok(), "{text}: {:?}", parse(text));
    }
}

#[test]
fn one_value_needs_no_list() {
    let text = "interface: eth0\nprobe_source: 10.0.0.0/16\nprobe_method: ping, health\n";
    let one = config(text).unwrap();
    assert_eq!(one.interfaces, ["eth0"]);
    assert_eq!(one.probe_sources.len(), 1);
    assert_eq!(one.probe_methods, ["ping", "health"]);
    assert!(config("interface: []").unwrap().interfaces.is_empty());
}

/// What is wrong, by key and place, and what would be right.
#[test]
fn errors_say_which_key_is_wrong_where_and_what_would_be_right() {
    for (text, parts) in [
        (
            "probe_sources: []",
            ["did you mean `probe_source`?", "line 1"],
        ),
        (
            "node-ports: 30080",
            ["did you mean `node_ports`?", "line 1"],
        ),
        (
            "a: 1\nweb: {listen-adress: ':1'}",
            ["unknown field `a`", "line 1"],
        ),
        (
            "web: {listen-adress: ':1'}",
            ["did you mean `listen_address`?", "line 1"],
        ),
        ("\nflows: 1", ["flows: ", "from 64 to 4194304 at line 2"]),
        ("flows: many", ["flows: `many` is no number", "line 1"]),
        (
            "handshake_timeout: 5",
            ["handshake_timeout: ", "such as 5s or 500ms"],
        ),
        (
            "handshake_timeout: 1h",
            ["handshake_timeout: `1h`", "between 100ms and 10m"],
        ),
        ("log:\n  level: loud", ["log.level: ", "line 2"]),
        ("log:\n  level: loud", ["error, warn", "trace"]),
        (
            "interface: [eth0, a/b]",
            ["interface: `a/b`", "line 1, column"],
        ),
        (
            "probe_source:\n- 10.0.0.0/8\n- 10.0.0.300",
            ["probe_source: `10.0.0.300`", "line 3"],
        ),
        (
            "probe_source: 10.0.0.0/99",
            ["probe_source: `10.0.0.0/99`", "such as 10.0.0.0/8"],
        ),
        (
            "probe_source: {a: b}",
            ["probe_source: ", "a value, or a list such as [a, b]"],
        ),
        (
            "probe_method: 'two;words'",
            ["probe_method: `two;words`", "line 1"],
        ),
        (
            "node_ports: 70000",
            ["node_ports: `70000`", "such as 30000-32767"],
        ),
        (
            "web: {listen_address: 9400}",
            ["web.listen_address: `9400`", "127.0.0.1:9400"],
        ),
        (
            "web: {telemetry_path: /livez}",
            ["web.telemetry_path: `/livez`", "another page"],
        ),
        (
            "socket: here",
            ["socket: `here`", "/run/tracer/tracer.sock"],
        ),
        ("kubernetes: maybe", ["kubernetes: ", "auto, on, off"]),
        ("backend_metrics: perhaps", ["backend_metrics: ", "line 1"]),
        (
            "backend_metrics_limit: 0",
            ["backend_metrics_limit: `0`", "from 1 to 1024"],
        ),
        ("flows: 64\nflows: 65", ["flows", "line 2"]),
        ("flows: [", ["line ", "column "]),
    ] {
        let error = parse(text).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "no {part:?}: {text:?}: {error}");
        }
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}
