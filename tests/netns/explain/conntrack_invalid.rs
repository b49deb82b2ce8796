//! C4: conntrack takes a segment of the server for invalid, so NAT is not
//! undone; the node's own stack gets it and resets the server's connection.

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use testbed::{
    RawClient,
    peer::thrift::Message,
    raw::send_routed,
    segment::{Segment, flags},
};

use super::{
    expect::spoilt,
    scenario::Scenario,
    scene::{SOON, Scene},
};

/// A connection whose first call is answered; then the server sends 20 MB
/// ahead, and the next call meets a RST.
fn broken_connection(s: &Scene) -> Result<()> {
    let pod = &s.bed.pods[0];
    let tap = RawClient::open_on(pod, "eth0", [0; 6], [0; 6])?;
    let mut stream = s.dial(SOON).stream()?;
    let call = Message::call("getUser").strict();
    stream.write_all(&call)?;
    let to = s.pod(0, 9090);
    let seen = tap.receive(Duration::from_secs(1), |segment| {
        segment.dst == to && !segment.payload.is_empty()
    })?;
    let seen = seen.context("no call in the pod")?;
    let mut reply = vec![0; call.len()];
    stream.read_exact(&mut reply)?;
    let size = u32::try_from(call.len())?;
    let (seq, ack) = (
        seen.ack.wrapping_add(20_000_000),
        seen.seq.wrapping_add(size),
    );
    let stray = Segment::new(to, seen.src, flags::ACK | flags::PSH, seq, ack);
    send_routed(pod, &stray.with_payload(b"stray"))?;
    let reset = tap.receive(Duration::from_secs(1), |segment| {
        segment.dst == to && segment.flags & flags::RST != 0
    })?;
    ensure!(reset.is_some(), "the node did not reset the server");
    stream.write_all(&call)?;
    let ended = stream.read(&mut reply).map_err(|e| e.kind());
    ensure!(
        ended == Err(std::io::ErrorKind::ConnectionReset),
        "the next call ended with {ended:?}"
    );
    Ok(())
}

#[test]
fn segment_out_of_window() -> Result<()> {
    Scenario {
        traffic: |s| {
            broken_connection(s)?;
            broken_connection(s)
        },
        expect: || vec![spoilt("conntrack_invalid", 2).by(0, 9090)],
        ..Scenario::new(31466)
    }
    .run()
}
