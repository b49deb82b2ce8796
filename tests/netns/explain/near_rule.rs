//! Near misses: a rule drops or rejects while what another verdict rests on is there too;
//! or the other way round, a rule is there that would drop, and does not drop these.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Result;
use nix::errno::Errno;
use testbed::{
    RawClient, Topology,
    addr::NODE_V4,
    peer::{Behaviour, Dial},
    rules,
    segment::Segment,
};

use super::{
    amid::{end, second, two_clients},
    expect::{Backend, Expected, failed},
    scenario::Scenario,
    scene::{SOON, Scene},
};

fn drop_forwarded(s: &Scene) -> Result<()> {
    let rule = "ip daddr 10.244.0.2 tcp dport 9090 drop";
    s.keep(rules::add(&s.bed.node, &[("forward", "filter")], rule)?);
    Ok(())
}

fn by_rule() -> Vec<Expected> {
    vec![failed("dropped_by_rule", 3).by(0, 9090)]
}

const SCENARIO: Scenario = Scenario {
    fault: drop_forwarded,
    traffic: |s| s.dials_end(3, SOON, Errno::EINPROGRESS),
    expect: by_rule,
    ..Scenario::new(31934)
};

/// Not `route_blackhole`: a blackhole route covers the pod's address, and a narrower one
/// leads to it, as where a network plugin owns a block of addresses.
#[test]
fn a_blackhole_around_the_pod() -> Result<()> {
    Scenario {
        port: 31936,
        fault: |s| {
            s.bed.node.ip("route add blackhole 10.244.0.0/16\n")?;
            drop_forwarded(s)
        },
        ..SCENARIO
    }
    .run()
}

/// Not `backend_unreachable`: it is a rule that says host unreachable.
#[test]
fn host_unreachable_by_a_rule() -> Result<()> {
    Scenario {
        port: 31938,
        fault: |s| {
            let rule = "ip daddr 10.244.0.2 reject with icmp host-unreachable";
            s.keep(rules::add(&s.bed.node, &[("forward", "filter")], rule)?);
            Ok(())
        },
        traffic: |s| {
            for ended in s.dials(3, SOON)? {
                anyhow::ensure!(ended.is_err(), "a dial succeeded");
            }
            Ok(())
        },
        expect: || vec![failed("rejected_by_rule", 3).by(0, 9090)],
        ..SCENARIO
    }
    .run()
}

/// Not `rp_filter`: the filter drops what comes to another port from another source.
#[test]
fn a_reverse_path_filter_beside() -> Result<()> {
    Scenario {
        port: 31940,
        traffic: |s| {
            s.dial(SOON).connect()?.err();
            s.bed.node.ip("route add 172.31.9.0/24 dev cbr0\n")?;
            s.bed
                .node
                .sysctls(&[("net/ipv4/conf/eth0/rp_filter", "1")])?;
            let raw = RawClient::open(&s.bed.client)?;
            for source in 1..20 {
                let wrong = SocketAddr::from(([172, 31, 9, 1], source));
                raw.syn_only(wrong, s.node_port(80), 1)?;
            }
            // A packet socket there would have the drop of its copies noted as well.
            drop(raw);
            s.took(&s.bed.node, "IPReversePathFilter", 19)?;
            s.dials_end(2, SOON, Errno::EINPROGRESS)
        },
        ..SCENARIO
    }
    .run()
}

/// Not `bad_checksum`: those with a wrong one are for another port.
#[test]
fn checksums_beside() -> Result<()> {
    Scenario {
        port: 31942,
        traffic: |s| {
            let raw = RawClient::open(&s.bed.client)?;
            for source in 4000..4020 {
                let mut syn = Segment::syn(s.phantom(1, source), s.node_port(80), 1);
                syn.bad_checksum = true;
                raw.send(&syn)?;
            }
            drop(raw);
            s.took(&s.bed.node, "InCsumErrors", 20)?;
            s.dials_end(3, SOON, Errno::EINPROGRESS)
        },
        ..SCENARIO
    }
    .run()
}

/// Not `dropped_by_rule`: a rule drops what another client sends to the same pod, and its
/// counter rises; the queue of the listener is full.
#[test]
fn a_rule_for_another_client() -> Result<()> {
    Scenario {
        port: 31944,
        topology: two_clients,
        servers: |s| s.serve_with(0, 9090, Behaviour::NeverAccept, 2),
        fault: |s| {
            let rule = "ip saddr 10.60.0.11 tcp dport 9090 counter drop";
            s.keep(rules::add(&s.bed.node, &[("forward", "filter")], rule)?);
            Ok(())
        },
        traffic: |s| {
            s.keep(s.connections(3)?);
            let direct = Dial::new(&s.bed.client, s.pod(0, 9090)).limit(SOON);
            let banned = Dial::from(direct, (IpAddr::from(Ipv4Addr::new(10, 60, 0, 11)), 0));
            end(&banned, 4, Errno::EINPROGRESS)?;
            s.dials_end(4, SOON, Errno::EINPROGRESS)
        },
        expect: || {
            let full = failed("accept_queue_full", 4).by(0, 9090);
            vec![full.connections(super::expect::Count::AtLeast(0))]
        },
        ..SCENARIO
    }
    .run()
}

/// Not `rejected_by_rule`: a rule answers another client with RST; this one's come from
/// the pod, where nothing listens.
#[test]
fn a_reset_for_another_client() -> Result<()> {
    Scenario {
        port: 31946,
        topology: two_clients,
        services: |s| vec![s.service().backend(s.pod(0, 9099))],
        fault: |s| {
            let rule = "ip saddr 10.60.0.11 tcp dport 9099 counter reject with tcp reset";
            s.keep(rules::add(&s.bed.node, &[("forward", "filter")], rule)?);
            Ok(())
        },
        traffic: |s| {
            end(&second(s), 2, Errno::ECONNREFUSED)?;
            s.dials_end(4, SOON, Errno::ECONNREFUSED)
        },
        expect: || {
            let reset = failed("rejected_by_rule", 2).backend(Backend::Any);
            vec![reset, failed("nothing_listens", 4).by(0, 9099)]
        },
        ..SCENARIO
    }
    .run()
}

/// Not `no_service_rule`: the node's stack sends the RST, where a rule led the SYN to: the
/// pod is on the host's network.
#[test]
fn a_pod_on_the_hosts_network() -> Result<()> {
    Scenario {
        port: 31948,
        topology: || Topology::builder().pods(2),
        services: |s| vec![s.service().backend((NODE_V4, 9099))],
        fault: |_| Ok(()),
        traffic: |s| s.dials_end(3, SOON, Errno::ECONNREFUSED),
        expect: || {
            let at = Backend::Address("10.60.0.1:9099");
            vec![failed("nothing_listens", 3).backend(at)]
        },
        ..SCENARIO
    }
    .run()
}
