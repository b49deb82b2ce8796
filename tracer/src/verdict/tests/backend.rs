//! A5 to A7b, E1.

use tracer_common::failure::{
    Failure::{Cancelled, Unreachable},
    Reply::{BackendRst, Icmpv6},
    seen,
};

use super::{
    super::{
        Certainty::{Certain, Likely},
        Verdict::{BackendUnreachable, NothingListens, RejectedByRule, RouteBlackhole},
        judge,
    },
    bed::{CLIENT, Make as _, bed, icmp, pod, refused, row, served, silent, stop},
    check,
};
use crate::evidence::{
    Listener, Route, Row,
    rules::{Action, Owner},
};

/// F8: rules in the pod send what comes for its port on to a proxy's, and the kernel notes
/// nothing of this attempt.
#[test]
fn nothing_listens_where_the_pod_sends_it_on() {
    let sent_on = |row: Row, listener: Option<Listener>, out_rsts: u64| {
        bed([row.from(CLIENT)]).with(|pod| {
            pod.listener = listener;
            pod.listens_on = vec![9090];
            pod.sent_on_to = Some("10.244.1.2:15006".parse().unwrap());
            pod.sent_on_by = Some(stop(Owner::Other, Action::Drop).rule);
            pod.namespace.out_rsts = out_rsts;
        })
    };
    let rst = || refused(BackendRst).to(pod());
    let queue = Some(Listener {
        queue: 0,
        limit: 128,
        drops: 0,
    });
    check(&[
        (
            "nothing, and its stack sent as many",
            sent_on(rst(), None, 3),
            &[(NothingListens, Certain, 3, 0)],
        ),
        (
            "its stack sent fewer: a rule there may have",
            sent_on(rst(), None, 2),
            &[(NothingListens, Likely, 3, 0)],
        ),
        (
            "something listens there by now",
            sent_on(rst(), queue, 3),
            &[(NothingListens, Likely, 3, 0)],
        ),
    ]);
    let judgement = judge(&sent_on(rst(), None, 3).0);
    let text = judgement.findings[0].evidence.join(" ");
    assert!(text.contains("15006 by the rule iptables-nft"), "{text}");
    assert!(judgement.findings[0].next.contains("listen on 15006"));
}

#[test]
fn nothing_listens() {
    let rst = || refused(BackendRst).to(pod());
    let reset = || rst().reset(seen::RESET_CLIENT, "NO_SOCKET");
    let rule = rst().syn("NETFILTER_DROP", "nft_do_chain");
    check(&[
        (
            "noted",
            bed([reset()]).here(),
            &[(NothingListens, Certain, 3, 0)],
        ),
        (
            "drop noted, reset too",
            bed([reset().syn("NO_SOCKET", "tcp_v4_rcv")]).here(),
            &[(NothingListens, Certain, 3, 0)],
        ),
        (
            "a RST without a reason, of a pod that answered others meanwhile",
            bed([rst()
                .reset(seen::RESET_CLIENT, "")
                .amid(served(Some(pod())))])
            .here(),
            &[(NothingListens, Likely, 3, 0)],
        ),
        (
            "with a reason it is one that comes and goes",
            bed([reset().amid(served(Some(pod())))]).here(),
            &[(NothingListens, Certain, 3, 0)],
        ),
        (
            "before 6.12",
            bed([rst().syn("NO_SOCKET", "tcp_v6_rcv")]).here(),
            &[(NothingListens, Certain, 3, 0)],
        ),
        (
            "before 5.17",
            bed([rst().syn("", "tcp_v4_rcv")]).here(),
            &[(NothingListens, Likely, 3, 0)],
        ),
        (
            "beyond",
            bed([rst()]).beyond(),
            &[(NothingListens, Likely, 3, 0)],
        ),
        (
            "without conntrack",
            bed([refused(BackendRst)]).conntrack(None),
            &[(NothingListens, Likely, 3, 0)],
        ),
        (
            "a rule in the pod",
            bed([rule]).here(),
            &[(RejectedByRule, Certain, 3, 0)],
        ),
    ]);
}

#[test]
fn backend_unreachable() {
    let host = || icmp(1).to(pod());
    let v6 = row(Unreachable).reply(Icmpv6, 3).to(pod());
    let gone = || silent().to(pod());
    check(&[
        (
            "neighbour failed",
            bed([host()]).beyond().neighbour("FAILED"),
            &[(BackendUnreachable, Certain, 3, 0)],
        ),
        (
            "noted",
            bed([host().syn("NEIGH_FAILED", "neigh_invalidate")]).beyond(),
            &[(BackendUnreachable, Certain, 3, 0)],
        ),
        (
            "the others that waited for the neighbour",
            bed([gone().syn("QUEUE_PURGE", "neigh_invalidate")]).beyond(),
            &[(BackendUnreachable, Certain, 3, 0)],
        ),
        (
            "the copy of a capture that ended says nothing",
            bed([host().syn("QUEUE_PURGE", "skb_queue_purge_reason")]).beyond(),
            &[(BackendUnreachable, Likely, 3, 0)],
        ),
        (
            "5.10",
            bed([host().syn("", "arp_error_report")]).beyond(),
            &[(BackendUnreachable, Certain, 3, 0)],
        ),
        (
            "from beyond",
            bed([host()]).beyond(),
            &[(BackendUnreachable, Likely, 3, 0)],
        ),
        (
            "IPv6",
            bed([v6]).beyond().neighbour("FAILED"),
            &[(BackendUnreachable, Certain, 3, 0)],
        ),
        (
            "route unreachable",
            bed([host()]).beyond().route(Route::Unreachable),
            &[(BackendUnreachable, Certain, 3, 0)],
        ),
        (
            "route prohibit",
            bed([icmp(13).to(pod())]).beyond().route(Route::Prohibit),
            &[(BackendUnreachable, Certain, 3, 0)],
        ),
        (
            "no route",
            bed([icmp(0).to(pod())]).beyond().route(Route::Missing),
            &[(BackendUnreachable, Certain, 3, 0)],
        ),
        (
            "ICMP's rate limit silences some",
            bed([host(), gone().syn("NOT_SPECIFIED", "ip_error")])
                .beyond()
                .route(Route::Unreachable),
            &[(BackendUnreachable, Certain, 6, 0)],
        ),
        (
            "the same once the route is mended",
            bed([host(), gone().syn("NOT_SPECIFIED", "ip_error")]).beyond(),
            &[(BackendUnreachable, Certain, 6, 0)],
        ),
        (
            "clients that give up before the ICMP",
            bed([row(Cancelled).to(pod())])
                .beyond()
                .neighbour("INCOMPLETE"),
            &[(BackendUnreachable, Likely, 3, 0)],
        ),
        (
            "silent, neighbour failed",
            bed([gone()]).beyond().neighbour("FAILED"),
            &[(BackendUnreachable, Certain, 3, 0)],
        ),
        (
            "silent, no route",
            bed([gone().syn("IP_INNOROUTES", "ip_error")]).beyond(),
            &[(BackendUnreachable, Certain, 3, 0)],
        ),
    ]);
}

#[test]
fn route_blackhole() {
    let gone = || silent().to(pod());
    let noted = || gone().syn("NOT_SPECIFIED", "ip_error");
    check(&[
        (
            "noted",
            bed([noted()]).beyond().route(Route::Blackhole),
            &[(RouteBlackhole, Certain, 3, 0)],
        ),
        (
            "route alone",
            bed([gone()]).beyond().route(Route::Blackhole),
            &[(RouteBlackhole, Certain, 3, 0)],
        ),
        (
            "5.10",
            bed([gone().syn("", "ip_error")])
                .beyond()
                .route(Route::Blackhole),
            &[(RouteBlackhole, Certain, 3, 0)],
        ),
        (
            "IPv6",
            bed([gone().syn("", "dst_discard")])
                .beyond()
                .route(Route::Blackhole),
            &[(RouteBlackhole, Certain, 3, 0)],
        ),
        (
            "gone by now",
            bed([noted()]).beyond(),
            &[(RouteBlackhole, Likely, 3, 0)],
        ),
    ]);
}
