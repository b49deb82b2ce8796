//! What windows show of rounds, at times that tests set.

use super::*;
use crate::{
    evidence::Sent,
    recorder::history::{Changes, History},
};

const SECOND: u64 = 1_000_000_000;

/// Looks at the end of second `at`.
fn look(rounds: &mut Rounds, fake: &Fake, at: u64) {
    rounds.look(fake, || at * SECOND).unwrap();
}

fn refused(rounds: &Rounds, last: u64) -> u64 {
    let window = rounds.window(Duration::from_secs(last));
    let cell = Cell::handshake(Outcome::Refused, Traffic::Unknown);
    window.ports.get(&PORT).map_or(0, |c| c.get(cell))
}

#[test]
fn a_fault_that_starts_and_stops_is_in_its_window_alone() {
    let (fake, mut rounds) = (Fake::default(), Rounds::new(0));
    for at in 1..=120 {
        if (41..=50).contains(&at) {
            fake.fails(PORT, Failure::Refused, 2);
        }
        look(&mut rounds, &fake, at);
    }
    // The fault lasted from second 40 to second 50.
    assert_eq!(refused(&rounds, 60), 0);
    assert_eq!(refused(&rounds, 70), 0);
    assert_eq!(refused(&rounds, 71), 2);
    assert_eq!(refused(&rounds, 80), 20);
    assert_eq!(refused(&rounds, 900), 20);
    let window = rounds.window(Duration::from_secs(75));
    assert_eq!(window.length, Duration::from_secs(75));
    assert_eq!(window.kinds.values().sum::<u64>(), 10);
}

#[test]
fn a_window_is_all_that_was_asked_for_and_whole_rounds() {
    let (fake, mut rounds) = (Fake::default(), Rounds::new(0));
    for at in [2, 4, 9] {
        look(&mut rounds, &fake, at);
    }
    let length = |last| rounds.window(Duration::from_secs(last)).length.as_secs();
    assert_eq!([length(1), length(5), length(6), length(7)], [5, 5, 7, 7]);
    assert_eq!(length(900), 9);
    assert_eq!(rounds.reach(), Duration::from_secs(9));
}

#[test]
fn a_window_in_which_rounds_end_reaches_back_to_its_beginning() {
    const MS: u64 = SECOND / 1_000;
    let (fake, mut rounds) = (Fake::default(), Rounds::new(0));
    fake.fails(PORT, Failure::Refused, 7);
    // As without a daemon: a round of a second, and a look right after it.
    rounds.look(&fake, || 1_000 * MS).unwrap();
    rounds.look(&fake, || 1_003 * MS).unwrap();
    let window = rounds.window(Duration::from_millis(1_002));
    assert_eq!(window.length, Duration::from_millis(1_003));
    assert_eq!(window.kinds.values().sum::<u64>(), 7);
}

#[test]
fn a_refusal_that_is_reported_late_hides_no_flow() {
    let (fake, mut rounds) = (Fake::default(), Rounds::new(0));
    for at in [10, 9] {
        fake.record(PORT, Failure::Refused, at * SECOND);
    }
    look(&mut rounds, &fake, 11);
    let window = rounds.window(Duration::from_secs(60));
    assert_eq!(rounds.single(&window, 10 * SECOND).flows.len(), 1);
    assert_eq!(rounds.single(&window, 9 * SECOND).flows.len(), 2);
}

#[test]
fn gauges_are_as_they_stand() {
    let (fake, mut rounds) = (Fake::default(), Rounds::new(0));
    for (at, pending) in [(1, 5), (2, 7), (3, 3)] {
        let cells = [(Cell::ATTEMPTS, 10 + at), (Cell::PENDING, pending)];
        fake.set(|state| {
            state.ports.insert(PORT, counters(&cells));
        });
        look(&mut rounds, &fake, at);
    }
    let window = rounds.window(Duration::from_secs(2));
    let port = &window.ports[&PORT];
    assert_eq!((port.get(Cell::ATTEMPTS), port.get(Cell::PENDING)), (2, 3));
}

#[test]
fn a_place_given_to_another_backend_counts_anew() {
    let (fake, mut rounds) = (Fake::default(), Rounds::new(0));
    fake.backend(1, PORT, 7);
    fake.kind(PORT, Failure::Refused, 1, 5);
    look(&mut rounds, &fake, 1);
    fake.backend(1, PORT, 8);
    fake.kind(PORT, Failure::Refused, 1, 1);
    look(&mut rounds, &fake, 2);
    let window = rounds.window(Duration::from_secs(60));
    let mut by_backend = window.kinds.iter();
    let (first, count) = by_backend.next().unwrap();
    assert_eq!(
        (first.backend.unwrap().to_string(), *count),
        ("10.1.1.7:9092".into(), 5)
    );
    let (second, count) = by_backend.next().unwrap();
    assert_eq!(
        (second.backend.unwrap().to_string(), *count),
        ("10.1.1.8:9092".into(), 6)
    );
}

const ONE: Sent = Sent {
    attempts: 1,
    passive_opens: 1,
};

#[test]
fn history_is_bounded_by_age_and_by_bytes() {
    let age = Duration::from_secs(900);
    let mut history = History::new(0, 512 * 1024, age);
    for at in 1..=2_000 {
        history.push(at * SECOND, &Changes::default());
    }
    assert_eq!(history.reach(), age);
    for at in 2_001..=4_000_u64 {
        let changes = Changes {
            cells: (0..200)
                .map(|i| (30_000 + i, i % 150, at * 1_000))
                .collect(),
            sent: (0..5)
                .map(|i| {
                    (
                        (PORT, std::net::SocketAddr::from(([10, 0, at as u8, i], 80))),
                        ONE,
                    )
                })
                .collect(),
            ..Changes::default()
        };
        history.push(at * SECOND, &changes);
        assert!(history.bytes() <= 512 * 1024, "{}", history.bytes());
    }
    assert!(history.reach() < age && history.reach() > Duration::from_secs(5));
    let window = history.window(age);
    assert_eq!(window.length, history.reach());
    let rounds = window.length.as_secs();
    assert_eq!(
        window.sent.values().map(|s| s.attempts).sum::<u64>(),
        5 * rounds
    );
    // 200 busy ports and 200 backends for two minutes and more, at least.
    let mut large = History::new(0, 4 * 1024 * 1024, age);
    for at in 1..=900_u64 {
        let cells = (0..200).flat_map(|p| (0..12).map(move |c| (30_000 + p, c * 9, 1_000)));
        let backend = |i: u8| std::net::SocketAddr::from(([10, 0, 0, i], 9092));
        let changes = Changes {
            cells: cells.collect(),
            sent: (0..200).map(|i| ((PORT, backend(i)), ONE)).collect(),
            ..Changes::default()
        };
        large.push(at * SECOND, &changes);
    }
    assert!(
        large.reach() > Duration::from_secs(120),
        "{:?}",
        large.reach()
    );
}
