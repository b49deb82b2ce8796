//! How long answers took, in fine cells: summed up here, for the kernel programs' table
//! holds what one second brings.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aya::{
    Ebpf,
    maps::{HashMap as KernelMap, MapData},
};
use tracer_common::latency::{LATENCIES, LatencyKey};

use super::{batch::Batch, object};

/// Answers by cell.
pub type ByCell = BTreeMap<u16, u64>;

/// The table, and what was in it so far.
pub struct Latencies(Mutex<Inner>);

struct Inner {
    table: KernelMap<MapData, LatencyKey, u64>,
    rows: Batch<LatencyKey, u64>,
    sums: Sums,
}

/// Answers since the start, by row.
#[derive(Default)]
pub struct Sums(BTreeMap<u16, ByCell>);

impl Sums {
    fn add(&mut self, key: LatencyKey, count: u64) {
        if count != 0 {
            let cells = self.0.entry(key.row).or_default();
            *cells.entry(key.cell).or_default() += count;
        }
    }

    /// Those of one row, by ascending cell.
    pub fn of(&self, row: u16) -> impl Iterator<Item = (u16, u64)> {
        let cells = self.0.get(&row).into_iter().flatten();
        cells.map(|(cell, count)| (*cell, *count))
    }
}

/// Keeps the sums as they are while they are read.
pub struct Held<'a>(MutexGuard<'a, Inner>);

impl Held<'_> {
    pub fn sums(&self) -> &Sums {
        &self.0.sums
    }
}

impl Latencies {
    pub fn new(ebpf: &mut Ebpf) -> anyhow::Result<Self> {
        Ok(Self(Mutex::new(Inner {
            table: object::take(ebpf, "LATENCIES")?,
            rows: Batch::new(LATENCIES as usize),
            sums: Sums::default(),
        })))
    }

    /// Adds what has come since the last call. What cannot be read now is there the
    /// next time.
    pub fn look(&self) -> Held<'_> {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { table, rows, sums } = &mut *guard;
        if let Err(error) = rows.drain(table, |key, count| sums.add(*key, *count)) {
            tracing::debug!(%error, "cannot read the latencies");
        }
        Held(guard)
    }
}
