//! A1: the Service has no endpoints; kube-proxy's rule rejects with ICMP.

use anyhow::Result;
use nix::errno::Errno;
use testbed::{Mode, Policy};

use super::{
    expect::failed,
    scenario::Scenario,
    scene::{Family, SECOND_SYN, SOON},
};

const SCENARIO: Scenario = Scenario {
    services: |s| vec![s.service()],
    traffic: |s| s.dials_end(3, SECOND_SYN, Errno::ECONNREFUSED),
    expect: || vec![failed("no_endpoints", 3)],
    ..Scenario::new(31400)
};

#[test]
fn vm_iptables_nft() -> Result<()> {
    SCENARIO.run()
}

#[test]
fn iptables_legacy() -> Result<()> {
    Scenario {
        port: 31402,
        rules: Mode::IptablesLegacy,
        ..SCENARIO
    }
    .run()
}

#[test]
fn nftables_v6() -> Result<()> {
    Scenario {
        port: 31404,
        rules: Mode::Nftables,
        family: Family::V6,
        ..SCENARIO
    }
    .run()
}

/// The kernel answers some and limits the rate of the rest (`icmp_ratelimit`).
#[test]
fn silenced_by_the_rate_limit() -> Result<()> {
    Scenario {
        port: 31540,
        traffic: |s| {
            let limits_unreachable = [("net/ipv4/icmp_ratemask", "6168")];
            s.bed.node.sysctls(&limits_unreachable)?;
            // Whatever these see: a socket that is busy connecting misses its ICMP.
            s.dials(20, SOON)?;
            s.took(&s.bed.node, "OutRateLimitHost", 1)
        },
        expect: || vec![failed("no_endpoints", 20)],
        ..SCENARIO
    }
    .run()
}

/// First without endpoints, then with some elsewhere alone: both in one window. Kernels that
/// do not count what ICMP's rate limit keeps back (before 6.3) cannot tell them apart.
#[test]
fn then_dropped_without_an_answer() -> Result<()> {
    Scenario {
        port: 31542,
        traffic: |s| {
            s.dials_end(2, SECOND_SYN, Errno::ECONNREFUSED)?;
            let away = s.service().backend(s.far_pod(9090));
            s.apply(vec![away.policy(Policy::Local)])?;
            s.dials_end(3, SOON, Errno::EINPROGRESS)
        },
        // The rule that rejected is gone by the time that the rules are read.
        expect: || {
            let before = failed("no_endpoints", 2).or_likely();
            vec![failed("no_local_endpoint", 3), before]
        },
        ..SCENARIO
    }
    .run()
}
