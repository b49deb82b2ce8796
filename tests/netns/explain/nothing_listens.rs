//! A5: NAT sends to a port where nothing listens: a wrong targetPort, a server
//! at the loopback address, one that has stopped (E1), here or on another node.

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;
use testbed::{Mode, RawClient, Topology, kernel, peer::Behaviour, raw::Answer};

use super::{
    expect::{Backend, Expected, failed, unexplained},
    scenario::Scenario,
    scene::{Family, Reply, SOON},
};

const SCENARIO: Scenario = Scenario {
    services: |s| vec![s.service().backend(s.pod(0, 9099))],
    traffic: |s| {
        s.dials_end(4, SOON, Errno::ECONNREFUSED)?;
        s.took(&s.bed.pods[0], "OutRsts", 4)
    },
    expect: || vec![no_socket(failed("nothing_listens", 4).by(0, 9099))],
    ..Scenario::new(31418)
};

/// Kernels before 5.17 have no reasons of drops, by which a stack without a socket
/// is told from a proxy that refuses.
fn no_socket(expected: Expected) -> Expected {
    match kernel::version() {
        Ok(version) if version < (5, 17) => expected.or_likely(),
        _ => expected,
    }
}

#[test]
fn vm_wrong_target_port() -> Result<()> {
    SCENARIO.run()
}

#[test]
fn loopback_only_legacy() -> Result<()> {
    Scenario {
        port: 31420,
        rules: Mode::IptablesLegacy,
        servers: |s| {
            let at = "127.0.0.1:9099".parse()?;
            s.serve_in(&s.bed.pods[0], at, Behaviour::Echo)
        },
        ..SCENARIO
    }
    .run()
}

#[test]
fn nftables_v6() -> Result<()> {
    Scenario {
        port: 31422,
        rules: Mode::Nftables,
        family: Family::V6,
        ..SCENARIO
    }
    .run()
}

/// E1: healthy at first, then the server ends.
#[test]
fn server_stops() -> Result<()> {
    Scenario {
        fault: |s| {
            s.calls(2, SOON, Reply::Whole)?;
            s.release();
            s.stop_first_server();
            Ok(())
        },
        traffic: |s| s.dials_end(5, SOON, Errno::ECONNREFUSED),
        expect: || vec![failed("nothing_listens", 5).by(0, 9090)],
        ..Scenario::new(31424)
    }
    .run()
}

/// On another node: this one sees packets only.
#[test]
fn second_node() -> Result<()> {
    Scenario {
        topology: || Topology::builder().pods(2).second_node(),
        services: |s| vec![s.service().backend(s.far_pod(9099))],
        traffic: |s| {
            s.dials_end(4, SOON, Errno::ECONNREFUSED)?;
            let beyond = s.bed.beyond.as_ref().context("no second node")?;
            s.took(&beyond.pod, "OutRsts", 4)
        },
        expect: || {
            vec![
                failed("nothing_listens", 4)
                    .backend(Backend::Far(9099))
                    .or_likely(),
            ]
        },
        ..Scenario::new(31426)
    }
    .run()
}

/// A SYN in the window of a handshake that is still unfinished there: the stack answers with
/// a RST, and its reason is not that nobody listens.
#[test]
fn a_second_syn_of_an_unfinished_handshake() -> Result<()> {
    Scenario {
        port: 31878,
        services: |s| vec![s.service().backend(s.pod(0, 9090))],
        traffic: |s| {
            let raw = RawClient::open(&s.bed.client)?;
            let to = s.node_port(s.port);
            for source in 4000..4003 {
                let from = s.phantom(1, source);
                let answer = raw.syn(from, to, 1)?;
                ensure!(matches!(answer, Answer::SynAck(_)), "{answer:?}");
                let answer = raw.syn(from, to, 1001)?;
                ensure!(answer == Answer::Rst, "{answer:?}");
            }
            Ok(())
        },
        expect: || {
            let refused = unexplained(3).backend(Backend::Any).says(&["INVALID_SYN"]);
            vec![refused, failed("return_path", 3).by(0, 9090).or_likely()]
        },
        ..SCENARIO
    }
    .run()
}
