//! The listener's queues (failures B1 to B4b).

use tracer_common::failure::Failure;

use super::{
    Verdict,
    case::{Case, sum},
    drops::Cause,
    opinion::Opinion,
};
use crate::evidence::Pod;

pub(super) fn opinion(case: &Case<'_>) -> Option<Opinion> {
    if matches!(
        case.failure(),
        Failure::Refused | Failure::Unreachable | Failure::Unacked
    ) {
        return None;
    }
    if case.cause() == Some(Cause::Overflow) {
        return Some(accept_queue_full(case));
    }
    let pod = case.pod().filter(|_| is_vague(case))?;
    if case.is_silent() || case.is_late() {
        return syn(case, pod);
    }
    // Accepted connections that nobody reads are the process's doing.
    let full = is_full(pod) && pod.unread == 0 && pod.namespace.listen_overflows > 0;
    (full && case.failure() != Failure::Reset).then(|| accept_queue_full(case).certain_if(false))
}

/// Attempts at the backend whose SYN may have been dropped at its listener, of all ports and
/// rows.
fn lost(case: &Case<'_>) -> u64 {
    let of_backend = case
        .evidence
        .rows
        .iter()
        .filter(|r| r.backend == case.row.backend);
    let lost = of_backend
        .map(|row| Case::new(row, case.evidence))
        .filter(|c| (c.is_silent() || c.is_late()) && is_vague(c));
    sum(lost.map(|c| c.row.count))
}

/// A SYN dropped at a queue leaves no trace but counters, in any kernel
/// (`tcp_conn_request`); one whose drop is noted died of something else.
fn is_vague(case: &Case<'_>) -> bool {
    matches!(case.cause(), None | Some(Cause::Unnamed | Cause::Stack))
}

/// B1 and B4: the SYN was dropped at the listener.
fn syn(case: &Case<'_>, pod: &Pod) -> Option<Opinion> {
    let overflows = pod.namespace.listen_overflows;
    // Every overflow is counted as a drop too.
    let others = pod.namespace.listen_drops.saturating_sub(overflows);
    // The counters are the namespace's; a listener that has thrown nothing away moved none.
    let drops = u64::from(pod.listener?.drops);
    if drops == 0 || (overflows == 0 && others == 0 && !(is_full(pod) && case.is_silent())) {
        return None;
    }
    // All that the same counters have to explain, each SYN of it at least once.
    let failed = lost(case);
    let alone = pod.drops_elsewhere == 0 || pod.drops_rise >= Some(failed);
    let enough = |rise: u64| drops >= failed && rise >= failed && alone;
    if is_full(pod) || overflows >= others {
        let told = accept_queue_full(case);
        // A namespace that was looked at once has no rises: then a full queue decides.
        let full = is_full(pod) && (overflows >= failed || overflows == 0 && others == 0);
        return Some(told.certain_if(full || enough(overflows)));
    }
    let no_route = pod.namespace.out_no_routes;
    if no_route > 0 {
        let sure = enough(others) && enough(no_route) && overflows == 0;
        return Some(no_route_back(case, no_route, others).certain_if(sure));
    }
    if pod.syncookies.is_some_and(|mode| mode != 0) {
        // With cookies a full SYN queue drops nothing.
        return None;
    }
    let waits = pod.syn_recv > 0 && pod.syncookies == Some(0);
    let sure = waits && enough(others) && overflows == 0 && pod.namespace.abort_on_memory == 0;
    Some(syn_queue_full(case, pod, others).certain_if(sure))
}

/// Where the listener is, for texts.
fn listener_at(case: &Case<'_>) -> String {
    match case.pod().and_then(|pod| pod.sent_on_to) {
        Some(server) => format!(
            "{server}, where NAT in the pod's own namespace sends them (a sidecar's REDIRECT looks \
             so),"
        ),
        None => case.target(),
    }
}

fn accept_queue_full(case: &Case<'_>) -> Opinion {
    let overflows = case.pod().map(|p| p.namespace.listen_overflows);
    let mut facts = Vec::new();
    if case.cause() == Some(Cause::Overflow) {
        facts.push(format!(
            "the listener refused the final ACK ({})",
            case.noted()
        ));
    }
    if let Some(rise) = overflows {
        facts.push(format!(
            "ListenOverflows in the pod's namespace rose by {rise}"
        ));
    }
    if let Some(listener) = case.pod().and_then(|p| p.listener) {
        facts.push(format!(
            "the listener at {} has dropped {} of its own so far",
            listener_at(case),
            listener.drops
        ));
        let earlier = listener.queue <= listener.limit && case.pod().is_some_and(|p| p.was_full);
        facts.push(format!(
            "its accept queue holds {} of {}{}",
            listener.queue,
            u64::from(listener.limit) + 1,
            if earlier {
                " now, and was full within this window"
            } else {
                ""
            }
        ));
    }
    let facts = facts.join("; ");
    let mut letters = facts.chars();
    let fact = letters.next().map_or_else(String::new, |first| {
        format!("{}{}.", first.to_uppercase(), letters.as_str())
    });
    Opinion::certain(
        Verdict::AcceptQueueFull,
        fact,
        "No rule, route or NAT dropped them: they reached the pod, whose process does not accept \
         fast enough or at all.",
        format!(
            "Look for workers that are all busy or stuck in the pod with {} (a read timeout frees \
             those held by silent connections); then more replicas or workers, and a larger \
             backlog of listen(2) and net.core.somaxconn in the pod.",
            case.ip()
        ),
    )
    .at(case)
}

/// One more than the limit fits.
fn is_full(pod: &Pod) -> bool {
    pod.was_full || pod.listener.is_some_and(|l| l.queue > l.limit)
}

/// F11: the listener cannot answer a SYN for whose source there is no route.
fn no_route_back(case: &Case<'_>, no_route: u64, drops: u64) -> Opinion {
    Opinion::certain(
        Verdict::ReturnPath,
        format!(
            "The pod has no route back to who sent the SYN: Ip OutNoRoutes in its namespace rose \
             by {no_route}, and ListenDrops, which counts SYNs that a listener cannot answer, by \
             {drops}."
        ),
        "The listener's queues are not full, and no rule dropped the SYNs: they reached the \
         listener.",
        format!(
            "`ip route` (IPv6: `ip -6 route`) in the namespace of the pod with {}: its default route, or the one to the \
             clients and to this node, is missing; ask the network plugin.",
            case.ip()
        ),
    )
    .at(case)
}

/// B4.
fn syn_queue_full(case: &Case<'_>, pod: &Pod, drops: u64) -> Opinion {
    let no_cookies = pod.namespace.req_q_full_drop;
    Opinion::certain(
        Verdict::SynQueueFull,
        format!(
            "ListenDrops in the pod's namespace rose by {drops} more than ListenOverflows \
             (TCPReqQFullDrop by {no_cookies}); net.ipv4.tcp_syncookies is 0 there, and {} \
             handshakes at {} wait for their final ACK now: its SYN queue is full.",
            pod.syn_recv,
            case.target()
        ),
        "The accept queue is not full, and no rule, route or NAT dropped them.",
        "Set net.ipv4.tcp_syncookies=1 in the pod, raise net.ipv4.tcp_max_syn_backlog and the \
         backlog of listen(2) there; see who leaves handshakes open (`ss -nt state syn-recv` in \
         the pod).",
    )
    .at(case)
}
