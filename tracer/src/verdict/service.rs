//! The Service and its rules on this node: no endpoints, no rule, no local endpoint
//! (failures A1, A3, A4).

use tracer_common::failure::{Failure, Reply, seen};

use super::{
    Certainty,
    case::{Case, sum},
    claim,
    conntrack::certainty_of_rule,
    drops::Cause,
    firewall, holder,
    no_endpoints::{by_source_range, no_endpoints, no_local_endpoint},
    no_rule::{no_rule, serves_others},
    opinion::Opinion,
    rules::{self, Told},
};
use crate::evidence::{Holder, Route, Row, rules::Action};

pub(super) fn opinion(case: &Case<'_>) -> Option<Opinion> {
    match (case.failure(), case.row.reply) {
        (Failure::Refused, _) => refused(case),
        (Failure::Unreachable, _) if case.address().is_none() => unreachable(case),
        _ if case.address().is_none() => no_answer(case),
        _ => None,
    }
}

/// A1r and A3: a RST that the node made, by a rule or by its stack.
fn refused(case: &Case<'_>) -> Option<Opinion> {
    let by_stack = case.seen(seen::RESET_CLIENT);
    let cause = case.syn_cause();
    let rejected = || firewall::rejected(case, "RST", &rules::told(case));
    if cause.is_some_and(Cause::is_netfilter) && !by_stack {
        return Some(rejected().at(case));
    }
    if case.row.reply != Reply::NodeRst {
        return None;
    }
    let certain = by_stack || cause == Some(Cause::NoSocket);
    match case.address() {
        None if certain || cause == Some(Cause::Stack) => {
            let exempt = rules::lead_on(case);
            Some(no_rule(case, None).certain_if(certain && !exempt))
        }
        _ if certain => None,
        None => Some(unnoted(case)),
        // The stack of the node gets nothing of what NAT sends elsewhere.
        Some(_) => match case.route() {
            Some(Route::Local) => None,
            None if cause.is_some() => None,
            route => Some(rejected().at(case).certain_if(route.is_some())),
        },
    }
}

/// A RST of the node's that no hook has seen. REJECT sends its own before the drop can be
/// noted, and it is not in Tcp OutRsts; one of the stack's is, and is noted from 6.12 on.
fn unnoted(case: &Case<'_>) -> Opinion {
    let told = rules::told(case);
    if told.culprit.as_ref().is_some_and(|culprit| culprit.sure) {
        return firewall::rejected(case, "RST", &told);
    }
    let rows = &case.evidence.rows;
    let by_stack = |r: &&Row| r.reply == Reply::NodeRst && r.seen & seen::RESET_CLIENT != 0;
    let noted = sum(rows.iter().filter(by_stack).map(|r| r.count));
    let sent = case.evidence.node.out_rsts;
    let rest = sent.saturating_sub(noted);
    let by_rule =
        noted > 0 || rest < case.row.count || rows.iter().any(|r| r.reset_reason.is_some());
    if by_rule && !told.clear {
        let known = case.evidence.absent.is_empty();
        let certain = noted > 0 || (rest == 0 && known);
        firewall::rejected(case, "RST", &told).certain_if(certain)
    } else {
        no_rule(case, None).certain_if(false)
    }
}

/// ICMP destination unreachable before any backend was chosen: only a rule sends that for
/// one of the node's own addresses.
fn unreachable(case: &Case<'_>) -> Option<Opinion> {
    let by_rule = case.syn_cause().is_some_and(Cause::is_netfilter);
    let told = rules::told(case);
    if is_port_unreachable(case.row) {
        // A stack answers TCP with RST: only REJECT sends this, and often before its drop
        // can be noted.
        return Some(port_unreachable(case, &told));
    }
    let rejects = by_rule || is_prohibited(case.row);
    rejects.then(|| firewall::rejected(case, "ICMP prohibited", &told).certain_if(by_rule))
}

/// kube-proxy's REJECT, or one that looks the same to the client.
fn port_unreachable(case: &Case<'_>, told: &Told) -> Opinion {
    let another = || firewall::rejected(case, "ICMP port unreachable", told);
    match &told.culprit {
        Some(culprit) if culprit.is_kube_proxy() => {
            no_endpoints(case, Some(culprit)).certain_if(culprit.sure)
        }
        Some(culprit) if told.untranslated && case.is_a_service() => {
            no_rule(case, Some(culprit)).certain_if(culprit.sure)
        }
        Some(culprit) => another().certain_if(culprit.sure),
        None if case.virtual_server().is_some_and(|s| s.backends.is_empty()) => {
            no_endpoints(case, None)
        }
        None => {
            let told = no_endpoints(case, None).certain_if(case.lacks_endpoints());
            match claim::against(told.verdict, case) {
                0 => told,
                // What works now had no endpoint then.
                _ if case.had_no_endpoint() => told,
                _ => another().certain_if(false),
            }
        }
    }
}

/// RFC 792: code 3; RFC 4443: code 4.
pub(super) const fn is_port_unreachable(row: &Row) -> bool {
    matches!((row.reply, row.code), (Reply::Icmp, 3) | (Reply::Icmpv6, 4))
}

/// RFC 1812, section 5.2.7.1: codes 9, 10, 13; RFC 4443: codes 1, 5.
pub(super) const fn is_prohibited(row: &Row) -> bool {
    matches!(
        (row.reply, row.code),
        (Reply::Icmp, 9 | 10 | 13) | (Reply::Icmpv6, 1 | 5)
    )
}

/// Silence, or nothing after the handshake, without a backend.
fn no_answer(case: &Case<'_>) -> Option<Opinion> {
    let by_rule = case.syn_cause().is_some_and(Cause::is_netfilter);
    if by_rule && case.is_silent() {
        return Some(dropped_before_dnat(case));
    }
    let fits = (case.is_silent() && case.cause().is_none())
        || case.is_spoilt()
        || case.failure() == Failure::Late;
    let stuck = |h: &&Holder| fits && holder::is_stuck(h) && !holder::is_served(case.evidence, h);
    let found = case.holder().filter(stuck)?;
    Some(holder::held(found, &case.evidence.names))
}

/// kube-proxy drops for a Service without an endpoint on this node, and its REJECT is
/// silent where ICMP is rationed; any other rule may drop as well.
fn dropped_before_dnat(case: &Case<'_>) -> Opinion {
    let told = rules::told(case);
    if let Some(culprit) = &told.culprit {
        let sure = culprit.sure;
        return match (culprit.is_kube_proxy(), culprit.stop.action) {
            (true, Action::Drop)
                if culprit.is_for_want_of_endpoints()
                    || (culprit.is_of_marked() && !serves_others(case)) =>
            {
                no_local_endpoint(case, Some(culprit)).certain_if(sure)
            }
            (true, Action::Drop) => by_source_range(case, culprit),
            (true, _) => no_endpoints(case, Some(culprit)).certain_if(sure),
            (false, Action::Drop) => firewall::dropped(case, &told).certain_if(sure),
            (false, _) => {
                let with = "an ICMP error, unless these are rationed";
                firewall::rejected(case, with, &told).certain_if(sure)
            }
        };
    }
    let alone = certainty_of_rule(case) == Certainty::Certain;
    if case.lacks_endpoints() {
        // kube-proxy's REJECT, whose ICMP is rationed; its rule may be gone by now.
        return no_endpoints(case, None).certain_if(alone);
    }
    // The kernel limits the rate of ICMP, not that of the rule.
    let limited = case.evidence.node.icmp_limited != Some(0);
    let by_kube_proxy = if limited && case.count(is_port_unreachable) > 0 {
        no_endpoints(case, None)
    } else {
        no_local_endpoint(case, None)
    };
    let works = claim::against(by_kube_proxy.verdict, case) > 0 || serves_others(case);
    if works || told.clear {
        return firewall::dropped(case, &told).certain_if(false);
    }
    by_kube_proxy.certain_if(false)
}
