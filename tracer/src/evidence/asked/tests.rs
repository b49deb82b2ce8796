use tracer_common::failure::{Failure, Reply};

use super::*;
use crate::evidence::Row;

fn row(backend: &str, count: u64) -> Row {
    Row {
        backend: Some(backend.parse().unwrap()),
        count,
        ..Row::new(30102, Failure::TimedOut, Reply::None)
    }
}

pub(in crate::evidence) fn asked(backends: &[&str], rows: Vec<Row>) -> Asked {
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
        view: None,
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
    let order: Vec<_> = asked
        .worst_first()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(order, ["10.1.0.2:1", "10.1.0.3:1", "10.1.0.1:1"]);
}

#[test]
fn failures_make_backends_suspects() {
    let backends = ["10.1.0.1:1", "10.1.0.2:1"];
    let known = asked(&backends, vec![row("10.1.0.2:1", 1)]).suspects();
    assert_eq!(known, HashSet::from([backends[1].parse().unwrap()]));
    let mut unknown = row("10.1.0.9:1", 1);
    unknown.backend = None;
    assert_eq!(asked(&backends, vec![unknown.clone()]).suspects().len(), 2);
    unknown.node_port += 1;
    assert_eq!(asked(&backends, vec![unknown]).suspects().len(), 0);
}
