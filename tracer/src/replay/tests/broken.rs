//! Captures that are not as they should be.

use proptest::prelude::*;
use tracer_common::{
    counters::Cell,
    words::{Outcome, Traffic},
};

use super::{attempts, counters, played, wrap::ALL, write::*};

fn ng() -> Form {
    Form {
        ng: true,
        ..Form::PLAIN
    }
}

#[test]
fn what_is_no_capture_is_refused() {
    for (bytes, why) in [
        (&b""[..], "it is empty"),
        (b"\xd4", "it is too short for a capture"),
        (b"\xd4\xc3\xb2\xa1", "it is cut short within its header"),
        (
            b"#!/bin/sh\n",
            "it is neither pcap nor pcapng (nor gzip of one)",
        ),
    ] {
        let (_, answer) = played(&[bytes], &[]);
        assert_eq!(answer.warnings, [why]);
    }
}

#[test]
fn what_was_read_before_the_end_counts() {
    for form in [Form::PLAIN, ng()] {
        let bytes = form.capture(&mixed());
        let (player, answer) = played(&[&bytes[..bytes.len() - 5]], &[]);
        assert_eq!(attempts(&player), 6);
        assert!(answer.warnings[0].starts_with("cut short within a record after byte "));
    }
}

#[test]
fn impossible_lengths_end_the_file_with_a_word() {
    let mut bytes = Form::PLAIN.capture(&mixed());
    bytes.extend([0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    let (player, answer) = played(&[&bytes], &[]);
    assert_eq!(attempts(&player), 6);
    assert!(answer.warnings[0].contains("a packet of 4294967295 bytes cannot be"));

    // Much less, and still more than the file's snaplen and any that libpcap has.
    let mut bytes = Form::PLAIN.capture(&mixed());
    bytes.extend([0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 4, 0, 1, 0, 4, 0]);
    bytes.resize(bytes.len() + 300_000, 0);
    let (player, answer) = played(&[&bytes], &[]);
    assert_eq!((player.seen.packets, attempts(&player)), (24, 6));
    assert!(answer.warnings[0].contains("a packet of 262145 bytes cannot be"));

    let mut bytes = ng().capture(&mixed());
    bytes.extend([6, 0, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0]);
    let (player, answer) = played(&[&bytes], &[]);
    assert_eq!(attempts(&player), 6);
    assert!(answer.warnings[0].contains("a block of 13 bytes cannot be"));
}

#[test]
fn headers_that_were_not_captured_are_counted() {
    let form = Form {
        snaplen: 14 + 20 + 8,
        ..Form::PLAIN
    };
    let (player, answer) = played(&[&form.capture(&mixed())], &[]);
    assert!(player.table.counters().is_empty());
    let short = "24 packets too short for their headers left out: its snaplen is 42 bytes; capture \
                 whole packets (`tcpdump -s 0`) or at least 128 bytes";
    assert!(
        answer.warnings.iter().any(|w| w.starts_with(short)),
        "{:?}",
        answer.warnings
    );
}

#[test]
fn first_bytes_that_were_not_captured_leave_the_class_unknown() {
    for (kept, thrift) in [(0, 0), (4, 0), (5, 2)] {
        let form = Form {
            snaplen: 14 + 20 + 20 + kept,
            ..Form::PLAIN
        };
        let (player, answer) = played(&[&form.capture(&mixed())], &[]);
        let counters = counters(&player);
        let classes = [Traffic::Thrift, Traffic::Unknown, Traffic::Other];
        let found = classes.map(|class| counters.get(Cell::connection(class)));
        assert_eq!(found, [thrift, 2 - thrift, 0], "{kept}");
        let established = |class| counters.get(Cell::handshake(Outcome::Established, class));
        assert_eq!(established(Traffic::Unknown), 2 - thrift, "{kept}");
        let told = format!(
            "2 connections are of traffic `unknown`, for the client's first bytes are not in the \
             capture, which would tell their class: its snaplen is {} bytes; capture whole \
             packets (`tcpdump -s 0`) or at least 128 bytes of each (`tcpdump -s 128`)",
            form.snaplen
        );
        let told = Vec::from_iter((thrift == 0).then_some(told));
        // The quote of an ICMP error is longer.
        let found = answer.warnings.iter().filter(|told| told.contains("class"));
        assert_eq!(
            found.collect::<Vec<_>>(),
            told.iter().collect::<Vec<_>>(),
            "{kept}"
        );
    }
}

#[test]
fn unknown_link_types_are_named() {
    let form = Form {
        link_type: 105,
        ..Form::PLAIN
    };
    let (_, answer) = played(&[&form.capture(&mixed())], &[]);
    assert!(answer.warnings[0].starts_with("24 of 24 packets are of link type 105"));
}

#[test]
fn times_out_of_order_are_told() {
    let mut packets = mixed();
    packets.swap(0, 1);
    let (_, answer) = played(&[&Form::PLAIN.capture(&packets)], &[]);
    assert!(answer.warnings[0].starts_with("1 packet out of order"));
    // The clock was set back by a day in between.
    let mut packets = mixed();
    for packet in &mut packets[14..] {
        packet.at -= 86_400 * S;
    }
    let (player, answer) = played(&[&Form::PLAIN.capture(&packets)], &[]);
    assert!(answer.warnings[0].starts_with("Time went back 1 time"));
    assert_eq!(attempts(&player), 6);
}

#[test]
fn a_packet_longer_than_on_the_wire_is_taken() {
    let mut bytes = Form::PLAIN.capture(&[syn(START, 40_000)]);
    // The length on the wire, of the first record.
    bytes[24 + 12..24 + 16].copy_from_slice(&[1, 0, 0, 0]);
    let (player, answer) = played(&[&bytes], &[]);
    assert_eq!(attempts(&player), 1);
    assert!(answer.warnings[0].starts_with("1 packet longer in the capture"));
}

#[test]
fn a_jump_of_a_century_is_survived() {
    let mut packets = mixed();
    let after = START + 4_000_000_000 * S / 2;
    packets.extend(call(after, 40_009));
    let form = Form {
        nanoseconds: true,
        ..ng()
    };
    let (player, _) = played(&[&form.capture(&packets)], &[]);
    assert_eq!(counters(&player).get(Cell::ATTEMPTS), 7);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes: Vec<u8>, ng: bool, big_endian: bool, link in 0..300_u16) {
        let form = Form { ng, big_endian, link_type: link, ..Form::PLAIN };
        let (player, _) = played(&[&[form.header(), bytes.clone()].concat()], &[]);
        prop_assert!(player.seen.packets <= bytes.len() as u64);
        let framed = form.record(START, &bytes);
        played(&[&[form.header(), framed].concat()], &[]);
    }

    #[test]
    fn any_damage_within_encapsulations_is_survived(
        which in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        kept in 0..200_usize,
    ) {
        let form = Form { snaplen: kept, ..Form::PLAIN };
        let (_, wrap) = ALL[which.index(ALL.len())];
        let mut bytes = form.header();
        for packet in mixed() {
            let mut frame = wrap(&packet);
            for (at, value) in &damage {
                let at = at.index(frame.len());
                frame[at] = *value;
            }
            bytes.extend(form.record(packet.at, &frame));
        }
        let (player, _) = played(&[&bytes], &[]);
        for (_, counters) in player.table.counters() {
            prop_assert!(counters.balances());
        }
    }

    #[test]
    fn any_damage_is_survived(
        ng: bool,
        link in prop::sample::select(vec![0_u16, 1, 101, SLL, SLL2]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let form = Form { ng, link_type: link, ..Form::PLAIN };
        let mut bytes = form.capture(&mixed());
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let (player, _) = played(&[&bytes], &[]);
        for (_, counters) in player.table.counters() {
            prop_assert!(counters.balances());
        }
    }
}
