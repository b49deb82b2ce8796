//! HAProxy as the load balancer.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{cleanup::ScratchDir, netns::Netns, process::Proc};

/// How HAProxy checks a target. A dial of a check lasts as long as its interval,
/// at most 2 s; the first failure takes the target down, later ones six.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// No checks.
    Off,
    /// No checks; up and down with the target of this listener.
    Track(&'static str),
    /// SYN, SYN-ACK, RST: the plain `check`.
    HalfOpen(Duration),
    /// A full handshake closed with FIN: `tcp-check connect linger`.
    Full(Duration),
    /// `tcp-check connect`, closed with RST.
    Connect(Duration),
}

/// One listener and the NodePort behind it.
#[derive(Debug, Clone)]
pub struct Listener {
    /// A name without spaces.
    pub name: String,
    /// Where clients connect.
    pub bind: SocketAddr,
    /// The node's address and NodePort.
    pub target: SocketAddr,
    /// The address that HAProxy dials from; `None` leaves it to the kernel.
    pub source: Option<IpAddr>,
    /// The health check.
    pub check: Check,
}

/// What HAProxy has counted for one target (`show stat`, management guide 9.1).
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Stat {
    /// `UP`, `DOWN`, `UP 1/3` on the way, or `no check`.
    pub status: String,
    /// Failed health checks, counted while the target was up.
    pub failed_checks: u64,
    /// How the last check ended, for example `L4OK`, `L4CON`, `L4TOUT`.
    pub last_check: String,
    /// What the last check found, for example `Connection refused`.
    pub last_check_text: String,
    /// Sessions that were sent to the target.
    pub sessions: u64,
    /// Connection errors.
    pub connection_errors: u64,
    /// Connections tried again.
    pub retries: u64,
}

/// A running HAProxy; killed on drop.
#[derive(Debug)]
pub struct Haproxy {
    _process: Proc,
    _dir: ScratchDir,
    socket: PathBuf,
}

impl Haproxy {
    /// Starts HAProxy in `ns` with these listeners and waits for its statistics
    /// socket.
    pub fn start(ns: &Netns, listeners: &[Listener]) -> Result<Self> {
        let dir = ScratchDir::new()?;
        let socket = dir.path().join("stats.sock");
        let config = dir.write("haproxy.cfg", &config(&socket.to_string_lossy(), listeners))?;
        let mut command = ns.command("haproxy")?;
        command.arg("-db").arg("-f").arg(config);
        let mut process = ns
            .spawn(command)
            .context("is Debian's haproxy installed?")?;
        process.wait_until(Duration::from_secs(10), "haproxy did not start", |_| {
            UnixStream::connect(&socket).is_ok()
        })?;
        Ok(Self {
            _process: process,
            _dir: dir,
            socket,
        })
    }

    /// What it has counted, by listener.
    pub fn stats(&self) -> Result<BTreeMap<String, Stat>> {
        let mut stream = UnixStream::connect(&self.socket).context("statistics socket")?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        // 4: servers only.
        stream.write_all(b"show stat -1 4 -1\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        parse(&text).context("read HAProxy's statistics")
    }
}

fn config(socket: &str, listeners: &[Listener]) -> String {
    let mut text = format!(
        "global\n  stats socket {socket} mode 600 level admin\n  maxconn 4000\n\
         defaults\n  mode tcp\n  retries 3\n  timeout connect 2s\n  timeout check 2s\n  \
         timeout client 120s\n  timeout server 120s\n"
    );
    for l in listeners {
        let every = |inter: Duration| format!(" check inter {}ms rise 2 fall 6", inter.as_millis());
        let (options, check) = match l.check {
            Check::Off => ("", String::new()),
            Check::Track(other) => ("", format!(" track {other}/node")),
            Check::HalfOpen(inter) => ("", every(inter)),
            Check::Full(inter) => (
                "  option tcp-check\n  tcp-check connect linger\n",
                every(inter),
            ),
            Check::Connect(inter) => ("  option tcp-check\n  tcp-check connect\n", every(inter)),
        };
        let source = l
            .source
            .map_or_else(String::new, |ip| format!(" source {ip}"));
        let _ = write!(
            text,
            "listen {}\n  bind {}\n{options}  server node {}{source}{check}\n",
            l.name, l.bind, l.target
        );
    }
    text
}

fn parse(text: &str) -> Result<BTreeMap<String, Stat>> {
    let mut lines = text.lines().filter(|line| !line.is_empty());
    let head = lines.next().context("no header")?;
    let names: Vec<&str> = head.trim_start_matches("# ").split(',').collect();
    let mut stats = BTreeMap::new();
    for line in lines {
        let values = names.iter().copied().zip(split_csv(line));
        let row: BTreeMap<&str, String> = values.collect();
        let text = |name: &str| row.get(name).cloned().unwrap_or_default();
        let number = |name: &str| text(name).parse().unwrap_or(0);
        let stat = Stat {
            status: text("status"),
            failed_checks: number("chkfail"),
            last_check: text("check_status"),
            last_check_text: text("last_chk"),
            sessions: number("stot"),
            connection_errors: number("econ"),
            retries: number("wretr"),
        };
        stats.insert(text("pxname"), stat);
    }
    Ok(stats)
}

/// Fields of a CSV line; quoted ones may hold commas.
fn split_csv(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => fields.last_mut().map_or((), |f| f.push(c)),
        }
    }
    fields
}
