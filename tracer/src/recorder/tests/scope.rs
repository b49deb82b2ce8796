//! Who failed and who succeeded, by address dialled, client and backend.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use proptest::prelude::*;
use tracer_common::failure::FailureKey;

use super::*;
use crate::{
    evidence::{InterfaceName, Served},
    recorder::{
        history::{Changes, History, Kind},
        served::{Counts, Whose},
    },
};

const SECOND: u64 = 1_000_000_000;

fn look(rounds: &mut Rounds, fake: &Fake, at: u64) {
    rounds.look(fake, || at * SECOND).unwrap();
}

fn ip(i: u32) -> IpAddr {
    IpAddr::from(i.to_be_bytes())
}

#[test]
fn kinds_keep_the_address_when_its_number_becomes_another_s() {
    let (fake, mut rounds) = (Fake::default(), Rounds::new(0));
    fake.address(1, [10, 0, 0, 1]);
    fake.dialled(PORT, Failure::Refused, 1, 5);
    fake.dialled(PORT, Failure::Refused, 0, 1);
    look(&mut rounds, &fake, 1);
    fake.address(1, [10, 0, 0, 2]);
    fake.set(|state| state.kinds.clear());
    // As many as there were of the other.
    fake.dialled(PORT, Failure::Refused, 1, 5);
    look(&mut rounds, &fake, 2);
    let window = rounds.window(Duration::from_secs(60));
    let kinds = window.kinds.iter();
    let counts: BTreeMap<_, u64> = kinds.map(|(kind, n)| (kind.dialled, *n)).collect();
    let address = |last: u8| Some(IpAddr::from([10, 0, 0, last]));
    assert_eq!(counts, [(None, 1), (address(1), 5), (address(2), 5)].into());
}

#[test]
fn who_is_served_is_counted_in_its_window_alone() {
    let (fake, mut rounds) = (Fake::default(), Rounds::new(0));
    fake.backend(1, PORT, 7);
    for at in 1..=10 {
        if at != 5 {
            fake.served(PORT, [10, 9, 8, at as u8 % 2], 1, 2);
        }
        look(&mut rounds, &fake, at);
    }
    let served = |last| rounds.window(Duration::from_secs(last)).served;
    assert_eq!(served(60).values().sum::<u64>(), 18);
    let counts: Vec<u64> = served(5).into_values().collect();
    assert_eq!(counts, [6, 4]);
    let (whose, _) = served(1).into_iter().next().unwrap();
    let backend = whose.backend.unwrap().to_string();
    assert_eq!((whose.node_port, &*backend), (PORT, "10.1.1.7:9092"));
    let (client, node) = (whose.client.unwrap(), whose.dialled);
    assert_eq!(
        (&*client.to_string(), &*node.to_string()),
        ("10.9.8.0", "10.0.0.1")
    );
}

#[test]
fn what_worked_between_failures_is_amid_them() {
    let (fake, mut rounds) = (Fake::default(), Rounds::new(0));
    for at in 1..=40_u64 {
        // Failures at 10 s and 13 s, and one long after.
        if [10, 13, 30].contains(&at) {
            fake.fails(PORT, Failure::Refused, 1);
            fake.record(PORT, Failure::Refused, at * SECOND);
        }
        fake.served(PORT, [10, 9, 8, 1], 0, 1);
        fake.served(PORT + 1, [10, 9, 8, 1], 0, 1);
        look(&mut rounds, &fake, at);
    }
    let window = rounds.window(Duration::from_secs(60));
    let single = rounds.single(&window, 0);
    let kind = window.kinds.keys().next().unwrap();
    let befell = &single.befell[kind];
    let client: IpAddr = "10.9.8.7".parse().unwrap();
    assert_eq!(befell.sources, [(client, 3)]);
    let ms = SECOND / 1_000;
    let times = [10, 13, 30].map(|at| at * SECOND - ms);
    assert_eq!(befell.times, times);
    // The rounds that ended at 11 s and 12 s: that of 13 s ended after the SYN.
    let [served] = &single.amid[kind][..] else {
        panic!("{:?}", single.amid)
    };
    assert_eq!((served.node_port, served.count), (PORT, 2));
    // A window that begins after the first has none.
    let window = rounds.window(Duration::from_secs(29));
    let single = rounds.single(&window, 0);
    assert_eq!(single.befell[kind].times.len(), 2);
    assert!(single.amid.is_empty());
}

#[test]
fn a_flood_of_served_clients_leaves_room_for_history() {
    let mut history = History::new(0, 4 * 1024 * 1024, Duration::from_secs(900));
    let mut number = 0;
    for at in 1..=900_u64 {
        let mut served = vec![(whose(7, 0), 9)];
        served.extend((0..255).map(|_| {
            number += 1;
            (whose(1_000 + number, 0), 1)
        }));
        let changes = Changes {
            served,
            ..Changes::default()
        };
        history.push(at * SECOND, &changes);
    }
    assert_eq!(history.reach().as_secs(), 900);
    let window = history.window(Duration::from_secs(900));
    // Who was there first is still told apart, and nobody is lost.
    assert_eq!(window.served[&whose(7, 0)], 900 * 9);
    assert_eq!(window.served.values().sum::<u64>(), 900 * (9 + 255));
    assert!(window.served.len() <= 2_049, "{}", window.served.len());
    let told = crate::recorder::served::of_window(window.served);
    assert_eq!(
        told.iter().map(|s: &Served| s.count).sum::<u64>(),
        900 * (9 + 255)
    );
}

fn whose(client: u32, backend: u32) -> Whose {
    Whose {
        node_port: PORT,
        client: (client != 0).then(|| ip(client)),
        dialled: ip(backend % 3),
        interface: interface(backend % 4),
        backend: (backend != 0).then(|| SocketAddr::new(ip(backend), 80)),
    }
}

fn interface(i: u32) -> Option<InterfaceName> {
    (i != 0).then(|| InterfaceName::new(&format!("eth{i}")).unwrap())
}

fn kind(location: u32, dialled: u32) -> Kind {
    Kind {
        node_port: PORT,
        dialled: (dialled != 0).then(|| ip(dialled)),
        interface: interface(dialled % 5),
        backend: None,
        key: FailureKey {
            location,
            ..FailureKey::default()
        },
    }
}

proptest! {
    #[test]
    fn rounds_come_back_as_they_went(
        rounds in prop::collection::vec(
            (
                prop::collection::btree_map((0..9_u32, 0..9_u32), 1..99_u64, 0..9),
                prop::collection::btree_map((0..9_u32, 0..9_u32), 1..99_u64, 0..9),
            ),
            1..20,
        ),
    ) {
        let mut history = History::new(0, usize::MAX, Duration::from_secs(900));
        let (mut all_kinds, mut all_served) = (BTreeMap::new(), Counts::new());
        for (at, (kinds, served)) in (1..).zip(rounds) {
            let kinds = kinds.iter().map(|((a, b), n)| (kind(*a, *b), *n));
            let served = served.iter().map(|((a, b), n)| (whose(*a, *b), *n));
            let changes = Changes {
                kinds: kinds.collect(),
                served: served.collect(),
                ..Changes::default()
            };
            for (kind, count) in &changes.kinds {
                *all_kinds.entry(*kind).or_default() += count;
            }
            for (whose, count) in &changes.served {
                *all_served.entry(*whose).or_default() += count;
            }
            history.push(at * SECOND, &changes);
        }
        let window = history.window(Duration::from_secs(900));
        prop_assert_eq!(window.kinds, all_kinds);
        prop_assert_eq!(window.served, all_served);
    }
}

/// Keeps the last question.
struct Keeps(Arc<Mutex<Option<Asked>>>);

impl Facts for Keeps {
    fn poll(&mut self, _: &std::collections::BTreeSet<SocketAddr>) -> u64 {
        0
    }

    fn collect(&mut self, asked: Asked) -> Evidence {
        *lock(&self.0) = Some(asked);
        Evidence::default()
    }
}

/// What is asked about three failures, of which one is told of, beside two connections that
/// were served; and when the one was told.
fn asked_of_failures() -> (Option<Asked>, u64) {
    let (fake, kept) = (Arc::new(Fake::default()), Arc::default());
    let config = Config::new(Default::default(), Default::default()).unwrap();
    let facts = Box::new(Keeps(Arc::clone(&kept)));
    let names = Box::new(system::Nothing);
    let source = Arc::clone(&fake) as Arc<dyn Source>;
    let recorder = Recorder::with(source, &config, Services::default(), facts, names).unwrap();
    let at = monotonic();
    fake.fails(PORT, Failure::Refused, 3);
    fake.record(PORT, Failure::Refused, at);
    fake.served(PORT, [10, 9, 8, 1], 0, 2);
    recorder.scrape().unwrap();
    (lock(&kept).take(), at)
}

#[test]
fn single_failures_are_judged_by_a_question_that_tells_whom_they_befell() {
    let client: IpAddr = "10.9.8.7".parse().unwrap();
    // A round of the recorder's own may fall between the steps, and ask first.
    let told = (0..3).any(|_| {
        let (asked, at) = asked_of_failures();
        let Some(asked) = asked else { return false };
        let [row] = &asked.rows[..] else { return false };
        let syn_at = at - SECOND / 1_000;
        (row.count, &row.sources[..]) == (3, &[(client, 1)][..])
            && row.span == Some((syn_at, syn_at))
            && asked.served.iter().map(|s| s.count).sum::<u64>() == 2
    });
    assert!(told);
}
