//! Packets inside others: what is decoded gives the same numbers, what is not is named.

use tracer_common::counters::Cell;

use super::{
    super::answer::Answer,
    counters, played,
    wrap::{ALL, Wrap, ether_ip, vxlan},
    write::*,
};

/// A capture of frames at the times of packets.
fn capture(packets: &[Packet], wrap: impl Fn(usize, &Packet) -> Vec<u8>) -> Vec<u8> {
    let records = packets.iter().enumerate();
    let records = records.flat_map(|(at, p)| Form::PLAIN.record(p.at, &wrap(at, p)));
    [Form::PLAIN.header(), records.collect()].concat()
}

fn undecoded(answer: &Answer) -> Vec<(&str, u64)> {
    let kinds = answer.undecoded.iter();
    kinds.map(|one| (one.what.as_str(), one.packets)).collect()
}

#[test]
fn every_encapsulation_gives_the_same_numbers() {
    let (expected, _) = played(&[&Form::PLAIN.capture(&mixed())], &[]);
    for (at, (name, wrap)) in ALL.into_iter().enumerate() {
        let (player, answer) = played(&[&capture(&mixed(), |_, p| wrap(p))], &[]);
        assert_eq!(player.seen.segments, 23, "{at} {name}: {answer:?}");
        assert_eq!(counters(&player), counters(&expected), "{at} {name}");
        assert_eq!(answer.warnings, Vec::<String>::new(), "{at} {name}");
        let [kind] = &answer.encapsulated[..] else {
            panic!("{at} {name}: {:?}", answer.encapsulated);
        };
        assert_eq!((kind.what.as_str(), kind.packets), (name, 24), "{at}");
    }
}

#[test]
fn on_all_interfaces_the_outer_packet_s_way_is_not_the_inner_one_s() {
    let (expected, _) = played(&[&Form::PLAIN.capture(&mixed())], &[]);
    let form = Form {
        link_type: SLL2,
        ..Form::PLAIN
    };
    let packets = mixed().into_iter().map(|packet| Packet {
        to_node: true,
        bytes: vxlan(&packet).split_off(14),
        ..packet
    });
    let (player, _) = played(&[&form.capture(&packets.collect::<Vec<_>>())], &[]);
    assert_eq!(counters(&player), counters(&expected));
}

#[test]
fn what_is_not_decoded_is_named_and_concludes_nothing() {
    let (player, answer) = played(&[&capture(&mixed(), |_, p| ether_ip(p))], &[]);
    assert!(player.table.counters().is_empty());
    let told = "24 of 24 packets are IP protocol 97 (EtherIP), which is not decoded";
    assert_eq!(answer.warnings, [told]);
    assert_eq!(undecoded(&answer), [("IP protocol 97 (EtherIP)", 24)]);
    let why = answer.inconclusive.as_deref().unwrap();
    assert!(why.contains(told), "{why}");
    let text = super::super::text::render(&answer, 1, false);
    assert!(
        !text.contains("Nobody") && !text.contains("security"),
        "{text}"
    );
}

#[test]
fn of_a_mixture_what_is_decoded_counts_and_the_rest_is_told() {
    let mut packets = call(START, 40_000);
    packets.extend((0..95).map(|i| syn(START + S + i * 1_000_000, 41_000)));
    let wrap = |at, p: &Packet| if at < 8 { vxlan(p) } else { ether_ip(p) };
    let (player, answer) = played(&[&capture(&packets, wrap)], &[]);
    assert_eq!(counters(&player).get(Cell::ATTEMPTS), 1);
    let told = "95 of 103 packets are IP protocol 97 (EtherIP), which is not decoded";
    assert_eq!(
        (&answer.warnings[..], answer.inconclusive),
        (&[told.to_owned()][..], None)
    );
}

/// What belongs to any healthy network is counted, and no reason for a warning.
#[test]
fn plain_protocols_are_counted_without_a_warning() {
    let arp = [&[0xff; 12][..], &[8, 6], &[0; 28]].concat();
    let dns = [
        &[0; 12][..],
        &[8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0],
        &[10; 8],
        &[0, 53, 0, 53, 0, 8, 0, 0],
    ]
    .concat();
    let mut bytes = capture(&call(START, 40_000), |_, p| framed(ETHERNET, p, 2));
    for frame in [&arp, &dns, &dns] {
        bytes.extend(Form::PLAIN.record(START + S, frame));
    }
    let (_, answer) = played(&[&bytes], &[]);
    let expected = [("IP protocol 17 (UDP)", 2), ("EtherType 0x0806 (ARP)", 1)];
    assert_eq!(undecoded(&answer), expected);
    assert_eq!(answer.warnings, Vec::<String>::new());
}

/// As a mirror with a packet length, or a fragment of the outer packet, leaves it.
#[test]
fn an_inner_packet_that_is_cut_counts_like_one_cut_by_the_snaplen() {
    let (expected, _) = played(&[&Form::PLAIN.capture(&mixed())], &[]);
    let cut = |_: usize, p: &Packet| {
        let kept = p.bytes.len().min(56);
        vxlan(&Packet {
            bytes: p.bytes[..kept].to_vec(),
            ..p.clone()
        })
    };
    let (player, answer) = played(&[&capture(&mixed(), cut)], &[]);
    assert_eq!(counters(&player), counters(&expected), "{answer:?}");
    let headers = |_: usize, p: &Packet| {
        vxlan(&Packet {
            bytes: p.bytes[..30].to_vec(),
            ..p.clone()
        })
    };
    let (_, answer) = played(&[&capture(&mixed(), headers)], &[]);
    let why = answer.inconclusive.unwrap();
    assert!(
        why.contains("24 packets too short for their headers"),
        "{why}"
    );
}

/// Both copies at once; and all copies after all packets.
#[test]
fn what_is_seen_plain_and_encapsulated_counts_once() {
    let (expected, _) = played(&[&Form::PLAIN.capture(&mixed())], &[]);
    let plain: Wrap = |p| framed(ETHERNET, p, 2);
    for (first, second) in [(plain, vxlan as Wrap), (vxlan, plain), (vxlan, ALL[7].1)] {
        for late in [200_000, 50_000_000, S] {
            let mut records: Vec<(u64, Vec<u8>)> = Vec::new();
            for packet in mixed() {
                records.push((packet.at, first(&packet)));
                records.push((packet.at + late, second(&packet)));
            }
            records.sort_by_key(|(at, _)| *at);
            let records = records
                .iter()
                .flat_map(|(at, p)| Form::PLAIN.record(*at, p));
            let bytes = [Form::PLAIN.header(), records.collect()].concat();
            let (player, answer) = played(&[&bytes], &[]);
            assert_eq!(
                counters(&player),
                counters(&expected),
                "{late} {:?}",
                answer.warnings
            );
        }
    }
}

/// On an overlay network's interface, then on the one below it.
#[test]
fn a_dial_that_leaves_encapsulated_is_no_attempt_at_this_host() {
    let form = Form {
        link_type: SLL2,
        ..Form::PLAIN
    };
    let mut sent = syn(START, 40_000);
    sent.to_node = false;
    let below = Packet {
        bytes: vxlan(&sent).split_off(14),
        ..sent.clone()
    };
    let frames = [framed(SLL2, &sent, 7), framed(SLL2, &below, 2)];
    let records = frames.iter().flat_map(|frame| form.record(START, frame));
    let bytes = [form.header(), records.collect()].concat();
    let (player, answer) = played(&[&bytes], &[]);
    assert!(player.table.counters().is_empty());
    let passed = answer.passed_over.iter();
    let passed: Vec<_> = passed.map(|one| (one.why.as_str(), one.syns)).collect();
    assert_eq!(passed, [("sent_by_host", 1)]);
}

#[test]
fn headers_that_cannot_be_are_told_and_bounded() {
    let mut no_network = vxlan(&syn(START, 40_000));
    no_network[42] = 0;
    let deep = [&[0; 12][..], &[0x81, 0, 0, 1].repeat(40), &[8, 0]].concat();
    let labels = [&[0; 12][..], &[0x88, 0x47], &[0; 400]].concat();
    for (frame, what) in [
        (no_network, "malformed VXLAN header"),
        (deep, "headers nested too deeply"),
        (labels, "headers nested too deeply"),
    ] {
        let bytes = [Form::PLAIN.header(), Form::PLAIN.record(START, &frame)].concat();
        let (_, answer) = played(&[&bytes], &[]);
        assert_eq!(undecoded(&answer), [(what, 1)]);
    }
}
