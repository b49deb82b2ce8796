//! Several faults at once, one bad replica, and healthy traffic.

use tracer_common::failure::{
    Failure::{Abandoned, Cancelled, ClosedAtOnce, Late, Reset, Unanswered},
    Reply::{BackendRst, NodeRst},
    seen,
};

use super::{
    super::{
        Certainty::{Certain, Likely, Unknown},
        Verdict::{AcceptQueueFull, NoEndpoints, NothingListens, Unexplained},
        judge, of_row,
    },
    bed::{Make as _, PORT, backend, bed, icmp, pod, refused, row, silent},
    check,
};
use crate::evidence::{Listener, Namespace};

#[test]
fn two_ports() {
    let dead = refused(BackendRst)
        .to(pod())
        .reset(seen::RESET_CLIENT, "NO_SOCKET");
    let evidence = bed([dead.count(9), icmp(3).port(30113)]).here().0;
    let judgement = judge(&evidence);
    let found: Vec<_> = judgement
        .findings
        .iter()
        .map(|f| (f.node_port, f.verdict, f.share))
        .collect();
    assert_eq!(
        found,
        [(PORT, NothingListens, 0.75), (30113, NoEndpoints, 0.25)]
    );
}

#[test]
fn one_bad_replica_of_three() {
    let dead = refused(BackendRst)
        .to(pod())
        .reset(seen::RESET_CLIENT, "NO_SOCKET");
    let busy = silent().to(backend(4)).count(1);
    let evidence = bed([dead, busy])
        .here()
        .another(3, 40, |_| {})
        .another(4, 40, |pod| {
            pod.listener = Some(Listener {
                queue: 5,
                limit: 4,
                drops: 9,
            });
            pod.namespace = Namespace {
                listen_overflows: 1,
                listen_drops: 1,
                ..Namespace::default()
            };
        })
        .0;
    let judgement = judge(&evidence);
    let found: Vec<_> = judgement
        .findings
        .iter()
        .map(|f| (f.verdict, f.backend, f.share))
        .collect();
    let expected = [
        (NothingListens, Some(pod()), 0.75),
        (AcceptQueueFull, Some(backend(4)), 0.25),
    ];
    assert_eq!(found, expected);
}

#[test]
fn rows_of_one_cause_are_one_finding() {
    let noted = refused(BackendRst)
        .to(pod())
        .reset(seen::RESET_CLIENT, "NO_SOCKET");
    let unnoted = |count| refused(BackendRst).to(pod()).count(count);
    check(&[
        (
            "the surest speaks",
            bed([unnoted(3), noted.clone()]).here(),
            &[(NothingListens, Certain, 6, 0)],
        ),
        (
            "a few sure ones do not make all the others sure",
            bed([unnoted(5), noted]).here(),
            &[(NothingListens, Likely, 8, 0)],
        ),
    ]);
}

#[test]
fn healthy_traffic_gives_nothing() {
    let few = |failure| row(failure).to(pod()).count(2);
    let rows = [Late, Abandoned, Unanswered, ClosedAtOnce, Reset].map(few);
    let counters = Namespace {
        out_rsts: 50,
        embryonic_rsts: 50,
        syncookies_sent: 5,
        ..Namespace::default()
    };
    check(&[
        (
            "on this node",
            bed(rows.clone()).counters(counters).node(counters),
            &[],
        ),
        ("beyond", bed(rows.clone()).beyond(), &[]),
        ("backend unknown", bed(rows).conntrack(None), &[]),
        (
            "oneway calls while a connection waits to be accepted",
            bed([few(Unanswered).count(30)]).with(|pod| pod.not_accepted = 1),
            &[],
        ),
    ]);
}

#[test]
fn unexplained() {
    check(&[
        (
            "beyond: how far it came",
            bed([silent().to(pod())]).beyond(),
            &[(Unexplained, Unknown, 3, 0)],
        ),
        (
            "here, nothing seen",
            bed([silent().to(pod())]).here(),
            &[(Unexplained, Unknown, 3, 0)],
        ),
        (
            "a drop of another kind",
            bed([silent().syn("PROTO_MEM", "tcp_v4_rcv")]),
            &[(Unexplained, Unknown, 3, 0)],
        ),
        ("nothing known", bed([silent(), row(Cancelled)]), &[]),
    ]);
    let evidence = bed([silent(), row(Cancelled), row(Late)]).0;
    assert_eq!(judge(&evidence).unexplained, 6);
    assert_eq!(of_row(&evidence.rows[0], &evidence), (Unexplained, Unknown));
    let counters = Namespace {
        out_rsts: 3,
        ..Namespace::default()
    };
    let evidence = bed([refused(NodeRst).to(pod())]).here().node(counters).0;
    assert_eq!(judge(&evidence).unexplained, 0);
}
