//! D6: large packets of the reply do not fit the way back, and the ICMP that
//! says so does not reach the server.

use std::time::Duration;

use anyhow::Result;
use testbed::{peer::Behaviour, rules};

use super::{expect::spoilt, scenario::Scenario, scene::Reply};

#[test]
fn icmp_filtered() -> Result<()> {
    Scenario {
        servers: |s| s.serve(0, 9090, Behaviour::Reply(vec![7; 20_000])),
        fault: |s| {
            s.bed.node.ip("link set eth0 mtu 1300\n")?;
            let rule = "icmp type destination-unreachable drop";
            s.keep(rules::add(&s.bed.node, &[("output", "filter")], rule)?);
            Ok(())
        },
        traffic: |s| {
            s.calls(3, Duration::from_millis(1300), Reply::None)?;
            s.took(&s.bed.node, "FragFails", 3)
        },
        expect: || vec![spoilt("pmtu_blackhole", 3).by(0, 9090)],
        ..Scenario::new(31494)
    }
    .run()
}
