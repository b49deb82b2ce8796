//! C3: masquerading has fewer source ports than there are connections.

use anyhow::Result;
use nix::errno::Errno;
use testbed::{Mode, peer::Behaviour, rules};

use super::{
    expect::{Backend, failed},
    scenario::Scenario,
    scene::SOON,
};

const SCENARIO: Scenario = Scenario {
    services: |s| vec![s.service().backend(s.pod(0, 9095))],
    servers: |s| s.serve(0, 9095, Behaviour::Echo),
    fault: |s| {
        let rule = rules::masquerade_from(&s.bed.node, 9095, "50000-50001")?;
        s.keep(rule);
        Ok(())
    },
    traffic: |s| {
        s.keep(s.connections(2)?);
        s.dials_end(3, SOON, Errno::EINPROGRESS)
    },
    // Refused before the entry with its backend was confirmed.
    expect: || vec![failed("snat_exhausted", 3).backend(Backend::Any)],
    ..Scenario::new(31460)
};

#[test]
fn iptables_nft() -> Result<()> {
    SCENARIO.run()
}

#[test]
fn iptables_legacy() -> Result<()> {
    Scenario {
        port: 31462,
        rules: Mode::IptablesLegacy,
        ..SCENARIO
    }
    .run()
}

#[test]
fn nftables() -> Result<()> {
    Scenario {
        port: 31464,
        rules: Mode::Nftables,
        ..SCENARIO
    }
    .run()
}
