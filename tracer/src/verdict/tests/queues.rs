//! B1 to B4b.

use tracer_common::failure::{
    Failure::{Cancelled, ClosedAtOnce, Late, Reset, Unanswered},
    seen,
};

use super::{
    super::{
        Certainty::{Certain, Likely, Unknown},
        Verdict::{AcceptQueueFull, ReturnPath, ServerStalled, SynQueueFull, Unexplained},
    },
    bed::{Bed, Make as _, bed, pod, row, silent},
    check,
};
use crate::evidence::{Listener, Namespace, Place, Pod, Row};

fn overflows(listen_overflows: u64) -> Namespace {
    Namespace {
        listen_overflows,
        listen_drops: listen_overflows,
        ..Namespace::default()
    }
}

fn drops(listen_drops: u64) -> Namespace {
    Namespace {
        listen_drops,
        ..Namespace::default()
    }
}

/// A listener whose queue is full.
fn full(rows: impl IntoIterator<Item = Row>) -> Bed {
    bed(rows).with(|pod| {
        pod.listener = Some(Listener {
            queue: 129,
            limit: 128,
            drops: 9,
        });
        pod.namespace = overflows(9);
        pod.not_accepted = 129;
    })
}

#[test]
fn accept_queue_full() {
    let gone = || silent().to(pod());
    let cookie = |failure| {
        row(failure)
            .to(pod())
            .drop(seen::DROPPED_CLIENT, "NO_SOCKET", "cookie_v4_check")
    };
    let abort =
        row(ClosedAtOnce)
            .to(pod())
            .drop(seen::DROPPED_CLIENT, "TCP_LISTEN_OVERFLOW", "tcp_v4_rcv");
    check(&[
        ("B1", full([gone()]), &[(AcceptQueueFull, Certain, 3, 0)]),
        (
            "B1, given up",
            full([row(Cancelled).to(pod())]),
            &[(AcceptQueueFull, Certain, 3, 0)],
        ),
        (
            "B1, empty by now",
            bed([gone()]).counters(overflows(3)),
            &[(AcceptQueueFull, Certain, 3, 0)],
        ),
        (
            "fewer overflows",
            bed([gone()]).counters(overflows(2)),
            &[(AcceptQueueFull, Likely, 3, 0)],
        ),
        (
            "it was full once, and most failed otherwise",
            full([gone().count(500)]),
            &[(AcceptQueueFull, Likely, 500, 0)],
        ),
        (
            "overflows that explain one kind of failure, not all",
            bed([gone(), row(Cancelled).to(pod())]).counters(overflows(3)),
            &[(AcceptQueueFull, Likely, 6, 0)],
        ),
        (
            "late",
            full([row(Late).to(pod())]),
            &[(AcceptQueueFull, Certain, 0, 3)],
        ),
        (
            "B2",
            bed([cookie(Unanswered), cookie(ClosedAtOnce)]).here(),
            &[(AcceptQueueFull, Certain, 0, 6)],
        ),
        (
            "B2 reset",
            bed([cookie(Reset)]).here(),
            &[(AcceptQueueFull, Certain, 0, 3)],
        ),
        (
            "B3",
            bed([abort]).here(),
            &[(AcceptQueueFull, Certain, 0, 3)],
        ),
        (
            "requests in a full queue",
            full([row(Unanswered).to(pod())]),
            &[(AcceptQueueFull, Likely, 0, 3)],
        ),
        (
            "frozen: accepted connections go unread",
            unread(full([row(Unanswered).to(pod()), gone()]), 3),
            &[
                (AcceptQueueFull, Certain, 3, 0),
                (ServerStalled, Certain, 0, 3),
            ],
        ),
    ]);
}

fn change(mut bed: Bed, change: impl Fn(&mut Pod)) -> Bed {
    for backend in &mut bed.0.backends {
        if let Place::Here(pod) = &mut backend.place {
            change(pod);
        }
    }
    bed
}

/// Cookies are off, and handshakes wait.
fn no_cookies(bed: Bed) -> Bed {
    change(bed, |pod| {
        pod.syncookies = Some(0);
        pod.syn_recv = 7;
    })
}

/// Accepted connections whose bytes nobody reads.
fn unread(mut bed: Bed, unread: u32) -> Bed {
    for backend in &mut bed.0.backends {
        if let Place::Here(pod) = &mut backend.place {
            pod.unread = unread;
            pod.unread_for_long = true;
            pod.accepted = unread;
        }
    }
    bed
}

#[test]
fn syn_queue_full() {
    let gone = || silent().to(pod());
    check(&[
        (
            "B4",
            no_cookies(bed([gone()]).counters(drops(3))),
            &[(SynQueueFull, Certain, 3, 0)],
        ),
        (
            "B4, connects late",
            no_cookies(bed([row(Late).to(pod())]).counters(drops(9))),
            &[(SynQueueFull, Certain, 0, 3)],
        ),
        (
            "both queues, mostly SYN",
            no_cookies(bed([gone()]).counters(Namespace {
                listen_overflows: 1,
                listen_drops: 9,
                ..Namespace::default()
            })),
            &[(SynQueueFull, Likely, 3, 0)],
        ),
        (
            "syncookies are on: a full SYN queue drops nothing",
            change(no_cookies(bed([gone()]).counters(drops(3))), |pod| {
                pod.syncookies = Some(1);
            }),
            &[(Unexplained, Unknown, 3, 0)],
        ),
        (
            "no handshake waits at the listener",
            change(no_cookies(bed([gone()]).counters(drops(3))), |pod| {
                pod.syn_recv = 0;
            }),
            &[(SynQueueFull, Likely, 3, 0)],
        ),
        (
            "no route back from the pod",
            no_cookies(bed([gone()]).counters(Namespace {
                out_no_routes: 3,
                ..drops(3)
            })),
            &[(ReturnPath, Certain, 3, 0)],
        ),
        (
            "another listener of the pod has dropped, this one has not",
            change(bed([gone()]).counters(overflows(3)), |pod| {
                pod.listener = pod.listener.map(|l| Listener { drops: 0, ..l });
                pod.drops_elsewhere = 3;
            }),
            &[(Unexplained, Unknown, 3, 0)],
        ),
        (
            "both have, and when is not known",
            change(bed([gone()]).counters(overflows(3)), |pod| {
                pod.drops_elsewhere = 3;
            }),
            &[(AcceptQueueFull, Likely, 3, 0)],
        ),
        (
            "B4b: cookies",
            bed([]).counters(Namespace {
                req_q_full_cookies: 9,
                syncookies_sent: 9,
                ..Namespace::default()
            }),
            &[],
        ),
    ]);
}

#[test]
fn a_noted_drop_is_no_overflow() {
    use super::super::Verdict::DroppedByRule;
    let rule = silent().to(pod()).syn("NETFILTER_DROP", "nft_do_chain");
    check(&[(
        "rule in front of a full queue",
        full([rule]),
        &[(DroppedByRule, Certain, 3, 0)],
    )]);
}
