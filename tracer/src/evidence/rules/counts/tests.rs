use super::*;
use crate::evidence::rules::{
    Action, Family, Tool,
    table::{Op, Rule, Verdict},
};

const STEP: Duration = Duration::from_secs(5);
const WINDOW: Duration = Duration::from_secs(60);

fn start() -> Instant {
    Instant::now() + 2 * KEPT
}

/// Rules that drop, by handle and packets.
fn tables(rules: &[(u64, u64)]) -> Tables {
    let rule = |(handle, packets): &(u64, u64)| Rule {
        ops: Box::new([Op::Verdict(Verdict::Stop(Action::Drop))]),
        handle: *handle,
        packets: Some(*packets),
        comment: None,
    };
    Tables {
        tables: vec![Table {
            family: Family::Ipv4,
            tool: Tool::Nftables,
            name: "t".into(),
        }],
        chains: vec![Chain {
            table: 0,
            name: "c".into(),
            base: None,
            read: true,
            rules: rules.iter().map(rule).collect(),
        }],
        sets: Vec::new(),
    }
}

fn rise(counts: &Counts, tables: &Tables, rule: u32, window: Duration) -> Option<u64> {
    let packets = tables.chains[0].rules[rule as usize].packets.unwrap();
    let key = Key::new(tables, 0, Some(rule)).unwrap();
    counts.baseline(window).rise(key, packets)
}

#[test]
fn rises_are_since_the_first_reading_within_the_window() {
    let (mut counts, start) = (Counts::default(), start());
    let mut last = tables(&[]);
    for step in 0..100 {
        last = tables(&[(1, step), (2, 7)]);
        counts.add(start + STEP * step as u32, &last, false);
        let expected = (step > 0).then(|| step.min(12));
        assert_eq!(rise(&counts, &last, 0, WINDOW), expected);
    }
    assert_eq!(rise(&counts, &last, 1, WINDOW), Some(0));
    assert_eq!(rise(&counts, &last, 0, KEPT), Some(99));
    assert_eq!(rise(&counts, &last, 0, Duration::from_secs(1)), None);
}

#[test]
fn new_rules_and_fallen_counters_begin_at_zero() {
    let (mut counts, start) = (Counts::default(), start());
    counts.add(start, &tables(&[(1, 50)]), false);
    let last = tables(&[(9, 4), (1, 3)]);
    counts.add(start + STEP, &last, false);
    assert_eq!(rise(&counts, &last, 0, WINDOW), Some(4));
    assert_eq!(rise(&counts, &last, 1, WINDOW), Some(3));
}

/// Its counters may be years old.
#[test]
fn a_chain_that_was_not_read_before_has_no_rise() {
    let (mut counts, start) = (Counts::default(), start());
    let unread = |mut tables: Tables| {
        tables.chains[0].read = false;
        tables.chains[0].rules.clear();
        tables
    };
    let at = |step: u32| start + STEP * step;
    counts.add(at(0), &unread(tables(&[])), false);
    counts.add(at(1), &tables(&[(1, 700)]), false);
    assert_eq!(rise(&counts, &tables(&[(1, 700)]), 0, WINDOW), None);
    counts.add(at(2), &tables(&[(1, 703)]), false);
    let last = tables(&[(1, 703)]);
    assert_eq!(rise(&counts, &last, 0, WINDOW), None);
    // Once the window begins where it was read.
    assert_eq!(rise(&counts, &last, 0, STEP), Some(3));
    counts.add(at(3), &unread(tables(&[])), false);
    counts.add(at(4), &tables(&[(1, 709)]), false);
    assert_eq!(rise(&counts, &tables(&[(1, 709)]), 0, STEP), None);
    // Nor one that a reading with gaps did not show; one that is new has.
    let none = Tables::default();
    counts.add(at(5), &none, true);
    counts.add(at(6), &last, false);
    assert_eq!(rise(&counts, &last, 0, STEP), None);
    counts.add(at(7), &none, false);
    counts.add(at(8), &last, false);
    assert_eq!(rise(&counts, &last, 0, STEP), Some(703));
}

#[test]
fn of_more_counters_than_are_kept_none_has_a_rise() {
    let (mut counts, start) = (Counts::default(), start());
    let rules = |packets| Vec::from_iter((1..=COUNTERS as u64 + 1).map(|n| (n, packets)));
    let mut last = tables(&rules(1));
    counts.add(start, &last, false);
    last = tables(&rules(2));
    counts.add(start + STEP, &last, false);
    for rule in [0, COUNTERS as u32] {
        assert_eq!(rise(&counts, &last, rule, WINDOW), None);
    }
    last = tables(&rules(3)[1..]);
    for step in 2..4 {
        counts.add(start + STEP * step, &last, false);
    }
    assert_eq!(rise(&counts, &last, 0, WINDOW), None);
    assert_eq!(rise(&counts, &last, 0, STEP), Some(0));
}

#[test]
fn memory_is_bounded() {
    let (mut counts, start) = (Counts::default(), start());
    for step in 0..40 {
        let rules: Vec<_> = (1..=1000).map(|handle| (handle, step)).collect();
        counts.add(start + STEP * step as u32, &tables(&rules), false);
    }
    assert!(counts.changes.len() <= CHANGES);
    let last = tables(&[(1, 39)]);
    // What is kept of the changes reaches back less far than the window.
    assert_eq!(rise(&counts, &last, 0, KEPT), Some(16));
    for step in 40..4000 {
        counts.add(start + STEP * step, &tables(&[]), false);
    }
    assert!(counts.changes.is_empty() && counts.last.is_empty());
    assert!(counts.readings.len() <= READINGS);
}
