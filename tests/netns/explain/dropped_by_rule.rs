//! D1: a rule drops SYNs after DNAT: a network policy on the node or in the
//! pod's namespace.

use anyhow::Result;
use nix::errno::Errno;
use testbed::{Mode, rules};

use super::{
    expect::{Backend, failed},
    scenario::Scenario,
    scene::{Family, SOON},
};

const SCENARIO: Scenario = Scenario {
    fault: |s| {
        s.keep(rules::drop_forwarded_syns(&s.bed.node, s.port)?);
        Ok(())
    },
    traffic: |s| s.dials_end(3, SOON, Errno::EINPROGRESS),
    expect: || vec![failed("dropped_by_rule", 3).backend(Backend::Pod(0, 9090))],
    rests_on: &["kfree_skb"],
    ..Scenario::new(31476)
};

#[test]
fn vm_iptables_nft() -> Result<()> {
    SCENARIO.run()
}

/// The policy is a legacy rule, too: netfilter's core drops for it.
#[test]
fn iptables_legacy() -> Result<()> {
    Scenario {
        port: 31478,
        rules: Mode::IptablesLegacy,
        fault: |s| {
            let rule = "-w 30 -I FORWARD -p tcp -d 10.244.0.2 --dport 9090 -j DROP";
            let argv = ["iptables-legacy"].into_iter().chain(rule.split(' '));
            s.bed.node.run(&argv.collect::<Vec<_>>()).map(drop)
        },
        ..SCENARIO
    }
    .run()
}

#[test]
fn nftables_v6() -> Result<()> {
    Scenario {
        port: 31480,
        rules: Mode::Nftables,
        family: Family::V6,
        ..SCENARIO
    }
    .run()
}

#[test]
fn in_the_pod() -> Result<()> {
    Scenario {
        port: 31482,
        fault: |s| {
            let rule = "tcp dport 9090 drop";
            s.keep(rules::add(&s.bed.pods[0], &[("input", "filter")], rule)?);
            Ok(())
        },
        ..SCENARIO
    }
    .run()
}
