//! The attempts that NAT has sent on, by their ends as the backend sees them.

use aya_ebpf::{macros::map, maps::LruHashMap};
use tracer_common::flow::{FlowKey, Forwarded};

use crate::{
    backends::{self, Wanted},
    flows, maps,
};

/// The flow by its ends as the backend sees them: the client is who the
/// backend takes for it, the node is the backend itself. With the times of their
/// SYNs, these are the attempts whose clients the daemon can tell.
#[map]
static NAT: LruHashMap<FlowKey, Forwarded> = LruHashMap::with_max_entries(8192, 0);

/// Notes the attempt under the ends that the backend sees. An entry that is
/// there is left alone: looking it up has made it the youngest.
#[inline(always)]
pub fn remember(ends: &FlowKey, attempt: &Forwarded) {
    if forwarded(ends).is_some_and(|known| known == *attempt) {
        return;
    }
    // Displaces the oldest when full; cannot fail otherwise.
    let _ = NAT.insert(ends, attempt, 0);
}

/// The attempt of a segment to a backend, by the ends that the backend sees.
#[inline(always)]
fn forwarded(ends: &FlowKey) -> Option<Forwarded> {
    // SAFETY: a copy; should another flow take the element's place in the
    // meantime, its hooks find no attempt or note one drop too many.
    unsafe { NAT.get(ends) }.copied()
}

/// The flow of a segment to a watched port or to a backend, by its ends as they
/// stand.
#[inline(always)]
pub fn flow_at(ends: &FlowKey) -> Option<FlowKey> {
    if maps::slot_of(ends.node_port).is_some() && flows::peek(ends).is_some() {
        return Some(*ends);
    }
    forwarded(ends).map(|attempt| attempt.flow)
}

/// A backend's own socket has completed the handshake of these ends, and
/// expects the sequence number `next`: not yet past the SYN, since payload in the final
/// ACK is read later (Fast Open's, which was read already, is left out). Its flow
/// may be gone by now, so that its backend is looked for by the socket's end.
#[inline(always)]
pub fn opened(ends: &FlowKey, next: u32) {
    let Some(attempt) = forwarded(ends) else {
        return;
    };
    if next != attempt.isn.wrapping_add(1) {
        return;
    }
    let Some(slot) = maps::slot_of(attempt.flow.node_port) else {
        return;
    };
    let backend = Wanted {
        addr: ends.node,
        port: ends.node_port,
        slot,
    };
    if let Some(place) = backend.known() {
        backends::opened(place);
    }
}

/// The same segment's ends for who looks from the other side.
#[inline(always)]
pub fn reversed(ends: &FlowKey) -> FlowKey {
    FlowKey {
        client: ends.node,
        node: ends.client,
        client_port: ends.node_port,
        node_port: ends.client_port,
    }
}
