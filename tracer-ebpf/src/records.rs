//! One record per failure, for those who want to see each; readers that are
//! slow or absent cost records, never counts.

use aya_ebpf::{bindings::BPF_RB_NO_WAKEUP, helpers::bpf_ktime_get_ns, macros::map, maps::RingBuf};
use tracer_common::{
    failure::{Failed, FailureKey, RECORDS_BYTES, Record},
    flow::FlowKey,
    words::Lost,
};

use crate::maps::lost;

/// Records that nobody has read yet.
#[map]
static RECORDS: RingBuf = RingBuf::with_byte_size(RECORDS_BYTES, 0);

/// Leaves a record; nobody is woken for it.
#[inline(always)]
pub fn leave(flow: &FlowKey, failed: &Failed, key: &FailureKey) {
    let Some(mut place) = RECORDS.reserve::<Record>(0) else {
        return lost(Lost::Records);
    };
    let at = match failed.at {
        // SAFETY: the helper has no arguments and no preconditions.
        0 => unsafe { bpf_ktime_get_ns() },
        at => at,
    };
    // SAFETY: the ring's memory is ours until it is submitted; any bytes are a
    // record.
    let record = unsafe { place.assume_init_mut() };
    // Each member by itself: a whole record would first stand on the stack,
    // which has no room.
    record.at = at;
    record.syn_at = failed.syn_at;
    record.flow = *flow;
    record.key = *key;
    record.traffic = failed.traffic;
    record.pad = [0; 3];
    place.submit(u64::from(BPF_RB_NO_WAKEUP));
}
