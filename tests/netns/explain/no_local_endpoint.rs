//! A4: externalTrafficPolicy Local, endpoints elsewhere: dropped before DNAT.

use anyhow::Result;
use nix::errno::Errno;
use testbed::{Mode, Policy};

use super::{
    expect::failed,
    scenario::Scenario,
    scene::{Family, SOON},
};

const SCENARIO: Scenario = Scenario {
    services: |s| {
        let away = s.service().backend(s.far_pod(9090));
        vec![away.policy(Policy::Local)]
    },
    traffic: |s| s.dials_end(3, SOON, Errno::EINPROGRESS),
    expect: || vec![failed("no_local_endpoint", 3)],
    ..Scenario::new(31412)
};

#[test]
fn iptables_nft() -> Result<()> {
    SCENARIO.run()
}

#[test]
fn iptables_legacy() -> Result<()> {
    Scenario {
        port: 31414,
        rules: Mode::IptablesLegacy,
        ..SCENARIO
    }
    .run()
}

#[test]
fn nftables_v6() -> Result<()> {
    Scenario {
        port: 31416,
        rules: Mode::Nftables,
        family: Family::V6,
        ..SCENARIO
    }
    .run()
}
