//! The node of these tests, what it dials, and the servers there.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage, getsockopt, sockopt},
};
use testbed::{
    Metrics, Netns, Tracer,
    cleanup::ScratchDir,
    peer::{Behaviour, Dial, Server},
    rules,
};

/// The watched ports; each meets one fate. The hooks see the sockets of every
/// namespace, so no other test may use these ports, and [`Bed`]s come one at a
/// time.
pub mod port {
    pub const ALL: &str = "31700-31719";
    pub const OPEN: u16 = 31700;
    pub const CLOSED: u16 = 31701;
    pub const REJECTED: u16 = 31702;
    pub const SILENT: u16 = 31703;
    pub const GIVEN_UP: u16 = 31704;
    pub const NO_ROUTE: u16 = 31705;
    pub const NO_SOURCE: u16 = 31706;
    pub const RESET: u16 = 31707;
    pub const NO_HOST: u16 = 31708;
    pub const ITSELF: u16 = 31709;
    pub const LOSSY: u16 = 31710;
    pub const NODE: u16 = 31711;
}

pub const NODE_V4: Ipv4Addr = Ipv4Addr::new(10, 61, 0, 1);
pub const FAR_V4: Ipv4Addr = Ipv4Addr::new(10, 61, 0, 2);
pub const FAR_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x61, 0, 0, 0, 0, 0, 2);
/// Behind the far side, which has no route to it.
pub const BEYOND: Ipv4Addr = Ipv4Addr::new(10, 62, 0, 1);
const LINKS: &str = "\
    addr add 10.61.0.1/24 dev e0
    addr add fd00:61::1/64 dev e0 nodad
    link set e0 up
    route add 10.62.0.0/16 via 10.61.0.2
    route add prohibit 10.63.0.0/16
    link add quiet0 type veth peer name quiet1
    link set quiet0 up
";
const FAR_LINKS: &str = "\
    addr add 10.61.0.2/24 dev e0
    addr add 10.61.0.3/24 dev e0
    addr add fd00:61::2/64 dev e0 nodad
    link set e0 up
    route add unreachable 10.62.0.0/16
";
/// At the far side, and nobody's Service.
pub const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 61, 0, 3);
const SERVICES: &str = "\
service_addresses:
  - 10.61.0.2
  - fd00:61::2
  - 10.62.0.1
  - 10.63.0.1
  - 192.0.2.1
  - 2001:db8::1
";
pub const LIMIT: Duration = Duration::from_secs(10);

/// Counts by port and label value; zeros are left out.
pub type Counts = BTreeMap<(u16, String), u64>;

/// A node, what it dials, and the servers there.
pub struct Bed {
    pub node: Netns,
    pub far: Netns,
    names: ScratchDir,
    _servers: Vec<Server>,
    _turn: MutexGuard<'static, ()>,
}

impl Bed {
    pub fn new() -> Result<Self> {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let made: [Netns; 2] = Netns::many(&["node", "far"])?
            .try_into()
            .map_err(|_| anyhow::anyhow!("not two namespaces"))?;
        let [node, far] = made;
        node.ip(&format!(
            "link add e0 type veth peer name e0 netns {}\n",
            far.name()
        ))?;
        node.ip(LINKS)?;
        far.ip(FAR_LINKS)?;
        far.sysctls(&[("net/ipv4/ip_forward", "1")])?;
        node.sysctls(&[
            ("net/ipv4/tcp_syn_retries", "1"),
            ("?net/ipv4/tcp_syn_linear_timeouts", "0"),
        ])?;
        let mut servers = Vec::new();
        let reset = (STRANGER, port::RESET);
        servers.push(Server::start(&far, reset, Behaviour::Reset)?);
        for address in [IpAddr::V4(FAR_V4), IpAddr::V6(FAR_V6)] {
            for open in [port::OPEN, port::NO_SOURCE, port::LOSSY] {
                servers.push(Server::start(&far, (address, open), Behaviour::Sink)?);
            }
            servers.push(Server::start(
                &far,
                (address, port::RESET),
                Behaviour::Reset,
            )?);
        }
        let input = [("input", "filter")];
        let reject = format!(
            "tcp dport {} reject with icmpx type port-unreachable",
            port::REJECTED
        );
        rules::add(&far, &input, &reject)?;
        for silent in [port::SILENT, port::GIVEN_UP] {
            rules::add(&far, &input, &format!("tcp dport {silent} drop"))?;
        }
        Ok(Self {
            node,
            far,
            names: ScratchDir::new()?,
            _servers: servers,
            _turn: turn,
        })
    }

    /// The daemon with its wire tap where none of the dials pass; all addresses that are
    /// dialled but [`STRANGER`] are Services'.
    pub fn trace(&self, options: &[&str]) -> Result<Tracer<'_>> {
        let names = self.names.write("services.yaml", SERVICES)?;
        let names = names.to_str().context("not UTF-8")?;
        let args = [
            "--interface",
            "quiet0",
            "--node-ports",
            port::ALL,
            "--services",
            names,
        ];
        Tracer::start(&self.node, &[&args[..], options].concat())
    }

    pub fn dial(&self, to: impl Into<IpAddr>, port: u16) -> Dial<'_> {
        Dial::new(&self.node, (to.into(), port)).limit(LIMIT)
    }

    /// A dial that has to end with `errno`.
    pub fn fails(&self, to: impl Into<IpAddr>, port: u16, errno: Errno) -> Result<()> {
        let to = to.into();
        let ended = self.dial(to, port).connect()?.err();
        ensure!(
            ended == Some(errno),
            "dial {to} {port}: {ended:?}, not {errno}"
        );
        Ok(())
    }
}

pub fn mapped(address: Ipv4Addr) -> Ipv6Addr {
    address.to_ipv6_mapped()
}

/// A socket whose connect(2) has begun and does not wait.
pub fn begin(ns: &Netns, to: SocketAddr, from: Option<SocketAddr>) -> Result<OwnedFd> {
    ns.enter(|| {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket::socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
        if let Some(from) = from {
            socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(from))?;
        }
        match socket::connect(fd.as_raw_fd(), &SockaddrStorage::from(to)) {
            Ok(()) | Err(Errno::EINPROGRESS) => Ok(fd),
            Err(errno) => Err(errno).with_context(|| format!("connect to {to}")),
        }
    })?
}

/// Waits for the end of a dial as event loops do, and takes its error.
pub fn ending(fd: &OwnedFd) -> Result<i32> {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLOUT)];
    let limit = PollTimeout::try_from(LIMIT).context("poll limit")?;
    ensure!(poll(&mut fds, limit)? == 1, "the dial has not ended");
    Ok(getsockopt(fd, sockopt::SocketError)?)
}

/// The RST may be there before connect(2) has returned.
pub fn established_then_reset(dial: &Dial<'_>) -> Result<()> {
    let kind = match dial.connect()? {
        Ok(mut stream) => stream.read(&mut [0]).err().map(|error| error.kind()),
        Err(errno) => Some(std::io::Error::from(errno).kind()),
    };
    ensure!(kind == Some(ErrorKind::ConnectionReset), "no RST: {kind:?}");
    Ok(())
}

pub fn counts(metrics: &Metrics, name: &str, label: &str) -> Counts {
    let mut found = Counts::new();
    for (labels, value) in metrics.series(name, &[]).filter(|(_, value)| *value > 0.0) {
        let port = labels
            .get("node_port")
            .and_then(|port| port.parse().ok())
            .unwrap_or(0);
        let word = labels.get(label).cloned().unwrap_or_default();
        *found.entry((port, word)).or_default() += value as u64;
    }
    found
}
