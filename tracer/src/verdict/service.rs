//! The Service and its rules on this node: no endpoints, rejected, held, no
//! rule, no local endpoint (failures A1 to A4).

use tracer_common::{
    counters::Cell,
    failure::{Failure, Reply, seen},
    words::{Close, Traffic},
};

use super::{
    Certainty, Verdict,
    case::{Case, attempts, sum},
    commands,
    conntrack::certainty_of_rule,
    drops::Cause,
    opinion::Opinion,
};
use crate::{
    evidence::{Evidence, Holder, Route, Row},
    services::Table,
};

/// kube-proxy's own name, and that of the binary which contained it.
const KUBE_PROXY: [&str; 2] = ["kube-proxy", "hyperkube"];

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
    if cause.is_some_and(Cause::is_netfilter) && !by_stack {
        return Some(rejected(case, "RST").at(case));
    }
    if case.row.reply != Reply::NodeRst {
        return None;
    }
    let certain = by_stack || cause == Some(Cause::NoSocket);
    match case.address() {
        None if certain || cause == Some(Cause::Stack) => Some(no_rule(case).certain_if(certain)),
        _ if certain => None,
        None => Some(unnoted(case)),
        // The stack of the node gets nothing of what NAT sends elsewhere.
        Some(_) => match case.route() {
            Some(Route::Local) => None,
            None if cause.is_some() => None,
            route => Some(rejected(case, "RST").at(case).certain_if(route.is_some())),
        },
    }
}

/// A RST of the node's that no hook has seen. REJECT sends its own before the
/// drop can be noted, and it is not in Tcp OutRsts; one of the stack's is, and
/// is noted from 6.12 on.
fn unnoted(case: &Case<'_>) -> Opinion {
    let rows = &case.evidence.rows;
    let by_stack = |r: &&Row| r.reply == Reply::NodeRst && r.seen & seen::RESET_CLIENT != 0;
    let noted = sum(rows.iter().filter(by_stack).map(|r| r.count));
    let sent = case.evidence.node.out_rsts;
    let rest = sent.saturating_sub(noted);
    if noted > 0 || rest < case.row.count || rows.iter().any(|r| r.reset_reason.is_some()) {
        let known = case.evidence.absent.is_empty();
        let certain = noted > 0 || (rest == 0 && known);
        rejected(case, "RST").certain_if(certain)
    } else {
        no_rule(case).certain_if(false)
    }
}

fn rejected(case: &Case<'_>, with: &str) -> Opinion {
    let port = case.port();
    let what = if case.cause().is_some() {
        format!("A netfilter rule took the SYN ({})", case.noted())
    } else {
        format!(
            "The node's TCP stack did not make it (Tcp OutRsts rose by {}, no RST of its own is \
             noted here): a netfilter rule took the SYN",
            case.evidence.node.out_rsts
        )
    };
    Opinion::certain(
        Verdict::RejectedByRule,
        format!("{what} and answered with {with}; the TCP stack never saw it."),
        "No socket refused it, neither the pod's nor the node's.",
        format!(
            "Find the rule: `iptables-save | grep -e REJECT` and `nft list ruleset | grep -n \
             reject`; see which one matches port {port}."
        ),
    )
}

fn no_rule(case: &Case<'_>) -> Opinion {
    let (port, show) = (case.port(), case.show_service());
    let fact = if case.seen(seen::RESET_CLIENT) {
        let reason = case.row.reset_reason.as_deref().unwrap_or("NO_SOCKET");
        format!("The node's own TCP stack sent the RST ({reason}): no rule led the SYN to a pod.")
    } else if case.cause().is_some() {
        format!(
            "The SYN ended in the node's own TCP stack: {}.",
            case.noted()
        )
    } else {
        format!(
            "The node made the RST, and its stack sent {} in this time (Tcp OutRsts); a REJECT \
             rule with tcp-reset is the other possibility.",
            case.evidence.node.out_rsts
        )
    };
    Opinion::certain(
        Verdict::NoServiceRule,
        fact,
        "The pods are not to blame: no SYN was sent to any.",
        format!(
            "{show}: if it has the node port {port}, kube-proxy on \
             this node is down or behind (`kubectl -n kube-system get pods -o wide | grep \
             kube-proxy`, then its log); if no Service has, take the port off the load balancer."
        ),
    )
}

/// ICMP destination unreachable before any backend was chosen: only a rule
/// sends that for one of the node's own addresses.
fn unreachable(case: &Case<'_>) -> Option<Opinion> {
    let by_rule = case.syn_cause().is_some_and(Cause::is_netfilter);
    if is_port_unreachable(case.row) {
        // A stack answers TCP with RST: only REJECT sends this, and often
        // before its drop can be noted.
        return Some(no_endpoints(case));
    }
    let rejects = by_rule || is_prohibited(case.row);
    rejects.then(|| rejected(case, "ICMP prohibited").certain_if(by_rule))
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

/// A1.
pub(super) fn no_endpoints(case: &Case<'_>) -> Opinion {
    let show = case.show_service();
    let endpoints = commands::endpoints(&case.evidence.names, case.port());
    let noted = if case.cause().is_some() {
        format!(" ({})", case.noted())
    } else {
        String::new()
    };
    Opinion::certain(
        Verdict::NoEndpoints,
        format!(
            "A REJECT rule took the SYN{noted} before any backend was chosen, and answered port \
             unreachable, as kube-proxy does for a Service without endpoints."
        ),
        "A pod that does not listen would have sent a RST; here no SYN reached any pod.",
        format!(
            "{show} names the Service; {endpoints} shows whether a pod is ready: mend the selector, the readiness probe or the replicas."
        ),
    )
}

/// Silence, or nothing after the handshake, without a backend.
fn no_answer(case: &Case<'_>) -> Option<Opinion> {
    let by_rule = case.syn_cause().is_some_and(Cause::is_netfilter);
    if by_rule && (case.is_silent() || case.is_late()) {
        // The kernel limits the rate of ICMP, not that of the rule.
        let limited = case.evidence.node.icmp_limited != Some(0);
        let rejects = limited && case.count(is_port_unreachable) > 0;
        let told = if rejects {
            no_endpoints(case)
        } else {
            no_local_endpoint(case)
        };
        return Some(told.certain_if(certainty_of_rule(case) == Certainty::Certain));
    }
    let fits = (case.is_silent() && case.cause().is_none())
        || case.is_spoilt()
        || case.failure() == Failure::Late;
    let stuck = |h: &&Holder| fits && is_stuck(h) && !is_served(case.evidence, h);
    let holder = case.holder().filter(stuck)?;
    Some(held(holder, &case.evidence.names))
}

/// A4.
fn no_local_endpoint(case: &Case<'_>) -> Opinion {
    let show = case.show_service();
    Opinion::certain(
        Verdict::NoLocalEndpoint,
        format!(
            "A netfilter rule dropped the SYN before any backend was chosen: {}.",
            case.noted()
        ),
        "No pod, queue or route is to blame: the SYN was never sent on.",
        format!(
            "{show}: with externalTrafficPolicy: Local and no ready \
             pod on this node kube-proxy drops so, and the load balancer has to check \
             healthCheckNodePort; otherwise a firewall rule does it: `iptables-save | grep -e \
             DROP`."
        ),
    )
}

/// Nobody accepts: a server that is merely busy has no two waiting and none
/// that the client has left again.
fn is_stuck(holder: &Holder) -> bool {
    holder.not_accepted >= 2
        || holder.close_wait > 0
        || holder.listener.queue > holder.listener.limit
        || (holder.not_accepted > 0 && is_kube_proxy(holder))
}

/// A busy server has a few waiting at any moment, of which some have left
/// already. Only a process that has accepted connections closes them in turn.
fn is_served(evidence: &Evidence, holder: &Holder) -> bool {
    let counters = evidence.ports.iter().find(|p| p.0 == holder.node_port);
    let closed = counters.map_or(0, |(_, counters)| {
        let cells = Traffic::ALL.iter().flat_map(|traffic| {
            [Close::ClientFin, Close::ServerFin].map(|close| Cell::close(close, *traffic))
        });
        sum(cells.map(|cell| counters.get(cell)))
    });
    !is_kube_proxy(holder) && closed > 0 && closed >= holder.not_accepted.into()
}

fn is_kube_proxy(holder: &Holder) -> bool {
    holder
        .process
        .as_deref()
        .is_some_and(|p| KUBE_PROXY.contains(&p))
}

/// A2.
fn held(holder: &Holder, names: &Table) -> Opinion {
    let Holder {
        node_port,
        not_accepted,
        close_wait,
        ..
    } = holder;
    let process = holder.process.as_deref().unwrap_or("A process");
    let show = commands::service(names, *node_port);
    let endpoints = commands::endpoints(names, *node_port);
    let opinion = Opinion::certain(
        Verdict::HeldByKubeProxy,
        format!(
            "{process} listens on {node_port} on the node itself and accepts nothing: \
             {not_accepted} connections wait, {close_wait} of them left by their clients \
             (CLOSE_WAIT)."
        ),
        "No pod answered these handshakes, so a TCP health check that succeeds here says nothing.",
        format!(
            "Give the Service endpoints ({show}, then {endpoints}); kube-proxy before 1.24 reserves node ports so: upgrade it; any \
             other process: stop it (`ss -lntp sport = :{node_port}`)."
        ),
    );
    let never = *close_wait > 0 || holder.listener.queue > holder.listener.limit;
    opinion.certain_if(never || is_kube_proxy(holder))
}

/// A2 where health checks alone use the port: they succeed, so that there is no
/// failure to begin with. `None` unless attempts went to no backend.
pub(super) fn held_alone(evidence: &Evidence, holder: &Holder) -> Option<Opinion> {
    let of_port = evidence
        .backends
        .iter()
        .filter(|b| b.node_port == holder.node_port);
    let sent_on = sum(of_port.map(|b| b.attempts));
    let attempts = attempts(evidence, holder.node_port);
    let rest = attempts.saturating_sub(sent_on);
    let mine = rest > 0 && rest.saturating_mul(10) >= attempts;
    let stuck = mine && is_stuck(holder) && !is_served(evidence, holder);
    stuck.then(|| held(holder, &evidence.names))
}
