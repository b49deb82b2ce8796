//! The path to the backend: rules after DNAT, reverse path filter, checksums,
//! timestamps, hairpin (failures C6, C9, D1, D2, D7).

use std::net::IpAddr;

use tracer_common::failure::{Failure, seen};

use super::{
    Certainty, Verdict,
    case::Case,
    conntrack::certainty_of_rule,
    drops::Cause,
    firewall,
    no_endpoints::no_endpoints,
    opinion::Opinion,
    replies::{answered, answers_are_late, return_path, slow, too_big},
    rules,
    service::{is_port_unreachable, is_prohibited},
};
use crate::evidence::{Route, rules::Action};

/// What this kernel noted of the flow itself.
pub(super) fn noted(case: &Case<'_>) -> Option<Opinion> {
    let silent = case.is_silent() || case.is_unacked();
    let is_own = |client| case.evidence.rules.owns(client);
    if silent && is_from(case, is_own) && !matches!(case.syn_cause(), Some(Cause::Rule)) {
        return Some(through_the_balancer(case));
    }
    match case.failure() {
        Failure::Refused => None,
        Failure::Unreachable => rejected(case),
        Failure::Unacked if case.is_unacked() => Some(return_path(case)),
        Failure::Unanswered => unanswered(case),
        _ if case.is_silent() || case.is_late() => syn(case).or_else(|| answered(case)),
        _ => None,
    }
}

/// A rule after DNAT answers with ICMP, here or beyond.
fn rejected(case: &Case<'_>) -> Option<Opinion> {
    let ruled = case.syn_cause().is_some_and(Cause::is_netfilter);
    // A route of type prohibit says the same.
    let routed = case.syn_cause() == Some(Cause::Route);
    let leads_on = matches!(case.route(), Some(Route::Unicast { .. })) && !routed;
    let prohibited = is_prohibited(case.row) && leads_on;
    let answers = ruled || prohibited || is_port_unreachable(case.row);
    let fits = case.address().is_some() && answers;
    let with = || match is_port_unreachable(case.row) {
        true => "ICMP port unreachable",
        false if is_prohibited(case.row) => "ICMP prohibited",
        false => "ICMP unreachable",
    };
    fits.then(|| {
        firewall::rejected(case, with(), &rules::told(case))
            .at(case)
            .certain_if(ruled)
    })
}

/// By the drop of a SYN.
fn syn(case: &Case<'_>) -> Option<Opinion> {
    match case.syn_cause()? {
        Cause::Rule | Cause::Hook if case.is_late() => rejected_at_first(case),
        Cause::Rule | Cause::Hook if case.address().is_some() => {
            let told = rules::told(case);
            let named = told.culprit.as_ref().is_some_and(|culprit| culprit.sure);
            let certain = named || certainty_of_rule(case) == Certainty::Certain;
            Some(firewall::dropped(case, &told).certain_if(certain))
        }
        Cause::ReversePath => Some(rp_filter(case)),
        Cause::Source => Some(foreign_source(case)),
        Cause::Checksum => Some(bad_checksum(case, case.noted())),
        Cause::Paws => Some(paws(case, case.noted())),
        Cause::LocalSource => Some(own_source(case)),
        _ => None,
    }
}

/// The backend is that of a later SYN: nobody knows whether one had been chosen for
/// the first when the rule took it. What was answered in the end came to something;
/// that the Service had no endpoints shows only where others got kube-proxy's ICMP.
fn rejected_at_first(case: &Case<'_>) -> Option<Opinion> {
    let mut others = case.evidence.rows.iter();
    let rejects =
        others.any(|r| r.node_port == case.port() && r.backend.is_none() && is_port_unreachable(r));
    if rejects {
        return Some(no_endpoints(case, None).certain_if(false));
    }
    // A rule that drops some of a client's SYNs, and not the one sent again.
    let told = rules::told(case);
    let culprit = told.culprit.as_ref()?;
    let drops = culprit.stop.action == Action::Drop && !culprit.is_kube_proxy();
    drops.then(|| firewall::dropped(case, &told).certain_if(culprit.sure))
}

/// D2.
pub(super) fn rp_filter(case: &Case<'_>) -> Opinion {
    let (counter, whose) = case.rise(|n| n.reverse_path_filter);
    let strict = case.pod().is_some_and(|p| p.rp_filter == 1);
    let sysctl = if strict {
        " (rp_filter is 1 in the pod)"
    } else {
        ""
    };
    let dropped = if case.cause().is_some() {
        format!(": {}", case.noted())
    } else {
        String::new()
    };
    Opinion::certain(
        Verdict::RpFilter,
        format!(
            "The reverse path filter dropped the packet{dropped}; IPReversePathFilter in {whose} \
             namespace rose by {counter}{sysctl}."
        ),
        "No rule, queue or server is to blame: the packet came in by another interface than the \
         route back leads out of.",
        format!(
            "`ip route get {}` tells by which interface the answer would leave; mend the route, or \
             set net.ipv4.conf.INTERFACE.rp_filter=2 (loose), the larger of `all` and the \
             interface counts.",
            case.client()
        ),
    )
    .at(case)
}

/// Kernels without reasons free both kinds at one place; IPReversePathFilter
/// counts only the filter's.
fn foreign_source(case: &Case<'_>) -> Opinion {
    if case.rise(|n| n.reverse_path_filter).0 > 0 || case.address().is_none() {
        rp_filter(case).certain_if(false)
    } else {
        own_source(case).certain_if(false)
    }
}

/// C9.
fn bad_checksum(case: &Case<'_>, fact: String) -> Opinion {
    let (counter, whose) = case.rise(|n| n.checksum_errors);
    Opinion::certain(
        Verdict::BadChecksum,
        format!("{fact}; Tcp InCsumErrors in {whose} namespace rose by {counter}."),
        "No rule, queue or server is to blame: a stack drops such a segment before it looks at it.",
        "Look for a broken offload on the way: `ethtool -K INTERFACE tx off` on the sending side \
         or the tunnel (`ethtool -K flannel.1 tx-checksum-ip-generic off`) as a test, then update \
         the driver or kernel.",
    )
    .at(case)
}

/// C6 and C8.
fn paws(case: &Case<'_>, fact: String) -> Opinion {
    let (counter, whose) = case.rise(|n| n.paws);
    Opinion::certain(
        Verdict::PawsRejected,
        format!("{fact}; PAWS counters in {whose} namespace rose by {counter}."),
        "The server and its queues are not to blame: its stack took the SYN for a duplicate of an \
         earlier connection from the same address and port, by its TCP timestamp.",
        "Find who reuses source ports within a minute with other timestamps: clients behind one \
         NAT address, or masquerading on this node; let it choose ports at random, or set \
         externalTrafficPolicy: Local; on kernels before 4.12 switch net.ipv4.tcp_tw_recycle off.",
    )
    .at(case)
}

/// D7 and F10: a segment came in with an address of its receiver as its source. In a
/// pod's namespace that is the pod's own, in the node's one of the node's.
fn own_source(case: &Case<'_>) -> Opinion {
    if is_from(case, |client| case.is_own(client)) {
        through_the_balancer(case)
    } else {
        hairpin(case).certain_if(is_its_own(case))
    }
}

/// Its source is the address of the backend.
fn is_its_own(case: &Case<'_>) -> bool {
    let target = case.address();
    target.is_some_and(|target| case.is_from(target.ip()))
}

/// Its source is an address of the node's own, and not as the backend's.
fn is_from(case: &Case<'_>, is_own: impl Fn(IpAddr) -> bool) -> bool {
    let mut sources = case.row.sources.iter();
    let own = !case.row.sources.is_empty() && sources.all(|(client, _)| is_own(*client));
    own && !is_its_own(case)
}

/// D7.
fn hairpin(case: &Case<'_>) -> Opinion {
    let target = case.target();
    Opinion::certain(
        Verdict::Hairpin,
        format!(
            "{target} got a SYN that carries its own address as source: {}.",
            case.noted()
        ),
        "No rule or queue is to blame: the pod dials its own Service and is chosen as backend, \
         without masquerading in between.",
        "Have such connections masqueraded: kube-proxy `--masquerade-all` or a right \
         `--cluster-cidr`, hairpin mode on the bridge port (kubelet `hairpinMode`), or the \
         network plugin's hairpin option.",
    )
    .at(case)
}

/// F10.
fn through_the_balancer(case: &Case<'_>) -> Opinion {
    let dropped = if case.syn_cause().is_some() {
        format!(
            ", and the node's routing dropped it: {}. No pod saw it",
            case.noted()
        )
    } else {
        // IPv6 has no such check: the pod answers, to the node itself.
        ", so that no answer could leave the node".to_owned()
    };
    Opinion::certain(
        Verdict::Hairpin,
        format!(
            "The SYN came in from outside with an address of this node as its source{dropped}."
        ),
        "No rule, queue or pod is to blame: this node, or a pod that is masqueraded to its \
         address, dials the load balancer, which keeps the client's address and sends the \
         connection back to the same node.",
        "Switch client IP preservation off at the load balancer's target group (NLB: \
         `preserve_client_ip.enabled=false`, or targets by IP), or dial the Service's cluster \
         address from inside the cluster.",
    )
}

/// D6, and rules that drop what follows the handshake.
fn unanswered(case: &Case<'_>) -> Option<Opinion> {
    let from_server = case.seen(seen::DROPPED_SERVER);
    match case.cause()? {
        Cause::TooBig if from_server => {
            let named = case.row.reason.as_deref() == Some("PKT_TOO_BIG");
            Some(too_big(case).certain_if(named))
        }
        cause if cause.is_netfilter() => case
            .address()
            .map(|_| firewall::dropped(case, &rules::told(case)).certain_if(false)),
        _ if from_server && case.evidence.node.frag_fails > 0 => {
            Some(too_big(case).certain_if(false))
        }
        _ => None,
    }
}

/// What counters alone tell, when no note of the flow says otherwise.
pub(super) fn counted(case: &Case<'_>) -> Option<Opinion> {
    // A drop without a name, or a kernel whose drops nobody sees.
    let unseen = case.cause().is_none() && !case.drops_are_noted();
    let unnamed = matches!(case.cause(), Some(Cause::Unnamed | Cause::Stack));
    let enough = |(rise, _): (u64, _)| (unseen || unnamed) && rise >= case.row.count;
    if !(case.is_silent() || case.is_late()) {
        return None;
    }
    let told = if enough(case.rise(|n| n.reverse_path_filter)) {
        rp_filter(case)
    } else if enough(case.rise(|n| n.checksum_errors)) {
        bad_checksum(case, "Segments with a wrong checksum came in".into())
    } else if enough(case.rise(|n| n.paws)) {
        paws(case, "Segments were refused for their timestamp".into())
    } else if case.failure() == Failure::Abandoned
        && case.cause().is_none()
        && answers_are_late(case)
    {
        slow(case)
    } else {
        return None;
    };
    Some(told.certain_if(false))
}
