//! The flow table of a replay: what the kernel programs keep in maps, as are its
//! counters and its failures.

mod failures;
mod ports;

use std::collections::{HashMap, hash_map::Entry};

use tracer_common::{
    counters::{Cell, PortCounters, Tally as _},
    first_bytes::Payload,
    flow::{Flow, FlowKey, mark},
    machine::{Fate, Limits, Now, Segment},
    packet::Quote,
};

pub use failures::Failures;
use ports::Ports;

use super::clock;

/// Flows followed at once: the most that the daemon can be told to follow.
pub const FLOWS: usize = 4_194_304;
/// Seconds that a sweep goes through one by one; what is due later than this
/// after a packet is due at any time until the next.
const STEPS: u32 = 16;
/// Longer than a refusal or reset waits for what kernel hooks would note of it.
const OWED_NS: u64 = 200_000_000;
const NS_PER_S: u64 = 1_000_000_000;

/// The table.
pub struct Table {
    limits: Limits,
    flows: HashMap<FlowKey, Flow>,
    ports: Ports,
    /// What failed.
    pub failures: Failures,
    /// The second up to which time has decided what it decides.
    swept_s: u32,
}

impl Table {
    /// An empty table, with room for so many failures one by one.
    #[must_use]
    pub fn new(limits: Limits, watched: &[u16], records: usize) -> Self {
        Self {
            limits,
            flows: HashMap::new(),
            ports: Ports::new(watched),
            failures: Failures::new(records),
            swept_s: 0,
        }
    }

    /// Whether a port is watched.
    #[inline]
    pub(crate) fn watches(&self, port: u16) -> bool {
        self.ports.watches(port)
    }

    /// Applies a segment; false when it belongs to no flow and opens none.
    #[inline]
    pub(crate) fn segment<P: Payload>(
        &mut self,
        key: &FlowKey,
        segment: &Segment,
        payload: &P,
        now: Now,
    ) -> bool {
        let opens = segment.to_node && segment.is_syn();
        let room = self.flows.len() < FLOWS;
        let entry = match self.flows.get_mut(key) {
            Some(_) if opens => self.flows.entry(*key),
            Some(flow) => {
                let Some(mut effects) = self.ports.effects(flow.slot) else {
                    return true;
                };
                let quiet_s = || self.limits.quiet_s();
                if flow.quick(segment, payload, now.s, quiet_s, &mut effects) {
                    return true;
                }
                self.flows.entry(*key)
            }
            None if opens => self.flows.entry(*key),
            None => return false,
        };
        let slot = self.ports.slot(key.node_port);
        let Some(mut effects) = self.ports.effects(slot) else {
            return true;
        };
        let mut occupied = match entry {
            Entry::Occupied(occupied) => occupied,
            Entry::Vacant(_) if !room => {
                effects.count(Cell::ATTEMPTS);
                effects.count(Cell::UNTRACKED);
                return true;
            }
            Entry::Vacant(vacant) => vacant.insert_entry(Flow {
                slot,
                ..Flow::default()
            }),
        };
        let fate = occupied
            .get_mut()
            .step(segment, payload, now, &self.limits, &mut effects);
        if let Some(failed) = effects.failed {
            self.failures.count(key, slot, &failed, now);
        }
        if fate == Fate::Remove {
            occupied.remove();
        }
        true
    }

    /// Applies an ICMP error to the flow that it quotes.
    pub(crate) fn unreachable(&mut self, key: &FlowKey, quote: &Quote, now: Now) {
        let Some(flow) = self.flows.get_mut(key) else {
            return;
        };
        let slot = flow.slot;
        let Some(mut effects) = self.ports.effects(slot) else {
            return;
        };
        let fate = flow.unreachable(quote.seq, quote.got, now, &self.limits, &mut effects);
        if let Some(failed) = effects.failed {
            self.failures.count(key, slot, &failed, now);
        }
        if fate == Fate::Remove {
            self.flows.remove(key);
        }
    }

    /// Decides what time alone has decided until `now`, once per second as the
    /// daemon does.
    #[inline]
    pub(crate) fn pass(&mut self, now: Now) {
        if now.s > self.swept_s {
            self.sweep_until(now);
        }
    }

    fn sweep_until(&mut self, now: Now) {
        for s in self.swept_s.saturating_add(1)..now.s {
            if s - self.swept_s > STEPS || self.flows.is_empty() {
                break;
            }
            self.sweep(clock::now(u64::from(s) * NS_PER_S), |_| true);
        }
        self.sweep(now, |_| true);
        self.swept_s = now.s;
    }

    /// Reports the refusals and resets that were counted but not reported yet.
    pub(crate) fn finish(&mut self, now: Now) {
        let later = clock::now(now.ns.saturating_add(OWED_NS));
        self.sweep(later, |flow| flow.marks & mark::OWED != 0);
    }

    fn sweep(&mut self, now: Now, concerns: impl Fn(&Flow) -> bool) {
        let (ports, failures, limits) = (&mut self.ports, &mut self.failures, &self.limits);
        self.flows.retain(|key, flow| {
            let slot = flow.slot;
            let Some(mut effects) = ports.effects(slot).filter(|_| concerns(flow)) else {
                return true;
            };
            let fate = flow.tick(now, limits, &mut effects);
            if let Some(failed) = effects.failed {
                failures.count(key, slot, &failed, now);
            }
            fate == Fate::Keep
        });
    }

    /// Flows in the table.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    /// The port whose counters stand at a position.
    #[must_use]
    pub fn port_at(&self, slot: u16) -> Option<u16> {
        self.ports
            .counters()
            .get(usize::from(slot))
            .map(|(port, _)| *port)
    }

    /// Whether the accounting identity holds for every port.
    #[must_use]
    pub fn balances(&self) -> bool {
        let mut ports = self.ports.counters().iter();
        ports.all(|(_, counters)| counters.balances())
    }

    /// The counters of all ports that had an attempt, ascending.
    #[must_use]
    pub fn counters(&self) -> Vec<(u16, PortCounters)> {
        let mut counters = self.ports.counters().to_vec();
        counters.sort_unstable_by_key(|(port, _)| *port);
        counters
    }
}
