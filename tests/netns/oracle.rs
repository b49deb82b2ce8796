//! One mixed run in both address families, counted twice: by the tracer, and
//! from a capture of the same interface by rules of its own. All counts have to
//! agree exactly, and those that the kernels of both ends keep as well.

use std::{
    net::{IpAddr, SocketAddr},
    panic::resume_unwind,
    thread::ScopedJoinHandle,
    time::Duration,
};

use anyhow::{Result, ensure};
use nix::errno::Errno;
use testbed::{
    Capture, KubeProxy, Mode, Netns, RawClient, ServicePort, Topology, Tracer,
    addr::{NODE_V4, NODE_V6, phantom_v4, phantom_v6, pod_v4, pod_v6},
    capture::Captured,
    oracle::{self, Counts},
    peer::{Behaviour, Dial, Server, thrift::Message},
    raw::Answer,
    rules,
    segment::flags,
};

/// The hooks see the sockets of every namespace: these ports are this test's.
const OPEN: u16 = 31100;
const CLOSED: u16 = 31101;
const EMPTY: u16 = 31102;
const SILENT: u16 = 31103;
/// Its SYN-ACKs leave the node and never reach the client.
const DEAF: u16 = 31104;
/// What no kernel would send goes to ports of its own.
const ODD_OPEN: u16 = 31105;
const ODD_CLOSED: u16 = 31106;
const ODD_SILENT: u16 = 31107;
const PLAIN: [u16; 5] = [OPEN, CLOSED, EMPTY, SILENT, DEAF];
const ALL: [u16; 8] = [
    OPEN, CLOSED, EMPTY, SILENT, DEAF, ODD_OPEN, ODD_CLOSED, ODD_SILENT,
];

const ARGS: [&str; 6] = [
    "--interface",
    "eth0",
    "--node-ports",
    "31100-31107",
    "--idle-after",
    "3s",
];
/// Longer than the handshake timeout: SYNs are sent again before and after it.
const PATIENCE: Duration = Duration::from_millis(8500);
const LIMIT: Duration = Duration::from_secs(60);
const CALLS: usize = 8;
const PROBES: usize = 6;

fn at(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into(), port)
}

/// The node with its services; two of them are out of order.
fn scene() -> Result<(Topology, Vec<Server>)> {
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
fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// What clients with a kernel do, from one address family.
fn dials(client: &Netns, node: IpAddr) -> Result<()> {
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
fn oddities(raw: &RawClient, node: IpAddr, phantom: IpAddr) -> Result<()> {
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
fn embryos(ns: &Netns) -> Result<usize> {
    Ok(ns
        .run(&["ss", "-Htn", "state", "syn-recv"])?
        .lines()
        .count())
}

/// All packets of one interface, and what the tracer counted of them.
fn run(bed: &Topology, tap: &str) -> Result<(Captured, Counts)> {
    let capture = Capture::start(&bed.node, "eth0", "tcp or icmp or icmp6")?;
    let tracer = Tracer::start(&bed.node, &[&ARGS[..], &["--wire-tap", tap]].concat())?;
    let raw = RawClient::open(&bed.client)?;
    oddities(&raw, NODE_V4.into(), phantom_v4(1).into())?;
    oddities(&raw, NODE_V6.into(), phantom_v6(1).into())?;
    std::thread::scope(|scope| {
        let six = scope.spawn(|| dials(&bed.client, NODE_V6.into()));
        dials(&bed.client, NODE_V4.into())?;
        joined(six)
    })?;
    let metrics = tracer.metrics_when(LIMIT, "still pending", |metrics| {
        metrics.sum("tracer_handshakes_pending", &[]) == 0.0
            && embryos(&bed.pods[0]).is_ok_and(|embryos| embryos == 0)
    })?;
    assert_eq!(metrics.sum("tracer_events_lost_total", &[]), 0.0);
    Ok((capture.stop()?, oracle::from_metrics(&metrics)))
}

fn sum(counts: &Counts, ports: &[u16], words: &[&str]) -> u64 {
    let wanted =
        |(port, word): &(u16, String)| ports.contains(port) && words.contains(&word.as_str());
    let found = counts.iter().filter(|(key, _)| wanted(key));
    found.map(|(_, count)| count).sum()
}

/// tshark's own opinion of each connection that a kernel made.
fn completeness_agrees(captured: &Captured, counts: &Counts) -> Result<()> {
    let filter = "tcp.flags.syn == 1 && tcp.flags.ack == 0 && !icmp && !icmpv6 \
                  && !tcp.analysis.retransmission";
    let mut seen = [0; 4];
    for row in captured.fields(filter, &["tcp.dstport", "tcp.completeness"])? {
        let number = |i: usize| row.get(i).and_then(|f| f.parse::<u16>().ok());
        if number(0).is_some_and(|port| PLAIN.contains(&port)) {
            // 1 SYN, 2 SYN-ACK, 4 ACK, 32 RST; data and FIN need the first three.
            let kind = match number(1) {
                Some(1) => 0,
                Some(37) => 1,
                Some(3) => 2,
                Some(more) if more & 7 == 7 => 3,
                other => anyhow::bail!("completeness {other:?}"),
            };
            seen[kind] += 1;
        }
    }
    let expected = [
        &["unreachable", "timed_out"][..],
        &["refused"],
        &["unacked"],
        &["established", "half_open"],
    ];
    assert_eq!(seen, expected.map(|words| sum(counts, &PLAIN, words)));
    Ok(())
}

/// The counters of the kernels at both ends.
fn kernels_agree(bed: &Topology, counts: &Counts) -> Result<()> {
    let pod = |group, name| bed.pods[0].counter(group, name);
    let client = |group, name| bed.client.counter(group, name);
    assert_eq!(
        pod("Tcp", "PassiveOpens")?,
        sum(counts, &ALL, &["established"])
    );
    assert_eq!(
        pod("TcpExt", "EmbryonicRsts")?,
        sum(counts, &ALL, &["half_open"])
    );
    assert_eq!(
        pod("Tcp", "RetransSegs")?,
        sum(counts, &ALL, &["again syn_ack"])
    );
    let dialled = sum(counts, &PLAIN, &["attempts"]) - sum(counts, &ALL, &["half_open"]);
    assert_eq!(client("Tcp", "ActiveOpens")?, dialled);
    assert_eq!(
        client("TcpExt", "TCPSynRetrans")?,
        sum(counts, &PLAIN, &["again syn"])
    );
    Ok(())
}

fn counts_agree(tap: &str) -> Result<()> {
    let (bed, _servers) = scene()?;
    let (captured, traced) = run(&bed, tap)?;
    let judged = oracle::judge(&captured, &ALL)?;
    let differences = oracle::differences(&judged, &traced);
    assert!(differences.is_empty(), "\n{differences}");
    // Nothing of what was driven has gone missing on both roads.
    for (word, least) in [
        ("established", 4 * (CALLS + PROBES)),
        ("half_open", 10),
        ("refused", 2 * (PROBES + 3)),
        ("unreachable", 4),
        ("timed_out", 8),
        ("unacked", 6),
        ("cancelled", 6),
        ("connection thrift", 2 * CALLS),
        ("connection other", 2 * CALLS),
        ("connection silent", 4 * PROBES),
    ] {
        assert_eq!(sum(&judged, &ALL, &[word]), least as u64, "{word}");
    }
    for word in ["again syn", "again syn_ack"] {
        assert!(sum(&judged, &PLAIN, &[word]) >= 4, "{word}: {judged:?}");
    }
    completeness_agrees(&captured, &judged)?;
    kernels_agree(&bed, &judged)
}

#[test]
fn the_tcx_tap_counts_what_a_capture_shows() -> Result<()> {
    counts_agree("tcx")
}

#[test]
fn the_packet_tap_counts_what_a_capture_shows() -> Result<()> {
    counts_agree("packet")
}
