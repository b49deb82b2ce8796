use tracer_common::failure::{Failure, Reply};

use super::*;

fn row(backend: &str, count: u64) -> Row {
    Row {
        backend: Some(backend.parse().unwrap()),
        count,
        ..Row::new(30102, Failure::TimedOut, Reply::None)
    }
}

fn asked(backends: &[&str], rows: Vec<Row>) -> Asked {
    Asked {
        window: Duration::from_secs(60),
        ports: Vec::new(),
        rows,
        clients: Vec::new(),
        served: Vec::new(),
        untold: 0,
        backends: backends
            .iter()
            .map(|b| (30102, b.parse().unwrap(), Sent::default()))
            .collect(),
        flows: Vec::new(),
        watched: PortSet::default(),
    }
}

#[test]
fn the_worst_backend_comes_first_and_each_once() {
    let rows = vec![
        row("10.1.0.2:1", 2),
        row("10.1.0.3:1", 3),
        row("10.1.0.2:1", 2),
    ];
    let asked = asked(
        &["10.1.0.1:1", "10.1.0.3:1", "10.1.0.2:1", "10.1.0.1:1"],
        rows,
    );
    let order: Vec<_> = worst_first(&asked)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(order, ["10.1.0.2:1", "10.1.0.3:1", "10.1.0.1:1"]);
}

#[test]
fn failures_make_backends_suspects() {
    let backends = ["10.1.0.1:1", "10.1.0.2:1"];
    let known = suspects(&asked(&backends, vec![row("10.1.0.2:1", 1)]));
    assert_eq!(known, HashSet::from([backends[1].parse().unwrap()]));
    let mut unknown = row("10.1.0.9:1", 1);
    unknown.backend = None;
    assert_eq!(suspects(&asked(&backends, vec![unknown.clone()])).len(), 2);
    unknown.node_port += 1;
    assert_eq!(suspects(&asked(&backends, vec![unknown])).len(), 0);
}

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
