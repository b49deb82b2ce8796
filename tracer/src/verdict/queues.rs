//! The listener's queues (failures B1 to B4b).

use tracer_common::failure::Failure;

use super::{Verdict, case::Case, drops::Cause, opinion::Opinion};
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
    // A SYN dropped at a queue leaves no trace but counters, in any kernel
    // (tcp_conn_request); one whose drop is noted died of something else.
    let vague = matches!(case.cause(), None | Some(Cause::Unnamed | Cause::Stack));
    let pod = case.pod().filter(|_| vague)?;
    if case.is_silent() || case.is_late() {
        return syn(case, pod);
    }
    // Accepted connections that nobody reads are the process's doing.
    let full = is_full(pod) && pod.unread == 0 && pod.namespace.listen_overflows > 0;
    (full && case.failure() != Failure::Reset).then(|| accept_queue_full(case).certain_if(false))
}

/// B1 and B4: the SYN was dropped at the listener.
fn syn(case: &Case<'_>, pod: &Pod) -> Option<Opinion> {
    let overflows = pod.namespace.listen_overflows;
    // Every overflow is counted as a drop too.
    let others = pod.namespace.listen_drops.saturating_sub(overflows);
    let full = is_full(pod);
    if overflows == 0 && others == 0 && !(full && case.is_silent()) {
        return None;
    }
    if full || overflows >= others {
        let enough = full || overflows >= case.row.count;
        return Some(accept_queue_full(case).certain_if(enough));
    }
    let alone = overflows == 0 && others >= case.row.count && pod.namespace.abort_on_memory == 0;
    Some(syn_queue_full(case, pod, others).certain_if(alone))
}

/// One more than the limit fits.
fn is_full(pod: &Pod) -> bool {
    pod.listener.is_some_and(|l| l.queue > l.limit)
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
            "the accept queue of {} holds {} of {}",
            case.target(),
            listener.queue,
            u64::from(listener.limit) + 1
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

/// B4.
fn syn_queue_full(case: &Case<'_>, pod: &Pod, drops: u64) -> Opinion {
    let no_cookies = pod.namespace.req_q_full_drop;
    Opinion::certain(
        Verdict::SynQueueFull,
        format!(
            "ListenDrops in the pod's namespace rose by {drops} more than ListenOverflows \
             (TCPReqQFullDrop by {no_cookies}): the SYN queue of {} is full of handshakes without \
             their final ACK.",
            case.target()
        ),
        "The accept queue is not full, and no rule, route or NAT dropped them.",
        "Set net.ipv4.tcp_syncookies=1 in the pod, raise net.ipv4.tcp_max_syn_backlog and the \
         backlog of listen(2) there; see who leaves handshakes open (`ss -nt state syn-recv` in \
         the pod).",
    )
    .at(case)
}
