//! A node with services in and out of order, and traffic of every kind for it,
//! which the tests that share this count in more than one way.

use std::{
    net::{IpAddr, SocketAddr},
    panic::resume_unwind,
    thread::ScopedJoinHandle,
    time::Duration,
};

use anyhow::{Result, ensure};
use nix::errno::Errno;
use testbed::{
    KubeProxy, Mode, Netns, RawClient, ServicePort, Topology,
    addr::{pod_v4, pod_v6},
    peer::{Behaviour, Dial, Server, thrift::Message},
    raw::Answer,
    rules,
    segment::flags,
};

/// The hooks see the sockets of every namespace: these ports are these tests'.
pub const PORTS: &str = "31100-31107";
pub const OPEN: u16 = 31100;
pub const CLOSED: u16 = 31101;
pub const EMPTY: u16 = 31102;
pub const SILENT: u16 = 31103;
/// Its SYN-ACKs leave the node and never reach the client.
pub const DEAF: u16 = 31104;
/// What no kernel would send goes to ports of its own.
pub const ODD_OPEN: u16 = 31105;
pub const ODD_CLOSED: u16 = 31106;
pub const ODD_SILENT: u16 = 31107;
/// Longer than the handshake timeout: SYNs are sent again before and after it.
const PATIENCE: Duration = Duration::from_millis(8500);
pub const CALLS: usize = 8;
pub const PROBES: usize = 6;

pub fn at(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into(), port)
}

/// The node with its services; two of them are out of order.
pub fn scene() -> Result<(Topology, Vec<Server>)> {
    let bed = Topology::builder().build()?;
    let pod = &bed.pods[0];
    // Else the last SYN-ACK goes out after a minute.
    pod.sysctls(&[("net/ipv4/tcp_synack_retries", "3")])?;
    let servers = vec![
        Server::start(pod, at(pod_v4(0), 9090), Behaviour::Echo)?,
        Server::start(pod, at(pod_v6(0), 9090), Behaviour::Echo)?,
    ];
    let port = |number, to| {
        ServicePort::new(&format!("default/p{number}:thrift"), number)
            .backend(at(pod_v4(0), to))
            .backend(at(pod_v6(0), to))
    };
    let mut rules = KubeProxy::new(Mode::IptablesNft);
    for open in [OPEN, SILENT, DEAF, ODD_OPEN, ODD_SILENT] {
        rules = rules.port(port(open, 9090));
    }
    rules
        .port(port(CLOSED, 9099))
        .port(port(ODD_CLOSED, 9099))
        .port(ServicePort::new("default/empty:thrift", EMPTY))
        .apply(&bed.node)?;
    rules::drop_syns(&bed.node, SILENT)?;
    rules::drop_syns(&bed.node, ODD_SILENT)?;
    rules::drop_syn_acks_at_client(&bed.client, DEAF)?;
    Ok((bed, servers))
}

/// What a thread returns; a panic in it goes on here.
pub fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// What clients with a kernel do, from one address family.
pub fn dials(client: &Netns, node: IpAddr) -> Result<()> {
    let dial = |port| Dial::new(client, at(node, port)).limit(PATIENCE);
    let unanswered = |port| {
        let ended = dial(port).connect()?.err();
        ensure!(ended == Some(Errno::EINPROGRESS), "{port}: {ended:?}");
        Ok(())
    };
    std::thread::scope(|scope| {
        let slow = [SILENT, SILENT, DEAF, DEAF].map(|port| scope.spawn(move || unanswered(port)));
        let empty = [EMPTY; 2].map(|port| scope.spawn(move || dial(port).connect()));
        let call = Message::call("getUser").strict();
        for _ in 0..CALLS {
            ensure!(dial(OPEN).send(&[&call])? == call, "no echo");
            ensure!(dial(OPEN).send(&[b"GET ", b"/"])? == b"GET /", "no echo");
        }
        for _ in 0..PROBES {
            dial(OPEN).connect_fin()?;
            dial(OPEN).connect_rst()?;
            let refused = dial(CLOSED).connect()?.err();
            ensure!(refused == Some(Errno::ECONNREFUSED), "{refused:?}");
        }
        for dial in empty {
            let ended = joined(dial)?.err();
            ensure!(ended == Some(Errno::ECONNREFUSED), "{EMPTY}: {ended:?}");
        }
        slow.into_iter().try_for_each(|dial| joined(dial))
    })
}

/// What only a raw client does, from one address family.
pub fn oddities(raw: &RawClient, node: IpAddr, phantom: IpAddr) -> Result<()> {
    let from = |port| at(phantom, port);
    for port in 4001..4006 {
        let answer = raw.half_open(from(port), at(node, OPEN), u32::MAX - 3)?;
        ensure!(matches!(answer, Answer::SynAck(_)), "{answer:?}");
    }
    // A SYN twice on its way, wherever it ends.
    for port in [ODD_OPEN, ODD_CLOSED, ODD_SILENT] {
        raw.syn_only(from(4010), at(node, port), 1000)?;
        raw.syn_only(from(4010), at(node, port), 1000)?;
    }
    // Another SYN from the same port: refused twice, or never answered twice.
    for isn in [1000, 900_000] {
        raw.syn(from(4011), at(node, ODD_CLOSED), isn)?;
        raw.syn_only(from(4011), at(node, ODD_SILENT), isn)?;
    }
    for (port, flag) in [(4012, flags::RST), (4013, flags::FIN)] {
        raw.cancelled(from(port), at(node, ODD_SILENT), 1000, flag)?;
    }
    Ok(())
}

/// Connections of a namespace in SYN_RECV: their SYN-ACKs may be sent again.
pub fn embryos(ns: &Netns) -> Result<usize> {
    Ok(ns
        .run(&["ss", "-Htn", "state", "syn-recv"])?
        .lines()
        .count())
}
