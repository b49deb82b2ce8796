//! SYNs to watched ports of addresses that are not the node's own, as those of Services:
//! they open no attempt. The daemon empties the table each round.

use core::intrinsics::{AtomicOrdering::Relaxed, atomic_xadd};

use aya_ebpf::{bindings::BPF_NOEXIST, macros::map, maps::HashMap};
use tracer_common::{
    config::ELSEWHERE as PLACES,
    flow::{Addr, FlowKey},
};

/// How many, by the address and port dialled; the client's are zero.
#[map]
static ELSEWHERE: HashMap<FlowKey, u64> = HashMap::with_max_entries(PLACES, 0);

/// Adds one, while there is room for where it goes.
#[inline(always)]
pub fn count(key: &mut FlowKey) {
    key.client = Addr::default();
    key.client_port = 0;
    let key = &*key;
    let place = ELSEWHERE.get_ptr_mut(key).or_else(|| {
        // Another CPU may have made it by now, or the table may be full.
        let _ = ELSEWHERE.insert(key, 0, u64::from(BPF_NOEXIST));
        ELSEWHERE.get_ptr_mut(key)
    });
    if let Some(place) = place {
        // The result must stay unused: see `rows.rs: Port`. An addition while the daemon
        // takes the element out is lost, or the next holder's.
        // SAFETY: an aligned element of a map, only ever added to.
        let _ = unsafe { atomic_xadd::<u64, u64, { Relaxed }>(place, 1) };
    }
}
