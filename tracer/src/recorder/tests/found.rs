//! What the system showed while attempts failed, asked about when it is gone.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::{
    evidence::{Backend, Place},
    verdict::{Certainty, Verdict},
};

/// A backend on another node, whose next hop answers again at some time.
struct Neighbour(Arc<AtomicBool>);

impl Facts for Neighbour {
    fn poll(&mut self, _: &std::collections::BTreeSet<std::net::SocketAddr>) -> u64 {
        0
    }

    fn collect(&mut self, asked: Asked) -> Evidence {
        let answers = self.0.load(Ordering::Relaxed);
        let state = if answers { "REACHABLE" } else { "FAILED" };
        let backends = asked.rows.iter().filter_map(|row| row.backend);
        let backends = backends.map(|address| Backend {
            node_port: PORT,
            address,
            attempts: 3,
            passive_opens: 0,
            place: Place::Beyond,
            route: None,
            neighbour: Some(state.to_owned()),
            gone_at: None,
        });
        Evidence {
            backends: backends.collect(),
            ended: monotonic(),
            ..system::Nothing.collect(asked)
        }
    }
}

#[test]
fn a_neighbour_that_answers_again_is_told_as_it_was() {
    let answers = Arc::new(AtomicBool::new(false));
    let mut config = Config::new(Default::default(), Default::default()).unwrap();
    config.ports = "30000-30199".parse().unwrap();
    let fake = Arc::new(Fake::default());
    let source = Arc::clone(&fake) as Arc<dyn Source>;
    let facts = Box::new(Neighbour(Arc::clone(&answers)));
    let names = Box::new(system::Nothing);
    let recorder = Recorder::with(source, &config, Services::default(), facts, names).unwrap();
    let told = || {
        let told = recorder.explain(Duration::from_secs(60), &[]).unwrap();
        let finding = told.verdicts.into_iter().next().unwrap();
        (finding.verdict, finding.certainty)
    };
    let unreachable = (Verdict::BackendUnreachable, Certainty::Certain);
    fake.backend(1, PORT, 7);
    fake.ends(PORT, Failure::TimedOut, 3);
    fake.kind(PORT, Failure::TimedOut, 1, 3);
    assert_eq!(fake::judged(&recorder.scrape().unwrap(), PORT), 3);
    assert_eq!(told(), unreachable);
    answers.store(true, Ordering::Relaxed);
    assert_eq!(told(), unreachable);
    // Of more than half nobody found it; evidence that is younger than a second does for
    // them all.
    std::thread::sleep(Duration::from_millis(1100));
    fake.ends(PORT, Failure::TimedOut, 4);
    fake.kind(PORT, Failure::TimedOut, 1, 4);
    recorder.scrape().unwrap();
    assert_eq!(told().0, Verdict::Unexplained);
}
