//! The backend and the way to it: nothing listens, no neighbour, no route
//! (failures A5 to A7b, E1).

use tracer_common::failure::{Failure, Reply, seen};

use super::{
    Certainty, Verdict, case::Case, drops::Cause, listens::nothing_listens, opinion::Opinion,
    service::is_port_unreachable, times::seconds,
};
use crate::evidence::{Backend, Route};

pub(super) fn opinion(case: &Case<'_>) -> Option<Opinion> {
    match case.failure() {
        Failure::Refused => refused(case),
        Failure::Unreachable => unreachable(case),
        _ if case.is_silent() => silent(case),
        _ => None,
    }
}

/// A5 and E1: a RST that no rule made.
fn refused(case: &Case<'_>) -> Option<Opinion> {
    let by_backend = case.row.reply == Reply::BackendRst || case.address().is_some();
    if !by_backend {
        return None;
    }
    match case.row.reset_reason.as_deref() {
        // Kernels before 6.12 give no reason.
        None | Some("NO_SOCKET" | "NOT_SPECIFIED") => Some(nothing_listens(case)),
        Some(_) if !case.seen(seen::RESET_CLIENT) => Some(nothing_listens(case)),
        Some(reason) => Some(refused_by_a_socket(case, reason)),
    }
}

/// A socket was there and refused the SYN, so that something listens or has listened.
fn refused_by_a_socket(case: &Case<'_>, reason: &str) -> Opinion {
    let why = match reason {
        "INVALID_SYN" => {
            "it holds an unfinished handshake of the same address and port, whose sequence \
             number is another one"
        }
        "TCP_RFC7323_PAWS" => "it took the timestamp for an old one",
        _ => "of the state of the socket that had the same address and port",
    };
    let told = Opinion::certain(
        Verdict::Unexplained,
        format!("The pod's TCP stack refused the SYN, because {why} ({reason})."),
        "Something listens there: the reason is not NO_SOCKET.",
        "Look who uses the same source port again within a minute: clients behind one NAT \
         address, or masquerading on this node without `--random-fully`.",
    );
    Opinion {
        certainty: Certainty::Unknown,
        ..told.at(case)
    }
}

/// A6 and A7b: ICMP after a backend was chosen, or from beyond.
fn unreachable(case: &Case<'_>) -> Option<Opinion> {
    let ruled = case.syn_cause().is_some_and(Cause::is_netfilter);
    if is_port_unreachable(case.row) || ruled {
        // A rule answered, here or beyond.
        return None;
    }
    Some(no_way(case))
}

/// Whether the node cannot reach a backend, by the answer, by what it noted or
/// by what it knows.
pub(super) fn is_unreachable(case: &Case<'_>, backend: Option<&Backend>) -> bool {
    let said = case.failure() == Failure::Unreachable && !is_port_unreachable(case.row);
    let noted = matches!(
        case.syn_cause(),
        Some(Cause::Neighbour | Cause::NoRoute | Cause::Route)
    );
    said || noted || backend.is_some_and(|b| dead_neighbour(b).is_some() || has_no_route(b))
}

/// The state of its next hop's neighbour entry, where nobody answers.
pub(super) fn dead_neighbour(backend: &Backend) -> Option<&str> {
    let state = backend.neighbour.as_deref();
    state.filter(|state| matches!(*state, "FAILED" | "INCOMPLETE"))
}

/// A neighbour that did not answer.
struct Dead<'a> {
    /// The state of its entry.
    state: &'a str,
    /// It shows now; else so many nanoseconds before the end of the window.
    past: Option<u64>,
    /// It was so when these were judged, as far as it is known.
    then: bool,
}

/// The neighbour of the backend that does not answer now, or did not when these came.
fn dead<'a>(case: &Case<'a>) -> Option<Dead<'a>> {
    let now = case.backend.and_then(dead_neighbour);
    let then = case.neighbour_then();
    let ended = case.evidence.ended;
    let (state, past) = match (now, then) {
        (Some(state), _) => (state, None),
        (None, Some((state, found))) => (state, Some(ended.saturating_sub(found.last))),
        (None, None) => return None,
    };
    Some(Dead {
        state,
        past,
        then: then.is_some() || case.is_recent(),
    })
}

fn has_no_route(backend: &Backend) -> bool {
    matches!(
        backend.route,
        Some(Route::Unreachable | Route::Prohibit | Route::Missing)
    )
}

/// Silence for which neighbour or route are to blame.
fn silent(case: &Case<'_>) -> Option<Opinion> {
    let blackhole = matches!(case.route(), Some(Route::Blackhole));
    match case.syn_cause() {
        Some(Cause::Neighbour | Cause::NoRoute) => Some(no_way(case)),
        // ICMP's rate limit silences some of the answers.
        Some(Cause::Route) if case.backend.is_some_and(has_no_route) => Some(no_way(case)),
        Some(Cause::Route) if case.count(|r| r.failure == Failure::Unreachable) > 0 => {
            Some(no_way(case))
        }
        Some(Cause::Route) => {
            let unicast = case.backend.is_some_and(|b| b.route.is_some()) && !blackhole;
            Some(swallowed(case).certain_if(!unicast))
        }
        Some(Cause::Unnamed) | None if blackhole => Some(swallowed(case)),
        Some(Cause::Unnamed) | None => {
            let failed = dead(case)?.state == "FAILED";
            Some(no_way(case).certain_if(failed))
        }
        _ => None,
    }
}

/// A7.
fn swallowed(case: &Case<'_>) -> Opinion {
    let (target, ip) = (case.target(), case.ip());
    let fact = match (case.route(), case.cause()) {
        (Some(Route::Blackhole), None) => format!("The node's route to {ip} is a blackhole."),
        (Some(Route::Blackhole), Some(_)) => format!(
            "The node's route to {ip} is a blackhole, and routing dropped the SYN: {}.",
            case.noted()
        ),
        _ => format!("Routing dropped the SYN without an ICMP: {}.", case.noted()),
    };
    Opinion::certain(
        Verdict::RouteBlackhole,
        fact,
        format!("{target} never got the SYN; unreachable routes and dead neighbours send ICMP."),
        format!(
            "`ip route get {ip}` and `ip route show type blackhole` on this node: remove the \
             route, or ask the network plugin why it made it (an address block of a node that is \
             gone?)."
        ),
    )
    .at(case)
}

/// A6 and A7b.
fn no_way(case: &Case<'_>) -> Opinion {
    let (ip, show) = (case.ip(), case.show_pod());
    let routed = matches!(case.syn_cause(), Some(Cause::NoRoute | Cause::Route));
    let routed = routed || case.backend.is_some_and(has_no_route);
    let neighbour = neighbour_fact(case);
    let noted = case.syn_cause() == Some(Cause::Neighbour);
    let known = routed || noted || dead(case).is_some_and(|dead| dead.then);
    let fact = match neighbour {
        _ if routed => route_fact(case),
        Some(fact) => fact,
        None => "The ICMP says so; its cause lies beyond this node, or is gone again.".to_owned(),
    };
    let next = if routed {
        format!(
            "`ip route get {ip}` on this node: see whether the network plugin runs here and why \
             its route is missing or refuses."
        )
    } else {
        format!(
            "{show}: without such a pod the endpoint is out of date (`kubectl get endpointslices -A | grep {ip}`); with one, \
             look at its interface and node."
        )
    };
    let excludes = "No server refused and no queue was full: the SYN found no way to the pod.";
    Opinion::certain(Verdict::BackendUnreachable, fact, excludes, next)
        .at(case)
        .certain_if(known)
}

/// What is known against the next hop.
fn neighbour_fact(case: &Case<'_>) -> Option<String> {
    let ip = case.ip();
    if case.syn_cause() == Some(Cause::Neighbour) {
        let noted = case.noted();
        return Some(format!("Nobody answers for the next hop of {ip}: {noted}."));
    }
    let Dead { state, past, .. } = dead(case)?;
    Some(match past {
        None => format!("Nobody answers for the next hop of {ip}: its neighbour entry is {state}."),
        Some(age) => format!(
            "Nobody answered for the next hop of {ip}: its neighbour entry was {state} up to {} \
             before the end of this window, and is not any more.",
            seconds(age)
        ),
    })
}

fn route_fact(case: &Case<'_>) -> String {
    let ip = case.ip();
    let route = case.route();
    let kind = match route {
        Some(Route::Unreachable) => "of type unreachable",
        Some(Route::Prohibit) => "of type prohibit",
        Some(Route::Missing) => "missing",
        _ => return format!("Routing refused the SYN to {ip}: {}.", case.noted()),
    };
    format!("The node's route to {ip} is {kind}.")
}
