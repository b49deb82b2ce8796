//! Nothing listens where NAT sends to (failures A5, E1, F8).

use std::net::IpAddr;

use tracer_common::failure::{Failure, Reply, seen};

use super::{
    Verdict,
    case::{Case, sum},
    drops::Cause,
    opinion::Opinion,
};
use crate::evidence::Row;

/// A5, E1 and F8: the stack that got the SYN has no socket for it.
pub(super) fn nothing_listens(case: &Case<'_>) -> Opinion {
    let target = case.target();
    let by_stack = case.seen(seen::RESET_CLIENT);
    let no_socket = case.syn_cause() == Some(Cause::NoSocket);
    let noted = by_stack || no_socket;
    if let Some(opinion) = no_proxy(case).filter(|_| !noted) {
        return opinion.at(case);
    }
    let fact = if by_stack {
        let reason = case.row.reset_reason.as_deref();
        let reason = reason.map_or_else(String::new, |r| format!(" ({r})"));
        match case.is_process_here() {
            true => format!(
                "This node's own TCP stack sent the RST{reason}: {target} is an address of its own."
            ),
            false => format!("The pod's own TCP stack on this node sent the RST{reason}."),
        }
    } else if no_socket {
        format!("The SYN found no socket in the pod: {}.", case.noted())
    } else if case.row.reply == Reply::NodeRst {
        format!("This node made the RST, and {target} is an address of its own.")
    } else {
        format!("The RST came from {target}, from behind this node's forwarding.")
    };
    let excludes = if noted {
        "No rule of this node rejected it, and the Service has endpoints and rules here."
    } else {
        "No rule of this node rejected it; a rule or proxy beyond that answers with RST would \
         look the same."
    };
    let excludes = format!("{excludes} {}", listening(case));
    Opinion::certain(
        Verdict::NothingListens,
        fact,
        excludes.trim_end(),
        remedy(case),
    )
    .at(case)
    .certain_if(noted && !may_listen(case))
}

/// F8: rules in the pod send all that is for its port on to a proxy that does not run.
/// The kernel's notes do not tell: there the RST is for another port.
fn no_proxy(case: &Case<'_>) -> Option<Opinion> {
    let (pod, target) = (case.pod()?, case.address()?);
    let (server, rule) = (pod.sent_on_to?, pod.sent_on_by.as_ref()?);
    if pod.listener.is_some() {
        return None;
    }
    let (sent, port) = (pod.namespace.out_rsts, target.port());
    let refused = |row: &&Row| {
        row.failure == Failure::Refused && row.backend.is_some_and(|b| b.ip() == target.ip())
    };
    let refused = sum(case
        .evidence
        .rows
        .iter()
        .filter(refused)
        .map(|row| row.count));
    let opinion = Opinion::certain(
        Verdict::NothingListens,
        format!(
            "NAT in the pod's own namespace sends {port} on to {server} by the rule {rule}: nothing \
             listens there. The pod's own TCP stack sent {sent} RSTs in this time (Tcp OutRsts)."
        ),
        format!(
            "No rule of this node rejected it, and the server at port {port} was not asked: what it \
             listens on does not matter."
        ),
        remedy(case),
    );
    // REJECT's RSTs do not count there.
    Some(opinion.certain_if(sent >= refused && case.is_recent()))
}

/// It answered others in the midst of these, or may have, and the kernel gives no reason
/// (before 6.12): a socket that holds the same address and port may have refused them.
fn may_listen(case: &Case<'_>) -> bool {
    let named = case.syn_cause() == Some(Cause::NoSocket)
        || case.row.reset_reason.as_deref() == Some("NO_SOCKET");
    let mut amid = case.row.amid.iter();
    let untold = case.evidence.untold > 0;
    !named
        && (untold
            || amid.any(|served| served.backend.is_some() && served.backend == case.address()))
}

/// What the pod listens on instead, a sentence.
fn listening(case: &Case<'_>) -> String {
    let (Some(pod), Some(target)) = (case.pod(), case.address()) else {
        return String::new();
    };
    if let Some(server) = pod.sent_on_to {
        let there = match pod.listener {
            Some(_) => "something listens there by now",
            None => "nothing listens there",
        };
        let rule = match &pod.sent_on_by {
            Some(rule) => format!("by the rule {rule}"),
            None => "(a sidecar's REDIRECT looks so)".to_owned(),
        };
        return format!(
            "NAT in the pod's own namespace sends {} on to {server} {rule}: {there}.",
            target.port()
        );
    }
    if pod.listener.is_some() {
        return format!("Something listens on {} by now.", target.port());
    }
    if let Some(at) = pod.listens_only_at {
        let at = match at {
            at if at.is_loopback() => "loopback".to_owned(),
            at if at.is_unspecified() => format!("{} addresses", family(at)),
            at => at.to_string(),
        };
        return format!("The pod listens on {} at {at} only.", target.port());
    }
    if pod.listens_on.is_empty() {
        return match case.is_process_here() {
            true => String::new(),
            false => "The pod listens on no TCP port.".to_owned(),
        };
    }
    format!("The pod listens on {} only.", list(&pod.listens_on))
}

fn family(of: IpAddr) -> &'static str {
    if of.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// The first few ports.
fn list(ports: &[u16]) -> String {
    let shown: Vec<String> = ports.iter().take(8).map(u16::to_string).collect();
    let more = if ports.len() > shown.len() {
        ", …"
    } else {
        ""
    };
    format!("{}{more}", shown.join(", "))
}

fn remedy(case: &Case<'_>) -> String {
    let port = case.address().map_or(0, |a| a.port());
    let find = case.show_pod();
    let Some(pod) = case.pod() else {
        return match case.address() {
            Some(_) => format!(
                "Find the pod with {find}; compare what it listens on (`ss -lnt` in it) with the \
                 Service's targetPort {port}, and see whether it is starting or stopping."
            ),
            None => format!(
                "Compare the targetPort of the Service ({}) with what its pods listen \
                 on: `ss -lnt` in each.",
                case.show_service()
            ),
        };
    };
    if let (Some(server), None) = (pod.sent_on_to, pod.listener) {
        format!(
            "See why the proxy that is to listen on {} in the pod does not run: {find}, then {} \
             with `-c` and the name of its sidecar.",
            server.port(),
            case.show_logs()
        )
    } else if pod.listener.is_some() {
        format!(
            "The pod was starting or stopping: {find} and its events; a readiness probe, and a \
             preStop sleep longer than the endpoints take to change, keep such connections away."
        )
    } else if let Some(at) = pod.listens_only_at {
        let not = match at {
            at if at.is_loopback() => "on loopback".to_owned(),
            at if at.is_unspecified() => format!("at {} addresses alone", family(at)),
            at => format!("at {at} alone"),
        };
        format!(
            "Make the server listen on 0.0.0.0:{port} (or [::]:{port}, which takes both), not {not}."
        )
    } else if pod.listens_on.is_empty() {
        format!(
            "See why the server does not run: {find}, then {}.",
            case.show_logs()
        )
    } else {
        let others = list(&pod.listens_on);
        format!(
            "Service targetPort is {port}, the pod listens on {others}: fix one of them ({find})."
        )
    }
}
