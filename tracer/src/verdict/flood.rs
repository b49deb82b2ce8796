//! SYN floods: sources that never meant to connect.

use tracer_common::{
    counters::Cell,
    failure::{Failure, Reply, seen},
    words::Retransmit,
};

use super::{
    Verdict,
    case::{Case, sum},
    opinion::Opinion,
};
use crate::evidence::Clients;

/// From so many addresses on it is a flood: no load balancer has as many.
const ADDRESSES: u64 = 256;

/// The SYN-ACK left the node; hardly any address came twice, and none sent its
/// SYN again, which every client does that waits for an answer.
pub(super) fn opinion(case: &Case<'_>) -> Option<Opinion> {
    if !case.is_unacked() || case.seen(seen::DROPPED) {
        return None;
    }
    let mut all = case.evidence.clients.iter();
    let clients = all.find(|c| c.node_port == case.port())?;
    let (unacked, again) = (unacked(case), syns_again(case));
    let insists = again.saturating_mul(10) >= unacked;
    (is_many(clients) && !insists).then(|| flood(case, clients, again))
}

fn is_many(clients: &Clients) -> bool {
    let Clients {
        attempts,
        addresses,
        ..
    } = *clients;
    addresses >= ADDRESSES && addresses.saturating_mul(10) >= attempts.saturating_mul(9)
}

/// Attempts at the port that were not acknowledged, whatever their backend.
fn unacked(case: &Case<'_>) -> u64 {
    let rows = case.evidence.rows.iter();
    let rows = rows.filter(|r| {
        r.node_port == case.port() && r.failure == Failure::Unacked && r.reply == Reply::None
    });
    sum(rows.map(|r| r.count))
}

fn syns_again(case: &Case<'_>) -> u64 {
    let port = case.evidence.ports.iter().find(|(p, _)| *p == case.port());
    port.map_or(0, |(_, counters)| {
        counters.get(Cell::retransmit(Retransmit::Syn))
    })
}

fn flood(case: &Case<'_>, clients: &Clients, again: u64) -> Opinion {
    let Clients {
        attempts,
        addresses,
        ..
    } = clients;
    let port = case.port();
    Opinion::certain(
        Verdict::SynFlood,
        format!(
            "The last {attempts} failed attempts here came from {addresses} addresses; SYNs that \
             were sent again: {again}."
        ),
        "Clients whose SYN-ACK gets lost send their SYN again after a second, so this is not the \
         return path; a scan or forged addresses look so.",
        format!(
            "Find the way they come in (`tcpdump -eni any 'tcp dst port {port} and tcp[tcpflags] \
             == tcp-syn'` shows the hardware address) and stop them before the node: security \
             group, network ACL. Meanwhile net.ipv4.tcp_syncookies=1 in the pods keeps real \
             clients coming."
        ),
    )
    // Clients with a timeout below a second that all lost their answers would
    // look the same.
    .certain_if(false)
}
