//! What is said where no attempt was seen.

use tracer_common::words::LocalOutcome;

use super::*;
use crate::{
    evidence::Obstacle,
    recorder::explanation::{Circumstances, explanation},
    report::Explanation,
};

/// Of a window without failures.
fn told(evidence: Evidence, elsewhere: &[(&str, u64)], ports: &[u16]) -> Explanation {
    let elsewhere = elsewhere.iter().map(|(to, n)| (to.parse().unwrap(), *n));
    let about = Circumstances {
        sharing: &[],
        asked: Duration::from_secs(60),
        reach: Duration::from_secs(60),
        hooks: &[],
        lost: Default::default(),
        elsewhere: elsewhere.collect(),
        ports,
    };
    explanation(&evidence, verdict::judge(&evidence), &about)
}

fn looked(obstacles: Vec<Obstacle>) -> Evidence {
    Evidence {
        obstacles: Some(obstacles),
        ..Evidence::default()
    }
}

#[test]
fn nothing_in_front_of_the_tap_is_a_complete_sight() {
    let sight = told(looked(Vec::new()), &[], &[]).sight;
    assert!(sight.complete && sight.not_counted.is_empty());
    // What could not be asked in time is not known to be absent.
    assert!(!told(Evidence::default(), &[], &[]).sight.complete);
    let program = Obstacle::Xdp("eth0".to_owned(), 7);
    let sight = told(looked(vec![program]), &[], &[]).sight;
    assert!(!sight.complete, "{sight:?}");
    assert!(sight.obstacles[0].contains("XDP program (id 7) on eth0"));
}

#[test]
fn dials_of_this_node_are_told_where_no_attempt_was_seen() {
    let dialled = Cell::local_connect(LocalOutcome::Refused);
    let both = [(dialled, 2), (Cell::ATTEMPTS, 1)];
    let counted = |cells: &[(Cell, u64)]| crate::counted::Counted::from(&counters(cells));
    let evidence = || Evidence {
        ports: vec![(PORT, counted(&both[..1])), (PORT + 1, counted(&both))],
        ..looked(Vec::new())
    };
    let sight = told(evidence(), &[], &[]).sight;
    let [said] = &sight.not_counted[..] else {
        panic!("{sight:?}");
    };
    assert!(
        said.starts_with("2 dials to port 30102 were made on this node itself (2 refused); "),
        "{said}"
    );
    let other = told(evidence(), &[], &[PORT + 2]);
    assert_eq!(other.sight.not_counted, Vec::<String>::new());
}

#[test]
fn syns_to_addresses_of_others_are_told() {
    let some = [("10.66.200.1:443", 4), ("[fd00::9]:443", 1)];
    let sight = told(looked(Vec::new()), &some, &[443]).sight;
    assert_eq!(
        sight.not_counted,
        [
            "4 SYNs to 10.66.200.1:443, which is not an address of this node: not counted.",
            "1 SYN to [fd00::9]:443, which is not an address of this node: not counted."
        ]
    );
    assert!(sight.complete);
    assert!(
        told(looked(Vec::new()), &some, &[80])
            .sight
            .not_counted
            .is_empty()
    );
    let many: Vec<String> = (0..9).map(|n| format!("10.0.0.{n}:443")).collect();
    let many: Vec<(&str, u64)> = many.iter().map(|to| (to.as_str(), 2)).collect();
    let sight = told(looked(Vec::new()), &many, &[]).sight;
    let last = "10 SYNs to 5 other addresses and ports that are not this node's: not counted.";
    assert_eq!(sight.not_counted.len(), 5);
    assert_eq!(sight.not_counted[4], last);
}

#[test]
fn syns_to_others_are_those_of_the_window() {
    let (fake, mut rounds) = (Fake::default(), Rounds::new(0));
    let to: std::net::SocketAddr = "10.66.200.1:443".parse().unwrap();
    for (at, syns) in [(1, 4), (2, 0), (3, 2)] {
        fake.set(|state| state.elsewhere = (syns > 0).then_some((to, syns)).into_iter().collect());
        rounds.look(&fake, || at * 1_000_000_000).unwrap();
    }
    let of = |last| {
        let window = rounds.window(Duration::from_secs(last));
        window.elsewhere.get(&to).copied()
    };
    assert_eq!((of(1), of(2), of(3)), (Some(2), Some(2), Some(6)));
}

#[test]
fn only_what_applies_to_this_node_is_not_visible() {
    let all = |evidence| told(evidence, &[], &[]).not_visible.join("\n");
    let idle = all(looked(Vec::new()));
    assert!(idle.contains("security group"), "{idle}");
    for (word, applies) in [
        (
            "another node",
            Evidence {
                backends: vec![crate::evidence::Backend {
                    node_port: PORT,
                    address: "10.1.1.7:9092".parse().unwrap(),
                    attempts: 1,
                    passive_opens: 0,
                    place: crate::evidence::Place::Beyond,
                    neighbour: None,
                    route: None,
                    gone_at: None,
                }],
                ..looked(Vec::new())
            },
        ),
        (
            "eBPF datapath",
            looked(vec![Obstacle::Program("eth0".to_owned(), 7)]),
        ),
    ] {
        assert!(!idle.contains(word), "{idle}");
        let text = all(applies);
        assert!(text.contains(word), "{text}");
    }
}
