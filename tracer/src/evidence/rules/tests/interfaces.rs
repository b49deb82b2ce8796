//! Rules for what comes in by one interface.

use super::bed::{apart, only, read, sh, syn, trace};
use crate::evidence::{
    InterfaceName,
    rules::{Matches, Reader, Syn},
};

/// A rule for one interface takes what comes in by that, and nothing else; where the
/// interface is not known, or is not the one that rules see, it may.
#[test]
fn a_rule_for_an_interface() {
    for tool in ["iptables-legacy", "iptables-nft"] {
        apart(|| {
            sh(&format!(
                "ip link add br0 type bridge; ip link add eth2 type veth peer name eth3; \
                 ip link set eth2 master br0; \
                 {tool} -t raw -A PREROUTING -i eth1 -p tcp -j DROP"
            ));
            let by = |name| Syn {
                interface: InterfaceName::new(name),
                ..syn(30001)
            };
            let stop = only(&by("eth1"));
            assert_eq!(
                (stop.matches, &*stop.rule.text),
                (Matches::Yes, "-i eth1 -p tcp")
            );
            let spared = trace(&by("eth0"));
            assert_eq!((&spared.stops[..], spared.complete), (&[][..], true));
            for open in ["", "eth2", "eth9"] {
                let traced = trace(&by(open));
                let matches: Vec<Matches> = traced.stops.iter().map(|s| s.matches).collect();
                assert_eq!(
                    (&matches[..], traced.complete),
                    (&[Matches::Maybe][..], false)
                );
            }
            let rules = read(&mut Reader::default(), &[by("eth0"), by("eth1")]);
            let stops = ["eth0", "eth1"].map(|name| rules.trace(&by(name)).stops.len());
            assert_eq!(stops, [0, 1]);
        });
    }
}
