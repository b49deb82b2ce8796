//! How long answers took, in fine cells, by row. The daemon empties the table each
//! second, so that it holds what one second brings.

use core::intrinsics::{AtomicOrdering::Relaxed, atomic_xadd};

use aya_ebpf::{bindings::BPF_NOEXIST, macros::map, maps::HashMap};
use tracer_common::{
    latency::{LATENCIES as CELLS, LatencyKey},
    words::Lost,
};

use crate::maps::lost;

/// How many answers took so long.
#[map]
static LATENCIES: HashMap<LatencyKey, u64> = HashMap::with_max_entries(CELLS, 0);

/// Adds one to a cell.
#[inline(always)]
pub fn count(key: &LatencyKey) {
    let place = LATENCIES.get_ptr_mut(key).or_else(|| {
        // It may be there by now, or the table may be full.
        let _ = LATENCIES.insert(key, 0, u64::from(BPF_NOEXIST));
        LATENCIES.get_ptr_mut(key)
    });
    let Some(place) = place else {
        return lost(Lost::Latencies);
    };
    // The result must stay unused: see `rows.rs: Port`. An addition while the daemon
    // takes the element out is lost, or the next holder's: one too many or too few.
    // SAFETY: an aligned element of a map, only ever added to.
    let _ = unsafe { atomic_xadd::<u64, u64, { Relaxed }>(place, 1) };
}
