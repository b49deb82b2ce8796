//! Headers of every shape: options, extensions, tags, fragments, rubbish.

use std::net::IpAddr;

use anyhow::Result;
use testbed::{
    addr::{NODE_V4, NODE_V6, client_v4, client_v6, phantom_v4, phantom_v6},
    raw::Answer,
    segment::{Segment, flags},
};

use crate::scene::{
    LIMIT, Scene, TAPS, at, attempts, expect, lost, nothing_else, port, refused, sum,
};

const ISN: u32 = 0xffff_fff0;

/// Sends the SYN and waits for the node's RST.
fn refuses(scene: &Scene, syn: &Segment) -> Result<()> {
    scene.raw.send(syn)?;
    let rst = scene.raw.receive(LIMIT, |s| {
        s.src == syn.dst && s.dst == syn.src && s.flags & flags::RST != 0
    })?;
    assert!(rst.is_some(), "no RST for {syn:?}");
    Ok(())
}

fn syn(from: impl Into<IpAddr>, source: u16, to: impl Into<IpAddr>) -> Segment {
    Segment::syn(at(from, source), at(to, port::CLOSED), ISN)
}

#[test]
fn ipv4_options() -> Result<()> {
    // No operation; router alert (RFC 2113); record route; as many as fit.
    let options: [&[u8]; 4] = [
        &[1, 1, 1, 1],
        &[148, 4, 0, 0],
        &[7, 7, 4, 0, 0, 0, 0, 0],
        &[1; 40],
    ];
    let scene = Scene::new()?;
    for tap in TAPS {
        let tracer = scene.trace(tap, &[])?;
        for (source, options) in (5000..).zip(options) {
            let mut syn = syn(phantom_v4(1), source, NODE_V4);
            syn.ip_options = options.to_vec();
            refuses(&scene, &syn)?;
        }
        nothing_else(&expect(&tracer, port::CLOSED, &[("refused unknown", 4)])?);
    }
    Ok(())
}

type Extension = (u8, Vec<u8>);

/// An options header of 8 bytes and `more` times 8, filled by one option for
/// experiments that who does not know it passes over (RFC 4727).
fn options(kind: u8, more: u8) -> Extension {
    let length = 4 + 8 * more;
    let mut bytes = vec![more, 0x1e, length];
    bytes.resize(bytes.len() + usize::from(length), 0);
    (kind, bytes)
}

const HOP_BY_HOP: u8 = 0;
const DESTINATION: u8 = 60;

/// A routing header with no segment left, of a type for experiments (RFC 4727).
fn routing() -> Extension {
    (43, vec![0, 253, 0, 0, 0, 0, 0])
}

/// A fragment header on a whole packet (RFC 6946).
fn atomic() -> Extension {
    (44, vec![0, 0, 0, 0, 0, 0, 9])
}

#[test]
fn ipv6_extension_headers() -> Result<()> {
    let followed = [
        vec![options(HOP_BY_HOP, 0)],
        vec![options(DESTINATION, 2)],
        vec![routing()],
        vec![atomic()],
        vec![
            options(HOP_BY_HOP, 1),
            options(DESTINATION, 0),
            routing(),
            options(DESTINATION, 3),
        ],
    ];
    let mut too_many = followed[4].clone();
    too_many.push(options(DESTINATION, 0));
    let scene = Scene::new()?;
    for tap in TAPS {
        let tracer = scene.trace(tap, &[])?;
        let mut syn = syn(phantom_v6(1), 5000, NODE_V6);
        for headers in &followed {
            syn.src.set_port(syn.src.port() + 1);
            syn.ext_headers.clone_from(headers);
            refuses(&scene, &syn)?;
        }
        // More than are followed: the node answers and nothing is counted.
        syn.src.set_port(5100);
        syn.ext_headers.clone_from(&too_many);
        refuses(&scene, &syn)?;
        scene.settle(&tracer, phantom_v6(1).into(), NODE_V6.into())?;
        nothing_else(&expect(&tracer, port::CLOSED, &[("refused unknown", 5)])?);
    }
    Ok(())
}

#[test]
fn priority_tags() -> Result<()> {
    let scene = Scene::new()?;
    for tap in TAPS {
        let tracer = scene.trace(tap, &[])?;
        // VLAN 0 with priority 5, once and twice: any kernel takes both.
        for (source, tags) in (5000..).zip([vec![0xa000], vec![0xa000, 0x2000]]) {
            let mut four = syn(phantom_v4(1), source, NODE_V4);
            four.vlan.clone_from(&tags);
            refuses(&scene, &four)?;
            let mut six = syn(phantom_v6(1), source, NODE_V6);
            six.vlan = tags;
            refuses(&scene, &six)?;
        }
        nothing_else(&expect(&tracer, port::CLOSED, &[("refused unknown", 4)])?);
    }
    Ok(())
}

#[test]
fn vm_vlan_interface_and_its_parent() -> Result<()> {
    let scene = Scene::new()?;
    let vlan = "link add link eth0 name eth0.5 type vlan id 5\nlink set eth0.5 up\n";
    if let Err(error) = scene.bed.node.ip(vlan) {
        println!("skipped: this kernel has no VLAN interfaces: {error:#}");
        return Ok(());
    }
    scene.bed.node.ip("addr add 10.65.0.1/24 dev eth0.5\n")?;
    scene.bed.client.ip(vlan)?;
    scene.bed.client.ip("addr add 10.65.0.10/24 dev eth0.5\n")?;
    let to = at([10, 65, 0, 1], port::CLOSED);
    for tap in TAPS {
        let tracer = scene.trace(tap, &[])?;
        for _ in 0..3 {
            refused(&scene.bed.client, to)?;
        }
        nothing_else(&expect(&tracer, port::CLOSED, &[("refused unknown", 3)])?);
    }
    Ok(())
}

#[test]
fn fragments_of_a_syn() -> Result<()> {
    let scene = Scene::new()?;
    for tap in TAPS {
        let tracer = scene.trace(tap, &[])?;
        let four = syn(phantom_v4(1), 5000, NODE_V4).fragments(8);
        let six = syn(phantom_v6(1), 5000, NODE_V6).fragments(16);
        assert_eq!((four.len(), six.len()), (3, 2));
        for packet in four.iter().chain(&six) {
            scene.raw.send_ip(packet)?;
        }
        let metrics = scene.settle(&tracer, phantom_v4(1).into(), NODE_V4.into())?;
        assert_eq!(lost(&metrics, "fragment"), 5);
        assert_eq!(lost(&metrics, "malformed"), 0);
        assert_eq!(attempts(&metrics, port::CLOSED), 0);
    }
    Ok(())
}

#[test]
fn fragments_of_data() -> Result<()> {
    let scene = Scene::new()?;
    for tap in TAPS {
        // Not where the node sends them on: they count at every interface.
        let tracer = scene.trace(tap, &["--interface", "eth0"])?;
        let (from, to) = (at(phantom_v4(1), 5000), at(NODE_V4, port::OPEN));
        let Answer::SynAck(theirs) = scene.raw.syn(from, to, ISN)? else {
            anyhow::bail!("no SYN-ACK");
        };
        let segment = |flags, seq: u32| {
            Segment::new(
                from,
                to,
                flags,
                ISN.wrapping_add(seq),
                theirs.wrapping_add(1),
            )
        };
        scene.raw.send(&segment(flags::ACK, 1))?;
        let data = segment(flags::ACK | flags::PSH, 1).with_payload(&[b'x'; 60]);
        for packet in data.fragments(40) {
            scene.raw.send_ip(&packet)?;
        }
        let metrics = scene.settle(&tracer, phantom_v4(1).into(), NODE_V4.into())?;
        assert_eq!(lost(&metrics, "fragment"), 2);
        assert_eq!(sum(&metrics, "tracer_connections_open", port::OPEN, &[]), 1);
        assert_eq!(
            sum(&metrics, "tracer_connections_total", port::OPEN, &[]),
            0
        );
        scene.raw.send(&segment(flags::RST | flags::ACK, 61))?;
        tracer.metrics_when(LIMIT, "still open", |metrics| {
            sum(metrics, "tracer_connections_open", port::OPEN, &[]) == 0
        })?;
    }
    Ok(())
}

/// The IPv4 packet with its first `length` bytes, made consistent.
fn cut(mut packet: Vec<u8>, length: u8) -> Vec<u8> {
    packet.truncate(length.into());
    packet[2..4].copy_from_slice(&u16::from(length).to_be_bytes());
    packet[10..12].fill(0);
    let words = packet[..20].chunks_exact(2);
    let sum: u32 = words
        .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])))
        .sum();
    let sum = !((sum & 0xffff) + (sum >> 16));
    packet[10..12].copy_from_slice(&sum.to_be_bytes()[2..]);
    packet
}

#[test]
fn malformed_headers() -> Result<()> {
    let scene = Scene::new()?;
    for tap in TAPS {
        let tracer = scene.trace(tap, &[])?;
        let four = || syn(phantom_v4(1), 5000, NODE_V4).ip_bytes();
        let six = || syn(phantom_v6(1), 5000, NODE_V6).ip_bytes();
        let mut rubbish = vec![cut(four(), 28), cut(four(), 34), cut(four(), 43)];
        for offset in [0x00, 0x40, 0x70, 0xf0] {
            let (mut four, mut six) = (four(), six());
            four[20 + 12] = offset;
            six[40 + 12] = offset;
            rubbish.extend([four, six]);
        }
        for packet in &rubbish {
            scene.raw.send_ip(packet)?;
        }
        let metrics = scene.settle(&tracer, phantom_v4(1).into(), NODE_V4.into())?;
        assert_eq!(lost(&metrics, "malformed"), rubbish.len() as u64);
        assert_eq!(attempts(&metrics, port::CLOSED), 0);
        // The port is none the worse for it.
        refused(&scene.bed.client, at(NODE_V4, port::CLOSED))?;
        expect(&tracer, port::CLOSED, &[("refused unknown", 1)])?;
    }
    Ok(())
}

#[test]
fn checksums_are_not_looked_at() -> Result<()> {
    let scene = Scene::new()?;
    let tracer = scene.trace("auto", &["--handshake-timeout", "1s"])?;
    for (from, to) in [
        (IpAddr::V4(client_v4(0)), IpAddr::V4(NODE_V4)),
        (client_v6(0).into(), NODE_V6.into()),
    ] {
        let mut bad = syn(from, 5000, to);
        bad.bad_checksum = true;
        scene.raw.send(&bad)?;
    }
    // The node drops them: to a load balancer that is silence.
    expect(&tracer, port::CLOSED, &[("timed_out unknown", 2)])?;
    Ok(())
}
