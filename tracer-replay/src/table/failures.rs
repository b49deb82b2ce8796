//! What failed, by kind and one by one.

use std::collections::HashMap;

use tracer_common::{
    failure::{Failed, FailureKey, Record},
    flow::FlowKey,
    machine::Now,
};

/// Failures by kind, and the first of them one by one.
pub struct Failures {
    /// How often each kind.
    pub kinds: HashMap<FailureKey, u64>,
    /// The first ones.
    pub records: Vec<Record>,
    /// Failures that have no record, for there was no more room.
    pub unrecorded: u64,
    room: usize,
}

impl Failures {
    /// None so far, with room for so many records.
    pub(super) fn new(room: usize) -> Self {
        Self {
            kinds: HashMap::new(),
            records: Vec::new(),
            unrecorded: 0,
            room,
        }
    }

    pub(super) fn count(&mut self, flow: &FlowKey, slot: u16, failed: &Failed, now: Now) {
        let key = FailureKey {
            slot,
            failure: failed.failure as u8,
            reply: failed.reply as u8,
            code: failed.code,
            ..FailureKey::default()
        };
        *self.kinds.entry(key).or_default() += 1;
        if self.records.len() == self.room {
            self.unrecorded += 1;
            return;
        }
        self.records.push(Record {
            at: if failed.at == 0 { now.ns } else { failed.at },
            syn_at: failed.syn_at,
            flow: *flow,
            key,
            traffic: failed.traffic,
            ..Record::default()
        });
    }
}
