//! What the fuzzers start from.

use super::{
    wrap,
    write::{CALL, ETHERNET, Form, Packet, SLL, SLL2, framed, mixed, tagged},
};

type Seeds = Vec<(String, Vec<u8>)>;

/// By target.
pub fn all() -> [(&'static str, Seeds); 5] {
    let captures = captures();
    let replays = captures.iter().map(|(name, bytes)| {
        let bytes = [&[0], &bytes[..]].concat();
        (format!("file-{name}"), bytes)
    });
    let mut replays: Seeds = replays.collect();
    replays.push(("events".to_owned(), [&[1][..], &events()].concat()));
    [
        ("capture", captures),
        ("first_bytes", first_bytes()),
        ("machine", machine()),
        ("packet", packets()),
        ("replay", replays),
    ]
}

fn captures() -> Seeds {
    let packets = &mixed()[..10];
    let mut seeds = Seeds::new();
    for (name, ng, big_endian, nanoseconds, link_type) in [
        ("le-us-ethernet", false, false, false, ETHERNET),
        ("be-ns-sll", false, true, true, SLL),
        ("le-ns-raw", false, false, true, 101),
        ("le-us-null", false, false, false, 0),
        ("ng-le-us-sll2", true, false, false, SLL2),
        ("ng-be-ns-ethernet", true, true, true, ETHERNET),
    ] {
        let form = Form {
            ng,
            big_endian,
            nanoseconds,
            link_type,
            snaplen: 60,
        };
        seeds.push((name.to_owned(), form.capture(packets)));
    }
    seeds.push(("encapsulated".to_owned(), encapsulated(&packets[0])));
    seeds
}

/// The packet in each of the encapsulations.
fn encapsulated(packet: &Packet) -> Vec<u8> {
    let frames = wrap::ALL.iter().map(|(_, wrap)| wrap(packet));
    let records = frames.flat_map(|frame| Form::PLAIN.record(packet.at, &frame));
    [Form::PLAIN.header(), records.collect()].concat()
}

fn packets() -> Seeds {
    let all = mixed();
    let kinds = [("syn", 0), ("call", 3), ("rst", 9), ("unreachable", 13)];
    let mut seeds: Seeds = kinds
        .into_iter()
        .map(|(name, at)| {
            let frame = framed(ETHERNET, &all[at], 2);
            (name.to_owned(), [&[0, 0][..], &frame].concat())
        })
        .collect();
    let frame = tagged(&all[0]);
    seeds.push(("tagged".to_owned(), [&[0, 0][..], &frame].concat()));
    seeds.push(("raw-cut".to_owned(), [&[1, 9][..], &all[3].bytes].concat()));
    let fixed = [0x60, 0, 0, 0, 0, 28, 0, 64];
    let options = [6, 0, 1, 4, 0, 0, 0, 0];
    let v6 = [
        &[2, 0][..],
        &fixed,
        &[0xfd; 32],
        &options,
        &all[0].bytes[20..],
    ]
    .concat();
    seeds.push(("v6-options".to_owned(), v6));
    seeds
}

fn first_bytes() -> Seeds {
    let framed = [&(CALL.len() as u32).to_be_bytes()[..], CALL].concat();
    let header = b"\0\0\0\x20\x0f\xff\0\0\0\0\0\x01\0\x02\0\0\x82\x21\x01\x04ping";
    let proxied = [&b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"[..], CALL].concat();
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c0123456789ab".to_vec();
    v2.extend(CALL);
    let seeds: [(&str, &[u8]); 8] = [
        ("strict", CALL),
        ("framed", &framed),
        ("old", b"\0\0\0\x04ping\x01\0\0\0\x01\0"),
        ("compact", b"\x82\x21\x01\x04ping\0"),
        ("header", header),
        ("proxy-v1", &proxied),
        ("proxy-v2", &v2),
        ("http", b"GET /healthz HTTP/1.1\r\nHost: node\r\n\r\n"),
    ];
    let seed = |(name, bytes): (&str, &[u8])| (name.to_owned(), [&[1, 3, 2], bytes].concat());
    seeds.into_iter().map(seed).collect()
}

/// Kind, flags, two bytes for each number, payload, time: see the target.
fn machine() -> Seeds {
    const SYN: [u8; 8] = [0, 2, 1, 0, 0, 0, 0, 0];
    const SYN_ACK: [u8; 8] = [1, 0x12, 2, 0, 1, 1, 0, 1];
    const ACK: [u8; 8] = [0, 0x10, 1, 1, 2, 1, 0, 1];
    const DATA: [u8; 8] = [0, 0x10, 1, 1, 2, 1, 20, 1];
    const FIN: [u8; 8] = [0, 0x11, 1, 21, 2, 1, 0, 1];
    const RST: [u8; 8] = [1, 0x14, 2, 0, 1, 1, 0, 1];
    const ICMP: [u8; 8] = [0xe0, 3, 1, 0, 0, 0, 0, 1];
    const LONG: [u8; 8] = [0, 2, 1, 0, 0, 0, 0, 0xff];
    let seeds: [(&str, &[[u8; 8]]); 5] = [
        ("call", &[SYN, SYN_ACK, ACK, DATA, FIN]),
        ("refused", &[SYN, RST]),
        ("unreachable", &[SYN, ICMP]),
        ("again", &[SYN, LONG, SYN_ACK, SYN_ACK, ACK]),
        ("silent", &[SYN, LONG, LONG]),
    ];
    let seed = |(name, events): (&str, &[[u8; 8]])| (name.to_owned(), events.concat());
    seeds.into_iter().map(seed).collect()
}

/// Kind, ports, flags, numbers, payload, time, cut: see the target.
fn events() -> Vec<u8> {
    let mut events = Vec::new();
    for link in 0..8_u8 {
        let ports = link << 4 | link;
        for (kind, flags, seq, ack, len) in [
            (4, 2, 0, 0, 0),
            (5, 0x12, 0, 1, 0),
            (4, 0x10, 1, 1, 0),
            (4, 0x10, 1, 1, 17),
            (5, 0x14, 1, 18, 0),
        ] {
            events.extend([link << 4 | kind, ports, flags, seq, ack, len, 9, 0]);
        }
    }
    events
}
