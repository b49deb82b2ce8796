use std::collections::BTreeMap;

use proptest::prelude::*;
use tracer_common::{
    counters::Tally as _,
    words::{Lost, Outcome},
};

use super::{super::ledger, *};

const PORT: u16 = 31_000;
const PORTS: u16 = 6;
const FEW: Most = Most {
    at_once: 1,
    insisted: 2,
};
const SECOND: u64 = 1_000_000_000;
const REFUSED: Cell = Cell::handshake(Outcome::Refused, Traffic::Unknown);

/// Ports with their counters and verdicts, as the kernel and the ledger have them.
#[derive(Default)]
struct Node {
    ports: BTreeMap<u16, (PortCounters, ByVerdict)>,
    /// Those that the kernel programs count together, and their counts.
    sharing: Vec<u16>,
    shared: Option<(PortCounters, ByVerdict)>,
    now: u64,
}

impl Node {
    fn port(&mut self, port: u16) -> &mut (PortCounters, ByVerdict) {
        let empty = (PortCounters::ZERO, [0; Verdict::COUNT]);
        self.ports.entry(PORT + port).or_insert(empty)
    }

    fn add(&mut self, port: u16, cells: &[(Cell, i64)]) {
        for (cell, delta) in cells {
            self.port(port).0.add(*cell, *delta);
        }
    }

    /// A SYN that is refused at once, with its verdict.
    fn refuse(&mut self, port: u16) {
        self.add(port, &[(Cell::ATTEMPTS, 1), (REFUSED, 1)]);
        self.port(port).1[Verdict::NoServiceRule.index()] += 1;
    }

    fn look(&self, listing: &mut Listing, known: &[u16]) -> Listed {
        let shared = self.shared.iter().map(|counts| (SHARED_PORT, counts));
        let own = self.ports.iter().map(|(port, counts)| (*port, counts));
        let all: Vec<_> = shared.chain(own).collect();
        let snapshot = Snapshot {
            ports: all
                .iter()
                .map(|(port, (c, _))| (*port, Counted::from(c)))
                .collect(),
            sharing: self.sharing.clone(),
            lost: [0; Lost::COUNT],
            misses: 0,
            addresses: 0,
            flows: 0,
            flows_capacity: 0,
            hooks: Vec::new(),
        };
        let verdicts: Vec<_> = all.iter().map(|(port, (_, v))| (*port, *v)).collect();
        let is_known = |port| known.contains(&port);
        listing.look(self.now * SECOND, &snapshot, &verdicts, is_known)
    }

    fn attempts(&self) -> u64 {
        let all = self.ports.values().chain(&self.shared);
        all.map(|(counters, _)| counters.get(Cell::ATTEMPTS)).sum()
    }
}

fn attempts(listed: &Listed, port: Option<u16>) -> Option<u64> {
    let found = listed.ports.iter().find(|(of, _)| *of == port);
    found.map(|(_, counters)| counters.get(Cell::ATTEMPTS))
}

fn own(listed: &Listed) -> Vec<u16> {
    listed.ports.iter().filter_map(|(port, _)| *port).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Try(u16),
    Refuse(u16),
    Report(u16),
    Answer(u16),
    Wait(u64),
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    let port = || 0..PORTS;
    prop_oneof![
        3 => port().prop_map(Step::Try),
        3 => port().prop_map(Step::Refuse),
        3 => port().prop_map(Step::Report),
        1 => port().prop_map(Step::Answer),
        2 => (1..40_u64).prop_map(Step::Wait),
        4 => Just(Step::Look),
    ]
}

/// Does a step as far as it can be done.
fn take_step(node: &mut Node, step: &Step) {
    match *step {
        Step::Try(port) => node.add(port, &[(Cell::ATTEMPTS, 1), (Cell::PENDING, 1)]),
        Step::Refuse(port) if node.port(port).0.get(Cell::PENDING) > 0 => {
            let refused = [(REFUSED, 1), (Cell::PENDING, -1), (Cell::UNREPORTED, 1)];
            node.add(port, &refused);
        }
        Step::Report(port) if node.port(port).0.get(Cell::UNREPORTED) > 0 => {
            node.add(port, &[(Cell::UNREPORTED, -1)]);
            node.port(port).1[usize::from(port)] += 1;
        }
        Step::Answer(port) if node.port(port).0.get(Cell::PENDING) > 0 => {
            let open = (Cell::open(Traffic::Unknown), 1);
            node.add(port, &[(Cell::latency(Answer::SynAck, 3), 1), open]);
        }
        Step::Wait(seconds) => node.now += seconds,
        _ => {}
    }
}

/// The values of a look that may not fall.
fn counts(listed: &Listed) -> BTreeMap<(Option<u16>, usize), u64> {
    let is_gauge = |cell: usize| {
        let open = Traffic::ALL.iter().map(|t| Cell::open(*t));
        let mut gauges = open.chain([Cell::PENDING, Cell::UNREPORTED]);
        gauges.any(|gauge| gauge.index() == cell)
    };
    let mut all = BTreeMap::new();
    for (port, counters) in &listed.ports {
        let counters = PortCounters::from(counters);
        let cells = counters.0.iter().enumerate();
        let cells = cells.filter(|(at, _)| !is_gauge(*at));
        all.extend(cells.map(|(at, count)| ((*port, at), *count)));
    }
    for (port, counts) in &listed.verdicts {
        let counts = counts.iter().enumerate();
        all.extend(counts.map(|(at, count)| ((*port, 10_000 + at), *count)));
    }
    all
}

fn check(node: &Node, listed: &Listed) -> Result<(), TestCaseError> {
    let mut sum = 0;
    for (port, counters) in &listed.ports {
        prop_assert!(PortCounters::from(counters).balances(), "{port:?}");
        prop_assert!(counters.get(Cell::PENDING).cast_signed() >= 0, "{port:?}");
        sum += counters.get(Cell::ATTEMPTS);
        let judged = listed.verdicts.iter().find(|(of, _)| of == port);
        let judged: u64 = judged.map_or(0, |(_, counts)| counts.iter().sum());
        let reported = ledger::failed(counters) - counters.get(Cell::UNREPORTED);
        prop_assert_eq!(judged, reported, "{:?}", port);
    }
    let open = |port: &u16| !is_settled(&Counted::from(&node.ports[port].0));
    let waits = node.ports.keys().any(open);
    prop_assert!(sum <= node.attempts() && (waits || sum == node.attempts()));
    Ok(())
}

proptest! {
    /// Identity and verdicts hold in each row, nothing falls or is counted twice,
    /// and no more ports than the limit are listed that nobody has answered at.
    #[test]
    fn whatever_happens(steps in prop::collection::vec(step(), 1..200)) {
        let (mut node, mut listing) = (Node::default(), Listing::with(1000, FEW));
        let mut before = BTreeMap::new();
        for step in steps.iter().chain([&Step::Look]) {
            take_step(&mut node, step);
            if !matches!(step, Step::Look) {
                continue;
            }
            let listed = node.look(&mut listing, &[]);
            check(&node, &listed)?;
            let now = counts(&listed);
            for (of, count) in &before {
                prop_assert!(now.get(of).is_some_and(|now| now >= count), "{of:?} fell");
            }
            before = now;
            let unproven = own(&listed);
            let unproven = unproven.iter().filter(|port| !has_answered(&Counted::from(&node.ports[*port].0)));
            prop_assert!(unproven.count() <= FEW.insisted);
        }
    }
}

/// The kernel programs count a port's attempts in its own row or in the shared one.
#[test]
fn what_the_kernel_counts_together_is_other() {
    let (mut node, mut listing) = (Node::default(), Listing::new(65_535));
    node.refuse(1);
    node.refuse(2);
    let mut shared = node.ports[&(PORT + 2)];
    shared.0.add(Cell::ATTEMPTS, 4);
    shared.0.add(Cell::PENDING, 4);
    node.ports.remove(&(PORT + 2));
    (node.shared, node.sharing) = (Some(shared), vec![PORT + 2, PORT + 3]);
    let listed = node.look(&mut listing, &[]);
    check(&node, &listed).unwrap();
    assert_eq!(own(&listed), [PORT + 1]);
    assert_eq!((attempts(&listed, None), listed.others), (Some(5), Some(2)));
}

#[test]
fn a_scan_adds_64_rows() {
    let (mut node, mut listing) = (Node::default(), Listing::new(2768));
    assert!(own(&node.look(&mut listing, &[])).is_empty());
    for port in 0..2000 {
        node.refuse(port);
        node.refuse(port);
    }
    let listed = node.look(&mut listing, &[]);
    assert_eq!(own(&listed).len(), 64);
    let rest = 2000 - 64;
    assert_eq!(
        (attempts(&listed, None), listed.others),
        (Some(2 * rest), Some(rest as usize))
    );
    node.refuse(1999);
    assert_eq!(own(&node.look(&mut listing, &[])).len(), 64);
}

/// A place goes to the next one when somebody has been seen there.
#[test]
fn who_has_answered_takes_no_place_of_those_who_have_not() {
    let (mut node, mut listing) = (Node::default(), Listing::new(2768));
    for port in 0..64 {
        node.refuse(port);
    }
    assert_eq!(own(&node.look(&mut listing, &[])).len(), 64);
    node.refuse(100);
    assert_eq!(own(&node.look(&mut listing, &[])).len(), 64);
    assert_eq!(own(&node.look(&mut listing, &[PORT])).len(), 65);
    node.refuse(101);
    assert_eq!(own(&node.look(&mut listing, &[PORT])).len(), 65);
}

#[test]
fn a_dead_port_that_is_checked_gets_its_row() {
    let (mut node, mut listing) = (Node::default(), Listing::new(2768));
    for port in 0..2000 {
        node.refuse(port);
    }
    let mut listed = node.look(&mut listing, &[]);
    for _ in 0..6 {
        node.refuse(1007);
        node.now += 10;
        listed = node.look(&mut listing, &[]);
    }
    assert_eq!(own(&listed).last(), Some(&(PORT + 1007)));
    // What it had counted before stays where it is.
    assert_eq!(attempts(&listed, Some(PORT + 1007)), Some(3));
    assert_eq!(attempts(&listed, None), Some(2003 - 64));
}

#[test]
fn who_is_known_or_answers_has_a_row_at_once() {
    let none = Most {
        at_once: 0,
        insisted: 0,
    };
    let (mut node, mut listing) = (Node::default(), Listing::with(2768, none));
    node.refuse(1);
    node.refuse(2);
    node.add(3, &[(Cell::ATTEMPTS, 1), (Cell::PENDING, 1)]);
    node.add(3, &[(Cell::latency(Answer::SynAck, 0), 1)]);
    let listed = node.look(&mut listing, &[PORT + 1]);
    assert_eq!(own(&listed), [PORT + 1, PORT + 3]);
    assert_eq!(attempts(&listed, Some(PORT + 1)), Some(1));
}

#[test]
fn few_ports_all_have_rows() {
    let (mut node, mut listing) = (Node::default(), Listing::new(64));
    node.refuse(1);
    let listed = node.look(&mut listing, &[]);
    assert_eq!((own(&listed), listed.others), (vec![PORT + 1], None));
    assert_eq!(listed.ports.len(), 1);
}
