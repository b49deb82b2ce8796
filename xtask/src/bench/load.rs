//! The traffic: from the client's namespace to servers in the node's own. No kube-proxy rules and
//! no forwarding stand in between, unless asked for: they would make the bare side dearer and the
//! share of the programs smaller.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testbed::addr::{NODE_V4, pod_v4};
use testbed::cleanup::ScratchDir;
use testbed::peer::{Behaviour, Server, thrift::Message};
use testbed::{KubeProxy, Mode, Netns, ServicePort, Topology};

/// A port that is not watched.
pub(super) const OTHER_PORT: u16 = 8080;
/// NodePort of the server for long connections.
const LONG: u16 = 30080;
/// NodePort of the server for short connections.
const SHORT: u16 = 30081;
/// NodePort of the server that reads only.
const SINK: u16 = 30082;
/// NodePort where nothing listens.
const CLOSED: u16 = 30083;
/// The first NodePort of the default range.
const FIRST_PORT: u16 = 30_000;
/// Threads of the server for short connections: each serves one after the other.
const WORKERS: usize = 4;
/// One write of a bulk transfer, bytes.
const CHUNK: usize = 64 * 1024;
/// Nothing takes longer here, unless it is broken.
const LIMIT: Duration = Duration::from_secs(10);

/// The namespaces with the servers running.
pub(super) struct Bed {
    /// Client and node.
    pub(super) topology: Topology,
    _servers: Vec<Server>,
    names: ScratchDir,
}

/// Below [`Bed::names`].
const NAMES: &str = "names.yaml";

/// What a long connection carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Words {
    /// Thrift calls, echoed.
    Thrift,
    /// Bytes that are not Thrift, echoed.
    Other,
}

impl Words {
    fn message(self) -> Vec<u8> {
        match self {
            Self::Thrift => Message::call("getUserProfile").strict(),
            Self::Other => b"GET /index HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        }
    }
}

/// A short connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Short {
    /// Connect, one Thrift call and its echo, close: 10 packets.
    Call,
    /// Connect and close.
    Probe,
    /// A SYN that is answered by RST.
    Refused,
}

impl Short {
    /// The NodePort that it is to.
    pub(super) fn port(self) -> u16 {
        match self {
            Self::Refused => CLOSED,
            Self::Call | Self::Probe => SHORT,
        }
    }
}

impl Bed {
    /// Makes the namespaces and starts the servers in the node's.
    pub(super) fn new() -> Result<Self> {
        Self::serving(Topology::builder().pods(0).build()?)
    }

    /// The same with the servers in a pod, behind kube-proxy's rules for so many of the first
    /// NodePorts of the default range and for those of the servers.
    pub(super) fn forwarded(ports: usize) -> Result<Self> {
        let topology = Topology::builder().pods(1).build()?;
        let mut kube_proxy = KubeProxy::new(Mode::Nftables);
        let served = [LONG, SHORT, SINK, CLOSED];
        let others = (FIRST_PORT..).filter(|port| !served.contains(port));
        for port in others.take(ports).chain(served) {
            let name = format!("thrift/bench{port}:thrift");
            let service = ServicePort::new(&name, port).backend((pod_v4(0), port));
            kube_proxy = kube_proxy.port(service);
        }
        kube_proxy.apply(&topology.node)?;
        Self::serving(topology)
    }

    fn serving(topology: Topology) -> Result<Self> {
        // Without TIME_WAIT sockets the ten-thousandth connection costs what the first one does.
        // Both sides close in order, so none is needed.
        let settings = [("net/ipv4/tcp_max_tw_buckets", "0")];
        topology.client.sysctls(&settings)?;
        let (ns, ip) = match topology.pods.first() {
            Some(pod) => (pod, pod_v4(0)),
            None => (&topology.node, NODE_V4),
        };
        let server = |port: u16, behaviour, workers| {
            Server::start_with(ns, (ip, port), behaviour, 1024, workers)
        };
        let servers = vec![
            server(OTHER_PORT, Behaviour::Echo, 0)?,
            server(LONG, Behaviour::Echo, 0)?,
            server(SHORT, Behaviour::Echo, WORKERS)?,
            server(SINK, Behaviour::Sink, 0)?,
        ];
        Ok(Self {
            topology,
            _servers: servers,
            names: ScratchDir::new()?,
        })
    }

    /// An established connection to the echo server, whose class is known.
    pub(super) fn long(&self, words: Words) -> Result<Talk> {
        self.talk(LONG, words)
    }

    /// The same at a port that is not watched.
    pub(super) fn not_watched(&self) -> Result<Talk> {
        self.talk(OTHER_PORT, Words::Thrift)
    }

    fn talk(&self, port: u16, words: Words) -> Result<Talk> {
        let stream = in_client(&self.topology.client, || dial(port))?;
        let message = words.message();
        let mut talk = Talk { stream, message };
        talk.round_trips(10)?;
        Ok(talk)
    }

    /// Sends UDP datagrams to a socket that nobody reads.
    pub(super) fn datagrams(&self, count: usize) -> Result<()> {
        let open = || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("open a UDP socket");
        let node = in_client(&self.topology.node, open)?;
        let to = SocketAddr::from((NODE_V4, node.local_addr()?.port()));
        let client = in_client(&self.topology.client, open)?;
        for _ in 0..count {
            client.send_to(b"nobody reads this", to)?;
        }
        Ok(())
    }

    /// `count` short connections, one after the other, each to its very end.
    pub(super) fn short(&self, kind: Short, count: usize) -> Result<()> {
        self.short_by(kind, kind.port(), count)
    }

    /// The same to another port, which leads to that of this kind.
    pub(super) fn short_by(&self, kind: Short, port: u16, count: usize) -> Result<()> {
        in_client(&self.topology.client, || {
            (0..count).try_for_each(|_| short(kind, port))
        })
    }

    /// `count` short connections, `rate` a second; fails where that rate is not reached.
    pub(super) fn paced(&self, kind: Short, count: u32, rate: u32) -> Result<()> {
        let every = Duration::from_secs(1) / rate;
        in_client(&self.topology.client, || {
            let start = Instant::now();
            for i in 0..count {
                sleep((every * i).saturating_sub(start.elapsed()));
                short(kind, kind.port())?;
            }
            let (took, planned) = (start.elapsed(), every * count);
            ensure!(
                took < planned.mul_f64(1.1),
                "{count} connections took {took:?} instead of {planned:?}: this machine is too busy"
            );
            Ok(())
        })
    }

    /// Sends `bytes` (in whole chunks) to the server that reads only and waits until it has read
    /// them. The first bytes are a Thrift call.
    pub(super) fn bulk(&self, bytes: usize) -> Result<()> {
        in_client(&self.topology.client, || {
            let mut stream = dial(SINK)?;
            let mut chunk = Words::Thrift.message();
            chunk.resize(CHUNK, 0);
            for _ in 0..bytes.div_ceil(CHUNK) {
                stream.write_all(&chunk).context("send")?;
            }
            finish(stream)
        })
    }

    /// A file for `--services` with a name for each port of the default range, so that those that
    /// refuse have series of their own.
    pub(super) fn names(&self) -> Result<String> {
        let mut text = "ports:\n".to_owned();
        for port in FIRST_PORT..32_768 {
            let _ = writeln!(
                text,
                "- {{node_port: {port}, namespace: bench, service: s{port}}}"
            );
        }
        let path = self.names.write(NAMES, &text)?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// One refused dial to each of the first `count` NodePorts of the default range that have no
    /// server.
    pub(super) fn touch_ports(&self, count: usize) -> Result<()> {
        in_client(&self.topology.client, || {
            let silent = |port: &u16| ![LONG, SHORT, SINK].contains(port);
            for port in (FIRST_PORT..32_768).filter(silent).take(count) {
                refused(port)?;
            }
            Ok(())
        })
    }
}

/// A long connection.
pub(super) struct Talk {
    stream: TcpStream,
    message: Vec<u8>,
}

impl Talk {
    /// Sends the message and reads its echo, `count` times.
    pub(super) fn round_trips(&mut self, count: usize) -> Result<()> {
        let mut echo = vec![0; self.message.len()];
        for _ in 0..count {
            self.stream.write_all(&self.message).context("send")?;
            self.stream.read_exact(&mut echo).context("read the echo")?;
        }
        Ok(())
    }
}

fn in_client<T: Send>(ns: &Netns, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    ns.enter(work)?
}

fn at(port: u16) -> SocketAddr {
    (NODE_V4, port).into()
}

fn dial(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&at(port), LIMIT)
        .with_context(|| format!("connect to {}", at(port)))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    Ok(stream)
}

fn short(kind: Short, port: u16) -> Result<()> {
    if kind == Short::Refused {
        return refused(port);
    }
    let mut stream = dial(port)?;
    if kind == Short::Call {
        let message = Words::Thrift.message();
        stream.write_all(&message).context("send the call")?;
        let mut echo = vec![0; message.len()];
        stream.read_exact(&mut echo).context("read the echo")?;
    }
    finish(stream)
}

fn refused(port: u16) -> Result<()> {
    match TcpStream::connect_timeout(&at(port), LIMIT) {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error).with_context(|| format!("dial {}", at(port))),
        Ok(_) => anyhow::bail!("{} answers", at(port)),
    }
}

/// FIN, then waits for the peer's.
fn finish(mut stream: TcpStream) -> Result<()> {
    stream.shutdown(Shutdown::Write).context("close our side")?;
    let mut rest = [0; 16];
    let left = stream
        .read(&mut rest)
        .context("wait for the peer's close")?;
    ensure!(left == 0, "the peer sent more than was asked for");
    Ok(())
}
