//! C1 to C5.

use tracer_common::{
    counters::Cell,
    failure::{
        Failure::{Cancelled, ClosedAtOnce, Late, Reset, Unanswered},
        Reply::BackendRst,
        seen,
    },
    words::Retransmit,
};

use super::{
    super::{
        Certainty::{Certain, Likely},
        Verdict::{
            BackendUnreachable, ConntrackClash, ConntrackFull, ConntrackInvalid, DroppedByRule,
            NoEndpoints, NothingListens, SnatExhausted, StaleConntrack,
        },
    },
    bed::{Bed, Make as _, PORT, backend, bed, icmp, pod, refused, row, silent, stop},
    check,
};
use crate::evidence::{
    Conntrack, Entry, Row,
    rules::{Action, Owner},
};

fn core() -> Row {
    silent().syn("NETFILTER_DROP", "nf_hook_slow")
}

fn counters(count: u64, insert_failed: u64, drop: u64, invalid: u64) -> Option<Conntrack> {
    Some(Conntrack {
        count,
        peak: count,
        max: 1000,
        insert_failed,
        drop,
        early_drop: 0,
        invalid,
    })
}

#[test]
fn conntrack_full() {
    let emptied = Some(Conntrack {
        early_drop: 5,
        ..counters(500, 0, 3, 0).unwrap_or_default()
    });
    check(&[
        (
            "full",
            bed([core()]).conntrack(counters(1000, 0, 3, 0)).rules([]),
            &[(ConntrackFull, Certain, 3, 0)],
        ),
        (
            "5.10",
            bed([silent().syn("", "nf_hook_slow")])
                .conntrack(counters(1000, 0, 3, 0))
                .rules([]),
            &[(ConntrackFull, Certain, 3, 0)],
        ),
        (
            "was full",
            bed([core()]).conntrack(emptied),
            &[(ConntrackFull, Likely, 3, 0)],
        ),
        (
            "was full, as a reading of the window shows",
            bed([core()])
                .conntrack(Some(Conntrack {
                    peak: 1000,
                    ..counters(500, 0, 3, 0).unwrap_or_default()
                }))
                .rules([]),
            &[(ConntrackFull, Certain, 3, 0)],
        ),
        (
            "a rule takes them while the table is full for others",
            bed([core()])
                .conntrack(counters(1000, 0, 9, 0))
                .rules([stop(Owner::Other, Action::Drop)]),
            &[(DroppedByRule, Certain, 3, 0)],
        ),
        (
            "full, and the rules could not be read",
            bed([core()]).conntrack(counters(1000, 0, 3, 0)),
            &[(ConntrackFull, Likely, 3, 0)],
        ),
        (
            "more was refused than these attempts have sent",
            bed([core()]).conntrack(counters(1000, 0, 900, 0)).rules([]),
            &[(ConntrackFull, Likely, 3, 0)],
        ),
        (
            "no notes",
            bed([silent()]).conntrack(counters(999, 0, 3, 0)),
            &[(ConntrackFull, Likely, 3, 0)],
        ),
        (
            "late",
            bed([Row {
                failure: Late,
                ..core()
            }])
            .conntrack(counters(1000, 0, 3, 0))
            .rules([]),
            &[(ConntrackFull, Certain, 0, 3)],
        ),
    ]);
}

#[test]
fn no_free_tuple() {
    let to_pod = || core().to(pod());
    let late = || Row {
        failure: Late,
        ..to_pod()
    };
    let given_up = || Row {
        failure: Cancelled,
        ..to_pod()
    };
    check(&[
        (
            "C3",
            bed([to_pod()])
                .here()
                .conntrack(counters(9, 3, 3, 0))
                .rules([]),
            &[(SnatExhausted, Certain, 3, 0)],
        ),
        (
            "C3, backend unknown",
            bed([core()]).conntrack(counters(9, 3, 3, 0)).rules([]),
            &[(SnatExhausted, Certain, 3, 0)],
        ),
        (
            "C3, given up",
            bed([given_up()])
                .here()
                .conntrack(counters(9, 3, 3, 0))
                .rules([]),
            &[(SnatExhausted, Certain, 3, 0)],
        ),
        (
            "C3, some got a port in the end",
            bed([to_pod(), late()])
                .here()
                .conntrack(counters(9, 6, 6, 0))
                .rules([]),
            &[(SnatExhausted, Certain, 3, 3)],
        ),
        (
            "C2",
            bed([late()])
                .here()
                .conntrack(counters(9, 3, 3, 0))
                .rules([]),
            &[(ConntrackClash, Certain, 0, 3)],
        ),
        (
            "C2, some gave up within a second",
            bed([late(), given_up().count(1)])
                .here()
                .conntrack(counters(9, 4, 4, 0))
                .rules([]),
            &[(ConntrackClash, Certain, 1, 3)],
        ),
        (
            "fewer were refused than were sent, with those sent again: a rule that is gone",
            bed([to_pod()])
                .here()
                .conntrack(counters(9, 4, 4, 0))
                .count(Cell::retransmit(Retransmit::Syn), 3)
                .rules([]),
            &[(SnatExhausted, Likely, 3, 0)],
        ),
        (
            "C2, each sent again with success",
            bed([late()])
                .here()
                .conntrack(counters(9, 3, 3, 0))
                .count(Cell::retransmit(Retransmit::Syn), 3)
                .rules([]),
            &[(ConntrackClash, Certain, 0, 3)],
        ),
        (
            "legacy rule, one clash elsewhere",
            bed([to_pod().count(20)])
                .here()
                .conntrack(counters(9, 1, 1, 0)),
            &[(DroppedByRule, Likely, 20, 0)],
        ),
        (
            "legacy rule",
            bed([to_pod()]).here().conntrack(counters(9, 0, 0, 0)),
            &[(DroppedByRule, Certain, 3, 0)],
        ),
    ]);
}

#[test]
fn conntrack_invalid() {
    let reset = |failure| row(failure).to(pod()).seen(seen::RESET_SERVER);
    let dropped =
        row(Unanswered)
            .to(pod())
            .drop(seen::DROPPED_SERVER, "NETFILTER_DROP", "nft_do_chain");
    let invalid = counters(9, 0, 0, 2);
    check(&[
        (
            "C4",
            bed([reset(Reset), reset(Unanswered), reset(ClosedAtOnce)])
                .here()
                .conntrack(invalid),
            &[(ConntrackInvalid, Certain, 0, 9)],
        ),
        (
            "dropped as invalid",
            bed([dropped]).here().conntrack(invalid),
            &[(ConntrackInvalid, Likely, 0, 3)],
        ),
        (
            "invalid segments of others",
            bed([row(Reset).to(pod())]).here().conntrack(invalid),
            &[],
        ),
        ("none invalid", bed([reset(Reset)]).here(), &[]),
    ]);
}

fn entry(bed: Bed, state: &str) -> Bed {
    let mut bed = bed;
    bed.0.entries.push(Entry {
        node_port: PORT,
        backend: pod(),
        state: state.to_owned(),
    });
    bed
}

#[test]
fn stale_conntrack() {
    let old = |row: Row| row.to(pod()).seen(seen::OLD_ENTRY);
    let failed = |bed: Bed| bed.beyond().neighbour("FAILED");
    check(&[
        (
            "C5",
            failed(bed([old(icmp(1))])).another(3, 9, |_| {}),
            &[(StaleConntrack, Certain, 3, 0)],
        ),
        (
            "C5, silent",
            failed(bed([old(silent()).syn("NEIGH_FAILED", "neigh_invalidate")])),
            &[(StaleConntrack, Certain, 3, 0)],
        ),
        (
            "entry older than the daemon",
            entry(failed(bed([silent()])), "ESTABLISHED"),
            &[(StaleConntrack, Certain, 3, 0)],
        ),
        (
            "a REJECT: the entry is that of another attempt",
            entry(failed(bed([icmp(3)])), "TIME_WAIT"),
            &[(NoEndpoints, Likely, 3, 0)],
        ),
        (
            "the attempt's own entry: it waits for a neighbour",
            entry(failed(bed([silent()])), "SYN_SENT"),
            &[(BackendUnreachable, Certain, 3, 0)],
        ),
        (
            "address of another pod now",
            bed([old(refused(BackendRst))]).another(3, 9, |_| {}),
            &[(StaleConntrack, Likely, 3, 0)],
        ),
        (
            "new connections fail there too: the endpoint itself is gone",
            failed(bed([old(icmp(1)), icmp(1).to(pod())])).another(3, 9, |_| {}),
            &[(BackendUnreachable, Certain, 6, 0)],
        ),
        (
            "the only backend does not listen",
            bed([old(refused(BackendRst)), refused(BackendRst).to(pod())]).here(),
            &[(NothingListens, Likely, 6, 0)],
        ),
        (
            "another backend's entry is no matter",
            bed([silent()
                .to(backend(3))
                .syn("NETFILTER_DROP", "nft_do_chain")]),
            &[(DroppedByRule, Certain, 3, 0)],
        ),
    ]);
}
