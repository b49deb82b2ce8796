//! A conntrack entry of an earlier connection leads a SYN to a backend that NAT does not
//! choose any more (failure C5).

use std::net::SocketAddr;

use tracer_common::failure::{Failure, Reply, seen};

use super::{
    Verdict,
    backend::is_unreachable,
    case::{Case, find},
    drops::Cause,
    opinion::Opinion,
    service::is_port_unreachable,
};
use crate::evidence::Entry;

/// States of an entry that an earlier connection left; an attempt's own is in
/// SYN_SENT or SYN_RECV.
const ANSWERED: [&str; 5] = [
    "ESTABLISHED",
    "FIN_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
    "TIME_WAIT",
];

/// C5: the SYN met an entry of an earlier connection, which leads to a backend
/// that NAT does not choose any more.
pub(super) fn opinion(case: &Case<'_>) -> Option<Opinion> {
    let failed = case.is_silent()
        || matches!(
            (case.failure(), case.row.reply),
            (Failure::Unreachable, _) | (Failure::Refused, Reply::BackendRst)
        );
    // An entry that has carried an answer is the attempt's own.
    let old = case.seen(seen::OLD_ENTRY) && !case.was_answered();
    // Entries are those of some failed attempts of the port; what a rule answered or dropped
    // is known to have met none.
    let ruled = is_port_unreachable(case.row) || case.syn_cause().is_some_and(Cause::is_netfilter);
    let entry = old_entry(case).filter(|_| old || !ruled);
    let target = case.address().or(entry.map(|e| e.backend));
    let target = target.filter(|_| failed && (old || entry.is_some()))?;
    let unreachable = is_unreachable(case, find(case.evidence, case.port(), target));
    let refused = case.failure() == Failure::Refused;
    if is_chosen(case, target) || !(unreachable || refused || elsewhere(case, target)) {
        return None;
    }
    let state = entry.map_or_else(String::new, |e| format!(" ({})", e.state));
    let port = case.port();
    let ip = target.ip();
    let opinion = Opinion::certain(
        Verdict::StaleConntrack,
        format!(
            "The SYN met a conntrack entry{state} of an earlier connection, which leads to \
             {target}; no new connection is sent there."
        ),
        "The Service's present endpoints are not to blame: an entry that exists is followed \
         before any rule is asked.",
        format!(
            "Delete the entries on this node: `conntrack -D -p tcp --dport {port} -r {ip}`; source \
             ports without one work."
        ),
    );
    let opinion = Opinion {
        backend: Some(target),
        ..opinion
    };
    Some(opinion.certain_if(unreachable))
}

/// The entry of failed attempts whose backend the kernel programs do not know.
fn old_entry<'a>(case: &Case<'a>) -> Option<&'a Entry> {
    let fits = |e: &&Entry| {
        e.node_port == case.port()
            && e.backend.port() != e.node_port
            && (ANSWERED.contains(&e.state.as_str()) || leads_astray(case, e))
            && case.row.backend.is_none()
    };
    case.evidence.entries.iter().find(fits)
}

/// An entry that nobody has answered yet is the attempt's own, unless it leads to a pod
/// that had gone before and that no rule chooses any more: then it is that of an
/// earlier attempt from the same address and port.
fn leads_astray(case: &Case<'_>, entry: &Entry) -> bool {
    let names = &case.evidence.names;
    let holder = names.holder_at(entry.backend.ip(), case.span().0);
    let gone = holder
        .and_then(|h| h.until)
        .is_some_and(|at| at <= case.span().0);
    let listed = names.endpoints(case.port());
    let followed = listed.is_some_and(|l| !l.may_choose(entry.backend) && l.ready() > 0);
    gone && followed && elsewhere(case, entry.backend)
}

/// New connections are sent to this backend, and fail there: then it is not
/// the old entry's fault.
fn is_chosen(case: &Case<'_>, target: SocketAddr) -> bool {
    case.evidence.rows.iter().any(|r| {
        r.node_port == case.port() && r.backend == Some(target) && r.seen & seen::OLD_ENTRY == 0
    })
}

/// NAT sends new connections to another backend.
fn elsewhere(case: &Case<'_>, target: SocketAddr) -> bool {
    case.evidence
        .backends
        .iter()
        .any(|b| b.node_port == case.port() && b.address != target && b.attempts > 0)
}
