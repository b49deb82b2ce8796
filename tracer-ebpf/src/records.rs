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
    let record = place.as_mut_ptr();
    // SAFETY: the place is ours until it is submitted. Each member by itself:
    // a whole record would first stand on the stack, which has no room.
    unsafe {
        (*record).at = match failed.at {
            0 => bpf_ktime_get_ns(),
            at => at,
        };
        (*record).syn_at = failed.syn_at;
        (*record).flow = *flow;
        (*record).key = *key;
        (*record).traffic = failed.traffic;
        (*record).pad = [0; 7];
    }
    place.submit(u64::from(BPF_RB_NO_WAKEUP));
}
