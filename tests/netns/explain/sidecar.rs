//! F8: the pod's own NAT sends on what comes in for its port, as Istio's does; the proxy
//! there has a full queue, or does not run. The server behind it is well.

use anyhow::Result;
use nix::errno::Errno;
use testbed::{Mode, peer::Behaviour};

use super::{
    expect::{Count, failed},
    scenario::Scenario,
    scene::{Family, SOON, Scene},
};

/// As istio-init writes them.
const RULES: [&str; 5] = [
    "-N ISTIO_INBOUND",
    "-N ISTIO_IN_REDIRECT",
    "-A PREROUTING -p tcp -j ISTIO_INBOUND",
    "-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT",
    "-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006",
];

fn redirect(s: &Scene, program: &str) -> Result<()> {
    for rule in RULES {
        let argv = [program, "-w", "30", "-t", "nat"].into_iter();
        let argv: Vec<&str> = argv.chain(rule.split(' ')).collect();
        s.bed.pods[0].run(&argv)?;
    }
    Ok(())
}

const REFUSED: Scenario = Scenario {
    fault: |s| redirect(s, "iptables-nft"),
    traffic: |s| {
        s.dials_end(4, SOON, Errno::ECONNREFUSED)?;
        s.took(&s.bed.pods[0], "OutRsts", 4)
    },
    expect: || {
        let proxy = failed("nothing_listens", 4).by(0, 9090).says(&[
            "sends 9090 on to 10.244.0.2:15006 by the rule iptables-nft, IPv4, table nat, chain \
             ISTIO_IN_REDIRECT, rule 1",
            "nothing listens there",
        ]);
        vec![proxy.never_says(&["by now", "listens on 9090"])]
    },
    ..Scenario::new(31986)
};

#[test]
fn the_proxy_does_not_run() -> Result<()> {
    REFUSED.run()
}

#[test]
fn the_proxy_does_not_run_legacy() -> Result<()> {
    Scenario {
        port: 31988,
        rules: Mode::IptablesLegacy,
        fault: |s| redirect(s, "iptables-legacy"),
        expect: || {
            let proxy = failed("nothing_listens", 4).by(0, 9090);
            vec![proxy.says(&["15006 by the rule iptables-legacy, IPv4, table nat"])]
        },
        ..REFUSED
    }
    .run()
}

#[test]
fn the_proxy_does_not_run_v6() -> Result<()> {
    Scenario {
        port: 31990,
        family: Family::V6,
        fault: |s| redirect(s, "ip6tables-nft"),
        expect: || {
            let proxy = failed("nothing_listens", 4).by(0, 9090);
            vec![proxy.says(&["[fd00:244::2]:15006 by the rule iptables-nft, IPv6"])]
        },
        ..REFUSED
    }
    .run()
}

/// SYNs to the proxy's full queue.
#[test]
fn the_proxy_does_not_accept() -> Result<()> {
    Scenario {
        port: 31992,
        servers: |s| {
            s.serve(0, 9090, Behaviour::Echo)?;
            s.serve_with(0, 15006, Behaviour::NeverAccept, 2)
        },
        traffic: |s| {
            s.keep(s.connections(3)?);
            s.dials_end(4, SOON, Errno::EINPROGRESS)?;
            s.took(&s.bed.pods[0], "ListenOverflows", 4)
        },
        expect: || {
            let full = failed("accept_queue_full", 4).by(0, 9090);
            let says = full.says(&["the listener at 10.244.0.2:15006", "holds 3 of 3"]);
            vec![says.connections(Count::AtLeast(0))]
        },
        ..REFUSED
    }
    .run()
}

/// Near miss: the redirect is for another port, and nothing listens on this one.
#[test]
fn another_port_is_sent_on() -> Result<()> {
    Scenario {
        port: 31994,
        services: |s| vec![s.service().backend(s.pod(0, 9099))],
        fault: |s| {
            let rule = "-t nat -A PREROUTING -p tcp --dport 9090 -j REDIRECT --to-ports 15006";
            let argv = ["iptables-nft", "-w", "30"].into_iter();
            s.bed.pods[0].run(&argv.chain(rule.split(' ')).collect::<Vec<_>>())?;
            Ok(())
        },
        expect: || {
            let port = failed("nothing_listens", 4).by(0, 9099);
            vec![port.says(&["listens on 9090 only"]).never_says(&["15006"])]
        },
        ..REFUSED
    }
    .run()
}
