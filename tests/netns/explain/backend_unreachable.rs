//! A6: the backend's address is gone. A7b: no route leads to it, or one that
//! says so.

use anyhow::Result;
use nix::errno::Errno;
use std::time::Duration;

use super::{
    expect::{Backend, failed},
    scene::{SECOND_SYN, Scenario},
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
        traffic: |s| s.dials_end(3, Duration::from_secs(5), Errno::EHOSTUNREACH),
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
        traffic: |s| s.dials_end(3, super::scene::SOON, Errno::EINPROGRESS),
        expect: || vec![failed("backend_unreachable", 3).by(0, 9090).or_likely()],
        ..Scenario::new(31430)
    }
    .run()
}

#[test]
fn route_unreachable() -> Result<()> {
    Scenario {
        fault: |s| s.bed.node.ip("route add unreachable 10.244.0.2/32\n"),
        traffic: |s| s.dials_end(3, SECOND_SYN, Errno::EHOSTUNREACH),
        expect: || vec![failed("backend_unreachable", 3).by(0, 9090)],
        ..Scenario::new(31432)
    }
    .run()
}

#[test]
fn route_prohibit() -> Result<()> {
    Scenario {
        fault: |s| s.bed.node.ip("route add prohibit 10.244.0.2/32\n"),
        traffic: |s| s.dials_end(3, SECOND_SYN, Errno::EHOSTUNREACH),
        expect: || vec![failed("backend_unreachable", 3).by(0, 9090)],
        ..Scenario::new(31434)
    }
    .run()
}

#[test]
fn no_route() -> Result<()> {
    Scenario {
        services: |s| vec![s.service().backend(([10, 250, 0, 9], 9090))],
        traffic: |s| s.dials_end(3, SECOND_SYN, Errno::ENETUNREACH),
        expect: || vec![failed("backend_unreachable", 3).backend(Backend::Address("10.250.0.9:9090"))],
        ..Scenario::new(31436)
    }
    .run()
}
