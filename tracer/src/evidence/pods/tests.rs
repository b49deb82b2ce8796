use super::*;
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
