use super::*;
use crate::evidence::Row;
use crate::evidence::namespaces::apart;

#[test]
fn what_is_gone_is_forgotten_once_there_is_much_of_it() {
    let known = |i| {
        let known = Known {
            paths: Vec::new(),
            held: Vec::new(),
            counters: History::new(),
            backend: None,
        };
        (u64::MAX - i, known)
    };
    let gone = |n| Pods {
        known: (0..n).map(known).collect(),
        ..Pods::default()
    };
    let found = |mut pods: Pods| {
        let late = Instant::now();
        apart(|visitor| pods.search(visitor, false, late)).unwrap();
        pods.known.len()
    };
    assert!(found(gone(MOST as u64)) >= MOST);
    assert!(found(gone(MOST as u64 + 1)) <= MOST);
}

#[test]
fn a_stranger_is_known_and_not_the_backend() {
    use tracer_common::failure::{Failure, Reply};
    let known = |address: &str, peer| Known {
        paths: Vec::new(),
        held: vec![Held {
            address: address.parse().unwrap(),
            interface: "eth0".into(),
            peer,
        }],
        counters: History::new(),
        backend: None,
    };
    let mut empty = known("10.1.1.7", Peer::Node);
    empty.held.clear();
    let pods = Pods {
        known: BTreeMap::from([
            (1, known("10.1.1.7", Peer::Node)),
            (2, known("10.1.1.7", Peer::Elsewhere)),
            (3, known("10.1.1.8", Peer::Node)),
            (4, empty),
        ]),
        ..Pods::default()
    };
    let row = |netns, backend: Option<&str>| Row {
        netns,
        backend: backend.map(|b| b.parse().unwrap()),
        ..Row::new(30102, Failure::TimedOut, Reply::None)
    };
    let backend = "10.1.1.7:9090";
    let mut rows: Vec<Row> = (0..6).map(|netns| row(netns, Some(backend))).collect();
    // Without a known backend, those of the port's may speak.
    rows.extend([row(1, None), row(3, None)]);
    let found = pods.strangers(&rows);
    let at = Some(backend.parse().unwrap());
    assert_eq!(found, BTreeSet::from([(2, at), (3, at), (3, None)]));
}

#[test]
fn links_to_the_node_decide_between_namesakes() {
    let chosen = |holders: &[(Peer, u64)]| choose(Some(&holders.to_vec()));
    assert_eq!(choose(None), Holds::None);
    assert_eq!(chosen(&[(Peer::Elsewhere, 1)]), Holds::None);
    assert_eq!(chosen(&[(Peer::Unknown, 1)]), Holds::One(1));
    assert_eq!(
        chosen(&[(Peer::Elsewhere, 1), (Peer::Node, 2)]),
        Holds::One(2)
    );
    assert_eq!(
        chosen(&[(Peer::Unknown, 3), (Peer::Node, 2)]),
        Holds::One(2)
    );
    assert_eq!(chosen(&[(Peer::Node, 1), (Peer::Node, 2)]), Holds::Several);
    assert_eq!(chosen(&[(Peer::Node, 1), (Peer::Node, 1)]), Holds::One(1));
}
