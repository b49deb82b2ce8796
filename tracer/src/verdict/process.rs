//! The process behind a handshake that went well (failures B5, E2).

use tracer_common::failure::Failure;

use super::{Verdict, case::Case, opinion::Opinion};

/// A single connection that is closed early is nothing.
const FEW: u64 = 2;

pub(super) fn opinion(case: &Case<'_>) -> Option<Opinion> {
    match case.failure() {
        Failure::Unanswered => stalled(case),
        Failure::ClosedAtOnce => closed(case),
        _ => None,
    }
}

/// B5. A server that reads and takes its time has nothing waiting; one that is
/// busy has little: less than half of what was not answered.
fn stalled(case: &Case<'_>) -> Option<Opinion> {
    let pod = case.pod()?;
    let waiting = u64::from(pod.unread) + u64::from(pod.not_accepted);
    let unanswered = case.count(|r| r.failure == Failure::Unanswered);
    if waiting == 0 || waiting.saturating_mul(2) < unanswered {
        return None;
    }
    let (unread, not_accepted) = (pod.unread, pod.not_accepted);
    let told = Opinion::certain(
        Verdict::ServerStalled,
        format!(
            "In the pod {unread} connections at {} hold bytes that the process has not read, and \
             {not_accepted} more it has not accepted.",
            case.target()
        ),
        "The requests arrived: network, NAT and queues are in order; a server that is merely slow \
         to answer would have read them.",
        format!(
            "Find the pod with {} and \
             see what its threads do (all workers busy, stopped, a deadlock?); restart it to free \
             it, and give it read timeouts or more workers.",
            case.show_pod()
        ),
    );
    Some(told.at(case))
}

/// E2. Healthy servers close early now and then: here at least half do.
fn closed(case: &Case<'_>) -> Option<Opinion> {
    let closed = case.count(|r| r.failure == Failure::ClosedAtOnce);
    let attempts = case.attempts();
    if closed < FEW || attempts == 0 || closed.saturating_mul(2) < attempts {
        return None;
    }
    let most = u128::from(closed) * 10 >= u128::from(attempts) * 9;
    let told = Opinion::certain(
        Verdict::ClosedAtOnce,
        format!(
            "{} closed {closed} of {attempts} connections before it had sent a byte, and before \
             the client closed.",
            case.target()
        ),
        "The handshake was fine: rules, NAT, queues and the way there and back are in order.",
        format!(
            "Read the log of the pod with {} ({}, restarts in {}): it crashes, refuses its clients, expects \
             another protocol, or has an idle timeout of a few seconds.",
            case.ip(),
            case.show_logs(),
            case.show_pod()
        ),
    );
    Some(told.at(case).certain_if(most))
}
