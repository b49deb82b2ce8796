//! C9: wrong TCP checksums: the node's conntrack takes such a SYN for invalid,
//! or does not look, and the pod drops it.

use anyhow::{Result, ensure};
use testbed::{RawClient, segment::Segment};

use super::{
    expect::{Backend, failed},
    scenario::Scenario,
    scene::{SOON, Scene},
};

fn spoilt_syns(s: &Scene) -> Result<()> {
    let raw = RawClient::open(&s.bed.client)?;
    let to = s.node_port(s.port);
    for source in 4000..4003 {
        let mut syn = Segment::syn(s.phantom(1, source), to, 1);
        syn.bad_checksum = true;
        raw.send(&syn)?;
    }
    let heard = raw.receive(SOON, |segment| segment.src == to)?;
    ensure!(heard.is_none(), "answered: {heard:?}");
    Ok(())
}

#[test]
fn node_drops() -> Result<()> {
    Scenario {
        traffic: |s| {
            spoilt_syns(s)?;
            s.took(&s.bed.node, "InCsumErrors", 3)
        },
        expect: || vec![failed("bad_checksum", 3)],
        ..Scenario::new(31472)
    }
    .run()
}

#[test]
fn pod_drops() -> Result<()> {
    Scenario {
        fault: |s| {
            s.bed
                .node
                .sysctls(&[("net/netfilter/nf_conntrack_checksum", "0")])
        },
        traffic: |s| {
            spoilt_syns(s)?;
            s.took(&s.bed.pods[0], "InCsumErrors", 3)
        },
        expect: || vec![failed("bad_checksum", 3).backend(Backend::Pod(0, 9090))],
        ..Scenario::new(31474)
    }
    .run()
}
