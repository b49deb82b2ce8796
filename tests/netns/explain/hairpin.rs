//! D7: a pod dials its own Service and gets itself, without masquerading.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use nix::errno::Errno;
use testbed::{
    RawClient, Topology,
    peer::{Behaviour, Dial},
    rules,
    topology::PodLink,
};

use super::{
    expect::{Backend, failed},
    scenario::Scenario,
    scene::{SOON, Scene, at_once},
};

const SCENARIO: Scenario = Scenario {
    topology: || Topology::builder().pods(2).pod_link(PodLink::Veth),
    services: |_| vec![],
    fault: |s| {
        let rule = format!("tcp dport {} dnat ip to 10.244.0.2:9090", s.port);
        s.keep(rules::nat(&s.bed.node, "prerouting", &rule)?);
        Ok(())
    },
    traffic: |s| {
        let dial = Dial::new(&s.bed.pods[0], s.node_port(s.port)).limit(SOON);
        for ended in at_once(3, |_| dial.connect())? {
            ensure!(ended.err() == Some(Errno::EINPROGRESS));
        }
        Ok(())
    },
    expect: || vec![failed("hairpin", 3).by(0, 9090)],
    ..Scenario::new(31496)
};

/// The pod's own stack drops what comes from its own address.
#[test]
fn not_masqueraded() -> Result<()> {
    SCENARIO.run()
}

/// Behind a bridge whose frames netfilter does not see. (Where it does, the
/// bridge turns the SYN round, or drops it, before it reaches the node.)
#[test]
fn behind_a_bridge() -> Result<()> {
    Scenario {
        port: 31498,
        topology: || Topology::builder().pods(2),
        servers: |s| {
            let seen = [("?net/bridge/bridge-nf-call-iptables", "0")];
            s.bed.node.sysctls(&seen)?;
            s.serve(0, 9090, Behaviour::Echo)
        },
        ..SCENARIO
    }
    .run()
}

/// The node, or a pod that is masqueraded to its address, dials a load balancer that keeps
/// the client's address and sends the connection back.
fn through(s: &Scene, from: fn(&Scene, u16) -> SocketAddr) -> Result<()> {
    let raw = RawClient::open(&s.bed.client)?;
    for port in 40000..40003 {
        raw.syn_only(from(s, port), s.node_port(s.port), 1)?;
    }
    Ok(())
}

/// F10.
const BALANCED: Scenario = Scenario {
    topology: || Topology::builder().pods(2),
    services: |s| vec![s.service().backend(s.pod(0, 9090))],
    fault: |_| Ok(()),
    traffic: |s| through(s, Scene::node_port),
    expect: || {
        let told = failed("hairpin", 3).backend(Backend::Any);
        let told = told.says(&["came in from outside"]);
        vec![told.never_says(&["carries its own address"])]
    },
    ..Scenario::new(31874)
};

#[test]
fn through_the_load_balancer() -> Result<()> {
    BALANCED.run()
}

/// The same from an address of the node that nobody dials.
#[test]
fn from_another_address_of_the_node() -> Result<()> {
    Scenario {
        port: 31876,
        fault: |s| s.bed.node.ip("addr add 10.60.0.77/32 dev lo\n").map(drop),
        traffic: |s| through(s, |_, port| ([10, 60, 0, 77], port).into()),
        ..BALANCED
    }
    .run()
}
