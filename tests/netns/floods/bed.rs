//! The node of these tests, connections that were there before, and what has to
//! hold whatever comes.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use testbed::{
    Metrics, RawClient, Topology, Tracer,
    addr::{NODE_V4, phantom_v4},
    leftovers::Held,
    peer::{Behaviour, Dial, Server, thrift::Message},
    rules,
    tun::TunPeer,
};

/// The watched ports. The hooks see the sockets of every namespace: these are
/// these tests'.
pub const PORTS: &str = "31500-31504";
/// A server on the node answers: no NAT, so that the flood ends at its socket
/// and fills no table of the kernel's.
pub const FLOODED: u16 = 31500;
/// Another one, for those who have nothing to do with the flood.
pub const QUIET: u16 = 31501;
/// Nothing listens.
pub const CLOSED: u16 = 31502;
/// The node drops what comes: both ends of its connections are made up.
pub const SILENT: u16 = 31503;

pub const LIMIT: Duration = Duration::from_secs(60);
const MIB: u64 = 1024 * 1024;
/// Promised.
const MAPS: u64 = 16 * MIB;
pub const RESIDENT: u64 = 40 * MIB;

pub fn at(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into(), port)
}

pub fn sum(metrics: &Metrics, name: &str, port: u16, labels: &[(&str, &str)]) -> u64 {
    let port = port.to_string();
    let labels = [&[("node_port", port.as_str())][..], labels].concat();
    metrics.sum(name, &labels) as u64
}

pub fn attempts(metrics: &Metrics, port: u16) -> u64 {
    sum(metrics, "tracer_attempts_total", port, &[])
}

pub struct Scene {
    pub bed: Topology,
    _servers: Vec<Server>,
    _sink: TunPeer,
}

impl Scene {
    pub fn new() -> Result<Self> {
        let bed = Topology::builder().pods(0).build()?;
        // What is for phantoms is swallowed without a drop that the hooks of this
        // kernel could see: as if it had left the machine.
        bed.client.sysctls(&[("net/ipv4/ip_forward", "1")])?;
        let sink = TunPeer::silent(&bed.client, &["172.16.0.0/12"])?;
        bed.client.ip("link set tun-peer txqueuelen 50000\n")?;
        // The last SYN-ACK to nobody goes out soon.
        bed.node.sysctls(&[("net/ipv4/tcp_synack_retries", "1")])?;
        let silent = format!("tcp dport {SILENT} drop");
        rules::add(&bed.node, &[("prerouting", "raw")], &silent)?;
        let serve = |port| Server::start(&bed.node, (NODE_V4, port), Behaviour::Echo);
        let _servers = vec![serve(FLOODED)?, serve(QUIET)?];
        Ok(Self {
            bed,
            _servers,
            _sink: sink,
        })
    }

    pub fn trace(&self, args: &[&str]) -> Result<Tracer<'_>> {
        let all = [&["--interface", "eth0", "--node-ports", PORTS][..], args].concat();
        Tracer::start(&self.bed.node, &all)
    }

    /// Frames that did not get from client to node or back.
    pub fn drops(&self) -> Result<u64> {
        Ok(self.bed.client.send_drops("eth0")? + self.bed.node.send_drops("eth0")?)
    }

    /// What `tracer explain` says of the last minute.
    pub fn explain(&self, tracer: &Tracer<'_>) -> Result<String> {
        let mut command = self.bed.node.command(Tracer::binary()?)?;
        command.args(["explain", "--socket"]).arg(tracer.socket());
        let mut process = self.bed.node.spawn(command)?;
        process.wait(LIMIT)?;
        Ok(process.stdout())
    }
}

/// Connections that outlive the flood, and the state of the daemon before it.
pub struct Before {
    streams: Vec<TcpStream>,
    series: BTreeSet<String>,
}

fn series(metrics: &Metrics) -> BTreeSet<String> {
    let name = |(name, labels, _)| format!("{name}{labels:?}");
    metrics.iter().map(name).collect()
}

impl Before {
    /// Opens connections, one half of which has carried a call already; one
    /// attempt of each kind gives the ports all their series.
    pub fn flood(scene: &Scene, tracer: &Tracer<'_>) -> Result<Self> {
        let dial = Dial::new(&scene.bed.client, (NODE_V4, QUIET)).limit(LIMIT);
        let mut streams = (0..40).map(|_| dial.stream()).collect::<Result<Vec<_>>>()?;
        for stream in &mut streams[..20] {
            call(stream)?;
        }
        let raw = RawClient::open(&scene.bed.client)?;
        for port in [FLOODED, QUIET, CLOSED, SILENT] {
            // Retransmitted SYN-ACKs and resets have series of their own.
            raw.syn_only(at(phantom_v4(0xf_ffff), 999), at(NODE_V4, port), 7)?;
        }
        let metrics = tracer.metrics_when(LIMIT, "still pending", |metrics| {
            let opened = sum(
                metrics,
                "tracer_handshakes_total",
                QUIET,
                &[("outcome", "established")],
            );
            opened == 40 && metrics.sum("tracer_handshakes_pending", &[]) == 0.0
        })?;
        let series = series(&metrics);
        Ok(Self { streams, series })
    }

    /// After the flood: everything adds up, no series was added, memory is within
    /// the promise, and the connections have been followed all the time.
    pub fn holds(self, tracer: &Tracer<'_>) -> Result<Metrics> {
        let before = self.series.clone();
        let metrics = self.followed(tracer)?;
        let new: Vec<String> = series(&metrics).difference(&before).cloned().collect();
        ensure!(new.is_empty(), "new series: {new:?}");
        Ok(metrics)
    }

    /// The same, whatever series there are.
    pub fn followed(mut self, tracer: &Tracer<'_>) -> Result<Metrics> {
        for stream in &mut self.streams {
            call(stream).context("a connection from before")?;
        }
        drop(self.streams);
        let metrics = tracer.metrics_when(LIMIT, "not decided", |metrics| {
            let thrift = [("traffic", "thrift")];
            metrics.sum("tracer_handshakes_pending", &[]) == 0.0
                && sum(metrics, "tracer_connections_total", QUIET, &thrift) == 40
                && sum(metrics, "tracer_connection_closes_total", QUIET, &thrift) == 40
        })?;
        metrics.balanced()?;
        memory(tracer, RESIDENT)?;
        Ok(metrics)
    }
}

fn call(stream: &mut TcpStream) -> Result<()> {
    let message = Message::call("getUser").strict();
    stream.write_all(&message)?;
    let mut back = vec![0; message.len()];
    stream.read_exact(&mut back)?;
    ensure!(back == message, "the echo differs");
    Ok(())
}

/// A number of kibibytes in the process's status.
fn kib(pid: i32, what: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let kib = line.context("no such line of the status")?;
    Ok(kib.trim_matches([':', ' ', '\t', 'k', 'B']).parse()?)
}

/// The most that the process has ever had resident, `most` bytes, and its maps.
pub fn memory(tracer: &Tracer<'_>, most: u64) -> Result<()> {
    let pid = tracer.process().pid();
    let resident = kib(pid, "VmHWM")?;
    let maps = Held::by(pid)?.map_memory();
    eprintln!(
        "{resident} KiB resident at most, {} KiB of maps",
        maps / 1024
    );
    // A build for debugging is larger by itself.
    let is_released = fs::metadata(Tracer::binary()?)?.len() < RESIDENT / 2;
    ensure!(
        resident * 1024 <= most || !is_released,
        "{resident} KiB resident"
    );
    ensure!((MIB..=MAPS).contains(&maps), "{maps} bytes of maps");
    Ok(())
}

/// What a pod's limit is held against, `most` bytes: memory of the process's own at its
/// most, and its maps, which the kernel charges to it too. Pages of files do not count:
/// they are given back when memory is short.
pub fn charged(tracer: &Tracer<'_>, most: u64) -> Result<()> {
    let pid = tracer.process().pid();
    let own = kib(pid, "VmHWM")?.saturating_sub(kib(pid, "RssFile")?);
    let maps = Held::by(pid)?.map_memory();
    eprintln!("{own} KiB of its own at most, {} KiB of maps", maps / 1024);
    ensure!(own * 1024 + maps <= most, "{own} KiB, {maps} bytes of maps");
    Ok(())
}
