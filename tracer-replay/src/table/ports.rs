//! Counters by port.

use std::collections::BTreeMap;

use tracer_common::{
    counters::{Cell, PortCounters, Tally},
    failure::Failed,
    latency::latency_cell,
};

/// Counters of the ports that had an attempt.
pub(super) struct Ports {
    /// Position of each port's counters plus one; 0: none yet.
    places: Box<[u16]>,
    watched: Box<[bool]>,
    counters: Vec<(u16, PortCounters)>,
    latencies: Vec<Latencies>,
}

/// Answers of a port by fine cell ([`tracer_common::latency`]).
pub type Latencies = BTreeMap<u16, u64>;

/// Where the effects of one step go.
pub(super) struct Effects<'a> {
    counters: &'a mut PortCounters,
    latencies: &'a mut Latencies,
    pub(super) failed: Option<Failed>,
}

impl Tally for Effects<'_> {
    #[inline(always)]
    fn add(&mut self, cell: Cell, delta: i64) {
        self.counters.add(cell, delta);
    }

    fn took(&mut self, ns: u64) {
        *self.latencies.entry(latency_cell(ns)).or_default() += 1;
    }

    fn failed(&mut self, failed: Failed) {
        self.failed = Some(failed);
    }
}

impl Ports {
    pub(super) fn new(watched: &[u16]) -> Self {
        let mut ports = Self {
            places: vec![0; 1 << 16].into(),
            watched: vec![false; 1 << 16].into(),
            counters: Vec::new(),
            latencies: Vec::new(),
        };
        for port in watched {
            if let Some(watched) = ports.watched.get_mut(usize::from(*port)) {
                *watched = true;
            }
        }
        ports
    }

    pub(super) fn watches(&self, port: u16) -> bool {
        self.watched
            .get(usize::from(port))
            .copied()
            .unwrap_or(false)
    }

    /// The position of the port's counters, which are made if need be.
    pub(super) fn slot(&mut self, port: u16) -> u16 {
        let place = self.places.get(usize::from(port)).copied().unwrap_or(0);
        if place != 0 {
            return place - 1;
        }
        // Port 0 is never watched: there are 65,535 places at most.
        let slot = self.counters.len() as u16;
        self.counters.push((port, PortCounters::ZERO));
        self.latencies.push(Latencies::new());
        if let Some(place) = self.places.get_mut(usize::from(port)) {
            *place = slot + 1;
        }
        slot
    }

    pub(super) fn effects(&mut self, slot: u16) -> Option<Effects<'_>> {
        let (_, counters) = self.counters.get_mut(usize::from(slot))?;
        Some(Effects {
            counters,
            latencies: self.latencies.get_mut(usize::from(slot))?,
            failed: None,
        })
    }

    /// By position: port and counters.
    pub(super) fn counters(&self) -> &[(u16, PortCounters)] {
        &self.counters
    }

    /// Answers of a port by fine cell, if it has counters.
    pub(super) fn latencies(&self, port: u16) -> Option<&Latencies> {
        let place = self.places.get(usize::from(port))?.checked_sub(1)?;
        self.latencies.get(usize::from(place))
    }
}
