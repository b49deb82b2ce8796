//! The same traffic gives the same numbers, however it was captured.

use std::io::{Cursor, Write as _};

use flate2::{Compression, write::GzEncoder};
use tracer_common::{
    counters::Cell,
    words::{Outcome, ResetOrigin, Retransmit, Traffic},
};

use tracer_replay::Capture;

use super::{super::play, attempts, counters, played, player, write::*};

#[test]
fn a_capture_is_counted_as_the_daemon_counts() {
    let (player, answer) = played(&[&Form::PLAIN.capture(&mixed())], &[]);
    let counters = counters(&player);
    for (cell, expected) in [
        (Cell::ATTEMPTS, 6),
        (Cell::PENDING, 0),
        (Cell::UNREPORTED, 0),
        (Cell::handshake(Outcome::Established, Traffic::Thrift), 2),
        (Cell::handshake(Outcome::Refused, Traffic::Unknown), 2),
        (Cell::handshake(Outcome::Unreachable, Traffic::Unknown), 1),
        (Cell::handshake(Outcome::TimedOut, Traffic::Unknown), 1),
        (Cell::connection(Traffic::Thrift), 2),
        (Cell::retransmit(Retransmit::Syn), 1),
        (Cell::reset(ResetOrigin::Node), 1),
        (Cell::reset(ResetOrigin::Backend), 1),
    ] {
        assert_eq!(counters.get(cell), expected, "{cell:?}");
    }
    assert_eq!(answer.warnings, Vec::<String>::new());
    let failures: Vec<_> = answer.failures.iter().map(|f| f.outcome.as_str()).collect();
    let expected = ["refused", "refused", "unreachable", "timed_out"];
    assert_eq!(failures, expected);
    let [node] = &answer.nodes[..] else {
        panic!("{:?}", answer.nodes);
    };
    assert_eq!(
        (node.address, node.syns, answer.inferred),
        (ip(NODE), 7, true)
    );
}

#[test]
fn time_alone_decides_nothing_after_the_end() {
    let packets = [syn(START, 40_000), syn(START + 4 * S, 40_001)];
    let (player, answer) = played(&[&Form::PLAIN.capture(&packets)], &[]);
    assert_eq!(counters(&player).get(Cell::PENDING), 2);
    assert_eq!(answer.failures, []);
    // A refusal is decided already, though its report would come later.
    let packets = refused(START, 40_000, 64);
    let (_, answer) = played(&[&Form::PLAIN.capture(&packets)], &[]);
    assert_eq!(answer.failures.len(), 1);
}

/// Answers after 300 µs each, but for one after 1.004 s.
#[test]
fn percentiles_are_those_of_the_packets() {
    let at = |n: u16| START + u64::from(n) * S;
    let mut packets: Vec<_> = (0..3)
        .flat_map(|n| refused(at(n), 40_000 + n, 64))
        .collect();
    let mut late = refused(at(3), 40_003, 64);
    late[1].at = late[0].at + 1_004_000_000;
    packets.extend(late);
    let form = Form {
        nanoseconds: true,
        ..Form::PLAIN
    };
    let (_, answer) = played(&[&form.capture(&packets)], &[]);
    let told = answer.explanation.ports[0].answer.unwrap();
    for (told, s) in [(told.p50, 0.000_3), (told.p99, 1.004)] {
        assert!((told / s - 1.0_f64).abs() < 0.05, "{told} for {s}");
    }
}

#[test]
fn all_containers_and_link_layers_give_the_same() {
    let (expected, _) = played(&[&Form::PLAIN.capture(&mixed())], &[]);
    for ng in [false, true] {
        for big_endian in [false, true] {
            for nanoseconds in [false, true] {
                for link_type in [0, 1, 12, 101, 108, SLL, SLL2, 228] {
                    let form = Form {
                        ng,
                        big_endian,
                        nanoseconds,
                        link_type,
                        snaplen: usize::MAX,
                    };
                    let (player, answer) = played(&[&form.capture(&mixed())], &[]);
                    assert_eq!(counters(&player), counters(&expected), "{form:?}");
                    assert_eq!(answer.warnings, Vec::<String>::new(), "{form:?}");
                }
            }
        }
    }
}

#[test]
fn vlan_tags_and_gzip_change_nothing() {
    let (expected, _) = played(&[&Form::PLAIN.capture(&mixed())], &[]);
    let records = mixed();
    let records = records.iter().map(|p| Form::PLAIN.record(p.at, &tagged(p)));
    let bytes = [Form::PLAIN.header(), records.flatten().collect()].concat();
    let (tagged, _) = played(&[&bytes], &[]);
    assert_eq!(counters(&tagged), counters(&expected));

    let mut zipped = GzEncoder::new(Vec::new(), Compression::fast());
    zipped.write_all(&bytes).unwrap();
    let reader = super::super::input::unzipped(Cursor::new(zipped.finish().unwrap()));
    let mut capture = Capture::open(reader.unwrap()).unwrap();
    let mut player = player(&[]);
    let played = play(&mut capture, &mut player, &|| false);
    player.finish();
    assert_eq!((played.about, played.fault), (Vec::new(), None));
    assert_eq!(counters(&player), counters(&expected));
}

#[test]
fn files_are_read_as_one() {
    let (expected, _) = played(&[&Form::PLAIN.capture(&mixed())], &[]);
    let packets = mixed();
    let (first, second) = packets.split_at(5);
    let ng = Form {
        ng: true,
        nanoseconds: true,
        ..Form::PLAIN
    };
    let captures = [&Form::PLAIN.capture(first)[..], &ng.capture(second)];
    let (player, _) = played(&captures, &[]);
    assert_eq!(counters(&player), counters(&expected));
}

#[test]
fn payload_cut_by_the_snaplen_still_classifies() {
    let (expected, _) = played(&[&Form::PLAIN.capture(&mixed())], &[]);
    // Ethernet, IPv4, TCP, and all but the last byte of the call; or the quote
    // of an ICMP error.
    let form = Form {
        snaplen: 14 + 20 + 20 + 16,
        ..Form::PLAIN
    };
    let (player, answer) = played(&[&form.capture(&mixed())], &[]);
    assert_eq!(counters(&player), counters(&expected));
    assert_eq!(answer.warnings, Vec::<String>::new());
}

#[test]
fn only_the_node_s_own_addresses_are_its_edge() {
    let capture = Form::PLAIN.capture(&mixed());
    let (player, answer) = played(&[&capture], &[ip(NODE)]);
    assert_eq!((attempts(&player), answer.inferred), (6, false));
    let (player, answer) = played(&[&capture], &[ip(CLIENT)]);
    assert!(player.table.counters().is_empty());
    let told = "7 SYNs to 10.0.3.17:30080 passed over: 10.0.3.17 is no --node-address";
    assert!(
        answer.warnings[0].starts_with(told),
        "{:?}",
        answer.warnings
    );
    let [passed] = &answer.passed_over[..] else {
        panic!("{:?}", answer.passed_over);
    };
    let found = (
        passed.address,
        passed.port,
        passed.syns,
        passed.why.as_str(),
    );
    assert_eq!(found, (ip(NODE), PORT, 7, "other_address"));
    let why = answer.inconclusive.unwrap();
    assert!(
        why.contains("goes to a --node-address, 7 SYNs to other"),
        "{why}"
    );
}

/// Each packet twice, 0.2 ms apart, on two interfaces.
fn twice(form: Form) -> Vec<u8> {
    let mut bytes = form.header();
    for packet in mixed() {
        for ifindex in [2, 3] {
            let frame = framed(form.link_type, &packet, ifindex);
            let at = packet.at + u64::from(ifindex) * 100_000;
            bytes.extend(form.record(at, &frame));
        }
    }
    bytes
}

#[test]
fn packets_seen_on_two_interfaces_count_once() {
    let (expected, _) = played(&[&Form::PLAIN.capture(&mixed())], &[]);
    for link_type in [SLL, SLL2] {
        let form = Form {
            link_type,
            ..Form::PLAIN
        };
        let (player, answer) = played(&[&twice(form)], &[]);
        let (found, expected) = (counters(&player), counters(&expected));
        for cell in [
            Cell::ATTEMPTS,
            Cell::retransmit(Retransmit::Syn),
            Cell::retransmit(Retransmit::SynAck),
            Cell::retransmit(Retransmit::Data),
            Cell::handshake(Outcome::Established, Traffic::Thrift),
            Cell::connection(Traffic::Thrift),
        ] {
            let (found, expected) = (found.get(cell), expected.get(cell));
            assert_eq!(found, expected, "{link_type} {cell:?}");
        }
        assert_eq!(answer.warnings.len(), usize::from(link_type == SLL));
    }
}

#[test]
fn syns_that_are_no_attempts_at_the_node_are_told() {
    // On cooked v2 the packets say which way they went.
    let form = Form {
        link_type: SLL2,
        ..Form::PLAIN
    };
    let mut sent = syn(START, 40_000);
    sent.to_node = false;
    let (player, answer) = played(&[&form.capture(&[sent.clone(), sent])], &[]);
    assert!(player.table.counters().is_empty());
    let told = "2 SYNs to watched ports passed over that the capturing host itself sent";
    assert!(
        answer.warnings[0].starts_with(told),
        "{:?}",
        answer.warnings
    );

    let mut other = syn(START, 40_000);
    other.bytes[22..24].copy_from_slice(&80_u16.to_be_bytes());
    let (_, answer) = played(&[&Form::PLAIN.capture(&[other])], &[]);
    let why = answer.inconclusive.unwrap();
    let told = "the only SYN in it does not go to a watched port, it goes to 10.0.3.17:80 (1 SYN)";
    assert!(why.starts_with(told), "{why}");
    assert_eq!(answer.passed_over[0].why, "unwatched_port");
}
