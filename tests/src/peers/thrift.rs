//! Apache Thrift for Python, server and client (`tests/peers/*.py`).

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use crate::{netns::Netns, process::Proc};

/// Protocol and transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Strict binary protocol, buffered transport.
    Binary,
    /// Strict binary protocol, framed transport.
    Framed,
    /// Compact protocol, framed transport.
    Compact,
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Binary => "binary",
            Self::Framed => "framed",
            Self::Compact => "compact",
        })
    }
}

/// A Python that has the PyPI package `thrift`: `$TRACER_VENV`, a venv or the
/// interpreter itself.
pub fn python() -> Result<PathBuf> {
    let venv = std::env::var_os("TRACER_VENV")
        .context("set TRACER_VENV to a Python venv with the package thrift (cargo xtask does)")?;
    let path = PathBuf::from(venv);
    Ok(if path.is_dir() {
        path.join("bin/python")
    } else {
        path
    })
}

/// `python SCRIPT` in `ns`; no compiled files are left in the source tree.
fn script(ns: &Netns, python: &Path, name: &str) -> Result<Command> {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
    let mut command = ns.command(python)?;
    command
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(peers.join(name));
    Ok(command)
}

/// A threaded Thrift server; killed on drop.
#[derive(Debug)]
pub struct Server {
    _process: Proc,
}

impl Server {
    /// Serves at `address` in `ns` and returns when it listens.
    pub fn start(ns: &Netns, python: &Path, address: SocketAddr, wire: Wire) -> Result<Self> {
        let mut command = script(ns, python, "thrift_server.py")?;
        command.args([
            address.ip().to_string(),
            address.port().to_string(),
            wire.to_string(),
        ]);
        let mut process = ns.spawn(command)?;
        process.wait_until(
            Duration::from_secs(20),
            "the Thrift server did not start",
            |p| p.stdout().contains("listening"),
        )?;
        Ok(Self { _process: process })
    }
}

/// What a client has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub struct Counts {
    /// Connections made.
    pub connections: u64,
    /// Calls that returned the right answer.
    pub ok: u64,
    /// Calls, or connections for them, that failed.
    pub failed: u64,
}

/// What a client does.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Protocol and transport, as the server's.
    pub wire: Wire,
    /// Connections to make; `None`: until it is stopped.
    pub connections: Option<u32>,
    /// Calls on each connection.
    pub calls: u32,
    /// Pause after each connection.
    pub pause: Duration,
}

/// A running Thrift client; killed on drop.
#[derive(Debug)]
pub struct Client {
    process: Proc,
}

impl Client {
    /// Starts a client in `ns`.
    pub fn start(ns: &Netns, python: &Path, to: SocketAddr, load: Load) -> Result<Self> {
        let mut command = script(ns, python, "thrift_client.py")?;
        command
            .args([
                to.ip().to_string(),
                to.port().to_string(),
                load.wire.to_string(),
            ])
            .args(["--connections", &load.connections.unwrap_or(0).to_string()])
            .args(["--calls", &load.calls.to_string()])
            .args(["--pause", &load.pause.as_secs_f64().to_string()]);
        let process = ns.spawn(command)?;
        Ok(Self { process })
    }

    /// Waits for the end of a client with a number of connections.
    pub fn finish(mut self, limit: Duration) -> Result<Counts> {
        self.process.wait(limit)?;
        self.counts()
    }

    /// Stops the client after its current connection.
    pub fn stop(mut self) -> Result<Counts> {
        self.process
            .stop(Signal::SIGTERM, Duration::from_secs(15))?;
        self.counts()
    }

    /// What it has counted so far, at most half a second (and one connection)
    /// old; zeros before its first report.
    pub fn counts(&self) -> Result<Counts> {
        let text = self.process.stdout();
        let Some(last) = text.lines().last() else {
            ensure!(self.process.stderr().is_empty(), self.process.stderr());
            return Ok(Counts::default());
        };
        let error = || format!("the Thrift client printed: {text}{}", self.process.stderr());
        serde_json::from_str(last).with_context(error)
    }
}
