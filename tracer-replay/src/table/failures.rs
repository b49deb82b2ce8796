//! What failed, by kind and one by one.

use std::collections::HashMap;

use tracer_common::{
    failure::{FAILURES, Failed, FailureKey, Record},
    flow::{Addr, FlowKey},
    machine::Now,
};

/// Failures by kind, and the first of them one by one.
pub struct Failures {
    /// How often each kind.
    pub kinds: HashMap<FailureKey, u64>,
    /// Failures of yet other kinds: as many are told apart as the daemon tells.
    pub unkinded: u64,
    /// The first ones.
    pub records: Vec<Record>,
    /// Failures that have no record, for there was no more room.
    pub unrecorded: u64,
    room: usize,
    /// The node's addresses that were dialled, by [`FailureKey::address`] less one.
    addresses: Vec<Addr>,
}

impl Failures {
    /// None so far, with room for so many records.
    pub(super) fn new(room: usize) -> Self {
        Self {
            kinds: HashMap::new(),
            unkinded: 0,
            records: Vec::new(),
            unrecorded: 0,
            room,
            addresses: Vec::new(),
        }
    }

    /// The node's address that attempts of a kind dialled.
    #[must_use]
    pub fn dialled(&self, kind: &FailureKey) -> Option<Addr> {
        let place = usize::from(kind.address).checked_sub(1)?;
        self.addresses.get(place).copied()
    }

    /// The number of one of the node's addresses; 0: there are too many.
    fn number_of(&mut self, node: Addr) -> u8 {
        let known = self.addresses.iter().position(|known| *known == node);
        let place = known.unwrap_or(self.addresses.len());
        let Ok(number) = u8::try_from(place + 1) else {
            return 0;
        };
        if known.is_none() {
            self.addresses.push(node);
        }
        number
    }

    pub(super) fn count(&mut self, flow: &FlowKey, slot: u16, failed: &Failed, now: Now) {
        let key = FailureKey {
            slot,
            failure: failed.failure as u8,
            reply: failed.reply as u8,
            code: failed.code,
            address: self.number_of(flow.node),
            ..FailureKey::default()
        };
        if let Some(count) = self.kinds.get_mut(&key) {
            *count += 1;
        } else if self.kinds.len() < FAILURES as usize {
            self.kinds.insert(key, 1);
        } else {
            self.unkinded += 1;
        }
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

#[cfg(test)]
mod tests {
    use tracer_common::failure::{Failure, Reply};

    use super::*;

    #[test]
    fn kinds_are_told_apart_while_there_is_room() {
        let mut failures = Failures::new(0);
        let failed = Failed {
            failure: Failure::TimedOut,
            reply: Reply::None,
            code: 0,
            traffic: 0,
            backend: 0,
            interface: 0,
            syn_at: 0,
            at: 0,
        };
        for slot in 0..10_000 {
            let now = Now { ns: 0, s: 0 };
            failures.count(&FlowKey::default(), slot, &failed, now);
        }
        let kinds = FAILURES as usize;
        assert_eq!(
            (failures.kinds.len(), failures.unkinded),
            (kinds, 10_000 - kinds as u64)
        );
    }

    #[test]
    fn addresses_are_told_apart_while_there_are_numbers() {
        let mut failures = Failures::new(0);
        let node = |i: u32| Addr::v4(i.to_be_bytes());
        for i in 0..1_000 {
            let kind = FailureKey {
                address: failures.number_of(node(i)),
                ..FailureKey::default()
            };
            assert_eq!(failures.dialled(&kind), (i < 255).then(|| node(i)), "{i}");
        }
        assert_eq!(failures.number_of(node(7)), 8);
    }
}
