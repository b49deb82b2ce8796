//! B5, E2, and the healthy servers that look like them.

use tracer_common::{
    counters::Cell,
    failure::Failure::{ClosedAtOnce, Unanswered},
    words::{Close, Traffic},
};

use super::{
    super::{
        Certainty::{Certain, Likely},
        Verdict::{ClosedAtOnce as Closed, ServerStalled},
    },
    bed::{Bed, Make as _, bed, pod, row},
    check,
};
use crate::evidence::Place;

fn unanswered(count: u64, unread: u32, not_accepted: u32) -> Bed {
    bed([row(Unanswered).to(pod()).count(count)]).with(|pod| {
        pod.unread = unread;
        pod.unread_for_long = unread > 0;
        pod.accepted = unread;
        pod.not_accepted = not_accepted;
    })
}

/// The same at a server that has accepted connections and has read them.
fn that_reads(mut bed: Bed) -> Bed {
    if let Some(Place::Here(pod)) = bed.0.backends.first_mut().map(|b| &mut b.place) {
        pod.unread_for_long = false;
        pod.accepted = 9;
    }
    bed
}

#[test]
fn server_stalled() {
    let stalled = &[(ServerStalled, Certain, 0, 4)];
    check(&[
        ("never reads", unanswered(4, 4, 0), stalled),
        ("never accepts", unanswered(4, 0, 4), stalled),
        ("some clients have gone", unanswered(4, 1, 1), stalled),
        (
            "met unread once: it may be just reading",
            that_reads(unanswered(4, 4, 0)),
            &[(ServerStalled, Likely, 0, 4)],
        ),
        ("accepts slowly", that_reads(unanswered(4, 0, 4)), &[]),
        ("reads and takes its time", unanswered(4, 0, 0), &[]),
        ("oneway calls of a busy server", unanswered(400, 2, 1), &[]),
        ("beyond", bed([row(Unanswered).to(pod())]).beyond(), &[]),
    ]);
}

#[test]
fn closed_at_once() {
    let closed = |n| bed([row(ClosedAtOnce).to(pod()).count(n)]);
    check(&[
        ("all", closed(40).here(), &[(Closed, Certain, 0, 40)]),
        (
            "all, beyond",
            closed(40).beyond(),
            &[(Closed, Certain, 0, 40)],
        ),
        ("most", closed(25).here(), &[(Closed, Likely, 0, 25)]),
        (
            "backend unknown",
            bed([row(ClosedAtOnce).count(40)]),
            &[(Closed, Certain, 0, 40)],
        ),
        (
            "a health port: its clients had nothing to send, and closed in turn",
            closed(40)
                .count(Cell::close(Close::ServerFin, Traffic::HealthCheck), 40)
                .here(),
            &[],
        ),
        (
            "health checks beside calls that are closed at once",
            closed(40)
                .count(Cell::close(Close::ServerFin, Traffic::HealthCheck), 10)
                .here(),
            &[(Closed, Likely, 0, 40)],
        ),
        ("now and then", closed(19).here(), &[]),
        ("one of one", closed(1).another(2, 1, |_| {}), &[]),
        ("attempts unknown", closed(3).attempts(0), &[]),
    ]);
}
