//! A1: the Service has no endpoints; kube-proxy's rule rejects with ICMP.

use anyhow::Result;
use nix::errno::Errno;
use testbed::Mode;

use super::{
    expect::failed,
    scenario::Scenario,
    scene::{Family, SECOND_SYN},
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
