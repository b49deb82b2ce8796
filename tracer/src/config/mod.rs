//! The validated configuration: flags over environment over file over default.

mod changes;
mod choices;
mod file;
mod list;
mod ports;
mod settings;
mod values;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use tracer_common::first_bytes::ProbeMethods;

pub use choices::{
    ConnectHook, HealthCheckGate, KernelLog, Kubernetes, LogFormat, LogLevel, TracepointHook,
    WireTap,
};
pub use file::read;
pub use ports::PortSet;
pub use settings::Settings;
pub use values::Socket;

/// Most probe ranges.
pub const PROBE_SOURCES_MAX: usize = 1024;

/// Everything that can be set, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Interfaces to watch; empty: all that hold an address of this node.
    pub interfaces: Vec<String>,
    /// What the node is called; `None`: as its host.
    pub node_name: Option<String>,
    /// Watched ports.
    pub ports: PortSet,
    /// Time without an answer until an attempt has failed, 100 ms to 10 min.
    pub handshake_timeout: Duration,
    /// Time without payload until a connection is idle, 100 ms to 1 h.
    pub idle_after: Duration,
    /// Time without a packet until a connection is given up, 10 s to 7 days,
    /// not below the two above.
    pub expire_after: Duration,
    /// Where health checks come from, at most [`PROBE_SOURCES_MAX`].
    pub probe_sources: Vec<IpNet>,
    /// Thrift methods whose calls are health checks; all of them fit into
    /// [`ProbeMethods`].
    pub probe_methods: Vec<String>,
    /// Where the HTTP server listens.
    pub listen: SocketAddr,
    /// URL path of the metrics, starts with `/`.
    pub telemetry_path: String,
    /// File with TLS and users of the HTTP server.
    pub web_config: Option<PathBuf>,
    /// Places in the flow table, 64 to 4,194,304.
    pub flows: u32,
    /// The socket that answers questions on this node.
    pub socket: Socket,
    /// Backends of a port that have failure counts of their own; `None`: there
    /// are no counts by backend.
    pub backend_metrics: Option<usize>,
    /// Pods' network namespaces are looked into.
    pub pod_evidence: bool,
    /// File of names of ports and pods.
    pub services: Option<PathBuf>,
    /// Whether names come from the Kubernetes API.
    pub kubernetes: Kubernetes,
    /// How the API is reached.
    pub kubeconfig: Option<PathBuf>,
    /// Whether silence at a port that no health check goes to is a health check.
    pub health_check_gate: HealthCheckGate,
    /// The hook that sees packets.
    pub wire_tap: WireTap,
    /// The hook that sees dials made on this node.
    pub connect_hook: ConnectHook,
    /// How the programs at tracepoints are attached.
    pub tracepoint_hook: TracepointHook,
    /// Log level of the kernel programs.
    pub kernel_log: KernelLog,
    /// Log level of the daemon.
    pub log_level: LogLevel,
    /// Form of log lines.
    pub log_format: LogFormat,
}

/// A value, or a combination of values, that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The flags concerned, by the name of their argument.
    pub settings: &'static [&'static str],
    /// What is wrong.
    pub cause: String,
}

impl Config {
    /// Joins the layers and checks what no single value shows.
    ///
    /// # Errors
    /// When there are too many values, or values contradict each other.
    pub fn new(flags: Settings, file: Settings) -> Result<Self, Invalid> {
        let all = flags.or(file);
        let seconds = Duration::from_secs;
        let config = Self {
            interfaces: all.interface.into_iter().map(|i| i.0).collect(),
            node_name: all.node_name.map(|name| name.0),
            ports: all.node_ports.unwrap_or_default(),
            handshake_timeout: all.handshake_timeout.map_or(seconds(5), |d| d.0),
            idle_after: all.idle_after.map_or(seconds(5), |d| d.0),
            expire_after: all.expire_after.map_or(seconds(3_600), |d| d.0),
            probe_sources: all.probe_source.into_iter().map(|s| s.0).collect(),
            probe_methods: all.probe_method.into_iter().map(|m| m.0).collect(),
            listen: all.web.listen_address.map_or(DEFAULT_LISTEN, |l| l.0),
            telemetry_path: match all.web.telemetry_path {
                Some(path) => path.0,
                None => "/metrics".to_owned(),
            },
            web_config: all.web.config_file,
            flows: all.flows.map_or(46_080, |f| f.0),
            socket: all.socket.unwrap_or_default(),
            backend_metrics: all.backend_metrics.unwrap_or_default().then_some(
                all.backend_metrics_limit
                    .map_or(20, |limit| limit.0 as usize),
            ),
            pod_evidence: all.pod_evidence.unwrap_or(true),
            services: all.services,
            kubernetes: all.kubernetes.unwrap_or_default(),
            kubeconfig: all.kubeconfig,
            health_check_gate: all.health_check_gate.unwrap_or_default(),
            wire_tap: all.wire_tap.unwrap_or_default(),
            connect_hook: all.connect_hook.unwrap_or_default(),
            tracepoint_hook: all.tracepoint_hook.unwrap_or_default(),
            kernel_log: all.kernel_log.unwrap_or_default(),
            log_level: all.log.level.unwrap_or_default(),
            log_format: all.log.format.unwrap_or_default(),
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), Invalid> {
        let sources = self.probe_sources.len();
        if sources > PROBE_SOURCES_MAX {
            return Err(Invalid {
                settings: &["probe_source"],
                cause: format!("at most {PROBE_SOURCES_MAX} probe sources, {sources} given"),
            });
        }
        let mut methods = ProbeMethods::new();
        for name in &self.probe_methods {
            methods.push(name).map_err(|e| Invalid {
                settings: &["probe_method"],
                cause: format!("`{name}`: {e}"),
            })?;
        }
        if self.expire_after < self.idle_after.max(self.handshake_timeout) {
            return Err(Invalid {
                settings: &["expire_after", "idle_after", "handshake_timeout"],
                cause: "expire-after is below idle-after or handshake-timeout".to_owned(),
            });
        }
        Ok(())
    }
}

const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 9400);

#[cfg(test)]
mod tests;
