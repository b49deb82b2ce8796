//! Pods that come and go: who held the backend's address when the SYN was sent, and
//! whether the node should still have chosen it.

use tracer_common::failure::{Failure, Reply, seen};

use super::{
    Certainty, Verdict,
    case::Case,
    commands,
    drops::Cause,
    opinion::Opinion,
    service::{is_port_unreachable, is_prohibited},
    times::{Times, seconds},
};
use crate::services::{Endpoints, Tenancy};

/// A proxy that is well follows within its minSyncPeriod (1 s unless set) and the
/// time that it takes to write all rules, which is some seconds in the largest
/// clusters. One that takes longer is behind, whatever it waits for.
const LAG: u64 = 10_000_000_000;
/// What is told by the API is told a moment after it was true.
const TOLD_LATE: u64 = 1_000_000_000;
/// Neighbour entries of a pod that is gone are used for so long, at most, before they
/// fail: `base_reachable_time` and the probes after it, with room.
const NEIGHBOUR: u64 = 90_000_000_000;

/// A backend that was going, or had gone, when SYNs were sent to it.
pub(super) fn opinion(case: &Case<'_>) -> Option<Opinion> {
    case.address()?;
    if !is_fitting(case) {
        return None;
    }
    let times = Times::of(case);
    stale_rules(case, &times)
        .or_else(|| gone(case, &times))
        .or_else(|| terminating(case, &times))
        .or_else(|| passed_on(case, &times))
        .map(|opinion| opinion.at(case))
}

/// What a pod that goes brings about: RSTs, silence, ICMP from the way to it.
fn is_fitting(case: &Case<'_>) -> bool {
    let elsewhere = matches!(
        case.syn_cause(),
        Some(
            Cause::Rule
                | Cause::Hook
                | Cause::ReversePath
                | Cause::Source
                | Cause::Checksum
                | Cause::Paws
                | Cause::Overflow
                | Cause::TooBig
                | Cause::LocalSource
        )
    );
    match case.failure() {
        _ if elsewhere || case.was_answered() => false,
        Failure::Refused | Failure::Reset => true,
        Failure::Unreachable => !is_port_unreachable(case.row) && !is_prohibited(case.row),
        _ => case.is_silent(),
    }
}

/// This node still chooses what no proxy should.
fn stale_rules(case: &Case<'_>, times: &Times<'_>) -> Option<Opinion> {
    let chosen = case.address()?;
    let names = &case.evidence.names;
    let listed = names.endpoints(case.port())?;
    let since = match times.holder {
        Some(holder) => holder.left_at()?,
        // It was not there when the watch began, and never since.
        None if names.tenants().of(chosen.ip()).is_empty() => names.tenants().known_since?,
        None => return None,
    };
    // A pod that stops may be chosen for as long as it is listed and no other is ready.
    let until = times.holder.and_then(|holder| holder.until);
    let was_listed = until.is_none_or(|until| times.last < until.saturating_add(LAG));
    let (empty, alone) = (&names.tenants().empty, &names.tenants().alone);
    let near = alone.between(
        (case.port(), chosen),
        times.last.saturating_sub(LAG),
        times.last,
    );
    let alone = near || (was_listed && empty.between(case.port(), since, times.last));
    if listed.may_choose(chosen)
        || alone
        || !times.known
        || case.seen(seen::OLD_ENTRY)
        || times.last < since.saturating_add(LAG)
    {
        return None;
    }
    let endpoints = commands::endpoints(names, case.port());
    let opinion = Opinion::certain(
        Verdict::RulesStale,
        format!(
            "This node still sent new connections to {chosen}{} {} after {}; the EndpointSlices \
             list {} for port {} now.",
            named(times.holder),
            seconds(times.last - since),
            match times.holder {
                Some(_) => "it had left the ready endpoints",
                None => {
                    "the watch of the EndpointSlices had begun, in which no pod has had that address"
                }
            },
            others(listed),
            case.port(),
        ),
        "The pod is not to blame: a kube-proxy that is well stops choosing it within a few \
         seconds.",
        format!(
            "kube-proxy on this node is dead or behind: `kubectl -n kube-system get pods -o wide \
             | grep kube-proxy`, then its log; restart it. {endpoints} shows what it should \
             choose."
        ),
    );
    // IPVS leads a connection that uses its ports again to where the one before it went
    // (net.ipv4.vs.conn_reuse_mode), although no server is there any more.
    let reused = case
        .virtual_server()
        .is_some_and(|s| !s.backends.contains(&chosen));
    // What was never listed may have been chosen by who else does NAT here; what conntrack
    // alone tells, by an older entry.
    let holds = !reused && times.holder.is_some() && case.row.backend.is_some();
    Some(times.certain_since(opinion, since, holds))
}

/// Those that are ready, the first few by name.
fn others(listed: &Endpoints) -> String {
    const SHOWN: usize = 3;
    let ready = listed.endpoints().filter(|(_, listed)| listed.ready);
    let shown: Vec<String> = ready.take(SHOWN).map(|(at, _)| at.to_string()).collect();
    match (listed.ready().saturating_sub(SHOWN), shown.is_empty()) {
        (_, true) => "nothing that is ready".to_owned(),
        (0, _) => shown.join(", "),
        (more, _) => format!("{} and {more} more", shown.join(", ")),
    }
}

/// ` (pod thrift/users-0)`
fn named(holder: Option<&Tenancy>) -> String {
    holder.map_or_else(String::new, |h| format!(" (pod {})", h.pod))
}

/// The pod had gone.
fn gone(case: &Case<'_>, times: &Times<'_>) -> Option<Opinion> {
    let (at, fact) = times.gone?;
    let answered = matches!(case.failure(), Failure::Refused | Failure::Reset);
    // What is gone sends no RST: those were sent before, or by who came after.
    if at > times.last || (answered && (at > times.first || case.row.reply == Reply::NodeRst)) {
        return None;
    }
    let who = times.holder.map_or_else(
        || format!("The pod at {}", case.ip()),
        |h| format!("Pod {} at {}", h.pod, case.ip()),
    );
    let how = match times.holder.and_then(Tenancy::deleted_at) {
        Some(_) => "was deleted",
        None if fact => "went from this node (its network namespace is gone)",
        None => "left the EndpointSlices",
    };
    let opinion = Opinion::certain(
        Verdict::PodGone,
        format!("{who} {how} {}.", times.before(at)),
        "Nobody is there to answer: no server, queue or rule refused these SYNs; the node's rules \
         or its neighbour entry still led to the pod.",
        depart(case, times.holder),
    );
    Some(times.certain_since(opinion, at, fact))
}

/// The pod was being deleted.
fn terminating(case: &Case<'_>, times: &Times<'_>) -> Option<Opinion> {
    let holder = times.holder?;
    let since = holder.terminating_since?;
    // A RST is a fact, whatever listens by now.
    let listens =
        case.failure() != Failure::Refused && case.pod().is_some_and(|pod| pod.listener.is_some());
    if since > times.last.saturating_add(TOLD_LATE) || (listens && holder.until.is_none()) {
        return None;
    }
    // What never worked, or failed before in the same way, does not fail because the pod
    // is being deleted. Readiness says nothing of this port.
    let is_refused = case.failure() == Failure::Refused;
    let served = has_served(case);
    let before = case.siblings().any(|row| {
        let first = row.span.map(|(first, _)| first.saturating_add(TOLD_LATE));
        row.failure == Failure::Refused && first.is_some_and(|first| first < since)
    });
    if is_refused && (before || !(served || holder.was_ready)) {
        return None;
    }
    let opinion = Opinion::certain(
        Verdict::PodTerminating,
        format!(
            "Pod {} at {} was being deleted (terminating) {}, and had stopped answering.",
            holder.pod,
            case.ip(),
            times.before(since),
        ),
        "Its port and its Service are right: it was ready before, and a pod that goes on serving \
         until the endpoints have changed fails nobody.",
        depart(case, Some(holder)),
    );
    // It answered others in the midst of these, so that it had not stopped.
    let answers = case.row.amid.iter().any(|s| s.backend == case.address());
    // Whether a pod elsewhere still listens cannot be seen from here.
    let unseen = case.is_beyond() && !is_refused && holder.until.is_none();
    let worked = !answers && !unseen && (served || (holder.was_ready && !is_refused));
    Some(times.certain_since(opinion, since, worked))
}

fn has_served(case: &Case<'_>) -> bool {
    let mut served = case.evidence.served.iter();
    case.backend.is_some_and(|b| b.passive_opens > 0)
        || served.any(|s| s.node_port == case.port() && s.backend == case.address())
}

/// Another pod has the address now, which this node's neighbour entry does not know.
fn passed_on(case: &Case<'_>, times: &Times<'_>) -> Option<Opinion> {
    let holder = times
        .holder
        .filter(|_| case.is_silent() || is_no_way(case))?;
    let all = case.evidence.names.tenants().of(case.address()?.ip());
    let place = all.iter().position(|t| t == holder)?;
    let before = all.get(place.checked_sub(1)?)?;
    let ended = before.until?;
    // The neighbour of a pod elsewhere is its node.
    case.pod()?;
    let recent = times.last.saturating_sub(ended) <= NEIGHBOUR;
    let reached = case
        .backend
        .is_some_and(|b| b.passive_opens >= b.attempts && b.attempts > 0);
    if !recent || reached || case.cause().is_some_and(|c| c != Cause::Neighbour) {
        return None;
    }
    let (ip, old, new) = (case.ip(), &before.pod, &holder.pod);
    let opinion = Opinion::certain(
        Verdict::PodGone,
        format!(
            "{ip} belonged to pod {old} until {}, and to {new} from then on; no SYN of these \
             reached it, as when the node's neighbour entry still leads to the former.",
            times.before(ended)
        ),
        format!("{new} is not to blame: it never saw them."),
        format!(
            "`ip neigh show {ip}` on this node: compare it with the address of {new}'s interface; \
             `ip neigh flush to {ip}` mends it at once, a network plugin that announces new \
             addresses (gratuitous ARP) for good."
        ),
    );
    Some(Opinion {
        certainty: Certainty::Likely,
        ..opinion
    })
}

fn is_no_way(case: &Case<'_>) -> bool {
    case.failure() == Failure::Unreachable
}

/// What to do about a pod that goes before its connections do.
fn depart(case: &Case<'_>, holder: Option<&Tenancy>) -> String {
    let endpoints = commands::endpoints(&case.evidence.names, case.port());
    let events = match holder.map(|h| &h.pod) {
        Some(pod) => format!(
            "`kubectl -n {} get events --field-selector involvedObject.name={}` tells why it went",
            pod.namespace, pod.name
        ),
        None => format!(
            "`kubectl get events -A | grep {}` may tell why it went",
            case.ip()
        ),
    };
    format!(
        "{events}. In a rollout let pods serve on until the endpoints have changed everywhere: a \
         preStop sleep of some seconds, a server that drains at SIGTERM, a readiness probe; \
         {endpoints} shows who is listed."
    )
}
