//! One family, or one of the node's addresses, is not served, the rest is; and rules of the
//! host reject what kube-proxy has no rules for.

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use testbed::{addr::NODE_V6, cleanup::ScratchDir, peer::Dial};

use super::{
    amid::{end, in_turn},
    expect::{Expected, Whom, failed},
    scenario::{OPTIONS, Scenario},
    scene::{SECOND_SYN, SOON, Scene},
};

/// An address of the node beside its first.
const OTHER: [u8; 4] = [10, 60, 0, 2];

/// As with `--nodeport-addresses`: kube-proxy's rules are for the first address alone.
const ADDRESS: Scenario = Scenario {
    servers: |s| {
        s.bed.node.ip("addr add 10.60.0.2/24 dev eth0\n")?;
        s.serve(0, 9090, testbed::peer::Behaviour::Echo)
    },
    fault: |s| {
        s.iptables(
            "iptables-nft",
            "-t nat -I PREROUTING -d 10.60.0.2 -j ACCEPT",
        )
    },
    traffic: |s| {
        let dial = Dial::new(&s.bed.client, (OTHER, s.port)).limit(SOON);
        in_turn(s, || end(&dial, 2, Errno::ECONNREFUSED))
    },
    expect: || vec![failed("no_service_rule", 4).only(Whom::At("10.60.0.2"))],
    ..Scenario::new(31830)
};

#[test]
fn an_address_without_rules() -> Result<()> {
    ADDRESS.run()
}

/// The host's firewall ends in REJECT.
#[test]
fn an_address_that_is_rejected() -> Result<()> {
    Scenario {
        port: 31832,
        fault: |s| {
            s.iptables(
                "iptables-nft",
                "-t nat -I PREROUTING -d 10.60.0.2 -j ACCEPT",
            )?;
            s.iptables("iptables-nft", "-A INPUT -i eth0 -p tcp -j REJECT")
        },
        traffic: |s| {
            let dial = Dial::new(&s.bed.client, (OTHER, s.port)).limit(SECOND_SYN);
            in_turn(s, || end(&dial, 2, Errno::ECONNREFUSED))
        },
        expect: || {
            let rejected = failed("rejected_by_rule", 4).only(Whom::At("10.60.0.2"));
            vec![rejected.says(&["table filter, chain INPUT"])]
        },
        ..ADDRESS
    }
    .run()
}

/// The Service has IPv4 endpoints; its port is dialled by IPv6 too.
const FAMILY: Scenario = Scenario {
    traffic: |s| by_ipv6(s, SOON),
    expect: || vec![failed("no_service_rule", 4).only(Whom::Family("IPv6"))],
    ..Scenario::new(31834)
};

fn by_ipv6(s: &Scene, limit: std::time::Duration) -> Result<()> {
    let dial = Dial::new(&s.bed.client, (NODE_V6, s.port)).limit(limit);
    in_turn(s, || end(&dial, 2, Errno::ECONNREFUSED))
}

#[test]
fn ipv6_without_rules() -> Result<()> {
    FAMILY.run()
}

/// kube-proxy's own REJECT, as for a dual-stack Service whose pods have IPv4 alone.
#[test]
fn ipv6_without_endpoints() -> Result<()> {
    Scenario {
        port: 31836,
        fault: |s| {
            let rule = format!(
                "-A KUBE-EXTERNAL-SERVICES -p tcp -m addrtype --dst-type LOCAL --dport {} -j REJECT",
                s.port
            );
            s.iptables("ip6tables-nft", &rule)
        },
        traffic: |s| by_ipv6(s, SECOND_SYN),
        expect: || vec![failed("no_endpoints", 4).only(Whom::Family("IPv6"))],
        ..FAMILY
    }
    .run()
}

/// A host's rule rejects IPv6.
#[test]
fn ipv6_rejected() -> Result<()> {
    Scenario {
        port: 31838,
        fault: |s| s.iptables("ip6tables-nft", "-A INPUT -i eth0 -p tcp -j REJECT"),
        traffic: |s| by_ipv6(s, SECOND_SYN),
        expect: || vec![failed("rejected_by_rule", 4).only(Whom::Family("IPv6"))],
        ..FAMILY
    }
    .run()
}

/// As distributions write it: what is not allowed is rejected.
fn host_firewall(s: &Scene) -> Result<()> {
    for rule in [
        "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-i lo -j ACCEPT",
        "-p tcp --dport 22 -j ACCEPT",
        "-j REJECT",
    ] {
        s.iptables("iptables-nft", &format!("-A INPUT {rule}"))?;
    }
    Ok(())
}

/// kube-proxy has no rules for the port, and the host's firewall answers as kube-proxy
/// would for a Service without endpoints.
const REJECTED: Scenario = Scenario {
    services: |_| vec![],
    fault: host_firewall,
    traffic: |s| s.dials_end(3, SECOND_SYN, Errno::ECONNREFUSED),
    expect: || vec![of_the_host("rejected_by_rule")],
    ..Scenario::new(31840)
};

fn of_the_host(verdict: &'static str) -> Expected {
    let rejected = failed(verdict, 3).only(Whom::All);
    rejected.says(&["table filter, chain INPUT"])
}

#[test]
fn a_port_that_the_host_rejects() -> Result<()> {
    REJECTED.run()
}

/// The same where the port is known to be a Service's: the rules ought to be there.
#[test]
fn a_service_that_the_host_rejects() -> Result<()> {
    let scenario = Scenario {
        port: 31842,
        ..REJECTED
    };
    let scene = Scene::new(&scenario)?;
    let dir = ScratchDir::new()?;
    let names = "ports:\n- node_port: 31842\n  namespace: default\n  service: orders\n";
    let names = dir.write("services.yaml", names)?;
    let names = names.to_str().context("path")?;
    let tracer = scene.trace(&[OPTIONS, &["--services", names]].concat())?;
    (scenario.fault)(&scene)?;
    (scenario.traffic)(&scene)?;
    super::expect::check(&scene, &tracer, &[of_the_host("no_service_rule")])
}
