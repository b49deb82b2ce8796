//! Rows add up at any window, whenever attempts begin, fail and are reported.

use proptest::prelude::*;

use super::*;
use crate::recorder::tried::Tried;

const SECOND: u64 = 1_000_000_000;

/// What happens between two looks.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Begins,
    Untracked,
    Established,
    /// Its outcome is counted; it is reported at once, later, or never.
    Fails(usize, Reported),
    /// The oldest of those that wait to be.
    IsReported,
    /// The kind of a failure is read with the look before its outcome.
    OutcomeAfterKind(usize),
}

#[derive(Clone, Copy, Debug)]
enum Reported {
    AtOnce,
    Later,
    Never,
}

const FAILURES: [Failure; 5] = [
    Failure::Refused,
    Failure::Unreachable,
    Failure::TimedOut,
    Failure::Unacked,
    Failure::Cancelled,
];

fn happening() -> impl Strategy<Value = Happening> {
    let reported = prop_oneof![
        3 => Just(Reported::AtOnce),
        3 => Just(Reported::Later),
        1 => Just(Reported::Never)
    ];
    prop_oneof![
        5 => Just(Happening::Begins),
        1 => Just(Happening::Untracked),
        2 => Just(Happening::Established),
        4 => (0..FAILURES.len(), reported).prop_map(|(f, r)| Happening::Fails(f, r)),
        2 => Just(Happening::IsReported),
        1 => (0..FAILURES.len()).prop_map(Happening::OutcomeAfterKind),
    ]
}

#[derive(Default)]
struct Node {
    fake: Fake,
    pending: u64,
    waits: std::collections::VecDeque<Failure>,
}

impl Node {
    fn add(&self, cells: &[(Cell, i64)]) {
        self.fake.set(|state| {
            let counters = state.ports.entry(PORT).or_insert(PortCounters::ZERO);
            for (cell, delta) in cells {
                counters.add(*cell, *delta);
            }
        });
    }

    /// Ends an attempt, should one be pending.
    fn ends(&mut self, outcome: &str) -> bool {
        let Some(pending) = self.pending.checked_sub(1) else {
            return false;
        };
        self.pending = pending;
        let outcome = Outcome::ALL.iter().find(|o| o.as_str() == outcome).unwrap();
        let outcome = Cell::handshake(*outcome, Traffic::Thrift);
        self.add(&[(Cell::PENDING, -1), (outcome, 1)]);
        true
    }

    /// Returns the outcome that is due after the next look.
    fn happens(&mut self, what: Happening) -> Option<Failure> {
        match what {
            Happening::Begins => {
                self.pending += 1;
                self.add(&[(Cell::ATTEMPTS, 1), (Cell::PENDING, 1)]);
            }
            Happening::Untracked => self.add(&[(Cell::ATTEMPTS, 1), (Cell::UNTRACKED, 1)]),
            Happening::Established => {
                self.ends("established");
            }
            Happening::Fails(failure, reported) => {
                let failure = FAILURES[failure];
                if self.ends(failure.as_str()) {
                    match reported {
                        Reported::AtOnce => self.fake.kind(PORT, failure, 0, 1),
                        Reported::Later => self.waits.push_back(failure),
                        Reported::Never => {}
                    }
                }
            }
            Happening::IsReported => {
                if let Some(failure) = self.waits.pop_front() {
                    self.fake.kind(PORT, failure, 0, 1);
                }
            }
            Happening::OutcomeAfterKind(failure) if self.pending > 0 => {
                self.fake.kind(PORT, FAILURES[failure], 0, 1);
                return Some(FAILURES[failure]);
            }
            Happening::OutcomeAfterKind(_) => {}
        }
        None
    }
}

fn assert_adds_up(tried: &Tried) -> Result<(), TestCaseError> {
    let good = ["established", "half_open"];
    let failed = tried.outcomes.iter();
    let failed = failed.filter(|(word, _)| !good.contains(&word.as_str()));
    let failed: u64 = failed.map(|(_, count)| count).sum();
    prop_assert_eq!(failed, tried.failed);
    prop_assert_eq!(failed, tried.answered_by.values().sum::<u64>());
    let ended = tried.outcomes.values().sum::<u64>();
    prop_assert_eq!(tried.attempts, ended + tried.untracked + tried.undecided);
    prop_assert_eq!(ended, tried.traffic.values().sum::<u64>());
    prop_assert!(tried.attempts >= tried.failed && tried.attempts >= tried.begun);
    Ok(())
}

proptest! {
    #[test]
    fn tried_is_never_less_than_failed_and_failed_is_the_sum_of_answers(
        rounds in prop::collection::vec(prop::collection::vec(happening(), 0..12), 1..30),
        windows in prop::collection::vec(1..40_u64, 8),
    ) {
        let (mut node, mut all) = (Node::default(), Rounds::new(0));
        let looks = rounds.len() as u64;
        for (round, happenings) in (1..).zip(rounds) {
            let due: Vec<_> = happenings.into_iter().filter_map(|h| node.happens(h)).collect();
            all.look(&node.fake, || round * SECOND).unwrap();
            for failure in due {
                node.ends(failure.as_str());
            }
            for last in windows.iter().filter(|_| round + 4 > looks) {
                let window = all.window(Duration::from_secs(*last));
                let counters = window.ports.get(&PORT).cloned().unwrap_or_default();
                assert_adds_up(&Tried::new(&counters, window.reported(PORT)))?;
            }
        }
    }
}

#[test]
fn an_attempt_from_before_the_window_is_tried_and_failed_within_it() {
    let (mut node, mut rounds) = (Node::default(), Rounds::new(0));
    for _ in 0..22 {
        node.happens(Happening::Begins);
    }
    rounds.look(&node.fake, || SECOND).unwrap();
    for _ in 0..20 {
        node.happens(Happening::Fails(2, Reported::AtOnce));
    }
    rounds.look(&node.fake, || 6 * SECOND).unwrap();
    let tried = |last| {
        let window = rounds.window(Duration::from_secs(last));
        Tried::new(&window.ports[&PORT], window.reported(PORT))
    };
    let of = |tried: &Tried| (tried.attempts, tried.begun, tried.failed, tried.undecided);
    assert_eq!(of(&tried(5)), (22, 0, 20, 2));
    assert_eq!(of(&tried(6)), (22, 22, 20, 2));
    // Nothing has happened since, and two are still under way.
    rounds.look(&node.fake, || 7 * SECOND).unwrap();
    let window = rounds.window(Duration::from_secs(1));
    let still = Tried::new(&window.ports[&PORT], window.reported(PORT));
    assert_eq!(of(&still), (2, 0, 0, 2));
}

#[test]
fn a_refusal_whose_cause_comes_later_is_told_without_it_meanwhile() {
    let node = Node::default();
    node.fake.ends(PORT, Failure::Refused, 5);
    node.fake.kind(PORT, Failure::Refused, 0, 3);
    let recorder = Recorder::bare(Arc::new(node.fake) as Arc<dyn Source>);
    let told = recorder.explain(Duration::from_secs(60), &[]).unwrap();
    let row = &told.ports[0];
    assert_eq!(
        (row.attempts, row.failed, row.outcomes["refused"]),
        (5, 5, 5)
    );
    assert_eq!(
        row.answered_by,
        [("none".into(), 3), ("unknown".into(), 2)].into()
    );
}
