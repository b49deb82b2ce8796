//! What becomes of the backend's answers: lost, late, or too large (failures D3,
//! D4, D6, D10).

use tracer_common::{
    counters::{Cell, LATENCY_BUCKETS, latency_bucket},
    failure::{Failure, seen},
    words::Answer,
};

use super::{
    Verdict,
    case::{Case, sum},
    drops::Cause,
    opinion::Opinion,
    path::rp_filter,
    rules,
};

/// The SYN-ACK was sent, and not only once or not to the end.
pub(super) fn answered(case: &Case<'_>) -> Option<Opinion> {
    let dropped = case.seen(seen::DROPPED_SYN_ACK);
    if dropped && case.cause() == Some(Cause::ReversePath) {
        return Some(rp_filter(case));
    }
    let again = case.seen(seen::SYN_ACK_AGAIN);
    // A connection that came about in the end has lost a packet, no more.
    let fits = case.is_silent() || case.failure() == Failure::Abandoned;
    (fits && (dropped || again)).then(|| return_path(case))
}

/// D3, D4, D10.
pub(super) fn return_path(case: &Case<'_>) -> Opinion {
    let dropped = case.seen(seen::DROPPED_SYN_ACK);
    let again = case.seen(seen::SYN_ACK_AGAIN);
    let (fact, next) = lost(case);
    let excludes = if dropped || again {
        "The server listens and answered; the way to it is in order."
    } else {
        "The server listens and answered, and this node sent the answer on."
    };
    let certain = dropped || (again && case.is_silent());
    Opinion::certain(Verdict::ReturnPath, fact, excludes, next)
        .at(case)
        .certain_if(certain)
}

/// Where the answer was lost, and how to go on.
fn lost(case: &Case<'_>) -> (String, String) {
    let (target, client) = (case.target(), case.client());
    if case.seen(seen::DROPPED_SYN_ACK) {
        let noted = case.noted();
        return (
            format!("This kernel dropped the SYN-ACK of {target}: {noted}."),
            format!(
                "Find what drops it: a rule ({}, here and in the pod), or a missing route or \
                 neighbour back to the client (`ip route get {client}`).",
                rules::find(case, "drop")
            ),
        );
    }
    match case.failure() {
        Failure::Unacked => (
            "The SYN-ACK left this node, and nothing came back.".to_owned(),
            "Look for what loses it behind this node: a security group, a source/destination \
             check, a second router; a client that is gone or forges its address looks the same."
                .to_owned(),
        ),
        Failure::Abandoned => (
            format!("{target} sent its SYN-ACK again; it came after the client had given up."),
            "Measure the way between pod and client (`ping`, `mtr` from the pod's node): it is \
             slower than the load balancer's connect timeout."
                .to_owned(),
        ),
        _ => (
            format!(
                "{target} sent its SYN-ACK, and sent it again; it did not leave by {}the interface \
                 the SYN came in by.",
                case.row
                    .interface
                    .map_or_else(String::new, |name| format!("{name}, "))
            ),
            format!(
                "`ip route get {client}` in the pod and on this node tells by which way the answer \
                 leaves: it has to go back through this node, by the interface the SYN came in by."
            ),
        ),
    }
}

/// D6.
pub(super) fn too_big(case: &Case<'_>) -> Opinion {
    let fails = case.evidence.node.frag_fails;
    Opinion::certain(
        Verdict::PmtuBlackhole,
        format!(
            "This kernel dropped a segment of the reply that does not fit the MTU ahead: {}; Ip \
             FragFails rose by {fails}.",
            case.noted()
        ),
        "The server read the request and replied; it sends the same large segment again, so the \
         ICMP that would tell it the MTU does not reach it.",
        "Let ICMP \"fragmentation needed\" (3/4; IPv6: packet too big) through to the pods, or set \
         the pods' MTU to the smallest on the way (`ip link` on this node), or clamp the MSS: \
         `iptables -t mangle -A FORWARD -p tcp --syn -j TCPMSS --clamp-mss-to-pmtu`.",
    )
    .at(case)
}

/// D10 with the backend beyond this node.
pub(super) fn slow(case: &Case<'_>) -> Opinion {
    Opinion::certain(
        Verdict::ReturnPath,
        "More than half of this port's SYN-ACKs took over 0.9 s, and these clients had given up.",
        "The server listens and answers; where between this node and it the time goes cannot be \
         seen here.",
        format!(
            "Measure the way to {} from this node (`ping`, `mtr`), and look at the load of its \
             node.",
            case.ip()
        ),
    )
    .at(case)
}

/// Healthy traffic with a lost SYN now and then has no such median.
pub(super) fn answers_are_late(case: &Case<'_>) -> bool {
    const LATE_NS: u64 = 900_000_001;
    let port = case.evidence.ports.iter().find(|(p, _)| *p == case.port());
    let Some((_, counters)) = port else {
        return false;
    };
    let count = |from: usize| {
        let buckets = (from..LATENCY_BUCKETS).map(|b| Cell::latency(Answer::SynAck, b));
        sum(buckets.map(|cell| counters.get(cell)))
    };
    let late = count(latency_bucket(LATE_NS));
    late.saturating_mul(2) > count(0)
}
