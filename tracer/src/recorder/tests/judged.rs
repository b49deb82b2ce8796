//! Verdicts and outcomes agree at every scrape, whatever is lost or late.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::counted::Counted;

#[derive(Clone, Debug)]
enum Step {
    /// Attempts fail, and so many of their kinds are counted now, later, or
    /// never.
    Fail {
        port: u16,
        failure: usize,
        count: u64,
        now: u64,
        later: u64,
    },
    /// The table of kinds is emptied of what is old.
    Forget,
    /// A backend's place is given to another.
    Backend(u16, u8),
    Explain,
    Scrape,
}

fn step() -> impl Strategy<Value = Step> {
    let fail = (0..3_u16, 0..5_usize, 0..9_u64, 0..9_u64, 0..9_u64);
    let fail = fail.prop_map(|(port, failure, count, now, later)| Step::Fail {
        port: PORT + port,
        failure,
        count,
        now,
        later,
    });
    prop_oneof![
        4 => fail,
        1 => Just(Step::Forget),
        1 => (1..4_u16, any::<u8>()).prop_map(|(index, last)| Step::Backend(index, last)),
        1 => Just(Step::Explain),
        3 => Just(Step::Scrape),
    ]
}

/// Checks a scrape against the counters and the one before it.
fn check(
    scrape: &Scrape,
    before: &mut BTreeMap<(Option<u16>, usize), u64>,
) -> Result<(), TestCaseError> {
    for (port, counters) in &scrape.snapshot.ports {
        prop_assert_eq!(fake::judged(scrape, *port), ledger::failed(counters));
    }
    for (port, counts) in &scrape.listed.verdicts {
        for (verdict, count) in counts.iter().enumerate() {
            let before = before.entry((*port, verdict)).or_default();
            prop_assert!(*count >= *before, "{port:?} {verdict} fell");
            *before = *count;
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn verdicts_are_as_many_as_failed_outcomes(steps in prop::collection::vec(step(), 1..40)) {
        let fake = Arc::new(Fake::default());
        let recorder = Recorder::bare(Arc::clone(&fake) as Arc<dyn Source>);
        let mut before = BTreeMap::new();
        let mut late = Vec::new();
        for step in steps {
            match step {
                Step::Fail { port, failure, count, now, later } => {
                    let failure = Failure::ALL[failure];
                    fake.ends(port, failure, count);
                    fake.kind(port, failure, failure as u16, now);
                    late.push((port, failure, later));
                }
                Step::Forget => fake.set(|state| state.kinds.clear()),
                Step::Backend(index, last) => fake.backend(index, PORT, last),
                Step::Explain => {
                    recorder.explain(Duration::from_secs(60), &[]).unwrap();
                }
                Step::Scrape => {
                    check(&recorder.scrape().unwrap(), &mut before)?;
                    for (port, failure, count) in late.drain(..) {
                        fake.kind(port, failure, 0, count);
                    }
                }
            }
        }
        check(&recorder.scrape().unwrap(), &mut before)?;
    }

    /// The same of the ledger alone, with every verdict.
    #[test]
    fn ledgers_agree_and_never_fall(
        rounds in prop::collection::vec(
            (0..20_u64, prop::collection::vec((0..verdict::Verdict::COUNT, 0..9_u64), 0..6)),
            1..50,
        ),
    ) {
        let mut ledger = ledger::Ledger::default();
        let mut before = [0; verdict::Verdict::COUNT];
        let mut total = 0;
        for (ended, judged) in rounds {
            total += ended;
            for (verdict, count) in judged {
                ledger.judged(PORT, verdict::Verdict::ALL[verdict], count);
            }
            let refused = Cell::handshake(Outcome::Refused, Traffic::Unknown);
            ledger.settle(&[(PORT, Counted::from(&counters(&[(refused, total)])))]);
            let counts = ledger.counts().first().map_or(before, |(_, counts)| *counts);
            prop_assert_eq!(counts.iter().sum::<u64>(), total);
            prop_assert!(counts.iter().zip(before).all(|(now, before)| *now >= before));
            before = counts;
        }
    }
}

#[test]
fn what_was_judged_in_time_is_never_unexplained() {
    let mut ledger = ledger::Ledger::default();
    let refused = Cell::handshake(Outcome::Refused, Traffic::Unknown);
    let at = verdict::Verdict::NothingListens;
    // Judged one round before its outcome is seen.
    ledger.judged(PORT, at, 3);
    ledger.settle(&[(PORT, Counted::from(&counters(&[(refused, 2)])))]);
    ledger.settle(&[(PORT, Counted::from(&counters(&[(refused, 3)])))]);
    assert_eq!(ledger.counts()[0].1[at.index()], 3);
    // Lost: its outcome is unexplained, and the one after it is not.
    ledger.settle(&[(PORT, Counted::from(&counters(&[(refused, 4)])))]);
    ledger.judged(PORT, at, 1);
    ledger.settle(&[(PORT, Counted::from(&counters(&[(refused, 5)])))]);
    let counts = ledger.counts()[0].1;
    assert_eq!(counts[at.index()], 4);
    assert_eq!(counts[verdict::Verdict::Unexplained.index()], 1);
}

#[test]
fn refusals_wait_until_the_kernel_has_reported_them() {
    let mut ledger = ledger::Ledger::default();
    let refused = Cell::handshake(Outcome::Refused, Traffic::Unknown);
    let at = verdict::Verdict::NothingListens;
    ledger.settle(&[(
        PORT,
        Counted::from(&counters(&[(refused, 3), (Cell::UNREPORTED, 3)])),
    )]);
    assert_eq!(ledger.counts(), []);
    ledger.judged(PORT, at, 2);
    ledger.settle(&[(
        PORT,
        Counted::from(&counters(&[(refused, 3), (Cell::UNREPORTED, 1)])),
    )]);
    let counts = ledger.counts()[0].1;
    assert_eq!((counts[at.index()], counts.iter().sum::<u64>()), (2, 2));
}

#[test]
fn backends_beyond_the_limit_count_together_and_go_with_their_place() {
    let mut ledger = ledger::BackendLedger::new(2);
    let place = |i: u8| (PORT, std::net::SocketAddr::from(([10, 0, 0, i], 9092)));
    for i in 0..5 {
        ledger.count(place(i), Failure::Refused, 1);
    }
    let of = |ledger: &ledger::BackendLedger| -> Vec<(bool, u64)> {
        let counts = ledger.counts();
        counts
            .iter()
            .map(|(_, b, c)| (b.is_some(), c.iter().sum()))
            .collect()
    };
    assert_eq!(of(&ledger), [(true, 1), (true, 1), (false, 3)]);
    ledger.retain(&[place(1)].into());
    assert_eq!(of(&ledger), [(true, 1), (false, 3)]);
    ledger.count(place(4), Failure::Late, 1);
    assert_eq!(of(&ledger), [(true, 1), (true, 1), (false, 3)]);
}
