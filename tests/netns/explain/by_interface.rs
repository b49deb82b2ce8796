//! What hits the SYNs of one interface and spares those of another: a rule with `-i`, and
//! near misses, where a rule is for an interface that the SYNs did not come by.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use nix::errno::Errno;
use testbed::{
    Mode,
    addr::{NODE_V4, client_v4},
    peer::{Behaviour, Dial},
};

use super::{
    amid::{end, in_turn, second, two_clients},
    expect::{Count, Whom, failed},
    other_interface::second_link,
    scenario::Scenario,
    scene::{SOON, Scene},
};

/// The load balancer's address behind the node's second interface.
const BEHIND: [u8; 4] = [10, 62, 0, 10];

/// By the second link goes what has that address, or one of these ports, as a source.
fn by_source(s: &Scene) -> Result<()> {
    second_link(s)?;
    s.bed.client.ip("rule add from 10.62.0.10 table 77\n\
         rule add ipproto tcp sport 20000-20999 table 77\n")
}

/// A dial that comes in by the second interface.
fn behind(s: &Scene) -> Dial<'_> {
    s.dial(SOON).from((BEHIND, 0))
}

const SCENARIO: Scenario = Scenario {
    topology: two_clients,
    servers: |s| {
        by_source(s)?;
        s.serve(0, 9090, Behaviour::Echo)
    },
    fault: |s| {
        let rule = "-t raw -A PREROUTING -i eth9 -p tcp -j DROP";
        s.iptables("iptables-nft", rule)
    },
    traffic: |s| in_turn(s, || end(&behind(s), 2, Errno::EINPROGRESS)),
    expect: || {
        let rule = failed("dropped_by_rule", 4).only(Whom::By("eth9"));
        vec![rule.says(&[
            "table raw, chain PREROUTING, rule 1",
            "-i eth9",
            "eth0 7 were",
        ])]
    },
    ..Scenario::new(31964)
};

#[test]
fn a_rule_for_one_interface() -> Result<()> {
    SCENARIO.run()
}

#[test]
fn a_rule_of_nftables_for_one_interface() -> Result<()> {
    Scenario {
        port: 31966,
        rules: Mode::Nftables,
        fault: |s| {
            let table = "table inet fence { chain early { type filter hook prerouting priority raw;\n\
                iifname \"eth9\" meta l4proto tcp counter drop; }\n}\n";
            s.bed.node.run_with(&["nft", "-f", "-"], table).map(drop)
        },
        expect: || {
            let rule = failed("dropped_by_rule", 4).only(Whom::By("eth9"));
            vec![rule.says(&["table fence, chain early", "iifname \"eth9\""])]
        },
        ..SCENARIO
    }
    .run()
}

/// The load balancer's first address comes by the second interface and is met with silence,
/// four times; by the first it is served in between.
fn by_both(s: &Scene) -> Result<()> {
    let mut ports = 20_000..;
    let mut fails = || -> Result<()> {
        for port in ports.by_ref().take(2) {
            let by_port = s.dial(SOON).from((client_v4(0), port));
            end(&by_port, 1, Errno::EINPROGRESS)?;
        }
        Ok(())
    };
    fails()?;
    in_turn(s, || Ok(()))?;
    fails()
}

/// That a client is served by one interface does not speak for the other.
#[test]
fn one_client_by_two_interfaces() -> Result<()> {
    Scenario {
        port: 31968,
        traffic: by_both,
        ..SCENARIO
    }
    .run()
}

/// The same where the answers are lost.
#[test]
fn lost_answers_to_what_came_by_one_interface() -> Result<()> {
    Scenario {
        port: 31976,
        fault: |s| {
            let answers = "-p tcp --tcp-flags SYN,ACK SYN,ACK --dport 20000:20999";
            let rule = format!("-t mangle -A POSTROUTING {answers} -j DROP");
            s.iptables("iptables-nft", &rule)
        },
        traffic: by_both,
        expect: || {
            let lost = failed("return_path", 4).by(0, 9090);
            vec![lost.only(Whom::By("eth9"))]
        },
        ..SCENARIO
    }
    .run()
}

/// The interface is gone when that is told: its name stays, and no rule for it can be shown to
/// have fitted any more.
#[test]
fn an_interface_that_is_gone_keeps_its_name() -> Result<()> {
    Scenario {
        port: 31970,
        traffic: |s| {
            (SCENARIO.traffic)(s)?;
            // What was silent is decided, and told of in a round.
            std::thread::sleep(4 * SOON);
            s.bed.node.ip("link del eth9\n")
        },
        expect: || {
            let rule = failed("dropped_by_rule", 4).only(Whom::By("eth9"));
            vec![rule.or_likely()]
        },
        ..SCENARIO
    }
    .run()
}

/// Near it: a rule for the second interface is asked first, and its counter rises meanwhile by
/// what is for another port; those that failed came by the first interface.
#[test]
fn a_rule_for_another_interface() -> Result<()> {
    Scenario {
        port: 31972,
        fault: |s| {
            let raw = "-t raw -A PREROUTING";
            s.iptables("iptables-nft", &format!("{raw} -i eth9 -p tcp -j DROP"))?;
            let rule = format!("{raw} -s 10.60.0.11 -p tcp --dport {} -j DROP", s.port);
            s.iptables("iptables-nft", &rule)
        },
        traffic: |s| {
            in_turn(s, || {
                end(&second(s), 2, Errno::EINPROGRESS)?;
                drops_at_another_port(s)
            })
        },
        expect: || {
            let rule = failed("dropped_by_rule", 4).only(Whom::From("10.60.0.11"));
            let rule = rule.never_says(&["-i eth9", "Perhaps"]);
            vec![rule.says(&["table raw, chain PREROUTING, rule 2"])]
        },
        ..SCENARIO
    }
    .run()
}

/// Near it as well: the queue is full, and the rule's counter rises by what comes in by the
/// second interface.
#[test]
fn a_full_queue_beside_a_rule_for_another_interface() -> Result<()> {
    Scenario {
        port: 31974,
        servers: |s| {
            by_source(s)?;
            s.serve_with(0, 9090, Behaviour::NeverAccept, 2)
        },
        traffic: |s| {
            s.keep(s.connections(3)?);
            end(&behind(s), 4, Errno::EINPROGRESS)?;
            s.dials_end(4, SOON, Errno::EINPROGRESS)
        },
        expect: || {
            let rule = failed("dropped_by_rule", 4).only(Whom::By("eth9"));
            let full = failed("accept_queue_full", 4).by(0, 9090);
            let full = full.connections(Count::AtLeast(0));
            vec![rule, full.only(Whom::All).never_says(&["eth9"])]
        },
        ..SCENARIO
    }
    .run()
}

/// Raises the counter of the rule for the second interface.
fn drops_at_another_port(s: &Scene) -> Result<()> {
    let to = SocketAddr::new(IpAddr::from(NODE_V4), 81);
    let dial = Dial::new(&s.bed.client, to).from((BEHIND, 0)).limit(SOON);
    let ended = dial.connect()?.err();
    ensure!(ended == Some(Errno::EINPROGRESS), "it came to {ended:?}");
    Ok(())
}
