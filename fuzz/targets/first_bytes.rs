//! The first-bytes classifier: how the bytes were cut into segments changes
//! nothing, and 32 bytes decide.

use tracer_common::first_bytes::{CHUNK, Decision, FirstBytes, ProbeMethods, classify, message_in};

fn probes(wanted: bool) -> ProbeMethods {
    let mut probes = ProbeMethods::new();
    if wanted {
        assert!(probes.push("ping").is_ok());
    }
    probes
}

fn decide<'a>(pieces: impl Iterator<Item = &'a [u8]>, probes: &ProbeMethods) -> Decision {
    let mut state = FirstBytes::new();
    for piece in pieces {
        match state.segment(piece, probes) {
            Decision::Undecided => {}
            decided => return decided,
        }
    }
    Decision::Undecided
}

/// Byte 0: probe methods or not; 1 and 2: where it is cut; then the bytes.
pub fn run(data: &[u8]) {
    let [wanted, first, second, bytes @ ..] = data else {
        return;
    };
    let probes = probes(wanted & 1 == 1);
    let whole = decide([bytes].into_iter(), &probes);
    let (a, rest) = bytes.split_at(bytes.len().min(usize::from(*first)));
    let (b, c) = rest.split_at(rest.len().min(usize::from(*second)));
    assert_eq!(decide([a, b, c].into_iter(), &probes), whole);
    assert_eq!(decide(bytes.chunks(1), &probes), whole);
    if let Some(chunk) = bytes.first_chunk::<CHUNK>() {
        // A PROXY header may be longer.
        let proxied = matches!(chunk[0], b'P' | b'\r');
        assert!(proxied || classify(bytes, &probes) != Decision::Undecided);
        let found = message_in(&chunk[..], 0, true);
        assert_eq!(message_in(bytes, 0, true), found);
    }
}
