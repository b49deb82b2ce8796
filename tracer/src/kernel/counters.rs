//! The per-port counters, read from memory that the kernel shares.

use std::{
    num::NonZeroUsize,
    os::fd::{AsFd as _, BorrowedFd},
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{Map, MapData},
};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use tracer_common::counters::{CELLS, Cell, PortCounters};

use crate::counted::Counted;

/// How often a port's cells are read again when a packet was being counted in
/// the meantime: steps touch several cells one after the other.
const TRIES: usize = 1000;

/// The mapped array of counters, with the port of each position.
pub struct Counters {
    ports: Vec<u16>,
    memory: NonNull<AtomicU64>,
    bytes: NonZeroUsize,
    _map: MapData,
}

// SAFETY: the memory is only read, by atomic loads, and lives as long as `self`.
unsafe impl Send for Counters {}
// SAFETY: as above.
unsafe impl Sync for Counters {}

impl Counters {
    /// Maps the counters of `ports`, which stand in the map in that order.
    pub fn map(ebpf: &mut Ebpf, ports: &[u16]) -> anyhow::Result<Self> {
        let Some(Map::Array(map)) = ebpf.take_map("PORTS") else {
            anyhow::bail!("the kernel object has no array PORTS");
        };
        let page = 4096;
        let bytes = (ports.len() * size_of::<PortCounters>()).div_ceil(page) * page;
        let bytes = NonZeroUsize::new(bytes).context("no ports to watch")?;
        let memory = map_memory(map.fd().as_fd(), bytes)?;
        Ok(Self {
            ports: ports.to_vec(),
            memory,
            bytes,
            _map: map,
        })
    }

    /// The port at a position.
    pub fn port_at(&self, slot: u16) -> Option<u16> {
        self.ports.get(usize::from(slot)).copied()
    }

    /// Counters of all ports that have seen anything, by ascending port.
    pub fn read(&self) -> Vec<(u16, Counted)> {
        let with_counts = |(slot, port): (usize, &u16)| {
            let any = self.any(slot);
            any.then(|| (*port, Counted::from(&self.read_port(slot))))
        };
        self.ports
            .iter()
            .enumerate()
            .filter_map(with_counts)
            .collect()
    }

    /// One port's cells such that the accounting identity holds.
    fn read_port(&self, slot: usize) -> PortCounters {
        let mut counters = self.copy(slot);
        for _ in 0..TRIES {
            if counters.balances() {
                return counters;
            }
            counters = self.copy(slot);
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

    /// Whether anything was ever counted for the port.
    fn any(&self, slot: usize) -> bool {
        let cells = self.cells(slot).iter();
        cells.fold(0, |any, cell| any | cell.load(Ordering::Relaxed)) != 0
    }

    fn copy(&self, slot: usize) -> PortCounters {
        let mut counters = PortCounters::ZERO;
        for (to, from) in counters.0.iter_mut().zip(self.cells(slot)) {
            *to = from.load(Ordering::Relaxed);
        }
        counters
    }

    /// The port's cells; `slot` is a position in `ports`.
    fn cells(&self, slot: usize) -> &[AtomicU64] {
        let slot = slot.min(self.ports.len() - 1);
        let first = self.memory.as_ptr().wrapping_add(slot * CELLS);
        // SAFETY: the mapping holds CELLS aligned elements for each of `ports`,
        // of which there is at least one, and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(first, CELLS) }
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `map_memory`, and no reference
        // into it outlives `copy`.
        let _ = unsafe { munmap(self.memory.cast(), self.bytes.get()) };
    }
}

fn map_memory(map: BorrowedFd<'_>, bytes: NonZeroUsize) -> anyhow::Result<NonNull<AtomicU64>> {
    // SAFETY: a new mapping at an address of the kernel's choice.
    let memory = unsafe {
        mmap(
            None,
            bytes,
            ProtFlags::PROT_READ,
            MapFlags::MAP_SHARED,
            map,
            0,
        )
    };
    Ok(memory.context("map the counters into memory")?.cast())
}
