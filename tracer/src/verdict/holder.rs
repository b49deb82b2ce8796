//! A process on the node itself that holds the port: kube-proxy's reservation, or another
//! one (failure A2).

use tracer_common::{
    counters::Cell,
    words::{Close, Traffic},
};

use super::{
    Verdict,
    case::{attempts, sum},
    commands,
    opinion::Opinion,
};
use crate::{
    evidence::{Evidence, Holder},
    services::Table,
};

/// kube-proxy's own name, and that of the binary which contained it.
const KUBE_PROXY: [&str; 2] = ["kube-proxy", "hyperkube"];

/// Nobody accepts: a server that is merely busy has no two waiting and none
/// that the client has left again.
pub(super) fn is_stuck(holder: &Holder) -> bool {
    let waits = holder.not_accepted >= 2
        || holder.close_wait > 0
        || holder.listener.queue > holder.listener.limit;
    // Who has accepted a connection and keeps it will come back for the next one.
    (waits && holder.accepted == 0) || (holder.not_accepted > 0 && is_kube_proxy(holder))
}

/// A busy server has a few waiting at any moment, of which some have left
/// already. Only a process that has accepted connections closes them in turn.
pub(super) fn is_served(evidence: &Evidence, holder: &Holder) -> bool {
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
pub(super) fn held(holder: &Holder, names: &Table) -> Opinion {
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
