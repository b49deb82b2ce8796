//! A rule drops, and counters that would tell of another cause move as well, for reasons of
//! their own: those of conntrack, which are the node's, and those of queues, which are the
//! pod's.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;
use testbed::{
    Mode, RawClient,
    addr::{client_v4, pod_v4},
    peer::{Behaviour, Dial, Server},
    rules,
    segment::{Segment, flags},
};

use super::{
    amid::end,
    expect::{Expected, failed, unexplained},
    scenario::Scenario,
    scene::{SOON, Scene},
};

/// Of a server at the load balancer's address.
const ELSEWHERE: u16 = 9999;
/// Of another listener in the pod.
const BESIDE: u16 = 9191;

pub fn legacy(s: &Scene, rule: &str) -> Result<()> {
    s.iptables("iptables-legacy", rule)
}

/// A server at the load balancer, for which masquerading has two source ports.
pub fn two_source_ports(s: &Scene) -> Result<(Ipv4Addr, u16)> {
    let two = "50000-50001";
    s.keep(rules::masquerade_from(&s.bed.node, ELSEWHERE, two)?);
    let at = (client_v4(0), ELSEWHERE);
    s.keep(Server::start(&s.bed.client, at, Behaviour::Sink)?);
    Ok(at)
}

/// A pod dials elsewhere, where masquerading has two source ports: conntrack cannot insert
/// the entries of the rest.
pub fn clashes(s: &Scene, count: usize) -> Result<()> {
    let dial = Dial::new(&s.bed.pods[1], two_source_ports(s)?).limit(SOON);
    s.keep([dial.stream()?, dial.stream()?]);
    end(&dial, count, Errno::EINPROGRESS)?;
    let [failed, _] = conntrack(s)?;
    ensure!(failed >= count as u64, "insert_failed is {failed}");
    Ok(())
}

/// The same to the pod's own address: UDP datagrams, no connection of anybody.
fn udp_clashes(s: &Scene, count: u16) -> Result<()> {
    let rule = format!("udp dport {ELSEWHERE} snat ip to 10.60.0.1:50000");
    s.keep(rules::nat(&s.bed.node, "postrouting", &rule)?);
    s.bed.pods[1].enter(|| -> Result<()> {
        for port in 0..=count {
            let socket = std::net::UdpSocket::bind((pod_v4(1), 41000 + port))?;
            socket.send_to(b"?", (client_v4(0), ELSEWHERE))?;
        }
        Ok(())
    })?
}

/// insert_failed and invalid of the node.
pub fn conntrack(s: &Scene) -> Result<[u64; 2]> {
    let text = s.bed.node.run(&["conntrack", "-S"])?;
    let sum = |name: &str| -> Result<u64> {
        let fields = text.split_whitespace().filter_map(|f| f.strip_prefix(name));
        let values = fields.map(str::parse::<u64>);
        values
            .sum::<std::result::Result<_, _>>()
            .context("conntrack -S")
    };
    Ok([sum("insert_failed=")?, sum("invalid=")?])
}

fn after_dnat() -> Vec<Expected> {
    vec![
        failed("dropped_by_rule", 3)
            .by(0, 9090)
            .says(&["table filter, chain FORWARD"]),
    ]
}

/// Netfilter's core drops for a legacy rule, as it does for conntrack.
const SCENARIO: Scenario = Scenario {
    rules: Mode::IptablesLegacy,
    fault: |s| legacy(s, "-I FORWARD -p tcp -d 10.244.0.2 --dport 9090 -j DROP"),
    traffic: |s| {
        clashes(s, 4)?;
        s.dials_end(3, SOON, Errno::EINPROGRESS)
    },
    expect: after_dnat,
    ..Scenario::new(31860)
};

#[test]
fn another_port_clashes() -> Result<()> {
    SCENARIO.run()
}

#[test]
fn udp_clashes_beside() -> Result<()> {
    Scenario {
        port: 31862,
        traffic: |s| {
            udp_clashes(s, 40)?;
            s.dials_end(3, SOON, Errno::EINPROGRESS)
        },
        ..SCENARIO
    }
    .run()
}

/// Earlier: the last of them failed before the first attempt here.
#[test]
fn clashed_earlier() -> Result<()> {
    Scenario {
        port: 31864,
        traffic: |s| {
            clashes(s, 4)?;
            s.release();
            std::thread::sleep(2 * SOON);
            s.dials_end(3, SOON, Errno::EINPROGRESS)
        },
        ..SCENARIO
    }
    .run()
}

/// Before DNAT, where a full table would drop.
#[test]
fn before_dnat() -> Result<()> {
    Scenario {
        port: 31866,
        fault: |s| {
            let port = s.port;
            legacy(
                s,
                &format!("-t mangle -A PREROUTING -p tcp --dport {port} -j DROP"),
            )
        },
        expect: || vec![failed("dropped_by_rule", 3).says(&["table mangle, chain PREROUTING"])],
        ..SCENARIO
    }
    .run()
}

/// Segments of no connection, to another port of the node: conntrack calls them invalid
/// where it does not pick up connections in their midst.
fn invalid(s: &Scene) -> Result<()> {
    s.bed
        .node
        .sysctls(&[("net/netfilter/nf_conntrack_tcp_loose", "0")])?;
    let raw = RawClient::open(&s.bed.client)?;
    for source in 4000..4020 {
        let (from, to) = (s.phantom(1, source), s.node_port(s.port + 1));
        raw.send(&Segment::new(from, to, flags::ACK | flags::PSH, 9, 9).with_payload(b"stray"))?;
    }
    let [_, invalid] = conntrack(s)?;
    ensure!(invalid >= 20, "invalid is {invalid}");
    Ok(())
}

#[test]
fn invalid_segments_beside() -> Result<()> {
    Scenario {
        port: 31868,
        traffic: |s| {
            invalid(s)?;
            s.dials_end(3, SOON, Errno::EINPROGRESS)
        },
        ..SCENARIO
    }
    .run()
}

/// Another listener of the pod is full, and dialled without the node port.
fn overflows(s: &Scene) -> Result<()> {
    s.serve_with(0, BESIDE, Behaviour::NeverAccept, 1)?;
    let dial = Dial::new(&s.bed.client, s.pod(0, BESIDE)).limit(SOON);
    s.keep([dial.stream()?, dial.stream()?]);
    end(&dial, 6, Errno::EINPROGRESS)?;
    s.took(&s.bed.pods[0], "ListenOverflows", 6)
}

const OVERFLOWS: Scenario = Scenario {
    fault: |s| {
        let rule = "tcp dport 9090 drop";
        s.keep(rules::add(&s.bed.pods[0], &[("input", "filter")], rule)?);
        Ok(())
    },
    traffic: |s| {
        overflows(s)?;
        s.dials_end(3, SOON, Errno::EINPROGRESS)
    },
    expect: || vec![failed("dropped_by_rule", 3).by(0, 9090)],
    ..Scenario::new(31870)
};

#[test]
fn another_listener_overflows() -> Result<()> {
    OVERFLOWS.run()
}

/// The same where no rule drops: frames go to a hardware address that nobody has. No cause is
/// known, and the other listener's overflows are none.
#[test]
fn another_listener_overflows_and_frames_get_lost() -> Result<()> {
    Scenario {
        port: 31872,
        fault: overflows,
        traffic: |s| {
            let wrong =
                "neigh replace 10.244.0.2 lladdr 02:00:00:00:00:99 dev cbr0 nud permanent\n";
            s.bed.node.ip(wrong)?;
            s.dials_end(3, SOON, Errno::EINPROGRESS)
        },
        expect: || vec![unexplained(3).by(0, 9090)],
        ..OVERFLOWS
    }
    .run()
}
