//! The hard sets: what looks alike from outside, told apart side by side.

use tracer_common::failure::{
    Failure::{ClosedAtOnce, Unanswered},
    Reply::{BackendRst, NodeRst},
    seen,
};

use super::{
    super::{Verdict, judge, of_row},
    bed::{Bed, Make as _, bed, pod, refused, row, silent},
};
use crate::evidence::{Conntrack, Listener, Namespace, Route};

/// One row each; every line has a verdict of its own.
fn told_apart(set: &[(&str, Bed, Verdict)]) {
    let mut verdicts: Vec<Verdict> = Vec::new();
    for (name, bed, expected) in set {
        let judgement = judge(&bed.0);
        let found: Vec<Verdict> = judgement.findings.iter().map(|f| f.verdict).collect();
        assert_eq!(found, [*expected], "{name}: {judgement:#?}");
        let (single, certainty) = of_row(&bed.0.rows[0], &bed.0);
        assert_eq!(single, *expected, "{name}");
        assert_eq!(certainty, judgement.findings[0].certainty, "{name}");
        verdicts.push(*expected);
    }
    verdicts.sort_unstable();
    verdicts.dedup();
    assert_eq!(verdicts.len(), set.len());
}

#[test]
fn three_kinds_of_rst() {
    let node = || refused(NodeRst);
    let reset = |row: crate::evidence::Row| row.reset(seen::RESET_CLIENT, "NO_SOCKET");
    told_apart(&[
        (
            "A1r",
            bed([node().syn("NETFILTER_DROP", "nft_do_chain")]),
            Verdict::RejectedByRule,
        ),
        ("A3", bed([reset(node())]), Verdict::NoServiceRule),
        (
            "A5",
            bed([reset(refused(BackendRst).to(pod()))]).here(),
            Verdict::NothingListens,
        ),
    ]);
}

#[test]
fn silence() {
    let gone = || silent().to(pod());
    let core = ("NETFILTER_DROP", "nf_hook_slow");
    let counters = |count, insert_failed| {
        Some(Conntrack {
            count,
            max: 1000,
            insert_failed,
            drop: 3,
            ..Conntrack::default()
        })
    };
    let queue = |listen_overflows, listen_drops| Namespace {
        listen_overflows,
        listen_drops,
        ..Namespace::default()
    };
    let blackhole = bed([gone().syn("NOT_SPECIFIED", "ip_error")]).beyond();
    told_apart(&[
        (
            "A4",
            bed([silent().syn("NETFILTER_DROP", "nft_do_chain")]),
            Verdict::NoLocalEndpoint,
        ),
        (
            "A7",
            blackhole.route(Route::Blackhole),
            Verdict::RouteBlackhole,
        ),
        (
            "B1",
            bed([gone()]).counters(queue(3, 3)),
            Verdict::AcceptQueueFull,
        ),
        (
            "B4",
            bed([gone()]).counters(queue(0, 3)),
            Verdict::SynQueueFull,
        ),
        (
            "C1",
            bed([silent().syn(core.0, core.1)]).conntrack(counters(1000, 0)),
            Verdict::ConntrackFull,
        ),
        (
            "C3",
            bed([gone().syn(core.0, core.1)]).conntrack(counters(9, 3)),
            Verdict::SnatExhausted,
        ),
        (
            "D1",
            bed([gone().syn("NETFILTER_DROP", "nft_do_chain")]),
            Verdict::DroppedByRule,
        ),
        (
            "D2",
            bed([silent().syn("IP_RPFILTER", "ip_rcv_finish_core")]),
            Verdict::RpFilter,
        ),
        (
            "D4",
            bed([gone().seen(seen::SYN_ACK_AGAIN)]).here(),
            Verdict::ReturnPath,
        ),
        ("beyond", bed([gone()]).beyond(), Verdict::Unexplained),
    ]);
}

#[test]
fn handshake_fine_service_dead() {
    let asked = || row(Unanswered).to(pod());
    let cookie = asked().drop(seen::DROPPED_CLIENT, "NO_SOCKET", "cookie_v4_check");
    let too_big = asked().drop(seen::DROPPED_SERVER, "PKT_TOO_BIG", "ip_forward");
    let closed = row(ClosedAtOnce).to(pod()).count(40);
    let full = bed([cookie]).with(|pod| {
        pod.listener = Some(Listener {
            queue: 129,
            limit: 128,
            drops: 9,
        });
    });
    told_apart(&[
        (
            "A2",
            bed([row(Unanswered)]).holder(3, 3, Some("kube-proxy")),
            Verdict::HeldByKubeProxy,
        ),
        ("B2", full, Verdict::AcceptQueueFull),
        (
            "B5",
            bed([asked()]).with(|pod| pod.unread = 3),
            Verdict::ServerStalled,
        ),
        ("E2", bed([closed]).here(), Verdict::ClosedAtOnce),
        ("D6", bed([too_big]).here(), Verdict::PmtuBlackhole),
    ]);
}
