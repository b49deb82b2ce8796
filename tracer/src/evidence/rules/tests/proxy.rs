//! kube-proxy's own rules, as they were recorded.

use super::bed::{apart, only, read, run, sh, syn, trace};
use crate::evidence::rules::{Action, Matches, Owner, ProxyMode, Reader, Syn, Tool};

const OLD: &str =
    include_str!("../../../../../tests/fixtures/kube-proxy/iptables-kube-proxy-1.20.2.txt");
const RECORDED: &str =
    include_str!("../../../../../tests/fixtures/kube-proxy/iptables-kube-proxy-1.36.2.txt");
const NFT: &str =
    include_str!("../../../../../tests/fixtures/kube-proxy/nftables-kube-proxy-1.36.2.txt");

/// Without what counts under a name, which would have to be there.
fn new() -> String {
    let mut rules = RECORDED.to_owned();
    for name in [
        "ct_state_invalid_dropped_pkts",
        "localhost_nps_accepted_pkts",
    ] {
        rules = rules.replace(&format!("-m nfacct --nfacct-name  {name} "), "");
    }
    rules
}

fn backends(syn: &Syn) -> Vec<String> {
    let mut all: Vec<_> = trace(syn)
        .backends
        .iter()
        .map(ToString::to_string)
        .collect();
    all.sort();
    all
}

fn mode() -> Option<ProxyMode> {
    read(&mut Reader::default(), &[]).mode()
}

fn iptables(rules: &str, legacy: bool) {
    let restore = if legacy {
        "iptables-legacy-restore"
    } else {
        "iptables-nft-restore"
    };
    run(&[restore], rules);
    let expected = if legacy {
        ProxyMode::IptablesLegacy
    } else {
        ProxyMode::IptablesNft
    };
    assert_eq!(mode(), Some(expected));
    let tool = if legacy {
        Tool::IptablesLegacy
    } else {
        Tool::IptablesNft
    };
    assert_eq!(
        backends(&syn(30080)),
        ["10.244.0.2:9090", "10.244.0.3:9090"]
    );
    assert_eq!(trace(&syn(30080)).stops, []);
    assert_eq!(backends(&syn(30083)), ["10.244.0.2:9090"]);
    assert_eq!(backends(&syn(30084)), ["10.244.0.2:9099"]);
    assert_eq!(backends(&syn(30099)), Vec::<String>::new());
    let empty = only(&syn(30081));
    assert_eq!(empty.action, Action::RejectIcmp { code: 3 });
    assert_eq!(
        (empty.rule.owner, empty.rule.tool),
        (Owner::KubeProxy, tool)
    );
    assert_eq!(
        empty.rule.comment.as_deref(),
        Some("default/empty:thrift has no endpoints")
    );
    assert_eq!(empty.matches, Matches::Yes);
}

#[test]
fn iptables_mode() {
    for legacy in [true, false] {
        for rules in [OLD, &new()] {
            apart(|| iptables(rules, legacy));
        }
    }
}

#[test]
fn no_local_endpoint_is_kube_proxys() {
    for legacy in [true, false] {
        apart(|| {
            let restore = if legacy {
                "iptables-legacy-restore"
            } else {
                "iptables-nft-restore"
            };
            run(&[restore], &new());
            let stop = only(&syn(30082));
            assert_eq!(
                (stop.action, stop.rule.owner),
                (Action::Drop, Owner::KubeProxy)
            );
            let said = stop.rule.comment.unwrap_or_default();
            assert!(said.contains("has no local endpoints"), "{said}");
        });
    }
}

/// kube-proxy up to 1.24 marks what the kubelet's rule drops.
#[test]
fn a_mark_leads_to_the_drop() {
    for (tool, legacy) in [("iptables-legacy", true), ("iptables-nft", false)] {
        apart(|| {
            let restore = if legacy {
                "iptables-legacy-restore"
            } else {
                "iptables-nft-restore"
            };
            run(&[restore], OLD);
            sh(&format!(
                "{tool} -t nat -F KUBE-MARK-DROP; \
                 {tool} -t nat -A KUBE-MARK-DROP -j MARK --or-mark 0x8000; \
                 {tool} -N KUBE-FIREWALL; {tool} -I INPUT -j KUBE-FIREWALL; \
                 {tool} -A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP"
            ));
            let stop = only(&syn(30082));
            assert_eq!(
                (&*stop.rule.chain, stop.rule.owner),
                ("KUBE-FIREWALL", Owner::KubeProxy)
            );
            assert_eq!(stop.action, Action::Drop);
            assert_eq!(trace(&syn(30080)).stops, []);
        });
    }
}

#[test]
fn nftables_mode() {
    apart(|| {
        run(&["nft", "-f", "-"], NFT);
        assert_eq!(mode(), Some(ProxyMode::Nftables));
        assert_eq!(
            backends(&syn(30080)),
            ["10.244.0.2:9090", "10.244.0.3:9090"]
        );
        assert_eq!(backends(&syn(30083)), ["10.244.0.2:9090"]);
        assert_eq!(trace(&syn(30080)).stops, []);
        let empty = only(&syn(30081));
        assert_eq!(empty.action, Action::RejectIcmp { code: 3 });
        assert_eq!(
            (&*empty.rule.chain, empty.rule.owner),
            ("reject-chain", Owner::KubeProxy)
        );
        let local = only(&syn(30082));
        assert_eq!(
            (local.action, local.rule.owner),
            (Action::Drop, Owner::KubeProxy)
        );
        assert_eq!(local.rule.chain, "nodeport-endpoints-check");
    });
}

/// A backend that NAT chose is followed to where it is forwarded.
#[test]
fn a_drop_on_the_way_to_one_backend() {
    for tool in ["iptables-legacy", "iptables-nft"] {
        apart(|| {
            run(&[&*format!("{tool}-restore")], &new());
            sh(&format!(
                "{tool} -A FORWARD -d 10.244.0.3 -o cni0 -p tcp --dport 9090 -j DROP; \
                 {tool} -A FORWARD -o docker0 -j DROP"
            ));
            let to = |backend: &str, way_out: &str| Syn {
                backend: Some(backend.parse().unwrap()),
                way_out: Some(way_out.into()),
                ..syn(30080)
            };
            // kube-proxy accepts what it marked before others are asked.
            assert_eq!(trace(&to("10.244.0.3:9090", "cni0")).stops, []);
            sh(&format!(
                "{tool} -D FORWARD -m comment --comment 'kubernetes forwarding rules' -j KUBE-FORWARD"
            ));
            let stop = only(&to("10.244.0.3:9090", "cni0"));
            assert_eq!((&*stop.rule.chain, stop.before_dnat), ("FORWARD", false));
            assert_eq!(trace(&to("10.244.0.2:9090", "cni0")).stops, []);
            assert_eq!(
                only(&to("10.244.0.2:9090", "docker0")).rule.text,
                "-o docker0"
            );
            // It is not known which backend, nor the way out.
            let either = trace(&syn(30080));
            assert!(
                either
                    .stops
                    .iter()
                    .all(|stop| stop.matches == Matches::Maybe)
            );
            assert_eq!(either.stops.len(), 2);
        });
    }
}
