//! A1 to A4.

use tracer_common::{
    counters::Cell,
    failure::{
        Failure::{Cancelled, ClosedAtOnce, Late, TimedOut, Unanswered, Unreachable},
        Reply::{Icmpv6, NodeRst},
        seen,
    },
    words::{Close, Traffic},
};

use super::{
    super::{
        Certainty::{Certain, Likely},
        Verdict::{HeldByKubeProxy, NoEndpoints, NoLocalEndpoint, NoServiceRule, RejectedByRule},
    },
    bed::{Make as _, PORT, bed, icmp, pod, refused, row, silent},
    check,
};
use crate::evidence::{Conntrack, Namespace, Route};

const RULE: (&str, &str) = ("NETFILTER_DROP", "nft_do_chain");
const CORE: (&str, &str) = ("NETFILTER_DROP", "nf_hook_slow");

fn resets(out_rsts: u64) -> Namespace {
    Namespace {
        out_rsts,
        ..Namespace::default()
    }
}

fn limited(icmp: u64) -> Namespace {
    Namespace {
        icmp_limited: Some(icmp),
        ..Namespace::default()
    }
}

#[test]
fn no_endpoints() {
    let v6 = row(Unreachable).reply(Icmpv6, 4);
    check(&[
        (
            "REJECT, drop noted",
            bed([icmp(3).syn(RULE.0, RULE.1)]),
            &[(NoEndpoints, Certain, 3, 0)],
        ),
        (
            "REJECT answers before its drop is noted",
            bed([icmp(3)]),
            &[(NoEndpoints, Certain, 3, 0)],
        ),
        ("IPv6", bed([v6]), &[(NoEndpoints, Certain, 3, 0)]),
        (
            "ICMP's rate limit silences some, on a kernel that does not count them",
            bed([icmp(3), silent().syn(RULE.0, RULE.1)]),
            &[(NoEndpoints, Certain, 6, 0)],
        ),
        (
            "ICMP's rate limit silences some",
            bed([icmp(3), silent().syn(RULE.0, RULE.1)]).node(limited(3)),
            &[(NoEndpoints, Certain, 6, 0)],
        ),
        (
            "no ICMP was kept back: two rules, one after the other",
            bed([icmp(3), silent().syn(RULE.0, RULE.1)]).node(limited(0)),
            &[
                (NoEndpoints, Certain, 3, 0),
                (NoLocalEndpoint, Certain, 3, 0),
            ],
        ),
    ]);
}

#[test]
fn rejected_by_rule() {
    let noted = refused(NodeRst).syn(RULE.0, RULE.1);
    let after_nat = refused(NodeRst).to(pod());
    check(&[
        (
            "drop noted",
            bed([noted]),
            &[(RejectedByRule, Certain, 3, 0)],
        ),
        (
            "no RST by the stack",
            bed([refused(NodeRst)]),
            &[(RejectedByRule, Certain, 3, 0)],
        ),
        (
            "fewer RSTs by the stack",
            bed([refused(NodeRst)]).node(resets(2)),
            &[(RejectedByRule, Likely, 3, 0)],
        ),
        (
            "the stack's own RSTs are noted here",
            bed([
                refused(NodeRst),
                refused(NodeRst)
                    .reset(seen::RESET_CLIENT, "NO_SOCKET")
                    .port(PORT + 1),
            ])
            .node(resets(90)),
            &[
                (RejectedByRule, Certain, 3, 0),
                (NoServiceRule, Certain, 3, 0),
            ],
        ),
        (
            "after DNAT",
            bed([after_nat]).here(),
            &[(RejectedByRule, Certain, 3, 0)],
        ),
        (
            "ICMP host prohibited",
            bed([icmp(10)]),
            &[(RejectedByRule, Likely, 3, 0)],
        ),
    ]);
}

#[test]
fn no_service_rule() {
    let reset = || refused(NodeRst).reset(seen::RESET_CLIENT, "NO_SOCKET");
    check(&[
        (
            "stack's RST",
            bed([reset()]).node(resets(3)),
            &[(NoServiceRule, Certain, 3, 0)],
        ),
        (
            "before 6.12: the drop alone",
            bed([refused(NodeRst).syn("NO_SOCKET", "tcp_v4_rcv")]).node(resets(3)),
            &[(NoServiceRule, Certain, 3, 0)],
        ),
        (
            "before 5.17: the location alone",
            bed([refused(NodeRst).syn("", "tcp_v6_rcv")]).node(resets(3)),
            &[(NoServiceRule, Likely, 3, 0)],
        ),
        (
            "nothing but the count of RSTs",
            bed([refused(NodeRst)]).node(resets(3)),
            &[(NoServiceRule, Likely, 3, 0)],
        ),
    ]);
}

#[test]
fn no_local_endpoint() {
    let full = Conntrack {
        count: 262_144,
        max: 262_144,
        drop: 3,
        ..Conntrack::default()
    };
    check(&[
        (
            "nf_tables",
            bed([silent().syn(RULE.0, RULE.1)]),
            &[(NoLocalEndpoint, Certain, 3, 0)],
        ),
        (
            "client gave up",
            bed([row(Cancelled).syn(RULE.0, RULE.1)]),
            &[(NoLocalEndpoint, Certain, 3, 0)],
        ),
        (
            "legacy: conntrack refused nothing",
            bed([silent().syn(CORE.0, CORE.1)]),
            &[(NoLocalEndpoint, Certain, 3, 0)],
        ),
        (
            "legacy: conntrack unknown",
            bed([silent().syn(CORE.0, CORE.1)]).conntrack(None),
            &[(NoLocalEndpoint, Likely, 3, 0)],
        ),
        (
            "5.10",
            bed([silent().syn("", "nf_hook_slow.isra.0+0x4a")]),
            &[(NoLocalEndpoint, Certain, 3, 0)],
        ),
        (
            "nf_tables while the table is full",
            bed([silent().syn(RULE.0, RULE.1)]).conntrack(Some(full)),
            &[(NoLocalEndpoint, Certain, 3, 0)],
        ),
    ]);
}

#[test]
fn held_by_kube_proxy() {
    let proxy = Some("kube-proxy");
    let rows = || [row(Unanswered), row(ClosedAtOnce), row(TimedOut)];
    check(&[
        (
            "connections and silence",
            bed(rows()).holder(4, 4, proxy),
            &[(HeldByKubeProxy, Certain, 3, 6)],
        ),
        (
            "another process",
            bed([silent()]).holder(2, 0, Some("python3")),
            &[(HeldByKubeProxy, Likely, 3, 2)],
        ),
        (
            "its queue is full",
            bed([silent()]).holder(129, 0, None),
            &[(HeldByKubeProxy, Certain, 3, 129)],
        ),
        (
            "health checks alone",
            bed([]).holder(7, 7, proxy),
            &[(HeldByKubeProxy, Certain, 0, 7)],
        ),
        (
            "one connection on its way to accept(2)",
            bed([]).holder(1, 0, Some("nginx")),
            &[],
        ),
        (
            "old connections, attempts go to a pod now",
            bed([]).here().holder(7, 7, proxy),
            &[],
        ),
        (
            "a busy server of the node's own",
            bed([row(Late)])
                .count(Cell::close(Close::ClientFin, Traffic::Thrift), 3)
                .holder(3, 1, Some("nginx")),
            &[],
        ),
        (
            "endpoints until a moment ago",
            bed([])
                .count(Cell::close(Close::ClientFin, Traffic::Thrift), 90)
                .holder(3, 1, proxy),
            &[(HeldByKubeProxy, Certain, 0, 3)],
        ),
        ("no attempts", bed([]).attempts(0).holder(7, 7, proxy), &[]),
        (
            "held, and it accepts",
            bed([row(Unanswered), row(Late)]).holder(0, 0, proxy),
            &[],
        ),
    ]);
}

#[test]
fn a_host_network_backend_is_the_node() {
    use super::super::Verdict::NothingListens;
    let reset = refused(NodeRst)
        .to(pod())
        .reset(seen::RESET_CLIENT, "NO_SOCKET");
    let unnoted = || bed([refused(NodeRst).to(pod())]).here();
    let mut unknown = unnoted();
    unknown.0.backends[0].route = None;
    check(&[
        (
            "nothing listens on the node",
            bed([reset]).here().route(Route::Local),
            &[(NothingListens, Certain, 3, 0)],
        ),
        (
            "no note of it",
            unnoted().route(Route::Local),
            &[(NothingListens, Likely, 3, 0)],
        ),
        (
            "neither note nor route",
            unknown,
            &[(RejectedByRule, Likely, 3, 0)],
        ),
    ]);
}
