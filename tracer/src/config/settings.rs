//! What can be set, by flag, environment or file: one struct describes all
//! three, so that none of them can know a name the others do not.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Deserializer};

use super::{
    ConnectHook, HealthCheckGate, KernelLog, Kubernetes, LogFormat, LogLevel, PortSet,
    TracepointHook, WireTap,
    list::one_or_many,
    values::{
        Between, Cidr, Flows, Interface, Listen, NodeName, Number, ProbeMethod, Socket,
        TelemetryPath,
    },
};

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;

/// Settings of one layer; what is absent is taken from the layer below.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[command(next_help_heading = "Settings")]
pub struct Settings {
    /// Network interface whose packets are watched (repeatable) [default: every
    /// one by which SYNs come in, but loopback; ports of a bridge in its place
    /// where it translates]
    #[arg(
        long,
        value_name = "NAME",
        env = "TRACER_INTERFACE",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "one_or_many")]
    pub(super) interface: Vec<Interface>,

    /// What this node is called, in Kubernetes the Node's name [default: the host's
    /// name]
    #[arg(long, value_name = "NAME", env = "TRACER_NODE_NAME")]
    pub(super) node_name: Option<NodeName>,

    /// Ports to watch: a range, or a list of ports and ranges [default:
    /// 30000-32767]
    #[arg(long, value_name = "PORTS", env = "TRACER_NODE_PORTS")]
    pub(super) node_ports: Option<PortSet>,

    /// An attempt without an answer for this long has failed; 100ms to 10m
    /// [default: 5s]
    #[arg(long, value_name = "DURATION", env = "TRACER_HANDSHAKE_TIMEOUT")]
    pub(super) handshake_timeout: Option<Between<100, { 600 * SECOND }>>,

    /// A connection without payload for this long is idle and no health check;
    /// 100ms to 1h [default: 5s]
    #[arg(long, value_name = "DURATION", env = "TRACER_IDLE_AFTER")]
    pub(super) idle_after: Option<Between<100, HOUR>>,

    /// A connection without any packet for this long is given up; 10s to 7days
    /// [default: 1h]
    #[arg(long, value_name = "DURATION", env = "TRACER_EXPIRE_AFTER")]
    pub(super) expire_after: Option<Between<{ 10 * SECOND }, { 168 * HOUR }>>,

    /// Addresses that health checks come from, IPv4 or IPv6 (repeatable, up to
    /// 1024)
    #[arg(
        long,
        value_name = "CIDR",
        env = "TRACER_PROBE_SOURCE",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "one_or_many")]
    pub(super) probe_source: Vec<Cidr>,

    /// Thrift method whose calls are health checks (repeatable, up to 4)
    #[arg(
        long,
        value_name = "NAME",
        env = "TRACER_PROBE_METHOD",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "one_or_many")]
    pub(super) probe_method: Vec<ProbeMethod>,

    /// Size of the flow table: attempts and connections followed at once; 64
    /// to 4194304 [default: 46080]
    #[arg(long, value_name = "N", env = "TRACER_FLOWS")]
    pub(super) flows: Option<Flows>,

    /// Unix socket that answers `tracer explain` and `tracer events`, or `none`
    /// [default: /run/tracer/tracer.sock]
    #[arg(long, value_name = "PATH", env = "TRACER_SOCKET")]
    pub(super) socket: Option<Socket>,

    /// Count failures by backend too (tracer_backend_failures_total)
    #[arg(
        long,
        value_name = "BOOL",
        env = "TRACER_BACKEND_METRICS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) backend_metrics: Option<bool>,

    /// Backends of a port that are counted one by one, the rest as `other`; 1
    /// to 1024 [default: 20]
    #[arg(long, value_name = "N", env = "TRACER_BACKEND_METRICS_LIMIT")]
    pub(super) backend_metrics_limit: Option<Number<1, 1024>>,

    /// Look into pods' network namespaces to say why attempts fail, as far as the
    /// capabilities go; `false` gives CAP_SYS_ADMIN and CAP_SYS_PTRACE up [default: true]
    #[arg(
        long,
        value_name = "BOOL",
        env = "TRACER_POD_EVIDENCE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) pod_evidence: Option<bool>,

    /// YAML file that names ports (Services) and pods; read again when it changes
    #[arg(long, value_name = "FILE", env = "TRACER_SERVICES")]
    pub(super) services: Option<PathBuf>,

    /// Whether names come from the Kubernetes API too [default: auto]
    #[arg(long, value_name = "WHEN", env = "TRACER_KUBERNETES")]
    pub(super) kubernetes: Option<Kubernetes>,

    /// How the Kubernetes API is reached [default: the files in KUBECONFIG, or the
    /// service account of this pod]
    #[arg(long, value_name = "FILE", env = "TRACER_KUBECONFIG")]
    pub(super) kubeconfig: Option<PathBuf>,

    /// When a port is known not to get health checks, so that short silent
    /// connections there are no health checks but unknown [default: auto]
    #[arg(long, value_name = "WHEN", env = "TRACER_HEALTH_CHECK_GATE")]
    pub(super) health_check_gate: Option<HealthCheckGate>,

    /// How packets are seen [default: auto]
    #[arg(long, value_name = "HOOK", env = "TRACER_WIRE_TAP")]
    pub(super) wire_tap: Option<WireTap>,

    /// How dials made on this node are seen [default: auto]
    #[arg(long, value_name = "HOOK", env = "TRACER_CONNECT_HOOK")]
    pub(super) connect_hook: Option<ConnectHook>,

    /// How tracepoints are followed [default: auto]
    #[arg(long, value_name = "HOOK", env = "TRACER_TRACEPOINT_HOOK")]
    pub(super) tracepoint_hook: Option<TracepointHook>,

    /// Log level of the kernel programs [default: off]
    #[arg(long, value_name = "LEVEL", env = "TRACER_KERNEL_LOG")]
    pub(super) kernel_log: Option<KernelLog>,

    #[command(flatten)]
    #[serde(deserialize_with = "present")]
    pub(super) web: Web,

    #[command(flatten)]
    #[serde(deserialize_with = "present")]
    pub(super) log: Log,
}

/// The HTTP server.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Web {
    /// Address and port of the HTTP server; `:9400` is every IPv4 address
    /// [default: 0.0.0.0:9400]
    #[arg(
        long = "web.listen-address",
        value_name = "ADDRESS",
        env = "TRACER_WEB_LISTEN_ADDRESS"
    )]
    pub(super) listen_address: Option<Listen>,

    /// URL path of the metrics [default: /metrics]
    #[arg(
        long = "web.telemetry-path",
        value_name = "PATH",
        env = "TRACER_WEB_TELEMETRY_PATH"
    )]
    pub(super) telemetry_path: Option<TelemetryPath>,

    /// File with TLS, users and headers of the HTTP server, in the web
    /// configuration format of Prometheus' exporters; read again as it changes
    #[arg(
        long = "web.config.file",
        value_name = "FILE",
        env = "TRACER_WEB_CONFIG_FILE"
    )]
    pub(super) config_file: Option<PathBuf>,
}

/// The log on standard error.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Log {
    /// Least severe level that is logged [default: info]
    #[arg(long = "log.level", value_name = "LEVEL", env = "TRACER_LOG_LEVEL")]
    pub(super) level: Option<LogLevel>,

    /// Form of log lines [default: logfmt]
    #[arg(long = "log.format", value_name = "FORMAT", env = "TRACER_LOG_FORMAT")]
    pub(super) format: Option<LogFormat>,
}

impl Settings {
    /// Takes from `lower` what is absent here; lists are not joined.
    #[must_use]
    pub(super) fn or(self, lower: Self) -> Self {
        Self {
            interface: first(self.interface, lower.interface),
            node_name: self.node_name.or(lower.node_name),
            node_ports: self.node_ports.or(lower.node_ports),
            handshake_timeout: self.handshake_timeout.or(lower.handshake_timeout),
            idle_after: self.idle_after.or(lower.idle_after),
            expire_after: self.expire_after.or(lower.expire_after),
            probe_source: first(self.probe_source, lower.probe_source),
            probe_method: first(self.probe_method, lower.probe_method),
            flows: self.flows.or(lower.flows),
            socket: self.socket.or(lower.socket),
            backend_metrics: self.backend_metrics.or(lower.backend_metrics),
            backend_metrics_limit: self.backend_metrics_limit.or(lower.backend_metrics_limit),
            pod_evidence: self.pod_evidence.or(lower.pod_evidence),
            services: self.services.or(lower.services),
            kubernetes: self.kubernetes.or(lower.kubernetes),
            kubeconfig: self.kubeconfig.or(lower.kubeconfig),
            health_check_gate: self.health_check_gate.or(lower.health_check_gate),
            wire_tap: self.wire_tap.or(lower.wire_tap),
            connect_hook: self.connect_hook.or(lower.connect_hook),
            tracepoint_hook: self.tracepoint_hook.or(lower.tracepoint_hook),
            kernel_log: self.kernel_log.or(lower.kernel_log),
            web: Web {
                listen_address: self.web.listen_address.or(lower.web.listen_address),
                telemetry_path: self.web.telemetry_path.or(lower.web.telemetry_path),
                config_file: self.web.config_file.or(lower.web.config_file),
            },
            log: Log {
                level: self.log.level.or(lower.log.level),
                format: self.log.format.or(lower.log.format),
            },
        }
    }
}

fn first<T>(upper: Vec<T>, lower: Vec<T>) -> Vec<T> {
    if upper.is_empty() { lower } else { upper }
}

/// A key without a value is as good as no key, in a file with all of a section
/// commented out for example.
fn present<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}
