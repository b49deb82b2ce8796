//! One kind of failure beside everything that bears on it.

use std::net::{IpAddr, SocketAddr};

use tracer_common::{
    counters::Cell,
    failure::{Failure, Reply, seen},
};

use super::{
    commands,
    drops::{self, Cause},
    found,
};
use crate::evidence::{
    Backend, Entry, Evidence, Holder, Namespace, PACKETS_ONLY, Place, Pod, Route, Row, Served,
};

/// A row, its backend, and the rest of the evidence.
pub(super) struct Case<'a> {
    pub row: &'a Row,
    pub evidence: &'a Evidence,
    /// Where NAT sent it.
    address: Option<SocketAddr>,
    /// What is known about that backend.
    pub backend: Option<&'a Backend>,
}

impl<'a> Case<'a> {
    pub(super) fn new(row: &'a Row, evidence: &'a Evidence) -> Self {
        let address = row.backend.or_else(|| found::held_back(row));
        let address = address.or_else(|| held_back(row, evidence));
        let backend = address.and_then(|address| find(evidence, row.node_port, address));
        Self {
            row,
            evidence,
            address,
            backend,
        }
    }

    pub(super) fn failure(&self) -> Failure {
        self.row.failure
    }

    pub(super) fn port(&self) -> u16 {
        self.row.node_port
    }

    /// The backend's address: only where it is part of the problem.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The backend, for texts.
    pub(super) fn target(&self) -> String {
        self.address
            .map_or_else(|| "the backend".to_owned(), |b| b.to_string())
    }

    /// The server is a process in the node's own namespace, not a pod: NAT chose an address
    /// of the node's, or nothing, and a socket of the node's has the port.
    pub(super) fn is_process_here(&self) -> bool {
        match self.address {
            Some(_) => matches!(self.route(), Some(Route::Local)),
            None => self.holder().is_some(),
        }
    }

    /// The backend's address without its port, for texts.
    pub(super) fn ip(&self) -> String {
        self.address
            .map_or_else(|| "the backend".to_owned(), |b| b.ip().to_string())
    }

    /// Shows the Service.
    pub(super) fn show_service(&self) -> String {
        commands::service(&self.evidence.names, self.port())
    }

    /// Shows the pod.
    pub(super) fn show_pod(&self) -> String {
        commands::pod(self.named_pod(), self.address.map(|b| b.ip()))
    }

    /// Shows the pod's log.
    pub(super) fn show_logs(&self) -> String {
        commands::logs(self.named_pod())
    }

    /// A client's address for commands, of which the most failures are; `CLIENT`: none is
    /// remembered.
    pub(super) fn client(&self) -> String {
        let first = self.row.sources.first();
        first.map_or_else(|| "CLIENT".to_owned(), |(client, _)| client.to_string())
    }

    /// Where NAT had sent the SYN when it was dropped. The address of a late attempt is the
    /// one that a SYN sent again was translated to.
    pub(super) fn chosen(&self) -> Option<SocketAddr> {
        self.address().filter(|_| !self.is_late())
    }

    /// All failures of the row are remembered one by one, and all are this client's.
    pub(super) fn is_from(&self, client: IpAddr) -> bool {
        matches!(self.row.sources[..], [(only, count)] if only == client && count == self.row.count)
    }

    /// A connection came in by the interface by which the row's attempts did, or it is not
    /// known that it came by another.
    pub(super) fn may_share_interface(&self, served: &Served) -> bool {
        let both = self.row.interface.zip(served.interface);
        both.is_none_or(|(failed, served)| failed == served)
    }

    /// An address of the node's own, as far as anybody dialled it or the rules were read.
    pub(super) fn is_own(&self, address: IpAddr) -> bool {
        if self.evidence.rules.owns(address) {
            return true;
        }
        let rows = self.evidence.rows.iter().filter_map(|row| row.dialled);
        let served = self.evidence.served.iter().map(|served| served.dialled);
        rows.chain(served).any(|own| own == address)
    }

    /// What holds the backend's address on this node now.
    pub(super) fn pod(&self) -> Option<&'a Pod> {
        match self.backend.map(|b| &b.place) {
            Some(Place::Here(pod)) => Some(pod),
            _ => None,
        }
    }

    /// The pod is known to be on another node.
    pub(super) fn is_beyond(&self) -> bool {
        matches!(self.backend.map(|b| &b.place), Some(Place::Beyond))
    }

    /// How the node reaches the backend, if that is known.
    pub(super) fn route(&self) -> Option<&'a Route> {
        self.backend.and_then(|b| b.route.as_ref())
    }

    pub(super) fn seen(&self, bits: u16) -> bool {
        self.row.seen & bits != 0
    }

    /// An attempt that had no answer within its time.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self.failure(), Failure::TimedOut | Failure::Cancelled)
            && self.row.reply == Reply::None
    }

    /// It was answered, and nothing came back in time.
    pub(super) fn is_unacked(&self) -> bool {
        self.failure() == Failure::Unacked && self.row.reply == Reply::None
    }

    /// It was answered, and reset by the server's side before an ACK of the client came.
    pub(super) fn is_torn_down(&self) -> bool {
        self.failure() == Failure::Unacked && self.row.reply != Reply::None
    }

    /// It was established, or half-open, in the end.
    pub(super) fn is_late(&self) -> bool {
        matches!(self.failure(), Failure::Late | Failure::Abandoned)
    }

    /// It was established and then came to nothing.
    pub(super) fn is_spoilt(&self) -> bool {
        matches!(
            self.failure(),
            Failure::Unanswered | Failure::ClosedAtOnce | Failure::Reset
        )
    }

    /// What the first drop means, if any was noted.
    pub(super) fn cause(&self) -> Option<Cause> {
        cause(self.row)
    }

    /// The backend's stack did answer: a SYN dropped as well is one sent again,
    /// for which it has a request already.
    pub(super) fn was_answered(&self) -> bool {
        self.seen(seen::DROPPED_SYN_ACK | seen::SYN_ACK_AGAIN)
    }

    /// What the drop of the SYN means, if one was noted.
    pub(super) fn syn_cause(&self) -> Option<Cause> {
        let died = self.seen(seen::DROPPED_SYN) && !self.was_answered();
        self.cause().filter(|_| died)
    }

    /// The first drop in words.
    pub(super) fn noted(&self) -> String {
        drops::name(self.row)
    }

    /// Rows of the same port and backend, this one too.
    pub(super) fn siblings(&self) -> impl Iterator<Item = &'a Row> {
        let row = self.row;
        self.evidence
            .rows
            .iter()
            .filter(move |r| r.node_port == row.node_port && r.backend == row.backend)
    }

    /// How many of the siblings fit.
    pub(super) fn count(&self, fits: impl Fn(&Row) -> bool) -> u64 {
        sum(self.siblings().filter(|r| fits(r)).map(|r| r.count))
    }

    /// Whether the hook that sees drops has seen any: where it has, a failure
    /// without a note was not dropped by this kernel.
    pub(super) fn drops_are_noted(&self) -> bool {
        self.evidence
            .rows
            .iter()
            .any(|r| r.seen & seen::DROPPED != 0)
    }

    /// Attempts at the backend in the window, or at the port without one.
    pub(super) fn attempts(&self) -> u64 {
        self.backend
            .map_or_else(|| attempts(self.evidence, self.port()), |b| b.attempts)
    }

    /// A counter's rise, in the pod's namespace when it is on this node and in
    /// the node's: the larger, with the namespace's name.
    pub(super) fn rise(&self, counter: impl Fn(&Namespace) -> u64) -> (u64, &'static str) {
        let node = counter(&self.evidence.node);
        let pod = self.pod().map_or(0, |p| counter(&p.namespace));
        if pod >= node {
            (pod, "the pod's")
        } else {
            (node, "the node's")
        }
    }

    /// Nothing is known but packets.
    pub(super) fn has_packets_only(&self) -> bool {
        let mut absent = self.evidence.absent.iter();
        absent.any(|absent| absent.source == PACKETS_ONLY)
    }

    /// The socket of the node's that holds the port.
    pub(super) fn holder(&self) -> Option<&'a Holder> {
        self.evidence
            .holders
            .iter()
            .find(|h| h.node_port == self.port())
    }
}

/// The backend of silent attempts that never left the node and were not dropped
/// yet: they wait for a neighbour. Only conntrack knows it; it must be the only
/// one for the port.
fn held_back(row: &Row, evidence: &Evidence) -> Option<SocketAddr> {
    if row.seen != 0 || !matches!(row.failure, Failure::TimedOut | Failure::Cancelled) {
        return None;
    }
    let waits = |e: &&Entry| {
        e.node_port == row.node_port && e.backend.port() != e.node_port && e.state == "SYN_SENT"
    };
    let mut backends = evidence.entries.iter().filter(waits).map(|e| e.backend);
    let first = backends.next()?;
    backends.all(|backend| backend == first).then_some(first)
}

/// The first drop's meaning, if any was noted.
fn cause(row: &Row) -> Option<Cause> {
    (row.seen & seen::DROPPED != 0)
        .then(|| Cause::of(row))
        .filter(|cause| *cause != Cause::Copy)
}

/// What is known about a backend.
pub(super) fn find(evidence: &Evidence, port: u16, address: SocketAddr) -> Option<&Backend> {
    evidence
        .backends
        .iter()
        .find(|b| b.node_port == port && b.address == address)
}

/// Attempts at a port in the window.
pub(super) fn attempts(evidence: &Evidence, port: u16) -> u64 {
    let found = evidence.ports.iter().find(|(p, _)| *p == port);
    found.map_or(0, |(_, counters)| counters.get(Cell::ATTEMPTS))
}

/// Sum that stays at the largest number.
pub(super) fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}
