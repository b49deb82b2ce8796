//! What differs between two configurations.

use super::Config;

impl Config {
    /// Takes from `new` what can change while the daemon runs. Returns the keys of what differs
    /// otherwise, as a file has them: that takes a restart.
    pub fn take(&mut self, new: &Self) -> Vec<&'static str> {
        self.log_level = new.log_level;
        self.differs(new)
    }

    fn differs(&self, new: &Self) -> Vec<&'static str> {
        // All fields: none that comes later can be forgotten here.
        macro_rules! differing {
            ($($field:ident: $key:literal,)+) => {{
                let Self { $($field,)+ } = self;
                [$(($key, *$field != new.$field),)+]
            }};
        }
        let keys = differing! {
            interfaces: "interface",
            node_name: "node_name",
            ports: "node_ports",
            handshake_timeout: "handshake_timeout",
            idle_after: "idle_after",
            expire_after: "expire_after",
            probe_sources: "probe_source",
            probe_methods: "probe_method",
            listen: "web.listen_address",
            telemetry_path: "web.telemetry_path",
            web_config: "web.config_file",
            flows: "flows",
            socket: "socket",
            backend_metrics: "backend_metrics",
            pod_evidence: "pod_evidence",
            services: "services",
            kubernetes: "kubernetes",
            kubeconfig: "kubeconfig",
            health_check_gate: "health_check_gate",
            wire_tap: "wire_tap",
            connect_hook: "connect_hook",
            tracepoint_hook: "tracepoint_hook",
            kernel_log: "kernel_log",
            log_level: "log.level",
            log_format: "log.format",
        };
        let differ = keys.into_iter().filter(|(_, differs)| *differs);
        differ.map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LogLevel, Settings, file::parse};
    use super::*;

    #[test]
    fn the_log_level_is_taken_and_the_rest_is_named() {
        let config = |text| Config::new(Settings::default(), parse(text).unwrap()).unwrap();
        let mut running = config("flows: 64");
        let new = config("{flows: 65, node_ports: 30080, log: {level: debug}}");
        assert_eq!(running.take(&new), ["node_ports", "flows"]);
        assert_eq!(running.log_level, LogLevel::Debug);
        assert_eq!(running.flows, 64);
        assert!(running.take(&config("flows: 64")).is_empty());
        assert_eq!(running.log_level, LogLevel::Info);
    }
}
