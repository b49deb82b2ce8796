//! What the kernel's hooks noted about a flow, until its failure is decided.

use aya_ebpf::{helpers::bpf_ktime_get_ns, macros::map, maps::LruHashMap};
use tracer_common::{
    failure::{Note, seen},
    flow::FlowKey,
};

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

/// An attempt that what a hook shows belongs to, by its numbers.
pub struct Subject {
    /// The followed flow.
    pub flow: FlowKey,
    /// [`tracer_common::flow::Flow::syn_at`]
    pub syn_at: u64,
    /// Where the hook is: see [`Note::netns`].
    pub netns: u32,
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
    pub fn note(&self, of: &Subject) {
        change(of, |note| {
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
pub fn note(of: &Subject, seen: u16, reset_reason: u16) {
    change(of, |note| {
        note.seen |= seen;
        if note.reset_reason == 0 {
            note.reset_reason = reset_reason;
        }
    });
}

/// Changes the note of a followed flow; what belongs to an earlier attempt is
/// forgotten. Two CPUs at once may lose one of two changes.
///
/// Beside the node's own namespace one other has its say, the first: which one
/// the backend's is, the daemon knows.
#[inline(always)]
fn change(of: &Subject, with: impl FnOnce(&mut Note)) {
    let mut note = about(&of.flow, of.syn_at).unwrap_or_default();
    if of.netns != 0 {
        if note.netns != 0 && note.netns != of.netns {
            return;
        }
        note.netns = of.netns;
    }
    with(&mut note);
    // SAFETY: the helper has no arguments and no preconditions.
    note.at = unsafe { bpf_ktime_get_ns() };
    // Displaces the oldest when full; cannot fail otherwise.
    let _ = NOTES.insert(of.flow, note, 0);
}
