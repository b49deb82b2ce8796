//! B1, B2, B3: the process does not accept and its listener's queue is full.

use anyhow::{Result, ensure};
use nix::errno::Errno;
use testbed::{
    RawClient,
    peer::{Behaviour, thrift::Message},
    raw::Answer,
    segment::{Segment, flags},
};

use super::{
    expect::{Count, Expected, failed, spoilt},
    scenario::Scenario,
    scene::{SOON, Scene},
};

/// B1: SYNs meet a full queue: silence.
const FULL: Scenario = Scenario {
    servers: |s| s.serve_with(0, 9090, Behaviour::NeverAccept, 2),
    traffic: |s| {
        s.keep(s.connections(3)?);
        s.dials_end(4, SOON, Errno::EINPROGRESS)?;
        s.took(&s.bed.pods[0], "ListenOverflows", 4)
    },
    expect: || {
        let full = failed("accept_queue_full", 4).by(0, 9090);
        vec![full.connections(Count::AtLeast(0))]
    },
    rests_on: &["net_dev_queue", "kfree_skb"],
    ..Scenario::new(31440)
};

#[test]
fn vm_syn_meets_full_queue() -> Result<()> {
    FULL.run()
}

#[test]
fn vm_syn_meets_full_queue_by_raw_tracepoints() -> Result<()> {
    const OPTIONS: &[&str] = &["--handshake-timeout", "1s", "--tracepoint-hook", "raw-tp"];
    Scenario {
        port: 31564,
        options: OPTIONS,
        ..FULL
    }
    .run()
}

/// Handshakes of three clients at once, none of which has sent its ACK when the
/// next begins; then each sends a call, the first ACK that the server gets.
/// There is room for one of them.
fn calls_in_place_of_acks(s: &Scene) -> Result<()> {
    s.keep(s.connections(3)?);
    let raw = RawClient::open(&s.bed.client)?;
    let to = s.node_port(s.port);
    let mut flows = Vec::new();
    for source in 4000..4003 {
        let from = s.phantom(1, source);
        let Answer::SynAck(seq) = raw.syn(from, to, 1)? else {
            anyhow::bail!("no SYN-ACK");
        };
        flows.push((from, seq.wrapping_add(1)));
    }
    let call = Message::call("getUser").strict();
    for (from, ack) in flows {
        let segment = Segment::new(from, to, flags::PSH | flags::ACK, 2, ack);
        raw.send(&segment.with_payload(&call))?;
    }
    Ok(())
}

/// Two were refused; the third waits in the full queue for a process that does
/// not come.
const REFUSED_AND_QUEUED: fn() -> Vec<Expected> =
    || vec![spoilt("accept_queue_full", 3).by(0, 9090)];

/// B2: the final ACK meets a full queue, and there is no request socket, since
/// the pod sends SYN cookies.
#[test]
fn cookie_meets_full_queue() -> Result<()> {
    Scenario {
        servers: |s| {
            s.bed.pods[0].sysctls(&[("net/ipv4/tcp_syncookies", "2")])?;
            s.serve_with(0, 9090, Behaviour::NeverAccept, 3)
        },
        traffic: |s| {
            calls_in_place_of_acks(s)?;
            s.took(&s.bed.pods[0], "SyncookiesRecv", 2)?;
            s.took(&s.bed.pods[0], "ListenOverflows", 2)
        },
        expect: REFUSED_AND_QUEUED,
        ..Scenario::new(31442)
    }
    .run()
}

/// B3: the same with tcp_abort_on_overflow: RST in place of patience.
#[test]
fn abort_on_overflow() -> Result<()> {
    Scenario {
        servers: |s| {
            s.bed.pods[0].sysctls(&[("net/ipv4/tcp_abort_on_overflow", "1")])?;
            s.serve_with(0, 9090, Behaviour::NeverAccept, 3)
        },
        traffic: |s| {
            calls_in_place_of_acks(s)?;
            s.took(&s.bed.pods[0], "ListenOverflows", 2)?;
            let resets = s.counted(&s.bed.pods[0], "OutRsts")?;
            ensure!(resets == 2, "{resets} RSTs");
            Ok(())
        },
        expect: REFUSED_AND_QUEUED,
        ..Scenario::new(31444)
    }
    .run()
}
