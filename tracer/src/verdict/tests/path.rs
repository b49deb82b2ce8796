//! C6, C9, D1 to D4, D6, D7, D10.

use tracer_common::{
    counters::Cell,
    failure::{
        Failure::{Abandoned, Cancelled, Late, Unacked, Unanswered},
        seen,
    },
    words::Answer,
};

use super::{
    super::{
        Certainty::{Certain, Likely, Unknown},
        Verdict::{
            BadChecksum, DroppedByRule, Hairpin, PawsRejected, PmtuBlackhole, RejectedByRule,
            ReturnPath, RpFilter, Unexplained,
        },
        judge,
    },
    bed::{CLIENT, Make as _, NODE, bed, icmp, pod, row, served, silent, stop},
    check,
};
use crate::evidence::{
    Namespace, Row, Served,
    rules::{Action, Matches, Owner, Stop},
};

fn gone() -> Row {
    silent().to(pod())
}

#[test]
fn dropped_by_rule() {
    let undecided = Stop {
        matches: Matches::Maybe,
        rise: None,
        ..stop(Owner::Other, Action::Drop)
    };
    let of_client = Served {
        client: Some(CLIENT),
        ..served(Some(pod()))
    };
    let moved = Stop {
        rise: Some(3),
        ..undecided.clone()
    };
    check(&[
        (
            "FORWARD",
            bed([gone().syn("NETFILTER_DROP", "nft_do_chain")]).here(),
            &[(DroppedByRule, Certain, 3, 0)],
        ),
        (
            "FORWARD: a rule for certain, whichever it is",
            bed([gone().syn("NETFILTER_DROP", "nft_do_chain")])
                .here()
                .rules([undecided.clone()]),
            &[(DroppedByRule, Certain, 3, 0)],
        ),
        (
            "before DNAT a rule of kube-proxy's may have done it as well",
            bed([silent().syn("NETFILTER_DROP", "nft_do_chain")])
                .here()
                .rules([undecided]),
            &[(DroppedByRule, Likely, 3, 0)],
        ),
        (
            "a rule that may fit has taken fewer than failed, beside legacy rules or conntrack",
            bed([gone().count(9).syn("NETFILTER_DROP", "nf_hook_slow")])
                .here()
                .conntrack(None)
                .rules([moved.clone()]),
            &[(DroppedByRule, Likely, 9, 0)],
        ),
        (
            "a rule that fits all of a client's SYNs, of which some came through",
            bed([gone().syn("NETFILTER_DROP", "nf_hook_slow").amid(of_client)])
                .here()
                .conntrack(None)
                .rules([stop(Owner::Other, Action::Drop)]),
            &[(DroppedByRule, Likely, 3, 0)],
        ),
        (
            "a rule that may fit has taken as many",
            bed([gone().syn("NETFILTER_DROP", "nf_hook_slow")])
                .here()
                .conntrack(None)
                .rules([moved]),
            &[(DroppedByRule, Certain, 3, 0)],
        ),
        (
            "conntrack unknown",
            bed([gone().syn("NETFILTER_DROP", "nf_hook_slow")]).conntrack(None),
            &[(DroppedByRule, Likely, 3, 0)],
        ),
        (
            "a SYN sent again came through: where the first one was dropped is not known",
            bed([row(Late).to(pod()).syn("NETFILTER_DROP", "nft_do_chain")]).here(),
            // Nobody knows whether the first SYN had been sent to it.
            &[],
        ),
        (
            "REJECT after DNAT",
            bed([icmp(3).to(pod())]).here(),
            &[(RejectedByRule, Likely, 3, 0)],
        ),
        (
            "administratively prohibited",
            bed([icmp(10).to(pod())]).here(),
            &[(RejectedByRule, Likely, 3, 0)],
        ),
    ]);
}

#[test]
fn rp_filter() {
    let rose = Namespace {
        reverse_path_filter: 3,
        ..Namespace::default()
    };
    let syn_ack = gone().drop(seen::DROPPED_SYN_ACK, "IP_RPFILTER", "ip_rcv_finish_core");
    check(&[
        (
            "SYN",
            bed([silent().syn("IP_RPFILTER", "ip_rcv_finish_core")]),
            &[(RpFilter, Certain, 3, 0)],
        ),
        (
            "in the pod",
            bed([gone().syn("IP_RPFILTER", "ip_rcv_finish_core")]).here(),
            &[(RpFilter, Certain, 3, 0)],
        ),
        (
            "SYN-ACK",
            bed([syn_ack]).here(),
            &[(RpFilter, Certain, 3, 0)],
        ),
        (
            "5.10",
            bed([silent().syn("", "ip_rcv_finish_core.constprop.0")]).node(rose),
            &[(RpFilter, Likely, 3, 0)],
        ),
        (
            "counter alone",
            bed([gone()]).counters(rose),
            &[(RpFilter, Likely, 3, 0)],
        ),
        (
            "the counter has another owner",
            bed([
                gone(),
                silent()
                    .syn("IP_RPFILTER", "ip_rcv_finish_core")
                    .port(31000),
            ])
            .beyond()
            .node(rose),
            &[(Unexplained, Unknown, 3, 0), (RpFilter, Certain, 3, 0)],
        ),
    ]);
}

#[test]
fn bad_checksum() {
    let rose = Namespace {
        checksum_errors: 3,
        ..Namespace::default()
    };
    check(&[
        (
            "in the node",
            bed([silent().syn("TCP_CSUM", "tcp_v4_rcv")]).node(rose),
            &[(BadChecksum, Certain, 3, 0)],
        ),
        (
            "in the pod",
            bed([gone().syn("TCP_CSUM", "tcp_v6_rcv")]).here(),
            &[(BadChecksum, Certain, 3, 0)],
        ),
        (
            "IP",
            bed([silent().syn("IP_CSUM", "ip_rcv_core")]),
            &[(BadChecksum, Certain, 3, 0)],
        ),
        (
            "5.10",
            bed([silent().syn("", "tcp_v4_rcv")]).node(rose),
            &[(BadChecksum, Likely, 3, 0)],
        ),
    ]);
}

#[test]
fn paws_rejected() {
    let rose = Namespace {
        paws: 3,
        ..Namespace::default()
    };
    let late = || row(Late).to(pod());
    check(&[
        (
            "TIME_WAIT",
            bed([late().syn("TCP_RFC7323_TW_PAWS", "tcp_v4_rcv")]).here(),
            &[(PawsRejected, Certain, 0, 3)],
        ),
        (
            "given up",
            bed([row(Cancelled)
                .to(pod())
                .syn("TCP_RFC7323_PAWS", "tcp_v4_rcv")])
            .here(),
            &[(PawsRejected, Certain, 3, 0)],
        ),
        (
            "counter alone",
            bed([late()]).counters(rose),
            &[(PawsRejected, Likely, 0, 3)],
        ),
        (
            "an old segment of an established connection",
            bed([row(Unanswered).to(pod()).drop(
                seen::DROPPED_CLIENT,
                "TCP_RFC7323_PAWS",
                "tcp_validate_incoming",
            )])
            .here(),
            &[],
        ),
    ]);
}

#[test]
fn return_path() {
    let again = || gone().seen(seen::SYN_ACK_AGAIN);
    let rule = again().drop(seen::DROPPED_SYN_ACK, "NETFILTER_DROP", "nft_do_chain");
    let repeated = rule.clone().seen(seen::DROPPED_SYN);
    let abandoned = || row(Abandoned).to(pod());
    let slow = |n| {
        bed([abandoned()])
            .beyond()
            .count(Cell::latency(Answer::SynAck, 13), n)
    };
    check(&[
        ("D3", bed([again()]).here(), &[(ReturnPath, Certain, 3, 0)]),
        (
            "D4, dropped here",
            bed([rule]).here(),
            &[(ReturnPath, Certain, 3, 0)],
        ),
        (
            "D4, dropped here, and the SYN that came again too",
            bed([repeated]).here(),
            &[(ReturnPath, Certain, 3, 0)],
        ),
        (
            "D3, the SYN that came again was dropped in the pod",
            bed([again()
                .syn("NOT_SPECIFIED", "tcp_v4_rcv")
                .seen(seen::OLD_ENTRY)])
            .here(),
            &[(ReturnPath, Certain, 3, 0)],
        ),
        (
            "D4, lost beyond",
            bed([row(Unacked).to(pod())]).here(),
            &[(ReturnPath, Likely, 3, 0)],
        ),
        (
            "D10",
            bed([abandoned().seen(seen::SYN_ACK_AGAIN)]).here(),
            &[(ReturnPath, Likely, 0, 3)],
        ),
        (
            "D10, backend beyond",
            slow(3),
            &[(ReturnPath, Likely, 0, 3)],
        ),
        (
            "most answers are fast",
            slow(3).count(Cell::latency(Answer::SynAck, 1), 30),
            &[],
        ),
        ("no answer known", bed([abandoned()]).beyond(), &[]),
    ]);
}

#[test]
fn pmtu_blackhole() {
    let rose = Namespace {
        frag_fails: 3,
        ..Namespace::default()
    };
    let stalled = |reason, location| {
        row(Unanswered)
            .to(pod())
            .drop(seen::DROPPED_SERVER, reason, location)
    };
    check(&[
        (
            "named",
            bed([stalled("PKT_TOO_BIG", "ip_forward")]).here(),
            &[(PmtuBlackhole, Certain, 0, 3)],
        ),
        (
            "5.10",
            bed([stalled("", "ip6_forward")]).here(),
            &[(PmtuBlackhole, Likely, 0, 3)],
        ),
        (
            "no symbols",
            bed([stalled("", "")]).here().node(rose),
            &[(PmtuBlackhole, Likely, 0, 3)],
        ),
        (
            "path MTU discovery of others",
            bed([row(Unanswered).to(pod())]).here().node(rose),
            &[],
        ),
    ]);
}

#[test]
fn hairpin() {
    let own = || gone().syn("IP_LOCAL_SOURCE", "ip_rcv_finish_core");
    check(&[
        (
            "the pod dials itself",
            bed([own().from(pod().ip())]).here(),
            &[(Hairpin, Certain, 3, 0)],
        ),
        (
            "the client is not known",
            bed([own()]).here(),
            &[(Hairpin, Likely, 3, 0)],
        ),
        (
            "the node dials itself through the load balancer",
            bed([own().from(NODE)]).here(),
            &[(Hairpin, Certain, 3, 0)],
        ),
        (
            "5.10",
            bed([gone().syn("", "ip_rcv_finish_core")]).here(),
            &[(Hairpin, Likely, 3, 0)],
        ),
    ]);
}

#[test]
fn what_was_dropped_in_a_pods_namespace_no_rule_of_the_node_took() {
    let here = stop(Owner::Other, Action::Drop);
    let dropped = |netns| Row {
        netns,
        ..gone().syn("NETFILTER_DROP", "nft_do_chain")
    };
    for (netns, named) in [(0, true), (4_026_532_000, false)] {
        let told = judge(&bed([dropped(netns)]).here().rules([here.clone()]).0);
        let [finding] = &told.findings[..] else {
            panic!("{told:?}");
        };
        assert_eq!(
            (finding.verdict, finding.certainty),
            (DroppedByRule, Certain)
        );
        let text = finding.evidence.join(" ");
        assert_eq!(text.contains("table raw"), named, "{text}");
    }
}
