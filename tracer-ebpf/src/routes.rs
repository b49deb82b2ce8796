//! By which interface the node answers its clients. Nobody else has a say in
//! that: the answer to a SYN with another's address as source leaves by the
//! interface that leads to the other.

use aya_ebpf::{macros::map, maps::LruHashMap};
use tracer_common::flow::{Addr, FlowKey};

use crate::own;

/// Interface index by client; the oldest are displaced.
#[map]
static ROUTES: LruHashMap<Addr, u32> = LruHashMap::with_max_entries(4096, 0);

/// Whether the last answer to `client` left by this interface.
#[inline(always)]
pub fn leads_to(client: &Addr, ifindex: u32) -> bool {
    // SAFETY: a copy of a word; another client's may take its place meanwhile.
    unsafe { ROUTES.get(client) }.copied() == Some(ifindex)
}

/// A segment that answers, or ends, a flow of the node's leaves by the interface.
#[inline(always)]
pub fn learn(flow: &FlowKey, ifindex: u32) {
    if !own::is_local(&flow.node) || leads_to(&flow.client, ifindex) {
        return;
    }
    // Displaces the oldest when full; cannot fail otherwise.
    let _ = ROUTES.insert(flow.client, ifindex, 0);
}
