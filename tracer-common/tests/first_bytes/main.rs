//! The first-bytes classifier against what real clients and servers sent, and
//! against every way of cutting bytes into segments.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a panic fails the test"
)]

mod forms;
mod others;
mod proxy;
mod random;
mod recorded;

use tracer_common::first_bytes::{
    CHUNK, Decision, FirstBytes, Message, MessageType, ProbeMethods, Protocol, message_in,
};

/// A strict binary call of `ping`.
const PING: &[u8] = b"\x80\x01\0\x01\0\0\0\x04ping\0\0\0\0\0";
const NONE: ProbeMethods = ProbeMethods::new();

fn message(protocol: Protocol, kind: MessageType) -> Message {
    Message { protocol, kind }
}

fn thrift(protocol: Protocol) -> Decision {
    Decision::Thrift(message(protocol, MessageType::Call))
}

fn probes(names: &[&str]) -> ProbeMethods {
    let mut probes = ProbeMethods::new();
    for name in names {
        probes.push(name).unwrap();
    }
    probes
}

/// The decision over segments, and that over the connection's end.
fn run<'a>(
    segments: impl IntoIterator<Item = &'a [u8]>,
    probes: &ProbeMethods,
) -> (Decision, Decision) {
    let mut state = FirstBytes::new();
    for segment in segments {
        let decision = state.segment(segment, probes);
        if decision != Decision::Undecided {
            return (decision, decision);
        }
    }
    (Decision::Undecided, state.at_close())
}

/// Asserts that every cut in two, and one-byte segments, decide as one piece.
fn check_cuts(bytes: &[u8], probes: &ProbeMethods) -> (Decision, Decision) {
    let whole = run([bytes], probes);
    for at in 0..=bytes.len() {
        let (first, second) = bytes.split_at(at);
        let cut = run([first, &[], second], probes);
        assert_eq!(cut, whole, "cut at {at}: {bytes:02x?}");
    }
    let single = run(bytes.chunks(1), probes);
    assert_eq!(single, whole, "single bytes: {bytes:02x?}");
    whole
}

/// The message at the start of a later segment.
fn at_start(bytes: &[u8], old_binary: bool) -> Option<Message> {
    message_in(bytes, 0, old_binary)
}
