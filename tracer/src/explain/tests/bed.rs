//! Explanations to show.

use std::collections::BTreeMap;

use tracer_common::words::{Outcome, Traffic};

use crate::{
    report::{Explanation, Latency, PortRow, Sight},
    verdict::{Certainty, Finding, Verdict},
};

pub(super) fn counts<const N: usize>(
    known: &[&str],
    some: [(&str, u64); N],
) -> BTreeMap<String, u64> {
    let zero = known.iter().map(|word| ((*word).to_owned(), 0));
    zero.chain(some.map(|(word, count)| (word.to_owned(), count)))
        .collect()
}

pub(super) fn port<const N: usize, const M: usize, const K: usize>(
    node_port: u16,
    outcomes: [(&str, u64); N],
    traffic: [(&str, u64); M],
    answered_by: [(&str, u64); K],
) -> PortRow {
    let words: Vec<&str> = Outcome::ALL.iter().map(|o| o.as_str()).collect();
    let classes: Vec<&str> = Traffic::ALL.iter().map(|t| t.as_str()).collect();
    PortRow {
        node_port,
        service: None,
        health_check_port: None,
        attempts: outcomes.iter().map(|(_, count)| count).sum(),
        begun: 0,
        failed: 0,
        untracked: 0,
        undecided: 0,
        outcomes: counts(&words, outcomes),
        traffic: counts(&classes, traffic),
        answer: Some(Latency {
            p50: 0.000_18,
            p99: 0.001_2,
        }),
        answered_by: counts(&[], answered_by),
        backends: Vec::new(),
    }
}

pub(super) fn healthy(node_port: u16) -> PortRow {
    let outcomes = [("established", 41), ("half_open", 12)];
    port(
        node_port,
        outcomes,
        [("thrift", 27), ("health_check", 26)],
        [],
    )
}

pub(super) fn refused(node_port: u16) -> PortRow {
    let traffic = [("unknown", 12)];
    port(node_port, [("refused", 12)], traffic, [("backend_rst", 12)])
}

pub(super) fn finding(node_port: u16, verdict: Verdict, failed: u64, share: f64) -> Finding {
    Finding {
        node_port,
        service: None,
        verdict,
        certainty: Certainty::Certain,
        scope: Default::default(),
        failed,
        connections: 0,
        late: 0,
        share,
        backend: Some("100.96.2.7:9092".parse().unwrap()),
        pod: None,
        evidence: vec![
            "12 SYNs went to 100.96.2.7:9092, and each was answered with a reset.".to_owned(),
            "The reset was made in the pod for want of a socket (NO_SOCKET); the pod listens on \
             9090 only."
                .to_owned(),
            "The reset came from the pod, so rules and routes of this node are not to blame."
                .to_owned(),
        ],
        next: "Compare targetPort of the Service (9092) with the port that the container listens \
               on (9090), and change one of them."
            .to_owned(),
    }
}

pub(super) fn explanation(ports: Vec<PortRow>, verdicts: Vec<Finding>) -> Explanation {
    Explanation {
        window_s: 60.2,
        ports,
        verdicts,
        unexplained: 0,
        not_visible: vec![
            "packets dropped before this node's interfaces (security groups, network ACLs)"
                .to_owned(),
        ],
        sight: Sight {
            complete: true,
            ..Sight::default()
        },
    }
}

/// Two problems, a third port that fails without one, a healthy one.
pub(super) fn sick() -> Explanation {
    let silent = port(
        30_110,
        [("established", 120), ("timed_out", 69), ("cancelled", 1)],
        [("thrift", 118), ("health_check", 2), ("unknown", 70)],
        [("none", 70)],
    );
    let strange = port(
        30_120,
        [("unreachable", 3)],
        [("unknown", 3)],
        [("icmp", 3)],
    );
    let mut overload = finding(30_110, Verdict::AcceptQueueFull, 70, 70.0 / 85.0);
    overload.certainty = Certainty::Likely;
    overload.connections = 4;
    overload.backend = None;
    overload.evidence.truncate(2);
    let closed = finding(30_102, Verdict::NothingListens, 12, 12.0 / 85.0);
    let ports = vec![healthy(30_101), refused(30_102), silent, strange];
    let mut sick = explanation(ports, vec![overload, closed]);
    sick.unexplained = 3;
    sick
}

/// As [`sick`], with names but for one port.
pub(super) fn named() -> Explanation {
    let mut named = sick();
    let services = ["users:thrift", "search", "billing:thrift"];
    for (port, service) in named.ports.iter_mut().zip(services) {
        port.service = Some(format!("thrift/{service}"));
    }
    let finding = &mut named.verdicts[1];
    finding.service = Some("thrift/search".to_owned());
    finding.pod = Some("thrift/search-7d9f-x2".to_owned());
    named
}
