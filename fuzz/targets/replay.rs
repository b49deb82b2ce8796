//! Replay end to end: a capture as it is, or packets made from the data, on
//! every link layer. The numbers balance after every packet, memory is bounded
//! by flows, and time decides everything in the end.

use std::{collections::HashSet, io::Cursor};

use tracer_common::{
    counters::{Cell, PortCounters},
    first_bytes::ProbeMethods,
    machine::Limits,
    words::{Outcome, Traffic},
};
use tracer_replay::{Capture, Direction, Next, Player, Record, Table};

const S: u64 = 1_000_000_000;
const START: u64 = 1_700_000_000 * S;
const RECORDS: usize = 16;
const LIMITS: Limits = Limits {
    handshake_timeout_ns: 5 * S,
    idle_after_ns: 5 * S,
    expire_after_s: 3600,
    half_closed_after_s: 120,
    probes: ProbeMethods::new(),
};
const FAILED: [Outcome; 5] = [
    Outcome::Refused,
    Outcome::Unreachable,
    Outcome::TimedOut,
    Outcome::Unacked,
    Outcome::Cancelled,
];
const CALL: &[u8] = b"\x80\x01\x00\x01\x00\x00\x00\x04ping\x00\x00\x00\x01\x00";

fn player() -> Player {
    let ports: Vec<u16> = (30_000..=30_100).collect();
    Player::new(
        Table::new(LIMITS, &ports, RECORDS),
        HashSet::new(),
        Vec::new(),
    )
}

fn failed(counters: &PortCounters) -> u64 {
    let cells = FAILED.iter().flat_map(|outcome| {
        let cell = |traffic: &Traffic| counters.get(Cell::handshake(*outcome, *traffic));
        Traffic::ALL.iter().map(cell)
    });
    cells.sum()
}

fn check(player: &Player) {
    assert!(player.table.balances());
    let failures = &player.table.failures;
    assert!(failures.records.len() <= RECORDS);
    assert!(player.table.flows() as u64 <= player.seen.packets);
    let all = failures.kinds.values().sum::<u64>() + failures.unkinded;
    assert_eq!(all, failures.records.len() as u64 + failures.unrecorded);
}

/// A day later nothing is open any more.
fn end(mut player: Player, mut time: u64) {
    player.finish();
    check(&player);
    for _ in 0..3 {
        time += 86_400 * S;
        let bytes = &[0; 60];
        player.play(&record(time, 1, Direction::Unknown, bytes, 60));
    }
    let ports = player.table.counters();
    let pending: u64 = ports.iter().map(|(_, c)| c.get(Cell::PENDING)).sum();
    assert_eq!((pending, player.table.flows()), (0, 0));
    let kinds = player.table.failures.kinds.iter();
    let attempts = kinds.filter(|(kind, _)| usize::from(kind.failure) < FAILED.len());
    let reported: u64 = attempts.map(|(_, count)| count).sum();
    assert_eq!(reported, ports.iter().map(|(_, c)| failed(c)).sum::<u64>());
}

fn record(
    time: u64,
    link_type: u16,
    direction: Direction,
    bytes: &[u8],
    original: u32,
) -> Record<'_> {
    Record {
        time: Some(time),
        link_type,
        interface: 1,
        original,
        direction,
        overlong: false,
        bytes,
    }
}

/// Byte 0 says which: a file, or events of 8 bytes.
pub fn run(data: &[u8]) {
    match data {
        [0, file @ ..] => play_file(file),
        [_, events @ ..] => play_events(events),
        [] => {}
    }
}

fn play_file(file: &[u8]) {
    let Ok(mut capture) = Capture::open(Box::new(Cursor::new(file.to_vec()))) else {
        return;
    };
    let mut player = player();
    loop {
        match capture.read() {
            Next::Packet(record) => player.play(&record),
            Next::Skipped(_) => {}
            Next::End(_) => break,
        }
        check(&player);
    }
    player.finish();
    check(&player);
}

fn play_events(events: &[u8]) {
    let mut player = player();
    let mut time = START;
    for event in events.chunks_exact(8).take(512) {
        let &[kind, ports, flags, seq, ack, len, pause, cut] = event else {
            return;
        };
        time += u64::from(pause & 63) << (pause >> 6 << 3) << 10;
        let to_node = kind & 1 == 0;
        let segment = segment(to_node, ports, flags, [seq, ack], len);
        let packet = ip(kind, to_node, &segment, seq);
        let (link_type, bytes) = framed(kind >> 4, to_node, &packet);
        let original = bytes.len() as u32;
        let kept = bytes.len().saturating_sub(usize::from(cut));
        let direction = match kind >> 2 & 3 {
            0 if to_node => Direction::In,
            0 => Direction::Out,
            _ => Direction::Unknown,
        };
        player.play(&record(
            time,
            link_type,
            direction,
            &bytes[..kept],
            original,
        ));
        check(&player);
    }
    end(player, time);
}

fn segment(to_node: bool, ports: u8, flags: u8, [seq, ack]: [u8; 2], len: u8) -> Vec<u8> {
    let client = 40_000 + u16::from(ports & 15);
    let node = 30_000 + u16::from(ports >> 4);
    let ends = if to_node {
        [client, node]
    } else {
        [node, client]
    };
    let bases = if to_node { [100, 500] } else { [500, 100] };
    let mut bytes = Vec::new();
    bytes.extend(ends[0].to_be_bytes());
    bytes.extend(ends[1].to_be_bytes());
    bytes.extend((bases[0] + u32::from(seq)).to_be_bytes());
    bytes.extend((bases[1] + u32::from(ack)).to_be_bytes());
    bytes.extend([0x50, flags & 0x1f, 255, 255, 0, 0, 0, 0]);
    bytes.extend(&CALL[..usize::from(len).min(CALL.len())]);
    bytes
}

/// IPv4 or IPv6 around it; every eighth kind is an ICMP error that quotes it.
fn ip(kind: u8, to_node: bool, segment: &[u8], id: u8) -> Vec<u8> {
    let (client, node) = ([10, 0, 1, 9], [10, 0, 3, 17]);
    let (src, dst) = if to_node {
        (client, node)
    } else {
        (node, client)
    };
    let v4 = |protocol, src: [u8; 4], dst: [u8; 4], payload: &[u8]| {
        let total = (20 + payload.len() as u16).to_be_bytes();
        let head = [
            0x45, 0, total[0], total[1], 0, id, 0x40, 0, 64, protocol, 0, 0,
        ];
        [&head[..], &src, &dst, payload].concat()
    };
    if kind & 0x0e == 0x0e {
        let quoted = v4(6, client, node, segment);
        let error = [&[3, 3, 0, 0, 0, 0, 0, 0][..], &quoted].concat();
        return v4(1, node, client, &error);
    }
    if kind & 2 == 0 {
        return v4(6, src, dst, segment);
    }
    let length = (segment.len() as u16).to_be_bytes();
    let head = [0x60, 0, 0, 0, length[0], length[1], 6, 64];
    let wide = |ip: [u8; 4]| [[0xfd; 4], [0; 4], [0; 4], ip].concat();
    [&head[..], &wide(src), &wide(dst), segment].concat()
}

fn framed(link: u8, to_node: bool, packet: &[u8]) -> (u16, Vec<u8>) {
    let ethertype: [u8; 2] = match packet.first() {
        Some(0x60) => [0x86, 0xdd],
        _ => [8, 0],
    };
    let way = if to_node { 0 } else { 4 };
    let head = match link {
        0 => [&[0; 12][..], &ethertype].concat(),
        1 => [&[0; 12][..], &[0x81, 0, 0, 9], &ethertype].concat(),
        2 => [&[0, way, 0, 1, 0, 6][..], &[0; 8], &ethertype].concat(),
        3 => [&ethertype[..], &[0, 0, 0, 0, 0, 2, 0, 1, way, 6], &[0; 8]].concat(),
        4 => [&ethertype[..], &[0, 0, 0, 0, 0, 3, 0, 1, way, 6], &[0; 8]].concat(),
        5 => vec![2, 0, 0, 0],
        6 => vec![0, 0, 0, 24],
        _ => Vec::new(),
    };
    let types = [1, 1, 113, 276, 276, 0, 108, 101];
    let link_type = types.get(usize::from(link)).copied().unwrap_or(101);
    (link_type, [&head[..], packet].concat())
}
