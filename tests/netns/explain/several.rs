//! More than one fault at once: each is named, with its share.

use anyhow::{Result, ensure};
use nix::errno::Errno;
use testbed::{
    ServicePort, Topology,
    peer::{Behaviour, Dial},
    rules,
};

use super::{
    expect::{Count, failed},
    scenario::Scenario,
    scene::{Family, SECOND_SYN, SOON, at_once},
};

const OTHER: u16 = 31522;

#[test]
fn on_two_ports() -> Result<()> {
    Scenario {
        services: |s| {
            let wrong = s.service_at(OTHER).backend(s.pod(0, 9099));
            vec![s.service(), wrong]
        },
        traffic: |s| {
            s.dials_end(2, SECOND_SYN, Errno::ECONNREFUSED)?;
            let other = Dial::new(&s.bed.client, s.node_port(OTHER));
            for ended in at_once(6, |_| other.connect())? {
                ensure!(ended.err() == Some(Errno::ECONNREFUSED));
            }
            Ok(())
        },
        expect: || {
            vec![
                failed("nothing_listens", 6).at(OTHER).by(0, 9099),
                failed("no_endpoints", 2),
            ]
        },
        ..Scenario::new(31520)
    }
    .run()
}

/// Two of three replicas fail, each in its own way. The third dial goes to the
/// third replica, and so on.
#[test]
fn on_one_port() -> Result<()> {
    Scenario {
        topology: || Topology::builder().pods(4),
        services: |_| vec![],
        servers: |s| {
            s.serve(2, 9090, Behaviour::Echo)?;
            s.serve(3, 9090, Behaviour::Echo)
        },
        fault: |s| {
            let to = "0 : 10.244.0.2, 1 : 10.244.0.4, 2 : 10.244.0.5";
            let rule = format!(
                "tcp dport {} dnat ip to numgen inc mod 3 map {{ {to} }}:9090",
                s.port
            );
            s.keep(rules::nat(&s.bed.node, "prerouting", &rule)?);
            let policy = "tcp dport 9090 drop";
            let policy = rules::add(&s.bed.pods[2], &[("input", "filter")], policy)?;
            s.keep(policy);
            Ok(())
        },
        traffic: |s| {
            let ended: Vec<_> = s.dials(12, SOON)?.into_iter().map(Result::err).collect();
            for errno in [None, Some(Errno::ECONNREFUSED), Some(Errno::EINPROGRESS)] {
                let count = ended.iter().filter(|e| **e == errno).count();
                ensure!(count == 4, "{errno:?}: {count} of 12");
            }
            Ok(())
        },
        expect: || {
            vec![
                failed("nothing_listens", 4).by(0, 9090),
                failed("dropped_by_rule", 4).by(2, 9090),
            ]
        },
        ..Scenario::new(31524)
    }
    .run()
}

/// kube-proxy's own spreading; in which replica's turn the others are does not
/// matter.
fn one_bad_replica(port: u16, family: Family) -> Result<()> {
    Scenario {
        family,
        topology: || Topology::builder().pods(4),
        services: |s| {
            let all = [0, 2, 3].map(|i| s.pod(i, 9090));
            vec![all.into_iter().fold(s.service(), ServicePort::backend)]
        },
        servers: |s| {
            s.serve(2, 9090, Behaviour::Echo)?;
            s.serve(3, 9090, Behaviour::Echo)
        },
        traffic: |s| {
            let ended = s.dials(60, SOON)?;
            let refused = ended.iter().filter(|e| e.is_err()).count();
            ensure!((1..60).contains(&refused), "{refused} of 60 refused");
            Ok(())
        },
        expect: || {
            let bad = failed("nothing_listens", 0).by(0, 9090);
            vec![bad.failures(Count::AtLeast(1))]
        },
        ..Scenario::new(port)
    }
    .run()
}

#[test]
fn one_bad_replica_of_three() -> Result<()> {
    one_bad_replica(31526, Family::V4)
}

#[test]
fn one_bad_replica_of_three_v6() -> Result<()> {
    one_bad_replica(31528, Family::V6)
}
