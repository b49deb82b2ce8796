//! Addresses of pods are used again: each failure is told with the pod of its time.

use super::*;
use crate::services::{Pod, Tenancy};

const SECOND: u64 = 1_000_000_000;

fn tenancy(name: &str, from: u64) -> Tenancy {
    let pod = Pod {
        namespace: "thrift".into(),
        name: name.into(),
    };
    Tenancy {
        pod: Arc::new(pod),
        from,
        unready_since: None,
        was_ready: true,
        terminating_since: None,
        until: None,
    }
}

#[test]
fn each_failure_is_told_with_the_pod_of_its_time() {
    let now = monotonic();
    let stop = now - 20 * SECOND;
    let victim = Tenancy {
        terminating_since: Some(stop),
        until: Some(stop + 2 * SECOND),
        ..tenancy("victim-0", 0)
    };
    let mut names = Table::default();
    names.remember([10, 1, 1, 7].into(), victim);
    names.remember(
        [10, 1, 1, 7].into(),
        tenancy("innocent-0", stop + 10 * SECOND),
    );
    let fake = Arc::new(Fake::default());
    let mut config = Config::new(Default::default(), Default::default()).unwrap();
    config.ports = "30000-30199".parse().unwrap();
    let recorder = Recorder::with(
        Arc::clone(&fake) as Arc<dyn Source>,
        &config,
        Services::with(names),
        Box::new(system::Nothing),
        Box::new(system::Nothing),
    )
    .unwrap();
    fake.backend(1, PORT, 7);
    fake.ends(PORT, Failure::TimedOut, 3);
    fake.kind(PORT, Failure::TimedOut, 1, 3);
    for at in [stop - 5 * SECOND, stop + 5 * SECOND, now] {
        fake.record(PORT, Failure::TimedOut, at);
        fake.set(|state| state.records.last_mut().unwrap().key.backend = 1);
    }
    let (events, _) = recorder.remembered_and_new(&EventFilter::default());
    let told: Vec<_> = events
        .iter()
        .map(|e| (e.pod.as_deref().unwrap(), e.verdict.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("thrift/victim-0", "unexplained"),
            ("thrift/victim-0", "pod_gone"),
            ("thrift/innocent-0", "unexplained"),
        ]
    );
}
