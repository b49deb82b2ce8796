//! A1 to A4.

use std::sync::Arc;

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
        Verdict::{
            DroppedByRule, HeldByKubeProxy, NoEndpoints, NoLocalEndpoint, NoServiceRule,
            RejectedByRule,
        },
    },
    bed::{Make as _, PORT, bed, icmp, pod, refused, row, served, silent, stop},
    check,
};
use crate::{
    evidence::{
        Conntrack, Namespace, Route,
        rules::{Action, Matches, Owner, RuleSets, Stop, Traced},
    },
    services::Table,
};

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

const REJECT: Action = Action::RejectIcmp { code: 3 };

#[test]
fn no_endpoints() {
    let v6 = row(Unreachable).reply(Icmpv6, 4);
    let v6_rule = stop(Owner::KubeProxy, Action::RejectIcmp { code: 4 });
    let rule = || [stop(Owner::KubeProxy, REJECT)];
    check(&[
        (
            "REJECT, drop noted",
            bed([icmp(3).syn(RULE.0, RULE.1)]).rules(rule()),
            &[(NoEndpoints, Certain, 3, 0)],
        ),
        (
            "REJECT answers before its drop is noted",
            bed([icmp(3)]).rules(rule()),
            &[(NoEndpoints, Certain, 3, 0)],
        ),
        (
            "IPv6",
            bed([v6]).rules([v6_rule]),
            &[(NoEndpoints, Certain, 3, 0)],
        ),
        (
            "the rules could not be read",
            bed([icmp(3)]),
            &[(NoEndpoints, Likely, 3, 0)],
        ),
        (
            "others are served in the midst of it",
            bed([icmp(3).amid(served(None))]),
            &[(RejectedByRule, Likely, 3, 0)],
        ),
        (
            "a firewall's REJECT, where kube-proxy has a rule",
            bed([icmp(3)]).rules([stop(Owner::Other, REJECT)]),
            &[(RejectedByRule, Certain, 3, 0)],
        ),
        (
            "ICMP's rate limit silences some",
            bed([icmp(3), silent().syn(RULE.0, RULE.1)])
                .node(limited(3))
                .rules(rule()),
            &[(NoEndpoints, Certain, 6, 0)],
        ),
        (
            "no ICMP was kept back: two rules, one after the other",
            bed([icmp(3), silent().syn(RULE.0, RULE.1)])
                .node(limited(0))
                .rules([
                    stop(Owner::KubeProxy, REJECT),
                    stop(Owner::KubeProxy, Action::Drop),
                ]),
            &[
                (NoEndpoints, Certain, 3, 0),
                (NoLocalEndpoint, Certain, 3, 0),
            ],
        ),
    ]);
}

/// kube-proxy has no rules, and the host's firewall ends in REJECT.
#[test]
fn a_reject_in_place_of_rules_that_are_missing() {
    let mut nameless = bed([icmp(3)]).rules([stop(Owner::Other, REJECT)]);
    let traced = Traced {
        backends: Vec::new(),
        complete: true,
        complete_before_dnat: true,
        stops: vec![stop(Owner::Other, REJECT)],
    };
    nameless.0.rules = Arc::new(RuleSets::answering(traced, None));
    let mut named = nameless.clone();
    named.0.names = Arc::new(Table::named(PORT, "thrift", "users", "api"));
    check(&[
        (
            "a Service has the port",
            named,
            &[(NoServiceRule, Certain, 3, 0)],
        ),
        (
            "no Service is known",
            nameless,
            &[(RejectedByRule, Certain, 3, 0)],
        ),
    ]);
}

#[test]
fn rejected_by_rule() {
    let noted = refused(NodeRst).syn(RULE.0, RULE.1);
    let after_nat = refused(NodeRst).to(pod());
    let undecided = Stop {
        matches: Matches::Maybe,
        rise: None,
        ..stop(Owner::Other, Action::RejectReset)
    };
    check(&[
        (
            "drop noted, which rule's is open",
            bed([noted.clone()]).rules([undecided]),
            &[(RejectedByRule, Certain, 3, 0)],
        ),
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
        (
            "rules are here, and did not take these SYNs",
            bed([reset()]).node(resets(3)).rules([]),
            &[(NoServiceRule, Likely, 3, 0)],
        ),
    ]);
}

/// One rule of kube-proxy's drops all that is marked: what has no local endpoint, and
/// what is outside of a Service's source ranges.
#[test]
fn what_is_marked_is_dropped_for_two_reasons() {
    let mut marked = stop(Owner::KubeProxy, Action::Drop);
    marked.rule.chain = "KUBE-FIREWALL".into();
    marked.rule.comment = None;
    let dropped = || bed([silent().syn("NETFILTER_DROP", "nft_do_chain")]);
    let alone = dropped().rules([marked.clone()]);
    let mut of_ranges = marked.clone();
    of_ranges.rule.chain = "KUBE-PROXY-FIREWALL".into();
    let ranges = dropped().rules([of_ranges]);
    let mut others = dropped().rules([marked]);
    others.0.served.push(served(None));
    check(&[
        ("source ranges", ranges, &[(DroppedByRule, Certain, 3, 0)]),
        (
            "nobody is served",
            alone,
            &[(NoLocalEndpoint, Certain, 3, 0)],
        ),
        ("others are", others, &[(DroppedByRule, Likely, 3, 0)]),
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
    let rule = || [stop(Owner::KubeProxy, Action::Drop)];
    check(&[
        (
            "nf_tables",
            bed([silent().syn(RULE.0, RULE.1)]).rules(rule()),
            &[(NoLocalEndpoint, Certain, 3, 0)],
        ),
        (
            "client gave up",
            bed([row(Cancelled).syn(RULE.0, RULE.1)]).rules(rule()),
            &[(NoLocalEndpoint, Certain, 3, 0)],
        ),
        (
            "legacy",
            bed([silent().syn(CORE.0, CORE.1)]).rules(rule()),
            &[(NoLocalEndpoint, Certain, 3, 0)],
        ),
        (
            "the rules could not be read",
            bed([silent().syn(RULE.0, RULE.1)]),
            &[(NoLocalEndpoint, Likely, 3, 0)],
        ),
        (
            "somebody else's rule takes them",
            bed([silent().syn(RULE.0, RULE.1)]).rules([stop(Owner::Other, Action::Drop)]),
            &[(DroppedByRule, Certain, 3, 0)],
        ),
        (
            "it may take them, and its counter stands still",
            bed([silent().syn(RULE.0, RULE.1)]).rules([Stop {
                packets: Some(0),
                ..stop(Owner::Other, Action::Drop)
            }]),
            &[(DroppedByRule, Likely, 3, 0)],
        ),
        (
            "others are served in the midst of it",
            bed([silent().syn(RULE.0, RULE.1).amid(served(None))]),
            &[(DroppedByRule, Likely, 3, 0)],
        ),
        (
            "legacy: conntrack unknown",
            bed([silent().syn(CORE.0, CORE.1)]).conntrack(None),
            &[(NoLocalEndpoint, Likely, 3, 0)],
        ),
        (
            "5.10",
            bed([silent().syn("", "nf_hook_slow.isra.0+0x4a")]).rules(rule()),
            &[(NoLocalEndpoint, Certain, 3, 0)],
        ),
        (
            "nf_tables while the table is full",
            bed([silent().syn(RULE.0, RULE.1)])
                .conntrack(Some(full))
                .rules(rule()),
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
            "it accepts, slowly",
            {
                let mut slow = bed([silent()]).holder(3, 1, Some("nginx"));
                slow.0.holders[0].accepted = 2;
                slow
            },
            &[],
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
