//! Rules that send on what comes in for one's own address.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::bed::{apart, run, sh};
use crate::evidence::rules::{Redirect, redirect};

fn found(address: &str) -> Option<Redirect> {
    let mut absent = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    let address: SocketAddr = address.parse().unwrap();
    let found = redirect(address, "eth0", deadline, &mut absent);
    assert_eq!(absent, []);
    found
}

/// As istio-init writes them.
const SIDECAR: [&str; 6] = [
    "-N ISTIO_INBOUND",
    "-N ISTIO_IN_REDIRECT",
    "-A PREROUTING -p tcp -j ISTIO_INBOUND",
    "-A ISTIO_INBOUND -p tcp --dport 15008 -j RETURN",
    "-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT",
    "-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006",
];

#[test]
fn a_sidecars_redirect_is_named() {
    for command in ["iptables-legacy", "iptables-nft"] {
        apart(|| {
            assert_eq!(found("10.60.0.1:9090"), None);
            for rule in SIDECAR {
                sh(&format!("{command} -t nat {rule}"));
            }
            let told = found("10.60.0.1:9090").unwrap();
            assert_eq!(told.to, "10.60.0.1:15006".parse().unwrap());
            let rule = told.rule.to_string();
            let place = "table nat, chain ISTIO_IN_REDIRECT, rule 1";
            assert!(rule.starts_with(command) && rule.contains(place), "{rule}");
            assert_eq!(found("10.60.0.1:15008"), None);
            assert_eq!(found("[fd00:60::1]:9090"), None);
        });
    }
}

#[test]
fn what_some_clients_or_packets_meet_is_not_sure() {
    let nft = |rule: &str| {
        let table = format!(
            "table inet mesh\ndelete table inet mesh\ntable inet mesh {{ chain in {{ type nat hook \
             prerouting priority -100; {rule}; }}; }}\n"
        );
        run(&["nft", "-f", "-"], &table);
        found("10.60.0.1:9090")
    };
    apart(|| {
        for rule in [
            "tcp dport 9090 redirect to :15006",
            "iifname eth0 meta l4proto tcp redirect to :15006",
        ] {
            let told = nft(rule).unwrap();
            assert_eq!(told.to, "10.60.0.1:15006".parse().unwrap(), "{rule}");
            assert!(told.rule.to_string().contains("table mesh, chain in"));
        }
        for rule in [
            "tcp dport 9091 redirect to :15006",
            "ip saddr 10.66.1.6 tcp dport 9090 redirect to :15006",
            "numgen random mod 2 < 1 tcp dport 9090 redirect to :15006",
            "tcp dport 9090 ip saddr 10.66.1.6 accept; tcp dport 9090 redirect to :15006",
        ] {
            assert_eq!(nft(rule), None, "{rule}");
        }
    });
}
