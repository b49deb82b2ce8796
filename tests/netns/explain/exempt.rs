//! Rules that do not drop one client's SYNs, and let it go without the Service all the
//! same: they exempt it from NAT, hand it to a program that is not there, or take some of
//! its SYNs only. The others are served meanwhile.

use anyhow::Result;
use nix::errno::Errno;
use testbed::rules;

use super::{
    amid::{end, in_turn, second, two_clients},
    expect::{Count, Expected, Whom, failed, spoilt},
    scenario::Scenario,
    scene::{Reply, SOON, call},
};

const SECOND: Whom = Whom::From("10.60.0.11");

/// The node's stack gets the SYN, and has no socket for it. kube-proxy is not to blame.
fn exempted() -> Vec<Expected> {
    let told = failed("no_service_rule", 4).only(SECOND).likely();
    vec![told.says(&["Rules lead port", "exempts these clients from NAT"])]
}

const SCENARIO: Scenario = Scenario {
    topology: two_clients,
    traffic: |s| in_turn(s, || end(&second(s), 2, Errno::ECONNREFUSED)),
    expect: exempted,
    ..Scenario::new(31892)
};

#[test]
fn not_tracked() -> Result<()> {
    Scenario {
        fault: |s| {
            s.iptables(
                "iptables-nft",
                "-t raw -A PREROUTING -s 10.60.0.11 -j CT --notrack",
            )
        },
        ..SCENARIO
    }
    .run()
}

#[test]
fn accepted_in_nat() -> Result<()> {
    Scenario {
        port: 31894,
        fault: |s| {
            s.iptables(
                "iptables-nft",
                "-t nat -I PREROUTING -s 10.60.0.11 -j ACCEPT",
            )
        },
        ..SCENARIO
    }
    .run()
}

#[test]
fn queued_for_nobody() -> Result<()> {
    Scenario {
        port: 31896,
        fault: |s| {
            s.iptables(
                "iptables-nft",
                "-t raw -A PREROUTING -s 10.60.0.11 -j NFQUEUE --queue-num 5",
            )
        },
        traffic: |s| in_turn(s, || end(&second(s), 2, Errno::EINPROGRESS)),
        expect: || {
            let told = failed("dropped_by_rule", 4).only(SECOND).or_likely();
            vec![told.says(&["table raw, chain PREROUTING, rule 1"])]
        },
        ..SCENARIO
    }
    .run()
}

/// Each first SYN is dropped, and the one that is sent again a second later gets through:
/// nothing fails, and each call takes a second longer.
#[test]
fn first_syns_are_dropped() -> Result<()> {
    Scenario {
        port: 31898,
        options: &["--handshake-timeout", "4s", "--idle-after", "1s"],
        fault: |s| {
            let rule = "ip saddr 10.60.0.11 tcp flags & (syn | ack) == syn numgen inc mod 2 0 \
                        counter drop";
            s.keep(rules::add(&s.bed.node, &[("prerouting", "raw")], rule)?);
            Ok(())
        },
        traffic: |s| {
            for _ in 0..4 {
                let (reply, _) = call(&second(s).limit(3 * SOON))?;
                anyhow::ensure!(reply == Reply::Whole, "a call came to {reply:?}");
            }
            Ok(())
        },
        expect: || {
            let told = spoilt("dropped_by_rule", 0).connections(Count::AtLeast(3));
            vec![told.or_likely().says(&["chain c0"])]
        },
        ..SCENARIO
    }
    .run()
}
