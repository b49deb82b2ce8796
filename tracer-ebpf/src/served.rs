//! Connections that were established, by whose they were. The daemon empties the
//! table each round, so that a count is what came since.

use core::intrinsics::{AtomicOrdering::Relaxed, atomic_xadd};

use aya_ebpf::{bindings::BPF_NOEXIST, macros::map, maps::HashMap};
use tracer_common::{
    failure::{SERVED as KEYS, ServedKey},
    flow::Addr,
    words::Lost,
};

use crate::maps::lost;

/// How many, by whose they were.
#[map]
static SERVED: HashMap<ServedKey, u64> = HashMap::with_max_entries(KEYS, 0);

/// Adds one: for its client while there is room for that, else for all the others. With
/// no room for these either it is evidence missed, and counted as such.
#[inline(always)]
pub fn count(key: &mut ServedKey) {
    let place = place(key).or_else(|| {
        key.client = Addr::default();
        self::place(key)
    });
    let Some(place) = place else {
        return lost(Lost::Served);
    };
    // The result must stay unused: see `rows.rs: Port`. An addition while the daemon
    // takes the element out is lost, or the next holder's: one too many or too few.
    // SAFETY: an aligned element of a map, only ever added to.
    let _ = unsafe { atomic_xadd::<u64, u64, { Relaxed }>(place, 1) };
}

/// Two CPUs may both meet a key first: either makes it with 0.
#[inline(always)]
fn place(key: &ServedKey) -> Option<*mut u64> {
    SERVED.get_ptr_mut(key).or_else(|| {
        // It may be there by now, or the table may be full.
        let _ = SERVED.insert(key, 0, u64::from(BPF_NOEXIST));
        SERVED.get_ptr_mut(key)
    })
}
