//! The forms of Thrift at their limits, and probe methods.

use super::*;
use tracer_common::first_bytes::{Chunk, Payload, ProbeMethodError, classify};

#[test]
fn five_bytes_decide_strict_binary_unless_a_name_matters() {
    let ping = probes(&["ping"]);
    let (call, thrift) = (
        message(Protocol::Binary, MessageType::Call),
        thrift(Protocol::Binary),
    );
    assert_eq!(run([&PING[..4]], &NONE), (Decision::Undecided, thrift));
    assert_eq!(classify(&PING[..5], &NONE), thrift);
    assert_eq!(run([&PING[..11]], &ping), (Decision::Undecided, thrift));
    assert_eq!(classify(PING, &ping), Decision::Probe(call));
    assert_eq!(classify(b"\x80\x01\0\x01\0\0\0\x05pingx", &ping), thrift);
    assert_eq!(classify(b"\x80\x01\0\x01\0\0\0\x03ping", &ping), thrift);
    let nameless = [b"\x80\x01\0\x01\0".as_slice(), &[0xff; 27]].concat();
    assert_eq!(check_cuts(&nameless, &ping).0, thrift);
}

#[test]
fn only_calls_are_probes() {
    let ping = probes(&["ping"]);
    for kind in MessageType::ALL {
        let call = [b"\x80\x01\0".as_slice(), &[*kind as u8 + 1], &PING[4..]].concat();
        let found = message(Protocol::Binary, *kind);
        let expected = match kind {
            MessageType::Call | MessageType::Oneway => Decision::Probe(found),
            MessageType::Reply | MessageType::Exception => Decision::Thrift(found),
        };
        assert_eq!(check_cuts(&call, &ping).0, expected);
    }
}

#[test]
fn longest_probe_method_is_found_under_any_framing() {
    let name = "twenty_letters_long_";
    let strict = b"\x80\x01\0\x01\0\0\0\x14".as_slice();
    for head in [strict, b"\x82\x21\xff\xff\xff\xff\x0f\x14", b"\0\0\0\x14"] {
        let plain = [head, name.as_bytes(), &[1]].concat();
        let framed = [&(plain.len() as u32).to_be_bytes(), plain.as_slice()].concat();
        for bytes in [plain, framed] {
            let (decision, _) = check_cuts(&bytes, &probes(&["a", "b", "c", name]));
            assert!(
                matches!(decision, Decision::Probe(_)),
                "{decision:?} {bytes:02x?}"
            );
        }
    }
}

#[test]
fn probe_method_names_are_checked() {
    let mut probes = ProbeMethods::new();
    assert!(probes.is_empty());
    assert_eq!(probes.push(""), Err(ProbeMethodError::Length));
    assert_eq!(probes.push(&"x".repeat(21)), Err(ProbeMethodError::Length));
    assert_eq!(probes.push("a b"), Err(ProbeMethodError::Character));
    assert_eq!(probes.push("né"), Err(ProbeMethodError::Character));
    for name in ["a", "b", "c", "d"] {
        assert_eq!(probes.push(name), Ok(()));
    }
    assert_eq!(probes.push("e"), Err(ProbeMethodError::Full));
    assert!(ProbeMethodError::Length.to_string().contains("20"));
}

#[test]
fn lengths_have_bounds() {
    let framed = |len: u32| [&len.to_be_bytes(), PING].concat();
    let old = |len: u8| [[0, 0, 0, len].as_slice(), &[b'n'; 60]].concat();
    for (bytes, expected) in [
        (framed(16_384_000), thrift(Protocol::Binary)),
        (framed(16_384_001), Decision::Other),
        (framed(0), Decision::Other),
        (old(64), thrift(Protocol::Binary)),
        (old(65), Decision::Other),
        (b"\0\0\0\x04ping\x01".to_vec(), thrift(Protocol::Binary)),
        (b"\0\0\0\x04ping\x05".to_vec(), Decision::Other),
        (b"\0\0\0\x04ping\0".to_vec(), Decision::Other),
        (b"\0\0\0\x049ing\x01".to_vec(), Decision::Other),
        (b"\x82\x21\0\x01a".to_vec(), thrift(Protocol::Compact)),
        (b"\x82\x21\0\0".to_vec(), Decision::Other),
        (
            b"\x82\x21\xff\xff\xff\xff\xff\x01a".to_vec(),
            Decision::Other,
        ),
        (b"\x82\xa1\0\x01a".to_vec(), Decision::Other),
        (b"\x82\x22\0\x01a".to_vec(), Decision::Other),
        (
            b"\0\0\0\x09\x0f\xff\0\0\0\0\0\0\0".to_vec(),
            Decision::Other,
        ),
        (
            b"\0\0\0\x0a\x0f\xff\0\0\0\0\0\0\0\0".to_vec(),
            thrift(Protocol::Header),
        ),
    ] {
        assert_eq!(check_cuts(&bytes, &NONE).0, expected, "{bytes:02x?}");
    }
}

#[test]
fn later_segments_need_a_sound_name() {
    assert!(at_start(PING, false).is_some());
    assert_eq!(at_start(b"\x80\x01\0\x01\0\0\x02\0ping", false), None);
    assert_eq!(at_start(b"\x80\x01\0\x01\0\0\0\x04pi\x01g", false), None);
}

#[test]
fn old_binary_is_remembered() {
    for (bytes, old) in [(b"\0\0\0\x04ping\x01".as_slice(), true), (PING, false)] {
        let mut state = FirstBytes::new();
        assert_eq!(state.segment(bytes, &NONE), thrift(Protocol::Binary));
        assert_eq!(state.old_binary(), old);
        assert!(at_start(bytes, true).is_some());
        assert_eq!(at_start(bytes, false).is_some(), !old);
    }
}

#[test]
fn servers_do_not_call() {
    let hidden = message(Protocol::Header, MessageType::Call);
    assert_eq!(hidden.from_server().kind, MessageType::Reply);
    let shown = message(Protocol::Header, MessageType::Exception);
    assert_eq!(shown.from_server(), shown);
}

/// Payload of which only the first bytes can be read.
struct Cut(u32);

impl Payload for Cut {
    fn len(&self) -> u32 {
        PING.len() as u32
    }
    fn read(&self, offset: u32) -> Chunk {
        PING[..self.0 as usize].read(offset)
    }
}

#[test]
fn bytes_that_cannot_be_read_are_other() {
    for (shown, expected) in [
        (0, Decision::Other),
        (3, Decision::Other),
        (4, Decision::Other),
        (5, thrift(Protocol::Binary)),
    ] {
        assert_eq!(FirstBytes::new().segment(&Cut(shown), &NONE), expected);
    }
}
