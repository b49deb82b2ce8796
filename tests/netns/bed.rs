//! The bed itself, on this kernel.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use testbed::{
    KubeProxy, Mode, Policy, RawClient, ServicePort, Topology, Tracer,
    addr::{FAR_POD_V4, FAR_POD_V6, NODE_V4, NODE_V6, phantom_v4, phantom_v6, pod_v4, pod_v6},
    cleanup::NETNS_DIR,
    peer::{Behaviour, Dial, Server},
    raw::Answer,
    rules,
    segment::flags,
    topology::PodLink,
};

const QUICK: Duration = Duration::from_millis(700);

fn at(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into(), port)
}

/// 30080: both pods; 30081: none; 30082: Local, endpoint elsewhere; 30083:
/// Local, endpoint here; 30084: a closed port.
fn services(mode: Mode) -> KubeProxy {
    let port =
        |name: &str, node_port| ServicePort::new(&format!("default/{name}:thrift"), node_port);
    let both =
        |p: ServicePort, v4: IpAddr, v6: IpAddr, to| p.backend(at(v4, to)).backend(at(v6, to));
    let pod = |i| (pod_v4(i).into(), pod_v6(i).into());
    let (p0, p1): ((IpAddr, IpAddr), (IpAddr, IpAddr)) = (pod(0), pod(1));
    let shop = both(port("shop", 30080), p0.0, p0.1, 9090);
    KubeProxy::new(mode)
        .port(both(shop, p1.0, p1.1, 9090))
        .port(port("empty", 30081))
        .port(
            both(
                port("away", 30082),
                FAR_POD_V4.into(),
                FAR_POD_V6.into(),
                9090,
            )
            .policy(Policy::Local),
        )
        .port(both(port("here", 30083), p0.0, p0.1, 9090).policy(Policy::Local))
        .port(both(port("closed", 30084), p0.0, p0.1, 9099))
        .port(both(
            port("far", 30085),
            FAR_POD_V4.into(),
            FAR_POD_V6.into(),
            9090,
        ))
}

fn check_services(mode: Mode, link: PodLink) -> Result<()> {
    let bed = Topology::builder()
        .pods(2)
        .pod_link(link)
        .second_node()
        .build()?;
    let mut servers = Vec::new();
    for (i, pod) in bed.pods.iter().enumerate() {
        servers.push(Server::start(pod, at(pod_v4(i), 9090), Behaviour::Echo)?);
        servers.push(Server::start(pod, at(pod_v6(i), 9090), Behaviour::Echo)?);
    }
    let far = &bed.beyond.as_ref().context("second node")?.pod;
    let _far4 = Server::start(far, at(FAR_POD_V4, 9090), Behaviour::Echo)?;
    let _far6 = Server::start(far, at(FAR_POD_V6, 9090), Behaviour::Echo)?;
    services(mode).apply(&bed.node)?;
    for node in [IpAddr::from(NODE_V4), IpAddr::from(NODE_V6)] {
        let dial = |port| Dial::new(&bed.client, at(node, port)).limit(QUICK);
        for _ in 0..12 {
            assert_eq!(dial(30080).send(&[b"over", b"there"])?, b"overthere");
        }
        assert_eq!(dial(30083).send(&[b"x"])?, b"x");
        assert_eq!(dial(30085).send(&[b"x"])?, b"x");
        // The ICMP error comes back inside connect(2), where the kernel only
        // notes it; the answer to the retransmitted SYN ends the dial.
        let unreachable = dial(30081).limit(Duration::from_secs(5));
        assert_eq!(unreachable.connect()?.err(), Some(Errno::ECONNREFUSED));
        assert_eq!(dial(30084).connect()?.err(), Some(Errno::ECONNREFUSED));
        assert_eq!(dial(30082).connect()?.err(), Some(Errno::EINPROGRESS));
    }
    // Spread over both pods, in both families; the last two serve one each.
    for server in &servers {
        assert!(
            server.accepted() > 0,
            "{mode:?}: {:?} got nothing",
            server.address()
        );
    }
    Ok(())
}

#[test]
fn iptables_nft_services() -> Result<()> {
    check_services(Mode::IptablesNft, PodLink::Bridge)
}

#[test]
fn iptables_legacy_services() -> Result<()> {
    check_services(Mode::IptablesLegacy, PodLink::Veth)
}

#[test]
fn nftables_services() -> Result<()> {
    check_services(Mode::Nftables, PodLink::Veth)
}

#[test]
fn raw_client_half_open_and_refused() {
    let bed = Topology::builder().build().unwrap();
    let _four = Server::start(&bed.pods[0], at(pod_v4(0), 9090), Behaviour::Sink).unwrap();
    let _six = Server::start(&bed.pods[0], at(pod_v6(0), 9090), Behaviour::Sink).unwrap();
    services(Mode::Nftables).apply(&bed.node).unwrap();
    let raw = RawClient::open(&bed.client).unwrap();
    for (src, node) in [
        (IpAddr::from(phantom_v4(7)), IpAddr::from(NODE_V4)),
        (phantom_v6(7).into(), NODE_V6.into()),
    ] {
        let half_open = raw.half_open(at(src, 4001), at(node, 30083), 1000).unwrap();
        assert!(matches!(half_open, Answer::SynAck(_)), "{half_open:?}");
        let refused = raw.half_open(at(src, 4002), at(node, 30084), 1000).unwrap();
        assert_eq!(refused, Answer::Rst);
        raw.cancelled(at(src, 4003), at(node, 30082), 1000, flags::RST)
            .unwrap();
    }
    assert_eq!(bed.pods[0].counter("TcpExt", "EmbryonicRsts").unwrap(), 2);
}

#[test]
fn faults() {
    let bed = Topology::builder().build().unwrap();
    let _server = Server::start(&bed.pods[0], at(pod_v4(0), 9090), Behaviour::Echo).unwrap();
    services(Mode::IptablesNft).apply(&bed.node).unwrap();
    let outcome = || {
        let dial = Dial::new(&bed.client, at(NODE_V4, 30083)).limit(QUICK);
        dial.connect().unwrap().err()
    };
    let during = |rule: rules::Rule, ns, expected| {
        assert_eq!(outcome(), Some(expected));
        rule.remove(ns).unwrap();
        assert_eq!(outcome(), None);
    };
    let (node, client) = (&bed.node, &bed.client);
    during(
        rules::drop_syns(node, 30083).unwrap(),
        node,
        Errno::EINPROGRESS,
    );
    during(
        rules::drop_forwarded_syns(node, 30083).unwrap(),
        node,
        Errno::EINPROGRESS,
    );
    during(
        rules::drop_syn_acks_in_node(node, 30083).unwrap(),
        node,
        Errno::EINPROGRESS,
    );
    during(
        rules::drop_syn_acks_at_client(client, 30083).unwrap(),
        client,
        Errno::EINPROGRESS,
    );
    during(
        rules::reject_with_tcp_reset(node, 30083).unwrap(),
        node,
        Errno::ECONNREFUSED,
    );
    let rule = rules::reject_with_icmp(node, 30083, "host-unreachable").unwrap();
    let patient = Dial::new(client, at(NODE_V4, 30083)).limit(Duration::from_secs(5));
    assert_eq!(patient.connect().unwrap().err(), Some(Errno::EHOSTUNREACH));
    rule.remove(node).unwrap();
}

#[test]
fn full_accept_queue_drops_syns() {
    let bed = Topology::builder().build().unwrap();
    let pod = &bed.pods[0];
    let never = Behaviour::NeverAccept;
    let _server = Server::start_with(pod, at(pod_v4(0), 9090), never, 1, 0).unwrap();
    services(Mode::IptablesNft).apply(&bed.node).unwrap();
    let dial = Dial::new(&bed.client, at(NODE_V4, 30083)).limit(QUICK);
    let held: Vec<_> = (0..2).map(|_| dial.stream().unwrap()).collect();
    assert_eq!(dial.connect().unwrap().err(), Some(Errno::EINPROGRESS));
    assert!(pod.counter("TcpExt", "ListenOverflows").unwrap() > 0);
    drop(held);
}

#[test]
fn topology_is_built_and_gone() {
    let bed = Topology::builder().pods(3).second_node().build().unwrap();
    let names: Vec<_> = bed.pods.iter().map(|p| p.name().to_owned()).collect();
    let mut sleeper = bed.client.start(&["sleep", "60"]).unwrap();
    drop(bed);
    assert!(!sleeper.wait(Duration::from_secs(5)).unwrap().success());
    let left = names
        .iter()
        .filter(|n| Path::new(NETNS_DIR).join(n).exists());
    assert_eq!(left.count(), 0);
}

#[test]
fn tracer_starts_scrapes_and_stops() {
    let bed = Topology::builder().build().unwrap();
    let _server = Server::start(&bed.pods[0], at(pod_v4(0), 9090), Behaviour::Echo).unwrap();
    services(Mode::IptablesNft).apply(&bed.node).unwrap();
    let tracer = Tracer::start(&bed.node, &["--interface", "eth0"]).unwrap();
    let dial = Dial::new(&bed.client, at(NODE_V4, 30083));
    tracer.pause().unwrap();
    dial.connect_fin().unwrap();
    dial.connect_rst().unwrap();
    tracer.resume().unwrap();
    let port = [("node_port", "30083")];
    let seen = tracer.metrics_when(Duration::from_secs(10), "two attempts", |metrics| {
        metrics.get("tracer_attempts_total", &port) == Some(2.0)
    });
    assert_eq!(seen.unwrap().sum("tracer_attempts_total", &[]), 2.0);
    let (status, log) = tracer.stop().unwrap();
    assert!(status.success(), "{status}: {log}");
    assert!(Tracer::start(&bed.node, &[]).unwrap().kill().unwrap());
}
