//! The node's NAT keeps no state (as datapaths in eBPF look to netfilter), so
//! no backend is known: what is seen is told all the same.

use anyhow::Result;
use nix::errno::Errno;
use testbed::rules;

use super::{expect::failed, scenario::Scenario, scene::SOON};

#[test]
fn pod_refuses() -> Result<()> {
    Scenario {
        services: |_| vec![],
        fault: |s| {
            let port = s.port;
            let to = format!("tcp dport {port} notrack ip daddr set 10.244.0.2");
            let untracked = format!("tcp sport {port} notrack");
            let from = format!("tcp sport {port} ip saddr set 10.60.0.1");
            for (hook, rule) in [
                ("prerouting", to),
                ("prerouting", untracked),
                // Earlier it would be a packet of the node's own from outside.
                ("postrouting", from),
            ] {
                s.keep(rules::add(&s.bed.node, &[(hook, "raw")], &rule)?);
            }
            Ok(())
        },
        traffic: |s| {
            s.dials_end(3, SOON, Errno::ECONNREFUSED)?;
            s.took(&s.bed.pods[0], "OutRsts", 3)
        },
        expect: || vec![failed("nothing_listens", 3).or_likely()],
        ..Scenario::new(31530)
    }
    .run()
}
