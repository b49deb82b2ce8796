//! The per-port counters, read from memory that the kernel shares.

use std::sync::atomic::{AtomicU64, Ordering};

use aya::{Ebpf, maps::MapError};
use tracer_common::{
    config::SHARED_ROW,
    counters::{CELLS, Cell, PortCounters},
};

use super::{
    latencies::{Latencies, Sums},
    mapped::Mapped,
    rows::{Plan, Rows},
};
use crate::{counted::Counted, snapshot::SHARED_PORT};

/// How often a row's cells are read again when a packet was being counted in
/// the meantime: steps touch several cells one after the other.
const TRIES: usize = 1000;

/// The mapped array of counters, and which row of it is whose.
pub struct Counters {
    ports: Vec<u16>,
    rows: Rows,
    cells: Mapped,
    latencies: Latencies,
}

/// What [`Counters::read`] found.
pub struct Read {
    /// Counters of all ports that have seen anything, by ascending port; first those of
    /// the ports without a row of their own, as [`SHARED_PORT`].
    pub ports: Vec<(u16, Counted)>,
    /// Ports that were tried and have no row of their own, ascending.
    pub sharing: Vec<u16>,
}

impl Counters {
    /// Maps the counters of `ports`, whose positions are in that order.
    pub fn map(ebpf: &mut Ebpf, ports: &[u16]) -> anyhow::Result<Self> {
        let plan = Plan::new(ports.len())?;
        Ok(Self {
            ports: ports.to_vec(),
            rows: Rows::new(ebpf, plan)?,
            cells: Mapped::new(ebpf, "PORTS", usize::from(plan.rows()) * CELLS)?,
            latencies: Latencies::new(ebpf)?,
        })
    }

    /// The port at a position.
    pub fn port_at(&self, slot: u16) -> Option<u16> {
        self.ports.get(usize::from(slot)).copied()
    }

    /// Gives these ports rows of their own, as long as there are any.
    pub fn give(&self, ports: &[u16]) -> Result<(), MapError> {
        let slots = ports.iter().filter_map(|port| {
            let slot = self.ports.binary_search(port).ok()?;
            u16::try_from(slot).ok()
        });
        self.rows.give(slots)
    }

    /// Reads all of them.
    pub fn read(&self) -> Read {
        let held = self.latencies.look();
        let (own, sharing) = self.rows.all();
        let shared = (SHARED_PORT, SHARED_ROW);
        let own = own
            .iter()
            .filter_map(|(slot, row)| Some((self.port_at(*slot)?, *row)));
        let with_counts = |(port, row)| {
            let any = self.any(row);
            any.then(|| (port, self.counted(row, held.sums())))
        };
        Read {
            ports: std::iter::once(shared)
                .chain(own)
                .filter_map(with_counts)
                .collect(),
            sharing: sharing
                .iter()
                .filter_map(|slot| self.port_at(*slot))
                .collect(),
        }
    }

    fn counted(&self, row: u16, latencies: &Sums) -> Counted {
        Counted::new(&self.read_row(row), latencies.of(row))
    }

    /// One row's cells such that the accounting identity holds.
    fn read_row(&self, row: u16) -> PortCounters {
        let mut counters = self.copy(row);
        for _ in 0..TRIES {
            if counters.balances() {
                return counters;
            }
            counters = self.copy(row);
        }
        // A CPU was taken away in the middle of a step: what it has not counted
        // yet is pending.
        let pending = counters
            .get(Cell::ATTEMPTS)
            .wrapping_sub(counters.get(Cell::UNTRACKED));
        let pending = pending.wrapping_sub(counters.outcomes());
        if let Some(cell) = counters.0.get_mut(Cell::PENDING.index()) {
            *cell = pending;
        }
        counters
    }

    /// Whether anything was ever counted in the row.
    fn any(&self, row: u16) -> bool {
        let cells = self.cells(row).iter();
        cells.fold(0, |any, cell| any | cell.load(Ordering::Relaxed)) != 0
    }

    fn copy(&self, row: u16) -> PortCounters {
        let mut counters = PortCounters::ZERO;
        for (to, from) in counters.0.iter_mut().zip(self.cells(row)) {
            *to = from.load(Ordering::Relaxed);
        }
        counters
    }

    /// The row's cells; none where there is no such row.
    fn cells(&self, row: u16) -> &[AtomicU64] {
        let first = usize::from(row) * CELLS;
        let cells = self.cells.numbers().get(first..first + CELLS);
        cells.unwrap_or_default()
    }
}
