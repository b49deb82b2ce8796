//! Which ways are remembered, and whose chains are kube-proxy's.

use crate::evidence::rules::{RuleSets, Syn, is_kube_proxys};

#[test]
fn so_many_ways_are_remembered() {
    let rules = RuleSets {
        known: true,
        ..RuleSets::default()
    };
    for client in 0..200_u8 {
        let syn = Syn {
            client: [10, 66, 1, client].into(),
            client_port: None,
            dialled: [10, 0, 3, 17].into(),
            node_port: 30_102,
            interface: None,
            backend: None,
            way_out: None,
        };
        let told = rules.trace(&syn);
        assert!(told.complete && told == rules.trace(&syn));
    }
    assert_eq!(rules.traced.lock().unwrap().len(), 64);
}

#[test]
fn chains_of_network_policies_are_not_kube_proxys() {
    assert!(is_kube_proxys("KUBE-EXTERNAL-SERVICES") && is_kube_proxys("KUBE-XLB-A"));
    for chain in [
        "KUBE-ROUTER-INPUT",
        "KUBE-POD-FW-A",
        "KUBE-NWPLCY-DEFAULT",
        "INPUT",
    ] {
        assert!(!is_kube_proxys(chain));
    }
}
