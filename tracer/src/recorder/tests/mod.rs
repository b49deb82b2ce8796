mod adds_up;
mod fake;
mod found;
mod judged;
mod scope;
mod sight;
mod tenants;
mod top;
mod windows;

use std::sync::Arc;

use tracer_common::{
    counters::{Cell, PortCounters, Tally as _},
    failure::Failure,
    words::{Outcome, Traffic},
};

use self::fake::{Fake, PORT};
use super::{rounds::Rounds, *};

#[test]
fn dropping_the_last_clone_ends_the_threads_and_lets_the_source_go() {
    let fake = Arc::new(Fake::default());
    let recorder = Recorder::bare(Arc::clone(&fake) as Arc<dyn Source>);
    let clone = recorder.clone();
    drop(recorder);
    assert!(clone.ready().is_ok());
    drop(clone);
    assert_eq!(Arc::strong_count(&fake), 1);
}

struct Panics;

impl Facts for Panics {
    fn poll(&mut self, _: &std::collections::BTreeSet<std::net::SocketAddr>) -> u64 {
        0
    }

    fn collect(&mut self, _: Asked) -> Evidence {
        panic!("on purpose");
    }
}

#[test]
fn a_recorder_whose_collector_has_died_is_not_ready() {
    let config = Config::new(Default::default(), Default::default()).unwrap();
    let names = Box::new(system::Nothing);
    let source = Arc::new(Fake::default());
    let recorder = Recorder::with(
        source,
        &config,
        Services::default(),
        Box::new(Panics),
        names,
    )
    .unwrap();
    assert!(recorder.ready().is_ok());
    // The question ends the thread; there may be no answer.
    let _ = recorder.explain(Duration::from_secs(60), &[]);
    while recorder.ready().is_ok() {
        std::thread::yield_now();
    }
    assert!(recorder.ready().unwrap_err().contains("restart"));
}

#[test]
fn a_source_that_cannot_be_read_is_an_error_until_it_can() {
    let fake = Arc::new(Fake::default());
    let recorder = Recorder::bare(Arc::clone(&fake) as Arc<dyn Source>);
    fake.set(|state| state.broken = true);
    assert!(recorder.scrape().is_err());
    assert!(recorder.explain(Duration::from_secs(60), &[]).is_err());
    fake.set(|state| state.broken = false);
    fake.fails(PORT, Failure::Refused, 3);
    assert_eq!(fake::judged(&recorder.scrape().unwrap(), PORT), 3);
}

#[test]
fn an_explanation_has_rows_of_the_ports_asked_for() {
    let fake = Arc::new(Fake::default());
    let recorder = Recorder::bare(Arc::clone(&fake) as Arc<dyn Source>);
    fake.fails(PORT, Failure::Refused, 3);
    fake.fails(PORT + 1, Failure::TimedOut, 2);
    let minute = Duration::from_secs(60);
    let all = recorder.explain(minute, &[]).unwrap();
    let ports: Vec<u16> = all.ports.iter().map(|row| row.node_port).collect();
    assert_eq!(ports, [PORT, PORT + 1]);
    let one = recorder.explain(minute, &[PORT + 1]).unwrap();
    let [row] = &one.ports[..] else {
        panic!("{:?}", one.ports)
    };
    assert_eq!((row.node_port, row.attempts), (PORT + 1, 2));
    assert_eq!(row.outcomes["timed_out"], 2);
    assert_eq!((row.outcomes.len(), row.traffic.len()), (7, 5));
    assert_eq!(row.answered_by["none"], 2);
    // The daemon has just been started, and what no node can see.
    assert!(one.window_s < 60.0);
    let lines = one.not_visible.join("\n");
    assert!(lines.contains("60 s were asked for"), "{lines}");
    assert!(lines.contains("security group"), "{lines}");
}

#[test]
fn events_are_told_with_their_time_and_filtered() {
    let fake = Arc::new(Fake::default());
    let recorder = Recorder::bare(Arc::clone(&fake) as Arc<dyn Source>);
    let mut follower = recorder.follow(&EventFilter::default());
    fake.record(PORT, Failure::Refused, monotonic());
    fake.record(PORT + 1, Failure::TimedOut, monotonic());
    let all = events(&recorder, &EventFilter::default());
    assert_eq!(all.len(), 2);
    let now = nanoseconds(ClockId::CLOCK_REALTIME) as f64 / 1e9;
    assert!(all.iter().all(|e| e.time <= now && e.time > now - 3_600.0));
    assert_eq!(all[0].client.to_string(), "10.9.8.7:4711");
    assert_eq!((&*all[0].outcome, all[0].latency), ("refused", 0.001));
    let filter = EventFilter {
        ports: vec![PORT + 1],
        outcomes: vec![Failure::TimedOut],
        ..EventFilter::default()
    };
    assert_eq!(events(&recorder, &filter), all[1..]);
    let followed = [
        follower.try_next(),
        follower.try_next(),
        follower.try_next(),
    ];
    let line = |event: &Arc<Event>| Some(crate::report::Line::Event(Box::new(Event::clone(event))));
    assert_eq!(followed, [line(&all[0]), line(&all[1]), None]);
}

#[test]
fn who_follows_too_slowly_is_told_how_many_are_lost() {
    let fake = Arc::new(Fake::default());
    let recorder = Recorder::bare(Arc::clone(&fake) as Arc<dyn Source>);
    let mut follower = recorder.follow(&EventFilter::default());
    for _ in 0..5_000 {
        fake.record(PORT, Failure::Refused, monotonic());
    }
    let mut told = 0;
    // More than may wait at once come in several rounds.
    assert!(!events(&recorder, &EventFilter::default()).is_empty());
    let mut lost = 0;
    while let Some(line) = follower.try_next() {
        match line {
            crate::report::Line::Event(_) => told += 1,
            crate::report::Line::Lost { lost: now } => lost += now,
        }
    }
    let remembered = events(&recorder, &EventFilter::default()).len() as u64;
    assert_eq!((told, lost), (1_024, remembered - 1_024));
}

fn counters(cells: &[(Cell, u64)]) -> PortCounters {
    let mut counters = PortCounters::ZERO;
    for (cell, value) in cells {
        counters.0[cell.index()] = *value;
    }
    counters
}

fn events(recorder: &Recorder, filter: &EventFilter) -> Vec<Arc<Event>> {
    recorder.remembered_and_new(filter).0
}

#[test]
fn the_source_is_told_where_no_check_goes() {
    let fake = Arc::new(Fake::default());
    let mut names = Table::named(PORT, "thrift", "users", "api");
    names.check(PORT, PORT + 1);
    let services = Services::with(names);
    let config = Config::new(Default::default(), Default::default()).unwrap();
    let nothing = || Box::new(system::Nothing);
    let source = Arc::clone(&fake) as Arc<dyn Source>;
    let recorder = Recorder::with(source, &config, services, nothing(), nothing()).unwrap();
    fake.set(|state| assert_eq!(state.unchecked, [PORT]));
    assert_eq!(
        recorder.scrape().unwrap().names.service(PORT).as_deref(),
        Some("thrift/users:api")
    );
}
