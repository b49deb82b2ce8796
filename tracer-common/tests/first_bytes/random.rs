//! Random bytes: what holds for all of them, and how often they look like Thrift.

use super::*;
use proptest::prelude::*;
use tracer_common::first_bytes::classify;

struct XorShift(u64);

impl XorShift {
    fn fill(&mut self) -> [u8; CHUNK] {
        let mut bytes = [0; CHUNK];
        for word in bytes.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            word.copy_from_slice(&self.0.to_le_bytes());
        }
        bytes
    }
}

/// How many of a million random draws, with some bytes set, count as Thrift.
fn taken(set: impl Fn(&mut [u8; CHUNK])) -> u32 {
    let mut random = XorShift(0x9e37_79b9_7f4a_7c15);
    let mut taken = 0;
    for _ in 0..1_000_000 {
        let mut bytes = random.fill();
        set(&mut bytes);
        taken += u32::from(classify(&bytes, &NONE) != Decision::Other);
    }
    taken
}

/// The figures in the documentation of `first_bytes`.
#[test]
fn weak_forms_on_random_bytes() {
    let counts = [
        taken(|_| {}),
        taken(|bytes| bytes[..3].fill(0)),
        taken(|bytes| {
            bytes[..2].fill(0);
            bytes[4..7].fill(0);
        }),
        taken(|bytes| bytes[0] = 0x82),
        taken(|bytes| {
            bytes[..2].fill(0);
            bytes[4] = 0x82;
        }),
    ];
    println!("random, old, framed old, compact, framed compact: {counts:?}");
    assert_eq!(counts, [0, 39, 15, 26, 20]);
}

/// Pieces of what the classifier looks for, and random ones.
fn near_thrift() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"PROXY TCP4 ".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\r\n\r\n\0\r\nQUIT\n".to_vec()),
        Just(vec![0x21, 0x11, 0, 12]),
        Just(vec![0x80, 1, 0, 1]),
        Just(vec![0x82, 0x21]),
        Just(b"\x0f\xff\0\0\0\0\0\0\0\x01\0\0\0\0".to_vec()),
        Just(vec![0, 0, 0, 4]),
        Just(b"ping".to_vec()),
        Just(vec![0]),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(2000)
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn cuts_never_matter(
        bytes in near_thrift(),
        cuts in prop::collection::vec(0_usize..200, 0..6),
        probe in any::<bool>(),
    ) {
        let probes = if probe { probes(&["ping"]) } else { NONE };
        let whole = check_cuts(&bytes, &probes);
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut < bytes.len()).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]);
        prop_assert_eq!(run(pieces, &probes), whole);
    }

    #[test]
    fn bytes_are_decided_after_32(
        mut bytes in prop::collection::vec(any::<u8>(), 32..64),
        zeros in 0_usize..9,
    ) {
        bytes[..zeros].fill(0);
        for probes in [NONE, probes(&["ping"])] {
            prop_assert_ne!(classify(&bytes, &probes), Decision::Undecided);
        }
        let whole = message_in(bytes.as_slice(), 0, true);
        prop_assert_eq!(message_in(&bytes[..CHUNK], 0, true), whole);
    }

    #[test]
    fn empty_segments_change_nothing(bytes in near_thrift()) {
        let mut state = FirstBytes::new();
        state.segment(bytes.as_slice(), &NONE);
        let before = state;
        prop_assert_eq!(state.segment([].as_slice(), &NONE), Decision::Undecided);
        prop_assert_eq!(state, before);
    }
}
