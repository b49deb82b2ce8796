//! Prometheus, which scrapes the tracers.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{cleanup::ScratchDir, http, netns::Netns, process::Proc};

/// Where it serves, inside its namespace.
pub const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

/// A running Prometheus; killed on drop.
#[derive(Debug)]
pub struct Prometheus<'a> {
    ns: &'a Netns,
    _process: Proc,
    _dir: ScratchDir,
}

impl<'a> Prometheus<'a> {
    /// Starts Prometheus in `ns`; it scrapes `targets` every second under the
    /// job name `tracer`, and evaluates the rule files `rules` as often.
    pub fn start(ns: &'a Netns, targets: &[SocketAddr], rules: &[PathBuf]) -> Result<Self> {
        let targets: Vec<String> = targets.iter().map(SocketAddr::to_string).collect();
        // A list of strings is written in YAML as in JSON.
        let (targets, rules) = (
            serde_json::to_string(&targets)?,
            serde_json::to_string(rules)?,
        );
        let config = format!(
            "rule_files: {rules}\n\
             scrape_configs: [{{job_name: tracer, static_configs: [{{targets: {targets}}}]}}]\n"
        );
        Self::configured(ns, &config)
    }

    /// Starts Prometheus in `ns` with these `rule_files` and `scrape_configs`; both
    /// are worked off every second.
    pub fn configured(ns: &'a Netns, config: &str) -> Result<Self> {
        let dir = ScratchDir::new()?;
        let config = format!("global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n{config}");
        let config = dir.write("prometheus.yml", &config)?;
        let mut command = ns.command("prometheus")?;
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                dir.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={LISTEN}"));
        let mut process = ns
            .spawn(command)
            .context("is Debian's prometheus installed?")?;
        process.wait_until(Duration::from_secs(30), "prometheus did not start", |_| {
            http::get(ns, LISTEN, "/-/ready", "*/*").is_ok_and(|r| r.status == 200)
        })?;
        Ok(Self {
            ns,
            _process: process,
            _dir: dir,
        })
    }

    /// Evaluates a PromQL instant query and returns `data.result`.
    pub fn query(&self, promql: &str) -> Result<Vec<serde_json::Value>> {
        self.ask(&format!("query?query={}", percent_encode(promql)), promql)
    }

    /// Evaluates a PromQL query every second between two times (Unix, seconds) and returns
    /// `data.result`.
    pub fn query_range(
        &self,
        promql: &str,
        times: std::ops::Range<u64>,
    ) -> Result<Vec<serde_json::Value>> {
        let (query, start, end) = (percent_encode(promql), times.start, times.end);
        let path = format!("query_range?query={query}&start={start}&end={end}&step=1");
        self.ask(&path, promql)
    }

    fn ask(&self, path: &str, promql: &str) -> Result<Vec<serde_json::Value>> {
        let path = format!("/api/v1/{path}");
        let response = http::get(self.ns, LISTEN, &path, "application/json")?;
        ensure!(response.status == 200, "{promql}: {}", response.body);
        let answer: serde_json::Value = serde_json::from_str(&response.body)?;
        let result = answer["data"]["result"].as_array();
        result
            .cloned()
            .with_context(|| format!("{promql}: {answer}"))
    }

    /// The value of a query that has exactly one series.
    pub fn value(&self, promql: &str) -> Result<f64> {
        let result = self.query(promql)?;
        ensure!(result.len() == 1, "{promql}: {} series", result.len());
        let value = result[0]["value"][1].as_str();
        Ok(value.context("no value")?.parse()?)
    }
}

fn percent_encode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
