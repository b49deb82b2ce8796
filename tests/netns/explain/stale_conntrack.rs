//! C5: an entry of a client that vanished leads a new connection from the same
//! source port to a backend that is gone.

use anyhow::{Result, ensure};
use testbed::{
    RawClient,
    raw::Answer,
    segment::{Segment, flags},
};

use super::{
    expect::failed,
    scenario::Scenario,
    scene::{Reply, SOON, Scene, call},
};

/// Source ports of clients that come again.
pub const AGAIN: std::ops::Range<u16> = 4000..4003;

/// Each is answered, and sends one segment more with these flags.
pub fn answered(s: &Scene, raw: &RawClient, flags: u8) -> Result<()> {
    let to = s.node_port(s.port);
    for source in AGAIN {
        let from = s.phantom(1, source);
        let Answer::SynAck(seq) = raw.syn(from, to, 1)? else {
            anyhow::bail!("no SYN-ACK");
        };
        raw.send(&Segment::new(from, to, flags, 2, seq.wrapping_add(1)))?;
    }
    Ok(())
}

#[test]
fn source_port_again() -> Result<()> {
    Scenario {
        fault: |s| {
            let raw = RawClient::open(&s.bed.client)?;
            answered(s, &raw, flags::ACK)?;
            // The pod is replaced.
            s.apply(vec![s.service().backend(s.pod(1, 9090))])?;
            s.bed.pods[0].ip("addr flush dev eth0\n")?;
            s.bed.node.ip("neigh flush dev cbr0\n")
        },
        traffic: |s| {
            let raw = RawClient::open(&s.bed.client)?;
            for source in AGAIN {
                raw.syn_only(s.phantom(1, source), s.node_port(s.port), 1_000_000)?;
            }
            let heard = raw.receive(SOON, |segment| segment.dst.port() / 10 == 400)?;
            ensure!(heard.is_none(), "answered: {heard:?}");
            let (reply, _) = call(&s.dial(SOON))?;
            ensure!(reply == Reply::Whole, "another source port: {reply:?}");
            Ok(())
        },
        expect: || vec![failed("stale_conntrack", 3).by(0, 9090)],
        ..Scenario::new(31468)
    }
    .run()
}
