//! PROXY headers before the client's bytes.

use super::*;

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = (rest.len() as u16).to_be_bytes();
    let fixed = [command, family, len[0], len[1]];
    [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &fixed, rest].concat()
}

/// A version 1 line of `len` bytes.
fn v1(len: usize) -> Vec<u8> {
    format!("PROXY TCP6 {} 1 2\r\n", "f".repeat(len - 17)).into_bytes()
}

#[test]
fn headers_are_passed_over() {
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY TCP4 10.0.0.1 10.0.0.2 40000 30080\r\n".to_vec(),
        v1(107),
        v2(0x21, 0x11, &[7; 12]),
        v2(0x21, 0x21, &[0x80; 36]),
        v2(0x21, 0x11, &[0x16; 300]),
        v2(0x21, 0x00, &[]),
    ] {
        for (payload, expected) in [
            (PING, thrift(Protocol::Binary)),
            (b"\0\0\0\x09\x82\x21\0\x04ping\0", thrift(Protocol::Compact)),
            (b"GET / HTTP/1.1\r\n", Decision::Other),
            (b"PROXY UNKNOWN\r\n", Decision::Other),
        ] {
            let bytes = [&header, payload].concat();
            assert_eq!(check_cuts(&bytes, &NONE).0, expected);
        }
        let mut state = FirstBytes::new();
        let decision = state.segment(header.as_slice(), &NONE);
        assert_eq!(decision, Decision::Undecided);
        assert_eq!(state.at_close(), Decision::Undecided);
        assert!(!state.has_bytes() && !state.local());
    }
}

#[test]
fn every_length_of_line_is_passed_over() {
    for len in 18..=107 {
        let bytes = [&v1(len), PING].concat();
        assert_eq!(check_cuts(&bytes, &NONE).0, thrift(Protocol::Binary));
    }
}

#[test]
fn local_is_a_health_check() {
    for rest in [b"".as_slice(), b"GET / HTTP/1.0\r\n\r\n", PING] {
        let bytes = [&v2(0x20, 0x00, &[]), rest].concat();
        assert_eq!(check_cuts(&bytes, &NONE).0, Decision::HealthCheck);
    }
    let mut state = FirstBytes::new();
    let decision = state.segment(v2(0x20, 0x11, &[1; 12]).as_slice(), &NONE);
    assert_eq!(decision, Decision::HealthCheck);
    assert_eq!(state.at_close(), Decision::HealthCheck);
    assert!(state.local());
}

#[test]
fn bad_headers_are_other() {
    for header in [
        v2(0x31, 0x11, &[0; 12]),
        v2(0x22, 0x11, &[0; 12]),
        v2(0x21, 0x41, &[0; 12]),
        v2(0x21, 0x13, &[0; 12]),
        v2(0x21, 0x11, &[0; 11]),
        v2(0x21, 0x21, &[0; 35]),
        b"PROXY TCP4 10.0.0.1\n".to_vec(),
        b"PROXY TCP4 10.0.0.1\r\r\n".to_vec(),
        b"PROXY TCP4 10.0.0.1 \x80\r\n".to_vec(),
        b"PROXY HTTP\r\n".to_vec(),
        v1(108),
    ] {
        let bytes = [&header, PING].concat();
        let (decision, _) = check_cuts(&bytes, &NONE);
        assert_eq!(decision, Decision::Other, "{header:02x?}");
    }
}
