//! What holds for any sequence of segments.

use proptest::{collection::vec, prelude::*};
use tracer_common::{
    counters::Cell,
    failure::Failure,
    machine::tcp,
    words::{Close, Outcome, Traffic},
};

use crate::lab::{ISN, Lab, S, SERVER_ISN, segment};

/// One thing that happens to the flow.
#[derive(Clone, Debug)]
enum Event {
    Segment {
        to_node: bool,
        flags: u8,
        seq: u32,
        ack: u32,
        len: usize,
        ifindex: u32,
        routed: bool,
    },
    Unreachable(u32),
    Wait(u64),
    Pass(u64),
}

/// Numbers near those in use, so that the interesting ways are walked, and any.
fn number() -> impl Strategy<Value = u32> {
    let near = prop_oneof![Just(ISN), Just(SERVER_ISN), Just(42)];
    prop_oneof![
        8 => (near, 0u32..40).prop_map(|(base, plus)| base.wrapping_add(plus)),
        1 => any::<u32>(),
    ]
}

fn flags() -> impl Strategy<Value = u8> {
    prop_oneof![
        4 => Just(tcp::SYN),
        4 => Just(tcp::SYN | tcp::ACK),
        6 => Just(tcp::ACK),
        2 => Just(tcp::RST),
        2 => Just(tcp::RST | tcp::ACK),
        2 => Just(tcp::FIN | tcp::ACK),
        1 => any::<u8>(),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let segment = (
        any::<bool>(),
        flags(),
        number(),
        number(),
        0usize..40,
        1u32..4,
        any::<bool>(),
    )
        .prop_map(
            |(to_node, flags, seq, ack, len, ifindex, routed)| Event::Segment {
                to_node,
                flags,
                seq,
                ack,
                // Mostly without payload.
                len: len.saturating_sub(30),
                ifindex: ifindex.max(2),
                routed,
            },
        );
    prop_oneof![
        12 => segment,
        1 => number().prop_map(Event::Unreachable),
        2 => (0u64..8 * S).prop_map(Event::Wait),
        1 => (0u64..8_000 * S).prop_map(Event::Wait),
        1 => (0u64..8 * S).prop_map(Event::Pass),
    ]
}

const BYTES: &[u8] = b"\x80\x01\x00\x01\x00\x00\x00\x04pingpong";

fn apply(lab: &mut Lab, event: &Event) {
    match *event {
        Event::Segment {
            to_node,
            flags,
            seq,
            ack,
            len,
            ifindex,
            routed,
        } => {
            let payload = &BYTES[..len.min(BYTES.len())];
            let mut s = segment(to_node, flags, seq, ack, payload);
            (s.ifindex, s.routed) = (ifindex, routed);
            lab.segment(s, payload);
        }
        Event::Unreachable(seq) => drop(lab.unreachable(seq)),
        Event::Wait(ns) => drop(lab.wait(ns)),
        Event::Pass(ns) => drop(lab.pass(ns)),
    }
}

fn sum(lab: &Lab, cell: impl Fn(Traffic) -> Cell) -> u64 {
    Traffic::ALL.iter().map(|t| lab.get(cell(*t))).sum()
}

/// The failed outcomes, as failures.
const FAILED: [(Failure, Outcome); 5] = [
    (Failure::Refused, Outcome::Refused),
    (Failure::Unreachable, Outcome::Unreachable),
    (Failure::TimedOut, Outcome::TimedOut),
    (Failure::Unacked, Outcome::Unacked),
    (Failure::Cancelled, Outcome::Cancelled),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn the_identity_holds_at_every_moment(events in vec(event(), 0..60)) {
        let mut lab = Lab::new();
        for event in &events {
            apply(&mut lab, event);
            prop_assert!(lab.port.balances(), "{:?}", lab.port);
            prop_assert!(lab.pending() <= 1);
            prop_assert!(sum(&lab, Cell::open) <= 1);
        }
    }

    #[test]
    fn every_attempt_ends_in_exactly_one_outcome(events in vec(event(), 0..60)) {
        let mut lab = Lab::new();
        for event in &events {
            apply(&mut lab, event);
        }
        // Nothing comes any more: time decides the rest.
        for _ in 0..50 {
            lab.wait(100 * S);
        }
        prop_assert!(lab.flow.is_none());
        prop_assert_eq!(lab.pending(), 0);
        prop_assert_eq!(lab.port.outcomes() + lab.get(Cell::UNTRACKED), lab.attempts());
        let closes: u64 = Close::ALL.iter().map(|c| sum(&lab, |t| Cell::close(*c, t))).sum();
        prop_assert_eq!(sum(&lab, Cell::connection), closes);
        // Each was told once, when it was established.
        prop_assert_eq!(lab.established.len() as u64, closes);
        prop_assert_eq!(sum(&lab, Cell::open), 0);
        for traffic in Traffic::ALL {
            let of = |close: &Close| lab.get(Cell::close(*close, *traffic));
            let closed: u64 = Close::ALL.iter().map(of).sum();
            prop_assert_eq!(lab.get(Cell::connection(*traffic)), closed);
        }
    }

    // `Lab` holds every step to one report at most.
    #[test]
    fn every_failed_outcome_is_reported_once(
        events in vec(event(), 0..60),
        timeout in 1u64..60,
    ) {
        let mut lab = Lab::new();
        lab.limits.handshake_timeout_ns = timeout * S;
        for event in &events {
            apply(&mut lab, event);
            let unreported = lab.get(Cell::UNREPORTED);
            prop_assert!(unreported <= 1);
            let mut open = 0;
            for (failure, outcome) in FAILED {
                let reported = lab.failed.iter().filter(|f| f.failure == failure).count() as u64;
                let counted = sum(&lab, |t| Cell::handshake(outcome, t));
                prop_assert!(reported <= counted);
                open += counted - reported;
            }
            prop_assert_eq!(open, unreported);
        }
        lab.wait(10 * S);
        prop_assert_eq!(lab.get(Cell::UNREPORTED), 0);
        let attempts = lab.failed.iter().filter(|f| f.failure.is_attempt()).count();
        let known = FAILED.iter().filter(|(failure, _)| failure.is_attempt()).count();
        prop_assert_eq!(known, FAILED.len());
        prop_assert!(attempts as u64 <= lab.attempts());
    }

    // A bridge and its port are both tapped.
    #[test]
    fn what_two_interfaces_see_counts_once(calls in any::<bool>(), events in vec(event(), 0..60)) {
        let (mut one, mut two) = (Lab::new(), Lab::new());
        if calls {
            for lab in [&mut one, &mut two] {
                lab.establish().data(0, BYTES);
            }
        }
        for event in &events {
            let at = |at| match event.clone() {
                Event::Segment { to_node, flags, seq, ack, len, .. } => {
                    let (ifindex, routed) = (at, false);
                    Event::Segment { to_node, flags, seq, ack, len, ifindex, routed }
                }
                other => other,
            };
            apply(&mut one, &at(2));
            apply(&mut two, &at(2));
            if matches!(event, Event::Segment { .. }) {
                apply(&mut two, &at(3));
            }
            prop_assert_eq!(&one.port, &two.port);
        }
    }

    #[test]
    fn a_connection_is_reported_once(events in vec(event(), 0..60)) {
        let mut lab = Lab::new();
        for event in &events {
            apply(&mut lab, event);
        }
        // A connection is counted once its class is known, or it is idle.
        lab.wait(10 * S);
        const ONCE: [Failure; 3] = [Failure::Unanswered, Failure::ClosedAtOnce, Failure::Reset];
        let reported = lab.failed.iter().filter(|f| ONCE.contains(&f.failure)).count();
        let established = sum(&lab, |t| Cell::handshake(Outcome::Established, t));
        prop_assert!(reported as u64 <= established);
    }

    #[test]
    fn sweeps_do_not_change_the_outcome(calls in any::<bool>(), events in vec(event(), 0..60)) {
        let (mut swept, mut not_swept) = (Lab::new(), Lab::new());
        if calls {
            for lab in [&mut swept, &mut not_swept] {
                lab.establish().data(0, BYTES);
            }
        }
        for event in &events {
            apply(&mut swept, event);
            match *event {
                Event::Wait(ns) => drop(not_swept.pass(ns)),
                _ => apply(&mut not_swept, event),
            }
        }
        for lab in [&mut swept, &mut not_swept] {
            for _ in 0..50 {
                lab.wait(100 * S);
            }
        }
        prop_assert_eq!(swept.port, not_swept.port);
        let kinds = |lab: &Lab| lab.failed.iter().map(|f| f.failure).collect::<Vec<_>>();
        prop_assert_eq!(kinds(&swept), kinds(&not_swept));
    }
}
