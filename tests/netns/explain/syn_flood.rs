//! SYNs from many addresses that never meant to connect: a few of them, `floods`
//! sends a million.

use anyhow::{Result, ensure};
use testbed::{RawClient, raw::Answer};

use super::{expect::failed, scenario::Scenario};

/// More than a load balancer has addresses.
const SOURCES: u32 = 300;

#[test]
fn vm_many_sources() -> Result<()> {
    Scenario {
        traffic: |s| {
            let raw = RawClient::open(&s.bed.client)?;
            for source in 1..=SOURCES {
                let answer = raw.syn(s.phantom(source, 4000), s.node_port(s.port), 1)?;
                ensure!(matches!(answer, Answer::SynAck(_)), "{answer:?}");
            }
            Ok(())
        },
        expect: || {
            let flood = failed("syn_flood", u64::from(SOURCES));
            vec![flood.or_likely()]
        },
        ..Scenario::new(31566)
    }
    .run()
}
