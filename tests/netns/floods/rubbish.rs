//! Frames with headers of every shape, right and wrong, from both sides: a seed
//! makes them, so that a failure can be made again.

use anyhow::{Context as _, Result};
use fastrand::Rng;
use testbed::{
    addr::{CLIENT_MAC, NODE_MAC, NODE_V4, NODE_V6, phantom_v4, phantom_v6},
    flood::Frames,
    segment::{Segment, frame, unreachable},
};

use crate::bed::{Before, Scene, at};

const FRAMES: usize = 100_000;
/// All that five ports and the daemon can have.
const SERIES: usize = 1000;
/// Bytes of link, IP and TCP headers: where most of the changes go.
const HEADERS: usize = 80;

/// A well-formed frame to, or from, one of the ports.
fn sound(rng: &mut Rng, to_node: bool) -> Vec<u8> {
    let port = rng.u16(31_500..31_505);
    let (client, node) = if rng.bool() {
        (
            at(phantom_v4(rng.u32(..64)), rng.u16(5000..5064)),
            at(NODE_V4, port),
        )
    } else {
        (
            at(phantom_v6(rng.u32(..64)), rng.u16(5000..5064)),
            at(NODE_V6, port),
        )
    };
    let (src, dst) = if to_node {
        (client, node)
    } else {
        (node, client)
    };
    let flags = if rng.bool() {
        rng.choice([2, 0x10, 0x12, 4, 0x11, 0x18])
    } else {
        None
    };
    let flags = flags.unwrap_or_else(|| rng.u8(..));
    let mut segment = Segment::new(src, dst, flags, rng.u32(..4) << 30, rng.u32(..4) << 30);
    segment.payload = bytes(rng, 64);
    segment.tcp_options = bytes(rng, 40);
    if rng.u8(..4) == 0 {
        segment.ip_options = bytes(rng, 40);
        segment.ext_headers = extensions(rng);
    }
    segment.vlan = (0..rng.usize(..3)).map(|_| rng.u16(..)).collect();
    if rng.u8(..4) > 0 {
        let (to, from) = macs(to_node);
        return segment.frame(to, from);
    }
    let quoted = segment.ip_bytes();
    let code = rng.u8(..16);
    let (to, from) = macs(to_node);
    frame(
        to,
        from,
        &[],
        &unreachable(dst.ip(), src.ip(), code, &quoted),
    )
}

fn macs(to_node: bool) -> ([u8; 6], [u8; 6]) {
    if to_node {
        (NODE_MAC, CLIENT_MAC)
    } else {
        (CLIENT_MAC, NODE_MAC)
    }
}

fn bytes(rng: &mut Rng, most: usize) -> Vec<u8> {
    let length = rng.usize(..=most);
    (0..length).map(|_| rng.u8(..)).collect()
}

/// Headers whose lengths need not be true.
fn extensions(rng: &mut Rng) -> Vec<(u8, Vec<u8>)> {
    let header = |rng: &mut Rng| {
        let kind = rng.choice([0, 43, 44, 60, 51, 50, 135]).unwrap_or(0);
        let mut body = vec![rng.u8(..3)];
        body.resize(rng.usize(1..24), 0);
        (kind, body)
    };
    (0..rng.usize(..6)).map(|_| header(rng)).collect()
}

/// Breaks it in one or more places.
fn broken(rng: &mut Rng, mut frame: Vec<u8>) -> Vec<u8> {
    for _ in 0..rng.usize(..4) {
        // The hardware addresses stay, or it would go nowhere.
        let headers = 12..frame.len().min(HEADERS);
        match rng.u8(..5) {
            0 => frame.truncate(rng.usize(14..=frame.len())),
            1 if !headers.is_empty() => frame[rng.usize(headers)] = rng.u8(..),
            2 if !headers.is_empty() => frame[rng.usize(headers)] ^= 1 << rng.u8(..8),
            3 => frame.extend(bytes(rng, 200)),
            // Edge values of lengths, offsets and types.
            _ if headers.len() > 1 => {
                let at = rng.usize(12..headers.end - 1);
                let edge = rng.choice([0, 1, 0x7fff, 0x8000, 0xffff, 20, 40, 0x86dd, 0x0800]);
                frame[at..at + 2].copy_from_slice(&edge.unwrap_or(0_u16).to_be_bytes());
            }
            _ => {}
        }
    }
    frame
}

fn send(scene: &Scene, seed: u64) -> Result<()> {
    let mut rng = Rng::with_seed(seed);
    let sides = [
        (true, Frames::to_node(&scene.bed.client)?),
        (false, Frames::from_node(&scene.bed.node)?),
    ];
    for (to_node, frames) in &sides {
        let each = || {
            let frame = sound(&mut rng, *to_node);
            broken(&mut rng, frame)
        };
        let all = std::iter::repeat_with(each).take(FRAMES / 2);
        frames
            .send_frames(all)
            .with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}

#[test]
fn headers_of_every_shape() -> Result<()> {
    let scene = Scene::new()?;
    for (seed, tap) in [(1, "auto"), (2, "packet")] {
        let tracer = scene.trace(&["--handshake-timeout", "1s", "--wire-tap", tap])?;
        let before = Before::flood(&scene, &tracer)?;
        send(&scene, seed)?;
        let metrics = before
            .followed(&tracer)
            .with_context(|| format!("seed {seed}, {tap}"))?;
        for (of, count) in metrics.series("tracer_events_lost_total", &[]) {
            eprintln!("{tap}: {of:?} {count}");
        }
        // Closed sets of words for the ports that are watched, whatever comes.
        assert!(metrics.len() < SERIES, "{} series", metrics.len());
        let lost = |stage| metrics.sum("tracer_events_lost_total", &[("stage", stage)]);
        assert!(lost("malformed") > 0.0 && lost("fragment") > 0.0);
    }
    Ok(())
}
