//! Interfaces of every kind, as they come and go.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use testbed::{
    Topology, Tracer,
    addr::{CLIENT_MAC, NODE_V4, NODE_V6, phantom_v4, phantom_v6},
    peer::{Behaviour, Dial, Server, thrift::Message},
    process::poll_until,
    raw::Answer,
    segment::Segment,
    topology::PodLink,
};

use crate::scene::{
    LIMIT, Scene, TAPS, at, attempts, expect, handshakes, nothing_else, port, refused, sum,
};

/// The node's addresses move to a bridge over its edge interface.
const BRIDGE: &str = "\
    addr flush dev eth0
    link add br0 type bridge
    link set br0 up
    link set eth0 master br0
    addr add 10.60.0.1/24 dev br0
    addr add fd00:60::1/64 dev br0 nodad
    route replace 172.16.0.0/12 via 10.60.0.10
    route replace fd00:60:1::/64 via fd00:60::10
";

/// Whether netfilter translates what a bridge forwards.
fn bridges_translate(scene: &Scene, on: &str) -> Result<()> {
    let setting = |family| format!("net/bridge/bridge-nf-call-{family}tables");
    scene
        .bed
        .node
        .sysctls(&[(&setting("ip"), on), (&setting("ip6"), on)])
}

#[test]
fn a_bridge_over_the_edge_interface() -> Result<()> {
    let scene = Scene::new()?;
    scene.bed.node.ip(BRIDGE)?;
    let named = ["--interface", "eth0", "--interface", "br0"];
    // Where it translates, the bridge itself sees SYNs after DNAT.
    for (tap, on, interfaces) in [
        ("auto", "1", &named[..]),
        ("packet", "1", &named),
        ("auto", "1", &[]),
        ("packet", "1", &[]),
        ("auto", "0", &[]),
    ] {
        bridges_translate(&scene, on)?;
        let tracer = scene.trace(tap, interfaces)?;
        for (from, to) in [
            (IpAddr::V4(phantom_v4(1)), IpAddr::V4(NODE_V4)),
            (phantom_v6(1).into(), NODE_V6.into()),
        ] {
            let call = Message::call("getUser").strict();
            Dial::new(&scene.bed.client, at(to, port::OPEN)).send(&[&call])?;
            refused(&scene.bed.client, at(to, port::CLOSED))?;
            let answer = scene.raw.half_open(at(from, 5000), at(to, port::OPEN), 9)?;
            assert!(matches!(answer, Answer::SynAck(_)), "{answer:?}");
        }
        expect(&tracer, port::CLOSED, &[("refused unknown", 2)])?;
        let wanted = [("established thrift", 2), ("half_open health_check", 2)];
        let metrics = expect(&tracer, port::OPEN, &wanted)?;
        nothing_else(&metrics);
        let resets = |port| sum(&metrics, "tracer_resets_total", port, &[]);
        assert_eq!((resets(port::CLOSED), resets(port::OPEN)), (2, 2));
        let messages = "tracer_thrift_messages_total";
        // The echo server sends every call back.
        assert_eq!(sum(&metrics, messages, port::OPEN, &[]), 4);
    }
    Ok(())
}

#[test]
fn pods_on_a_bridge_dial_the_node() -> Result<()> {
    let scene = Scene::build(&Topology::builder().pods(2).pod_link(PodLink::Bridge))?;
    let (server, dialler) = (at(NODE_V4, port::OPEN), &scene.bed.pods[1]);
    for (tap, on) in [("auto", "1"), ("packet", "1"), ("auto", "0")] {
        bridges_translate(&scene, on)?;
        let tracer = scene.trace(tap, &[])?;
        let call = Message::call("getUser").strict();
        for _ in 0..3 {
            Dial::new(dialler, server).send(&[&call])?;
            refused(dialler, at(NODE_V4, port::CLOSED))?;
        }
        expect(&tracer, port::CLOSED, &[("refused unknown", 3)])?;
        nothing_else(&expect(&tracer, port::OPEN, &[("established thrift", 3)])?);
    }
    Ok(())
}

#[test]
fn an_interface_that_holds_no_address() -> Result<()> {
    let scene = Scene::new()?;
    link(&scene, "bare0", 66)?;
    scene.bed.node.ip("addr flush dev bare0
         route add 10.66.0.0/24 dev bare0
         route add local 10.77.0.0/24 dev lo
         route add local 10.78.0.1/32 dev lo
        ")?;
    // The client's way to the node, to a prefix that a route makes the node's own, and to
    // an address of that kind.
    scene
        .bed
        .client
        .ip("neigh replace 10.66.0.1 dev bare0 lladdr 02:00:00:00:66:01
         route add 10.77.0.0/24 via 10.66.0.1 dev bare0 src 10.66.0.10
         route add 10.78.0.1/32 via 10.66.0.1 dev bare0 src 10.66.0.10
         route add 10.79.0.1/32 via 10.66.0.1 dev bare0 src 10.66.0.10
         route replace 10.60.0.1/32 via 10.66.0.1 dev bare0 src 10.66.0.10
        ")?;
    scene
        .bed
        .node
        .ip("link set bare0 address 02:00:00:00:66:01\n")?;
    for tap in TAPS {
        let tracer = scene.trace(tap, &[])?;
        for to in [
            IpAddr::V4(NODE_V4),
            [10, 77, 0, 9].into(),
            [10, 78, 0, 1].into(),
        ] {
            refused(&scene.bed.client, at(to, port::CLOSED))?;
        }
        nothing_else(&expect(&tracer, port::CLOSED, &[("refused unknown", 3)])?);
    }
    Ok(())
}

#[test]
fn frames_that_are_not_for_the_node() -> Result<()> {
    let scene = Scene::new()?;
    for tap in TAPS {
        let tracer = scene.trace(tap, &[])?;
        let syn = |source| Segment::syn(at(phantom_v4(1), source), at(NODE_V4, port::CLOSED), 7);
        // Another's hardware address, everybody's, and a VLAN that the node has not.
        for (source, mac) in [(5000, [2, 0, 0, 0, 0, 99]), (5001, [0xff; 6])] {
            scene.raw.send_frame(&syn(source).frame(mac, CLIENT_MAC))?;
        }
        for (source, tags) in [(5002, vec![5]), (5003, vec![0, 5]), (5004, vec![0xa005])] {
            let mut tagged = syn(source);
            tagged.vlan = tags;
            scene.raw.send(&tagged)?;
        }
        let metrics = scene.settle(&tracer, phantom_v4(1).into(), NODE_V4.into())?;
        assert_eq!(attempts(&metrics, port::CLOSED), 0, "{tap}");
        nothing_else(&metrics);
    }
    Ok(())
}

/// A link between client and node, 10.`net`.0.0/24, named `name` at the node.
fn link(scene: &Scene, name: &str, net: u8) -> Result<()> {
    let client = scene.bed.client.name();
    scene.bed.node.ip(&format!(
        "link add {name} type veth peer name {name} netns {client}\n\
         addr add 10.{net}.0.1/24 dev {name}\n\
         link set {name} up\n"
    ))?;
    scene.bed.client.ip(&format!(
        "addr add 10.{net}.0.10/24 dev {name}\nlink set {name} up\n"
    ))
}

/// Dials until one counts; from then on each does, exactly once.
fn counts(scene: &Scene, tracer: &Tracer<'_>, net: u8) -> Result<()> {
    let to = at([10, net, 0, 1], port::CLOSED);
    let so_far = || Ok::<_, anyhow::Error>(attempts(&tracer.metrics()?, port::CLOSED));
    let before = so_far()?;
    poll_until(LIMIT, &format!("{to} not counted"), || {
        refused(&scene.bed.client, to)?;
        Ok((so_far()? != before).then_some(()))
    })?;
    let counted = so_far()?;
    for more in 1..4 {
        refused(&scene.bed.client, to)?;
        assert_eq!(so_far()?, counted + more);
    }
    Ok(())
}

fn only_refusals(tracer: &Tracer<'_>) -> Result<()> {
    let metrics = tracer.metrics()?;
    let all = handshakes(&metrics, port::CLOSED);
    assert_eq!(all.keys().collect::<Vec<_>>(), ["refused unknown"]);
    assert_eq!(all["refused unknown"], attempts(&metrics, port::CLOSED));
    nothing_else(&metrics);
    Ok(())
}

#[test]
fn interfaces_come_and_go() -> Result<()> {
    let scene = Scene::new()?;
    for tap in TAPS {
        let tracer = scene.trace(tap, &[])?;
        link(&scene, "late0", 66)?;
        counts(&scene, &tracer, 66)?;
        scene.bed.node.ip("link del late0\n")?;
        link(&scene, "late1", 67)?;
        counts(&scene, &tracer, 67)?;
        // The first one still does.
        refused(&scene.bed.client, at(NODE_V4, port::LAST))?;
        expect(&tracer, port::LAST, &[("refused unknown", 1)])?;
        scene.bed.node.ip("link set late1 down\n")?;
        scene.bed.node.ip("link set late1 up\n")?;
        counts(&scene, &tracer, 67)?;
        only_refusals(&tracer)?;
        scene.bed.node.ip("link del late1\n")?;
    }
    Ok(())
}

#[test]
fn a_named_interface_comes_back() -> Result<()> {
    let scene = Scene::new()?;
    for tap in TAPS {
        link(&scene, "late0", 66)?;
        let tracer = scene.trace(tap, &["--interface", "late0"])?;
        counts(&scene, &tracer, 66)?;
        // Others are not watched.
        refused(&scene.bed.client, at(NODE_V4, port::LAST))?;
        refused(&scene.bed.client, at([10, 66, 0, 1], port::CLOSED))?;
        assert_eq!(attempts(&tracer.metrics()?, port::LAST), 0);
        for change in ["link set late0 down", "link set late0 up"] {
            scene.bed.node.ip(&format!("{change}\n"))?;
        }
        counts(&scene, &tracer, 66)?;
        scene.bed.node.ip("link del late0\n")?;
        link(&scene, "late0", 66)?;
        counts(&scene, &tracer, 66)?;
        only_refusals(&tracer)?;
        scene.bed.node.ip("link del late0\n")?;
    }
    Ok(())
}

#[test]
fn loopback() -> Result<()> {
    let scene = Scene::new()?;
    let node = &scene.bed.node;
    let own = port::OPEN + 5;
    let addresses = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    let servers = addresses.map(|ip| Server::start(node, at(ip, own), Behaviour::Echo));
    for server in &servers {
        assert!(server.is_ok(), "{server:?}");
    }
    for tap in TAPS {
        let tracer = scene.trace(tap, &["--interface", "lo"])?;
        for ip in addresses {
            refused(node, at(ip, port::CLOSED))?;
            let call = Message::call("getUser").strict();
            let echo = Dial::new(node, at(ip, own)).send(&[&call])?;
            assert_eq!(echo, call);
            Dial::new(node, at(ip, own)).connect_fin()?;
        }
        expect(&tracer, port::CLOSED, &[("refused unknown", 2)])?;
        let wanted = [("established health_check", 2), ("established thrift", 2)];
        let metrics = expect(&tracer, own, &wanted)?;
        nothing_else(&metrics);
        let origin = [("origin", "node")];
        let resets = sum(&metrics, "tracer_resets_total", port::CLOSED, &origin);
        assert_eq!(resets, 2);
    }
    Ok(())
}
