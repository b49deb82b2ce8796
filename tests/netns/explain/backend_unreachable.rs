//! A6: the backend's address is gone. A7b: no route leads to it, or one that
//! says so.

use std::time::Duration;

use anyhow::{Result, ensure};
use nix::errno::Errno;

use super::{
    expect::{Backend, failed},
    scenario::Scenario,
    scene::SOON,
};

/// The node asks for its neighbour for 3 s, then sends ICMP 3/1.
#[test]
fn address_gone() -> Result<()> {
    Scenario {
        options: &["--handshake-timeout", "5s", "--idle-after", "1s"],
        fault: |s| {
            s.bed.pods[0].ip("addr flush dev eth0\n")?;
            s.bed.node.ip("neigh flush dev cbr0\n")
        },
        traffic: |s| {
            // It may hold back answers, to spare the client.
            let ended = s.dials(3, Duration::from_secs(4))?;
            ensure!(ended.iter().all(Result::is_err), "a dial succeeded");
            s.took(&s.bed.node, "OutDestUnreachs", 1)
        },
        expect: || vec![failed("backend_unreachable", 3).by(0, 9090)],
        ..Scenario::new(31428)
    }
    .run()
}

/// The same to a load balancer that does not wait for that.
#[test]
fn address_gone_impatient() -> Result<()> {
    Scenario {
        fault: |s| {
            s.bed.pods[0].ip("addr flush dev eth0\n")?;
            s.bed.node.ip("neigh flush dev cbr0\n")
        },
        traffic: |s| s.dials_end(3, SOON, Errno::EINPROGRESS),
        expect: || vec![failed("backend_unreachable", 3).by(0, 9090).or_likely()],
        ..Scenario::new(31430)
    }
    .run()
}

/// An ICMP error at once; the node sends few of them to one client, so that
/// other dials are silent.
const ROUTE: Scenario = Scenario {
    traffic: |s| {
        for ended in s.dials(3, SOON)? {
            ensure!(ended.is_err(), "a dial succeeded");
        }
        s.took(&s.bed.node, "OutDestUnreachs", 1)
    },
    expect: || vec![failed("backend_unreachable", 3).by(0, 9090)],
    ..Scenario::new(31432)
};

#[test]
fn route_unreachable() -> Result<()> {
    Scenario {
        fault: |s| s.bed.node.ip("route add unreachable 10.244.0.2/32\n"),
        ..ROUTE
    }
    .run()
}

#[test]
fn route_prohibit() -> Result<()> {
    Scenario {
        port: 31434,
        fault: |s| s.bed.node.ip("route add prohibit 10.244.0.2/32\n"),
        ..ROUTE
    }
    .run()
}

#[test]
fn no_route() -> Result<()> {
    Scenario {
        port: 31436,
        services: |s| vec![s.service().backend(([10, 250, 0, 9], 9090))],
        expect: || {
            let backend = Backend::Address("10.250.0.9:9090");
            vec![failed("backend_unreachable", 3).backend(backend)]
        },
        ..ROUTE
    }
    .run()
}
