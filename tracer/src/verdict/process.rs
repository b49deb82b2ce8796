//! The process behind a handshake that went well (failures B5, E2).

use std::collections::BTreeMap;

use tracer_common::{
    counters::Cell,
    failure::{Failure, Reply, seen},
    words::{Close, Traffic},
};

use super::{Verdict, case::Case, opinion::Opinion};
use crate::evidence::Row;

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
    // A server that has accepted connections and reads them comes back for more.
    let stuck = pod.accepted == 0 || pod.unread > 0;
    let queued = if stuck { pod.not_accepted } else { 0 };
    let waiting = u64::from(pod.unread) + u64::from(queued);
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
    // One look may meet a server that is just about to read.
    let for_long = pod.unread_for_long || (pod.unread == 0 && pod.accepted == 0);
    Some(told.at(case).certain_if(for_long))
}

/// How connections were closed at once, in words.
fn ways(case: &Case<'_>) -> String {
    let mut ways: BTreeMap<String, u64> = BTreeMap::new();
    for row in case.siblings() {
        if row.failure == Failure::ClosedAtOnce {
            *ways.entry(way(row, case)).or_default() += row.count;
        }
    }
    let ways: Vec<String> = ways.iter().map(|(way, n)| format!("{n} {way}")).collect();
    ways.join(", ")
}

/// How one kind of them was closed, and by whom.
fn way(row: &Row, case: &Case<'_>) -> String {
    let reason = row.reset_reason.as_deref();
    let named = reason.map_or_else(String::new, |reason| format!("; {reason}"));
    if row.seen & seen::RESET_PROCESS != 0 {
        format!("with a RST of the process's own ({}{named})", cause(reason))
    } else if row.seen & seen::RESET_CLIENT != 0 {
        let named = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
        format!("with a RST of the pod's stack, which knew no such connection{named}")
    } else if !matches!(row.reply, Reply::NodeRst | Reply::BackendRst) {
        "with FIN".to_owned()
    } else if case.has_packets_only() {
        "with RST".to_owned()
    } else {
        "with a RST that no socket of this kernel is known to have made".to_owned()
    }
}

/// Why a socket sends RST unasked (`enum sk_rst_reason`, from 6.12 on).
fn cause(reason: Option<&str>) -> &'static str {
    match reason {
        Some("TCP_ABORT_ON_CLOSE") => "closed with bytes unread",
        Some("TCP_STATE") => "closed with SO_LINGER 0, or never accepted by a listener that closed",
        Some("TCP_ABORT_ON_MEMORY") => "given up for lack of TCP memory",
        Some("TCP_ABORT_ON_LINGER") => "given up when its linger time ended",
        Some("TCP_KEEPALIVE_TIMEOUT") => "given up for want of answers to keep-alives",
        _ => "closed with SO_LINGER 0 or with bytes unread",
    }
}

fn closer(case: &Case<'_>) -> String {
    match case.address() {
        Some(address) => address.to_string(),
        None if case.is_process_here() => "The process on this node that has the port".to_owned(),
        None => "The server".to_owned(),
    }
}

/// Who closed them, and how to get at its log.
fn whose_log(case: &Case<'_>) -> String {
    let port = case.address().map_or(case.port(), |address| address.port());
    if case.is_process_here() {
        return format!(
            "the process on this node that listens on {port} (`ss -lntp sport = :{port}`)"
        );
    }
    match case.address() {
        Some(address) => format!(
            "the pod with {} ({}, restarts in {})",
            address.ip(),
            case.show_logs(),
            case.show_pod()
        ),
        None => format!("the Service's pods ({} names it)", case.show_service()),
    }
}

/// Connections at the port that the server closed with FIN and that are counted as health
/// checks, since their clients closed in turn and had nothing to send: a health port may
/// answer so.
fn checked(case: &Case<'_>) -> u64 {
    let port = case.evidence.ports.iter().find(|(p, _)| *p == case.port());
    port.map_or(0, |(_, counters)| {
        counters.get(Cell::close(Close::ServerFin, Traffic::HealthCheck))
    })
}

/// E2. Healthy servers close early now and then: here at least half do.
fn closed(case: &Case<'_>) -> Option<Opinion> {
    let all = case.count(|r| r.failure == Failure::ClosedAtOnce);
    let closed = all.saturating_sub(checked(case));
    let attempts = case.attempts();
    if closed < FEW || attempts == 0 || closed.saturating_mul(2) < attempts {
        return None;
    }
    let most = u128::from(closed) * 10 >= u128::from(attempts) * 9;
    let told = Opinion::certain(
        Verdict::ClosedAtOnce,
        format!(
            "{} closed {closed} of {attempts} connections before it had sent a byte, and before \
             the client closed: {}.",
            closer(case),
            ways(case)
        ),
        "The handshake was fine: rules, NAT, queues and the way there and back are in order.",
        format!(
            "Read the log of {}: it crashes, refuses its clients, expects another protocol, or has \
             an idle timeout of a few seconds.",
            whose_log(case)
        ),
    );
    Some(told.at(case).certain_if(most))
}
