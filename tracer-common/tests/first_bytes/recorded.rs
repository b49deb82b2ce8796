//! Recordings of real clients and servers: `tests/fixtures/thrift`.

use std::fs;

use super::*;

struct Chunk {
    client: bool,
    /// The first bytes; the recording may leave out the rest.
    bytes: Vec<u8>,
    len: usize,
}

struct Case {
    name: String,
    chunks: Vec<Chunk>,
}

impl Case {
    /// The client's bytes up to the first chunk that is not shown whole.
    fn client(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for chunk in self.chunks.iter().filter(|chunk| chunk.client) {
            bytes.extend(&chunk.bytes);
            if chunk.bytes.len() < chunk.len {
                break;
            }
        }
        bytes
    }

    fn protocol(&self) -> Option<Protocol> {
        let name = &self.name;
        if name.contains("json") || name.starts_with("other/") {
            None
        } else if name.starts_with("header/") {
            Some(Protocol::Header)
        } else if name.contains("compact") {
            Some(Protocol::Compact)
        } else {
            // npm's case "header" falls back to binary.
            Some(Protocol::Binary)
        }
    }
}

fn parse(line: &str) -> Chunk {
    let (len, hex) = line[8..].trim_start().split_once(' ').unwrap();
    let byte = |hex| u8::from_str_radix(hex, 16).unwrap();
    Chunk {
        client: line.starts_with("C>S"),
        bytes: hex.split_whitespace().map(byte).collect(),
        len: len.parse().unwrap(),
    }
}

fn fixtures() -> Vec<Case> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/thrift");
    let mut cases: Vec<Case> = Vec::new();
    for file in ["apache-python-0.25", "node-0.17", "rust-0.17", "thriftpy2"] {
        let text = fs::read_to_string(format!("{folder}/{file}.txt")).unwrap();
        for line in text.lines() {
            match line.strip_prefix("## ") {
                Some(name) => cases.push(Case {
                    name: name.to_owned(),
                    chunks: Vec::new(),
                }),
                None => cases.last_mut().unwrap().chunks.push(parse(line)),
            }
        }
    }
    assert!(cases.len() >= 30, "only {} cases", cases.len());
    cases
}

#[test]
fn clients_are_classified() {
    for case in fixtures() {
        let expected = case.protocol().map_or(Decision::Other, thrift);
        for probes in [NONE, probes(&["healthz", "status"])] {
            let (decision, _) = check_cuts(&case.client(), &probes);
            assert_eq!(decision, expected, "{}", case.name);
            let chunks = case.chunks.iter().filter(|chunk| chunk.client);
            let (decision, _) = run(chunks.map(|chunk| chunk.bytes.as_slice()), &probes);
            assert_eq!(decision, expected, "{} as recorded", case.name);
        }
    }
}

#[test]
fn probe_calls_are_found() {
    let probes = probes(&["status", "ping", "EchoService:ping"]);
    for case in fixtures() {
        let Some(protocol) = case.protocol() else {
            continue;
        };
        let expected = match protocol {
            // The name lies out of reach.
            Protocol::Header => thrift(protocol),
            _ => Decision::Probe(message(protocol, MessageType::Call)),
        };
        let (decision, _) = check_cuts(&case.client(), &probes);
        assert_eq!(decision, expected, "{}", case.name);
    }
}

/// The type of a chunk's first message, by direction and the methods recorded.
fn kind(chunk: &Chunk) -> MessageType {
    let head = &chunk.bytes[..chunk.bytes.len().min(33)];
    let has = |name: &[u8]| head.windows(name.len()).any(|part| part == name);
    match (chunk.client, has(b"fire"), has(b"miss") || has(b"boom")) {
        (true, true, _) => MessageType::Oneway,
        (true, false, _) => MessageType::Call,
        (false, _, true) => MessageType::Exception,
        (false, _, false) => MessageType::Reply,
    }
}

#[test]
fn messages_are_counted_in_both_directions() {
    let mut seen = 0;
    for case in fixtures() {
        let old = case.name.contains("binary-old") || case.name.contains("nonstrict");
        for chunk in &case.chunks {
            let found = at_start(&chunk.bytes, old);
            let found = match chunk.client {
                true => found,
                false => found.map(Message::from_server),
            };
            let Some(protocol) = case.protocol() else {
                assert_eq!(found, None, "{}", case.name);
                continue;
            };
            // Chunks of an unbuffered sender and lengths sent alone start no message.
            if chunk.len < 12 || case.name.starts_with("raw/") {
                continue;
            }
            if case.name.contains("zlib") {
                assert_eq!(found.map(|found| found.protocol), Some(protocol));
            } else {
                let expected = Some(message(protocol, kind(chunk)));
                assert_eq!(found, expected, "{} {:02x?}", case.name, chunk.bytes);
            }
            seen += 1;
        }
    }
    assert!(seen > 150, "only {seen} messages");
}

#[test]
fn strict_messages_of_an_unbuffered_client_count_once() {
    let cases = fixtures();
    let case = cases.iter().find(|case| case.name == "raw/binary-strict");
    let chunks = case.unwrap().chunks.iter().filter(|chunk| chunk.client);
    let counted = chunks.filter(|chunk| at_start(&chunk.bytes, false).is_some());
    assert_eq!(counted.count(), 3);
}
