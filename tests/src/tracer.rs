//! The daemon under test.

use std::{
    net::{Ipv4Addr, SocketAddr},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use crate::{
    cleanup::ScratchDir,
    http,
    metrics::Metrics,
    netns::Netns,
    process::{Proc, poll_until},
    seen,
};

/// Where the guard makes the daemon serve, inside the node's namespace.
pub const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9400);

/// The classic text format, for [`Metrics`].
const TEXT: &str = "text/plain;version=0.0.4";
/// Loading and attaching takes long in a VM without hardware help.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A running `tracer run`; killed on drop.
#[derive(Debug)]
pub struct Tracer<'a> {
    ns: &'a Netns,
    process: Proc,
    address: SocketAddr,
    socket: PathBuf,
    _dir: ScratchDir,
}

impl<'a> Tracer<'a> {
    /// The binary to test: the environment variable `TRACER_BIN`.
    pub fn binary() -> Result<PathBuf> {
        let path = std::env::var_os("TRACER_BIN")
            .context("set TRACER_BIN to the tracer binary (cargo xtask does)")?;
        Ok(PathBuf::from(path))
    }

    /// Starts `$TRACER_BIN run` with `args` in the node's namespace and waits
    /// until it is ready.
    pub fn start(node: &'a Netns, args: &[&str]) -> Result<Self> {
        Self::start_binary(node, &Self::binary()?, args)
    }

    /// Starts this binary; otherwise like [`Tracer::start`].
    pub fn start_binary(node: &'a Netns, binary: &std::path::Path, args: &[&str]) -> Result<Self> {
        Self::start_at(node, binary, LISTEN, args)
    }

    /// Starts the binary with its HTTP server at `address`.
    pub fn start_at(
        node: &'a Netns,
        binary: &std::path::Path,
        address: SocketAddr,
        args: &[&str],
    ) -> Result<Self> {
        let dir = ScratchDir::new()?;
        let socket = dir.path().join("tracer.sock");
        let mut command = node.command(binary)?;
        command
            .arg("run")
            .arg("--socket")
            .arg(&socket)
            .arg("--web.listen-address")
            .arg(address.to_string())
            .args(args);
        let mut process = node.spawn(command)?;
        process.wait_until(START_LIMIT, "tracer did not become ready", |_| {
            http::get(node, address, "/readyz", TEXT).is_ok_and(|r| r.status == 200)
        })?;
        let tracer = Self {
            ns: node,
            process,
            address,
            socket,
            _dir: dir,
        };
        if seen::wanted() {
            seen::daemon(&tracer.metrics()?, &tracer.process.stderr())?;
        }
        Ok(tracer)
    }

    /// Scrapes `/metrics`.
    pub fn metrics(&self) -> Result<Metrics> {
        Metrics::parse(&self.scrape(TEXT)?)
    }

    /// The text of `/metrics` for this Accept header.
    pub fn scrape(&self, accept: &str) -> Result<String> {
        let response = http::get(self.ns, self.address, "/metrics", accept)?;
        ensure!(response.status == 200, "/metrics: {}", response.status);
        Ok(response.body)
    }

    /// Scrapes until `done` accepts the metrics, which it returns; an error with
    /// the last scrape after `limit`.
    pub fn metrics_when(
        &self,
        limit: Duration,
        what: &str,
        mut done: impl FnMut(&Metrics) -> bool,
    ) -> Result<Metrics> {
        let mut last = Metrics::default();
        let found = poll_until(limit, what, || {
            last = self.metrics()?;
            Ok(done(&last).then(|| last.clone()))
        });
        found.with_context(|| format!("the last scrape: {:?}", self.scrape(TEXT)))
    }

    /// What `tracer replay --openmetrics` makes of a capture, with `args`.
    pub fn replay(capture: &Path, args: &[&str]) -> Result<Metrics> {
        let mut command = Command::new(Self::binary()?);
        command.args(["replay", "--openmetrics"]).args(args);
        let output = command.arg(capture).output().context("run tracer replay")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        // 3: there is a problem; 1: no attempt was read, of which the page tells as well.
        let page = output.stdout.ends_with(b"# EOF\n");
        let done = page && matches!(output.status.code(), Some(0 | 1 | 3));
        ensure!(done, "tracer replay: {}: {errors}", output.status);
        Metrics::parse(&String::from_utf8(output.stdout)?)
    }

    /// Freezes the daemon (SIGSTOP): its readers and sweeper stand still.
    pub fn pause(&self) -> Result<()> {
        self.process.signal(Signal::SIGSTOP)
    }

    /// Lets it go on.
    pub fn resume(&self) -> Result<()> {
        self.process.signal(Signal::SIGCONT)
    }

    /// SIGTERM; returns the exit status and what it wrote to standard error.
    pub fn stop(mut self) -> Result<(ExitStatus, String)> {
        let status = self.process.stop(Signal::SIGTERM, STOP_LIMIT)?;
        Ok((status, self.process.stderr()))
    }

    /// SIGKILL; returns whether that is what ended it.
    pub fn kill(mut self) -> Result<bool> {
        self.process.kill();
        let status = self.process.try_wait()?;
        Ok(status.is_some_and(|s| s.signal() == Some(Signal::SIGKILL as i32)))
    }

    /// The process: its id, what it printed.
    #[must_use]
    pub fn process(&self) -> &Proc {
        &self.process
    }

    /// Its unix socket, for `tracer explain` and `tracer events`.
    #[must_use]
    pub fn socket(&self) -> &std::path::Path {
        &self.socket
    }

    /// Where it serves, inside the node's namespace.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
