//! What the kernel's hooks noted about a flow, until its failure is decided.

use aya_ebpf::{helpers::bpf_ktime_get_ns, macros::map, maps::LruHashMap};
use tracer_common::{
    failure::{Note, seen},
    flow::FlowKey,
};

use crate::flows;

/// Notes by flow; the oldest are displaced.
#[map]
static NOTES: LruHashMap<FlowKey, Note> = LruHashMap::with_max_entries(4096, 0);

/// What is noted about a flow, when that is not older than `since_ns`
/// (nanoseconds of the monotonic clock): the SYN of the attempt in question.
#[inline(always)]
pub fn about(key: &FlowKey, since_ns: u64) -> Option<Note> {
    // SAFETY: a copy; should another flow's note take the element's place in
    // the meantime, the copy is a note all the same.
    let note = *unsafe { NOTES.get(key) }?;
    (note.at >= since_ns).then_some(note)
}

/// A drop of one of the flow's segments.
pub struct Dropped {
    /// One of the `DROPPED_*` bits of [`seen`], and perhaps [`seen::OLD_ENTRY`].
    pub seen: u16,
    /// [`Note::reason`]
    pub reason: u16,
    /// [`Note::location`]
    pub location: u32,
}

impl Dropped {
    /// Notes it. The first drop of an attempt gives reason and location.
    #[inline(always)]
    pub fn note(&self, key: &FlowKey) {
        change(key, |note| {
            if note.drops == 0 {
                note.reason = self.reason;
                note.location = self.location;
            }
            note.drops = note.drops.saturating_add(1);
            // An entry that has carried an answer is the attempt's own.
            let known = note.seen & seen::DROPPED_SYN_ACK != 0;
            note.seen |= if known {
                self.seen & !seen::OLD_ENTRY
            } else {
                self.seen
            };
        });
    }
}

/// Notes that something was seen; `reset_reason` is 0 when it is no reset.
#[inline(always)]
pub fn note(key: &FlowKey, seen: u16, reset_reason: u16) {
    change(key, |note| {
        note.seen |= seen;
        if note.reset_reason == 0 {
            note.reset_reason = reset_reason;
        }
    });
}

/// Changes the note of a followed flow; what belongs to an earlier attempt is
/// forgotten. Two CPUs at once may lose one of two changes.
#[inline(always)]
fn change(key: &FlowKey, with: impl FnOnce(&mut Note)) {
    let Some(flow) = flows::peek(key) else { return };
    let mut note = about(key, flow.syn_at).unwrap_or_default();
    with(&mut note);
    // SAFETY: the helper has no arguments and no preconditions.
    note.at = unsafe { bpf_ktime_get_ns() };
    // Displaces the oldest when full; cannot fail otherwise.
    let _ = NOTES.insert(key, note, 0);
}
