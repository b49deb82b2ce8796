use super::*;
use crate::evidence::asked::tests::asked;

#[test]
fn troubles_are_told_in_one_bounded_line() {
    assert_eq!(told("x", &[]), None);
    let troubles: Vec<String> = (0..9).map(|n| n.to_string()).collect();
    let told = told("x", &troubles).unwrap();
    assert_eq!(told.why, "0; 1; 2; 3; and 5 more");
}

/// Whatever the privileges of the test.

#[test]
fn every_backend_is_answered_for() {
    let mut collector = Collector::new(true);
    let backends = ["127.0.0.1:1", "192.0.2.1:9090"];
    let asked = asked(&backends, Vec::new());
    collector.poll(&BTreeSet::from(backends.map(|b| b.parse().unwrap())));
    let evidence = collector.collect(asked);
    assert_eq!(evidence.backends.len(), backends.len());
    assert!(!matches!(evidence.backends[1].place, Place::Here(_)));
}

#[test]
fn pods_are_left_alone_where_they_shall_be() {
    let mut collector = Collector::new(false);
    let backends = ["192.0.2.1:9090"];
    collector.poll(&BTreeSet::from(backends.map(|b| b.parse().unwrap())));
    let evidence = collector.collect(asked(&backends, Vec::new()));
    assert!(matches!(evidence.backends[0].place, Place::Unknown));
    let told = |absent: &Absent| absent.why.contains("--pod-evidence=false");
    assert!(evidence.absent.iter().any(told), "{:?}", evidence.absent);
}
