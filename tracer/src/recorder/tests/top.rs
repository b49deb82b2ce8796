//! What `top` shows of rounds.

use super::*;
use crate::report::{Top, TopStep};

fn ask(recorder: &Recorder, port: Option<u16>) -> Top {
    let asked = TopAsked {
        last: Duration::from_secs(60),
        history: Duration::from_secs(60),
        port,
    };
    recorder.top(&asked).unwrap()
}

fn ended(steps: &[TopStep], port: u16, outcome: &str) -> u64 {
    let ports = steps.iter().filter_map(|step| step.ports.get(&port));
    ports.filter_map(|counts| counts.get(outcome)).sum()
}

#[test]
fn counts_history_and_backends_are_those_of_the_rounds() {
    let fake = Arc::new(Fake::default());
    fake.backend(3, PORT, 7);
    let recorder = Recorder::bare(Arc::clone(&fake) as Arc<dyn Source>);
    fake.ends(PORT, Failure::Refused, 5);
    fake.kind(PORT, Failure::Refused, 3, 4);
    fake.kind(PORT, Failure::Refused, 0, 1);
    fake.set(|state| {
        state.positions.backends.get_mut(&3).unwrap().attempts = 9;
    });
    let first = ask(&recorder, Some(PORT));
    assert_eq!(first.ports.len(), 1);
    let port = &first.ports[0];
    assert_eq!((port.recent.attempts, port.total.attempts), (5, 5));
    assert_eq!(port.recent.outcomes["refused"], 5);
    assert_eq!(ended(&first.history, PORT, "refused"), 5);
    let detail = first.detail.unwrap();
    assert_eq!((detail.clients.attempts, detail.clients.known), (5, 0));
    let [known, unknown] = &detail.backends[..] else {
        panic!("{:?}", detail.backends);
    };
    assert_eq!((known.attempts, known.failed), (Some(9), 4));
    assert_eq!(
        (unknown.address, unknown.attempts, unknown.failed),
        (None, None, 1)
    );
    // Each is told once, however often one asks.
    fake.fails(PORT, Failure::TimedOut, 2);
    let second = ask(&recorder, None);
    assert_eq!(ended(&second.history, PORT, "refused"), 5);
    assert_eq!(ended(&second.history, PORT, "timed_out"), 2);
    assert_eq!(second.ports[0].total.attempts, 7);
    assert_eq!((second.run, second.detail), (first.run, None));
}

#[test]
fn ports_that_nobody_tried_from_outside_are_left_out() {
    let fake = Arc::new(Fake::default());
    let recorder = Recorder::bare(Arc::clone(&fake) as Arc<dyn Source>);
    fake.set(|state| {
        let mut counters = PortCounters::ZERO;
        counters.add(
            Cell::local_connect(tracer_common::words::LocalOutcome::Refused),
            3,
        );
        state.ports.insert(PORT, counters);
    });
    assert!(ask(&recorder, None).ports.is_empty());
}
