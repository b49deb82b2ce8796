//! A rule drops the SYNs of one client before DNAT; the others are served meanwhile, so
//! that neither the Service nor its endpoints can be at fault.

use anyhow::Result;
use nix::errno::Errno;
use testbed::{Mode, peer::Dial, rules};

use super::{
    amid::{end, in_turn, second_is_silent, two_clients},
    expect::{Expected, Whom, failed},
    scenario::Scenario,
    scene::SOON,
};

const SECOND: Whom = Whom::From("10.60.0.11");

fn by_rule(says: &'static [&'static str]) -> Expected {
    failed("dropped_by_rule", 4).only(SECOND).says(says)
}

const SCENARIO: Scenario = Scenario {
    topology: two_clients,
    traffic: second_is_silent,
    ..Scenario::new(31820)
};

#[test]
fn raw_legacy() -> Result<()> {
    Scenario {
        rules: Mode::IptablesLegacy,
        fault: |s| {
            let rule = "-t raw -A PREROUTING -s 10.60.0.11 -j DROP";
            s.iptables("iptables-legacy", rule)
        },
        expect: || {
            vec![by_rule(&[
                "iptables-legacy",
                "table raw, chain PREROUTING, rule 1",
            ])]
        },
        ..SCENARIO
    }
    .run()
}

/// In a chain of its own, as Calico's preDNAT policies and fail2ban are.
#[test]
fn mangle_iptables_nft() -> Result<()> {
    Scenario {
        port: 31822,
        fault: |s| {
            s.iptables("iptables-nft", "-t mangle -N banned")?;
            s.iptables("iptables-nft", "-t mangle -A PREROUTING -p tcp -j banned")?;
            let rule = "-t mangle -A banned -s 10.60.0.11 -m comment --comment ban -j DROP";
            s.iptables("iptables-nft", rule)
        },
        expect: || vec![by_rule(&["table mangle, chain banned", "comment \"ban\""])],
        ..SCENARIO
    }
    .run()
}

#[test]
fn set_of_nftables() -> Result<()> {
    Scenario {
        port: 31824,
        rules: Mode::Nftables,
        fault: |s| {
            let table = "table inet fence {\n\
                set banned { type ipv4_addr; elements = { 192.0.2.7, 10.60.0.11 } }\n\
                chain early { type filter hook prerouting priority raw;\n\
                ip saddr @banned counter drop; }\n}\n";
            s.bed.node.run_with(&["nft", "-f", "-"], table).map(drop)
        },
        expect: || vec![by_rule(&["table fence, chain early"])],
        ..SCENARIO
    }
    .run()
}

/// The match of iptables, not the sysctl: the same packets, another cause.
#[test]
fn rpfilter_match() -> Result<()> {
    Scenario {
        port: 31826,
        fault: |s| {
            s.bed.client.ip("addr add 172.31.9.1/32 dev eth0\n")?;
            s.bed.node.ip("route add 172.31.9.0/24 dev cbr0\n")?;
            let rule = "-t raw -A PREROUTING -i eth0 -m rpfilter --invert -j DROP";
            s.iptables("iptables-nft", rule)
        },
        traffic: |s| {
            let dial = Dial::from(s.dial(SOON), ([172, 31, 9, 1], 0));
            in_turn(s, || end(&dial, 2, Errno::EINPROGRESS))
        },
        expect: || {
            let rule = failed("dropped_by_rule", 4).only(Whom::From("172.31.9.1"));
            vec![rule.says(&["table raw, chain PREROUTING"]).or_likely()]
        },
        ..SCENARIO
    }
    .run()
}

/// After DNAT, one client of two: the backend serves the other.
#[test]
fn after_dnat() -> Result<()> {
    Scenario {
        port: 31828,
        fault: |s| {
            let rule = "ip saddr 10.60.0.11 tcp dport 9090 drop";
            s.keep(rules::add(&s.bed.node, &[("forward", "filter")], rule)?);
            Ok(())
        },
        expect: || vec![by_rule(&["chain c0", "10.244.0.2:9090 had been chosen"]).by(0, 9090)],
        ..SCENARIO
    }
    .run()
}
