//! The flow table of a replay, its counters and its failures: what the kernel
//! programs keep in maps.

use std::collections::{HashMap, hash_map::Entry};

use tracer_common::{
    counters::{Cell, PortCounters, Tally},
    failure::{Failed, FailureKey, Record},
    first_bytes::Payload,
    flow::{Flow, FlowKey, mark},
    machine::{Fate, Limits, Now, Segment},
    packet::Quote,
};

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

/// Counters of the ports that had an attempt.
struct Ports {
    /// Position of each port's counters plus one; 0: none yet.
    places: Box<[u16]>,
    watched: Box<[bool]>,
    counters: Vec<(u16, PortCounters)>,
}

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

/// Where the effects of one step go.
struct Effects<'a> {
    counters: &'a mut PortCounters,
    failed: Option<Failed>,
}

impl Tally for Effects<'_> {
    #[inline(always)]
    fn add(&mut self, cell: Cell, delta: i64) {
        self.counters.add(cell, delta);
    }

    fn failed(&mut self, failed: Failed) {
        self.failed = Some(failed);
    }
}

impl Ports {
    fn new(watched: &[u16]) -> Self {
        let mut ports = Self {
            places: vec![0; 1 << 16].into(),
            watched: vec![false; 1 << 16].into(),
            counters: Vec::new(),
        };
        for port in watched {
            if let Some(watched) = ports.watched.get_mut(usize::from(*port)) {
                *watched = true;
            }
        }
        ports
    }

    fn watches(&self, port: u16) -> bool {
        self.watched
            .get(usize::from(port))
            .copied()
            .unwrap_or(false)
    }

    /// The position of the port's counters, which are made if need be.
    fn slot(&mut self, port: u16) -> u16 {
        let place = self.places.get(usize::from(port)).copied().unwrap_or(0);
        if place != 0 {
            return place - 1;
        }
        // Port 0 is never watched: there are 65,535 places at most.
        let slot = self.counters.len() as u16;
        self.counters.push((port, PortCounters::ZERO));
        if let Some(place) = self.places.get_mut(usize::from(port)) {
            *place = slot + 1;
        }
        slot
    }

    fn effects(&mut self, slot: u16) -> Option<Effects<'_>> {
        let (_, counters) = self.counters.get_mut(usize::from(slot))?;
        Some(Effects {
            counters,
            failed: None,
        })
    }
}

impl Failures {
    fn count(&mut self, flow: &FlowKey, slot: u16, failed: &Failed, now: Now) {
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

impl Table {
    /// An empty table, with room for so many failures one by one.
    #[must_use]
    pub fn new(limits: Limits, watched: &[u16], records: usize) -> Self {
        Self {
            limits,
            flows: HashMap::new(),
            ports: Ports::new(watched),
            failures: Failures {
                kinds: HashMap::new(),
                records: Vec::new(),
                unrecorded: 0,
                room: records,
            },
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
                if flow.quick(segment, payload, now.s, &mut effects) {
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
            .counters
            .get(usize::from(slot))
            .map(|(port, _)| *port)
    }

    /// Whether the accounting identity holds for every port.
    #[must_use]
    pub fn balances(&self) -> bool {
        let mut ports = self.ports.counters.iter();
        ports.all(|(_, counters)| counters.balances())
    }

    /// The counters of all ports that had an attempt, ascending.
    #[must_use]
    pub fn counters(&self) -> Vec<(u16, PortCounters)> {
        let mut counters = self.ports.counters.clone();
        counters.sort_unstable_by_key(|(port, _)| *port);
        counters
    }
}
