//! RSTs and ICMP errors by the hundred thousand, which claim to belong to
//! connections and attempts and do not.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use fastrand::Rng;
use testbed::{
    RawClient,
    addr::{NODE_V4, phantom_v4},
    flood::Frames,
    raw::Answer,
    segment::{Segment, flags, unreachable},
};

use crate::bed::{Before, LIMIT, QUIET, SILENT, Scene, at, attempts, sum};

const EACH: usize = 25_000;
const CONNECTIONS: u16 = 20;
const ISN: u32 = 1_000_000;

fn client(number: u16) -> SocketAddr {
    at(phantom_v4(7), 2000 + number)
}

/// Real connections of sources whose numbers are known: to guess far off.
fn connect(raw: &RawClient) -> Result<Vec<u32>> {
    let node = at(NODE_V4, QUIET);
    (0..CONNECTIONS)
        .map(|number| {
            let Answer::SynAck(theirs) = raw.syn(client(number), node, ISN)? else {
                anyhow::bail!("no SYN-ACK");
            };
            let ack = theirs.wrapping_add(1);
            raw.send(&Segment::new(
                client(number),
                node,
                flags::ACK,
                ISN + 1,
                ack,
            ))?;
            Ok(ack)
        })
        .collect()
}

/// A sequence number at least 2^29 off.
fn far(rng: &mut Rng, from: u32) -> u32 {
    from.wrapping_add(rng.u32(1 << 29..7 << 29))
}

/// A connection, or a tuple that is none.
fn tuple(rng: &mut Rng) -> (SocketAddr, SocketAddr) {
    if rng.bool() {
        return (client(rng.u16(..CONNECTIONS)), at(NODE_V4, QUIET));
    }
    let source = at(phantom_v4(rng.u32(..1 << 20)), rng.u16(1024..));
    (source, at(NODE_V4, rng.u16(31_490..31_510)))
}

fn flood(scene: &Scene, rng: &mut Rng) -> Result<()> {
    let to_node = Frames::to_node(&scene.bed.client)?;
    let from_node = Frames::from_node(&scene.bed.node)?;
    let resets = |rng: &mut Rng, back: bool| {
        let (client, node) = tuple(rng);
        let flags = flags::RST | if rng.bool() { flags::ACK } else { 0 };
        let (src, dst) = if back { (node, client) } else { (client, node) };
        Segment::new(src, dst, flags, far(rng, ISN), rng.u32(..))
    };
    to_node.send((0..EACH).map(|_| resets(rng, false)))?;
    // Numbers of the servers are the kernel's choice: only tuples that are none.
    let none = |s: &Segment| s.src.port() != QUIET;
    from_node.send((0..EACH).map(|_| resets(rng, true)).filter(none))?;
    let quotes = |rng: &mut Rng, router: IpAddr, back: bool| {
        let (client, node) = tuple(rng);
        let (src, dst) = if back { (node, client) } else { (client, node) };
        let quoted = Segment::new(src, dst, flags::SYN, far(rng, ISN), 0).ip_bytes();
        unreachable(router, src.ip(), rng.u8(..16), &quoted)
    };
    let stranger = phantom_v4(9).into();
    to_node.send_ip((0..EACH).map(|_| quotes(rng, stranger, true)))?;
    from_node.send_ip((0..EACH).map(|_| quotes(rng, NODE_V4.into(), false)))
}

#[test]
fn forged_resets_and_quotes() -> Result<()> {
    let scene = Scene::new()?;
    let tracer = scene.trace(&["--handshake-timeout", "60s", "--idle-after", "60s"])?;
    let raw = RawClient::open(&scene.bed.client)?;
    let acks = connect(&raw)?;
    // An attempt that waits for its answer is the other thing to be guessed.
    raw.syn_only(client(0), at(NODE_V4, SILENT), ISN)?;
    let opened = |m: &testbed::Metrics| sum(m, "tracer_connections_open", QUIET, &[]) == 20;
    let before = tracer.metrics_when(LIMIT, "not open", opened)?;
    flood(&scene, &mut Rng::with_seed(4))?;
    let metrics = tracer.metrics()?;
    metrics.balanced()?;
    for port in [QUIET, SILENT] {
        assert_eq!(attempts(&metrics, port), attempts(&before, port), "{port}");
        let pending = |m| sum(m, "tracer_handshakes_pending", port, &[]);
        assert_eq!(pending(&metrics), pending(&before), "{port}");
    }
    ensure!(opened(&metrics), "connections were closed");
    // They are alive, at both ends.
    for (number, ack) in (0..).zip(acks) {
        let call = testbed::peer::thrift::Message::call("getUser").strict();
        let flags = flags::ACK | flags::PSH;
        let segment = Segment::new(client(number), at(NODE_V4, QUIET), flags, ISN + 1, ack);
        raw.send(&segment.with_payload(&call))?;
    }
    tracer.metrics_when(LIMIT, "not followed", |m| {
        let thrift = [("traffic", "thrift")];
        sum(m, "tracer_connections_total", QUIET, &thrift) == 20
    })?;
    drop(tracer);
    // Nothing of it makes series or takes memory.
    let tracer = scene.trace(&["--handshake-timeout", "1s"])?;
    let before = Before::flood(&scene, &tracer)?;
    flood(&scene, &mut Rng::with_seed(5))?;
    before.holds(&tracer).map(drop)
}
