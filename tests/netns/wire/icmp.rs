//! Destination unreachable, in every form, and what only looks like it.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use testbed::{
    RawClient,
    addr::{CLIENT_MAC, NODE_MAC, NODE_V4, NODE_V6, phantom_v4, phantom_v6},
    rules,
    segment::{Segment, unreachable},
};

use crate::scene::{LIMIT, Scene, TAPS, at, expect, nothing_else, port, sum};

const ISN: u32 = 0x8000_0000;

/// The client's and the node's address, and the number of ICMP codes.
fn families() -> [(IpAddr, IpAddr, u8); 2] {
    [
        (phantom_v4(1).into(), NODE_V4.into(), 16),
        (phantom_v6(1).into(), NODE_V6.into(), 8),
    ]
}

/// Sends SYNs that nobody answers, and waits until they have been seen.
fn pending(scene: &Scene, tracer: &testbed::Tracer<'_>, syns: &[Segment]) -> Result<()> {
    for syn in syns {
        scene.raw.send(syn)?;
    }
    tracer.metrics_when(LIMIT, "SYNs not seen", |metrics| {
        sum(metrics, "tracer_handshakes_pending", port::SILENT, &[]) == syns.len() as u64
    })?;
    Ok(())
}

fn silent(from: SocketAddr, to: IpAddr) -> Segment {
    Segment::syn(from, at(to, port::SILENT), ISN)
}

#[test]
fn every_code() -> Result<()> {
    let scene = Scene::new()?;
    let from_node = RawClient::open_on(&scene.bed.node, "eth0", NODE_MAC, CLIENT_MAC)?;
    for tap in TAPS {
        let tracer = scene.trace(tap, &["--handshake-timeout", "30s"])?;
        let mut syns = Vec::new();
        for (from, to, codes) in families() {
            syns.extend((0..codes).map(|code| silent(at(from, 5000 + u16::from(code)), to)));
        }
        // One with options, so that the quoted header is longer.
        syns[0].ip_options = vec![1; 8];
        pending(&scene, &tracer, &syns)?;
        for syn in &syns {
            let code = u8::try_from(syn.src.port() - 5000)?;
            let (node, client) = (syn.dst.ip(), syn.src.ip());
            from_node.send_ip(&unreachable(node, client, code, &syn.ip_bytes()))?;
        }
        let metrics = expect(&tracer, port::SILENT, &[("unreachable unknown", 24)])?;
        nothing_else(&metrics);
        let name = "tracer_handshake_answer_seconds_count";
        let icmp = sum(&metrics, name, port::SILENT, &[("answer", "icmp")]);
        assert_eq!(icmp, 24);
    }
    Ok(())
}

#[test]
fn what_is_no_answer_to_the_syn() -> Result<()> {
    let scene = Scene::new()?;
    let from_node = RawClient::open_on(&scene.bed.node, "eth0", NODE_MAC, CLIENT_MAC)?;
    for tap in TAPS {
        let tracer = scene.trace(tap, &["--handshake-timeout", "2s"])?;
        let syns = families().map(|(from, to, _)| silent(at(from, 5000), to));
        pending(&scene, &tracer, &syns)?;
        for syn in &syns {
            let (node, client) = (syn.dst.ip(), syn.src.ip());
            let icmp_at = if node.is_ipv6() { 40 } else { 20 };
            for seq in [ISN - 1, ISN + 1] {
                let other = Segment { seq, ..syn.clone() };
                from_node.send_ip(&unreachable(node, client, 1, &other.ip_bytes()))?;
            }
            // Coming in, it is not the node's answer.
            scene
                .raw
                .send_ip(&unreachable(client, node, 1, &syn.ip_bytes()))?;
            let quote = unreachable(node, client, 1, &syn.ip_bytes());
            // Time exceeded, too big: the SYN is not refused for good.
            for kind in [2, 11] {
                let mut other = quote.clone();
                other[icmp_at] = kind;
                from_node.send_ip(&other)?;
            }
            // Cut short before the sequence number.
            from_node.send_ip(&quote[..quote.len().min(icmp_at + 8 + icmp_at + 6)])?;
        }
        expect(&tracer, port::SILENT, &[("timed_out unknown", 2)])?;
    }
    Ok(())
}

#[test]
fn reject_rules() -> Result<()> {
    let scene = Scene::new()?;
    let tracer = scene.trace("auto", &[])?;
    let codes = [
        "port-unreachable",
        "host-unreachable",
        "no-route",
        "admin-prohibited",
    ];
    // The kernel answers only so many SYNs of one source.
    for (i, code) in (0..).zip(codes) {
        let rule = rules::reject_with_icmp(&scene.bed.node, port::CLOSED, code)?;
        let four = (at(phantom_v4(i), 5000), at(NODE_V4, port::CLOSED));
        let six = (at(phantom_v6(i), 5000), at(NODE_V6, port::CLOSED));
        for (n, (from, to)) in (2 * u64::from(i) + 1..).zip([four, six]) {
            scene.raw.syn_only(from, to, ISN)?;
            tracer.metrics_when(LIMIT, code, |metrics| {
                let outcome = [("outcome", "unreachable")];
                sum(metrics, "tracer_handshakes_total", port::CLOSED, &outcome) == n
            })?;
        }
        rule.remove(&scene.bed.node)?;
    }
    nothing_else(&expect(
        &tracer,
        port::CLOSED,
        &[("unreachable unknown", 8)],
    )?);
    Ok(())
}
