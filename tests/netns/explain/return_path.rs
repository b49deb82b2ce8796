//! D3, D4, D10: the server answers, and the answer leaves by another way, gets
//! lost on its way, or comes too late.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;
use testbed::{RawClient, Topology, peer::Dial, raw::Answer, rules, tun::TunPeer};

use super::{
    expect::{Backend, failed, spoilt},
    scenario::Scenario,
    scene::{SOON, at_once},
};

/// D3: the route to the client leads to another node.
#[test]
fn another_interface() -> Result<()> {
    Scenario {
        topology: || Topology::builder().pods(2).second_node(),
        fault: |s| {
            s.bed.client.ip("addr add 172.31.9.1/32 dev eth0\n")?;
            s.bed.node.ip("route add 172.31.9.0/24 via 10.61.0.2\n")?;
            let beyond = s.bed.beyond.as_ref().context("no second node")?;
            beyond.node.ip("route add blackhole 172.31.9.0/24\n")
        },
        traffic: |s| {
            let dial = Dial::from(s.dial(SOON), ([172, 31, 9, 1], 0));
            for ended in at_once(3, |_| dial.connect())? {
                ensure!(ended.err() == Some(Errno::EINPROGRESS));
            }
            Ok(())
        },
        expect: || vec![failed("return_path", 3).by(0, 9090).or_likely()],
        ..Scenario::new(31486)
    }
    .run()
}

/// D4: a rule of the node drops the SYN-ACKs.
#[test]
fn dropped_in_node() -> Result<()> {
    Scenario {
        fault: |s| {
            s.keep(rules::drop_syn_acks_in_node(&s.bed.node, s.port)?);
            Ok(())
        },
        traffic: |s| s.dials_end(3, Duration::from_millis(1400), Errno::EINPROGRESS),
        expect: || vec![failed("return_path", 3).by(0, 9090)],
        ..Scenario::new(31488)
    }
    .run()
}

/// D4: the SYN-ACKs leave the node, and nothing comes back.
#[test]
fn vm_lost_beyond_node() -> Result<()> {
    Scenario {
        traffic: |s| {
            let raw = RawClient::open(&s.bed.client)?;
            for source in 4000..4003 {
                let answer = raw.syn(s.phantom(1, source), s.node_port(s.port), 1)?;
                ensure!(matches!(answer, Answer::SynAck(_)), "{answer:?}");
            }
            Ok(())
        },
        expect: || vec![failed("return_path", 3).by(0, 9090).or_likely()],
        ..Scenario::new(31490)
    }
    .run()
}

/// D10: the SYN-ACK comes after the load balancer has given up.
#[test]
fn too_late() -> Result<()> {
    Scenario {
        options: &["--handshake-timeout", "5s", "--idle-after", "1s"],
        services: |s| vec![s.service().backend(([10, 250, 0, 9], 9090))],
        fault: |s| {
            let late = Duration::from_millis(2200);
            s.keep(TunPeer::late(&s.bed.node, "10.250.0.0/24", late)?);
            Ok(())
        },
        traffic: |s| {
            s.dials_end(3, Duration::from_millis(1800), Errno::EINPROGRESS)?;
            std::thread::sleep(Duration::from_millis(800));
            s.took(&s.bed.client, "OutRsts", 3)
        },
        expect: || {
            vec![
                spoilt("return_path", 3)
                    .backend(Backend::Address("10.250.0.9:9090"))
                    .or_likely(),
            ]
        },
        ..Scenario::new(31492)
    }
    .run()
}
