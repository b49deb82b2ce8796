//! A node with a few ports, as the daemon would tell of it.

use std::{collections::BTreeMap, time::Duration};

use super::super::{
    model::{Model, Origin, STEPS},
    ui::Ui,
};
use crate::{
    report::{
        Event, Explanation, Latency, Top, TopBackend, TopClient, TopClients, TopDetail, TopNumbers,
        TopPort, TopStep,
    },
    verdict::{Certainty, Finding, Verdict},
};

pub(super) const STEP: u64 = 1_000;

pub(super) fn counts<const N: usize>(some: [(&str, u64); N]) -> BTreeMap<String, u64> {
    let some = some.into_iter();
    some.map(|(word, count)| (word.to_owned(), count)).collect()
}

fn port<const N: usize, const M: usize>(
    node_port: u16,
    service: &str,
    outcomes: [(&str, u64); N],
    traffic: [(&str, u64); M],
) -> TopPort {
    let attempts = outcomes.iter().map(|(_, count)| count).sum();
    let recent = TopNumbers {
        attempts,
        begun: attempts,
        failed: 0,
        untracked: 0,
        outcomes: counts(outcomes),
        traffic: counts(traffic),
        answer: Some(Latency {
            p50: 0.000_054,
            p99: 0.001_2,
        }),
        retransmits: counts([("syn", outcomes.len() as u64 - 1)]),
    };
    let total = TopNumbers {
        attempts: recent.attempts * 1_000,
        ..recent.clone()
    };
    TopPort {
        node_port,
        service: (!service.is_empty()).then(|| service.to_owned()),
        recent,
        total,
        pending: 0,
        open: counts([("thrift", 3), ("idle", 1)]),
        ..TopPort::default()
    }
}

fn finding() -> Finding {
    Finding {
        node_port: 30_102,
        service: Some("thrift/search".to_owned()),
        verdict: Verdict::NothingListens,
        certainty: Certainty::Certain,
        scope: Default::default(),
        failed: 16,
        connections: 0,
        late: 0,
        share: 16.0 / 22.0,
        backend: Some("10.244.0.2:9092".parse().unwrap()),
        pod: None,
        evidence: vec![
            "Of 16 attempts that were sent to 10.244.0.2:9092 in 60 s: 16 refused.".to_owned(),
            "The pod's own TCP stack on this node sent the RST (NO_SOCKET).".to_owned(),
        ],
        next: "Service targetPort is 9092, the pod listens on 9090: fix one of them.".to_owned(),
    }
}

pub(super) fn explanation() -> Explanation {
    Explanation {
        window_s: 60.0,
        ports: Vec::new(),
        verdicts: vec![finding()],
        unexplained: 6,
        not_visible: Vec::new(),
        sight: Default::default(),
    }
}

pub(super) fn event(outcome: &str, evidence: &str) -> Event {
    Event {
        time: 1_700_000_000.5,
        client: "10.0.1.9:40112".parse().unwrap(),
        interface: None,
        address: "10.0.0.1".parse().unwrap(),
        node_port: 30_102,
        service: None,
        backend: Some("10.244.0.2:9092".parse().unwrap()),
        pod: None,
        outcome: outcome.to_owned(),
        traffic: "unknown".to_owned(),
        answered_by: "backend_rst".to_owned(),
        verdict: Verdict::NothingListens,
        evidence: evidence.to_owned(),
        latency: 0.000_2,
    }
}

fn detail() -> TopDetail {
    let backend = |address: &str, attempts, failed| TopBackend {
        address: Some(address.parse().unwrap()),
        pod: Some("thrift/search-7d9f-x2".to_owned()),
        attempts: Some(attempts),
        failed,
        failures: (failed > 0)
            .then(|| ("refused".to_owned(), failed))
            .into_iter()
            .collect(),
    };
    let client = |address: &str, attempts, failed, every_s| TopClient {
        address: address.parse().unwrap(),
        attempts,
        failed,
        every_s,
    };
    TopDetail {
        node_port: 30_102,
        clients: TopClients {
            attempts: 18,
            known: 17,
            addresses: 23,
            top: vec![
                client("10.0.1.9", 11, 10, None),
                client("fd00:60:1::2", 6, 6, Some(10.0)),
            ],
            absent: None,
        },
        backends: vec![
            backend("10.244.0.2:9092", 16, 16),
            backend("10.244.0.3:9092", 2, 0),
        ],
        failures: vec![event("refused", "RST to the client: NO_SOCKET"); 3],
    }
}

fn step(number: u64) -> TopStep {
    let failures = [("refused", number % 4), ("established", 1)];
    let failures = counts(failures)
        .into_iter()
        .filter(|(_, n)| *n > 0)
        .collect();
    TopStep {
        step: number,
        ports: BTreeMap::from([(30_102, failures)]),
    }
}

/// The answer of a daemon that has run for two minutes.
pub(super) fn top() -> Top {
    let geo = [("timed_out", 3), ("cancelled", 1)];
    let users = [("established", 271), ("half_open", 7)];
    Top {
        time: 1_700_000_003.0,
        run: 1,
        uptime_s: 120.0,
        window_s: 60.3,
        ports: vec![
            port(
                30_101,
                "thrift/users",
                users,
                [("thrift", 268), ("health_check", 7), ("idle", 3)],
            ),
            port(
                30_102,
                "thrift/search",
                [("refused", 16), ("established", 2)],
                [("unknown", 18)],
            ),
            port(30_107, "", [("unreachable", 2)], [("unknown", 2)]),
            port(30_113, "thrift/geo", geo, [("unknown", 4)]),
            port(
                30_110,
                "thrift/billing",
                [("established", 123_456)],
                [("thrift", 123_456)],
            ),
        ],
        flows: 214,
        flows_capacity: 49_152,
        lost: BTreeMap::new(),
        step: STEP,
        first_step: STEP - 24,
        history: (STEP - 24..STEP).map(step).collect(),
        detail: Some(detail()),
    }
}

pub(super) fn empty() -> Model {
    let origin = Origin::Daemon("/run/tracer/tracer.sock".to_owned());
    Model::new("ip-10-0-3-17".to_owned(), origin)
}

pub(super) fn model() -> Model {
    let mut model = empty();
    model.take(top(), STEPS);
    model.explained = Some((explanation(), 1_700_000_000.0));
    model
}

pub(super) fn ui() -> Ui {
    Ui::new(Duration::from_secs(60), Duration::from_secs(2))
}
