//! Which row of cells counts which port. Where few ports are watched, each has its own
//! from the start. Where many are, ports get theirs as they are tried, from the kernel
//! programs; when a scan has taken all of these, ports that are known to be somebody's
//! get one of those kept back, from here.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{Array, Map, MapData, MapError},
};
use tracer_common::config::{ROWS_BY_SYN, ROWS_KEPT, RowPool, SHARED_ROW};

use super::{mapped::Mapped, object};

/// How many rows there are for so many watched ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    watched: u16,
    /// Each port has its own from the start.
    each: bool,
}

impl Plan {
    pub fn new(watched: usize) -> anyhow::Result<Self> {
        let watched = u16::try_from(watched).context("more ports than there are")?;
        let each = watched <= ROWS_BY_SYN;
        Ok(Self { watched, each })
    }

    /// One past the last row that a port gets when it is tried, or at the start.
    fn by_syn(self) -> u16 {
        1 + self.watched.min(ROWS_BY_SYN)
    }

    /// All of them, the shared one included.
    pub fn rows(self) -> u16 {
        self.by_syn() + if self.each { 0 } else { ROWS_KEPT }
    }

    /// Tells the programs, before any runs.
    pub fn write(self, ebpf: &mut Ebpf) -> anyhow::Result<()> {
        let pool = RowPool {
            lock: 0,
            next: u32::from(if self.each { self.by_syn() } else { 1 }),
            end: u32::from(self.by_syn()),
        };
        let mut map: Array<_, RowPool> = object::borrow(ebpf, "ROW_POOL")?;
        map.set(0, pool, 0)
            .context("write how many rows there are")?;
        if self.each {
            let mut map: Array<_, u64> = object::borrow(ebpf, "ROWS")?;
            for slot in 0..self.watched {
                let row = u64::from(slot) + 1;
                map.set(slot.into(), row + 1, 0).context("write the rows")?;
            }
        }
        Ok(())
    }
}

/// The rows as they are.
pub struct Rows {
    /// By position of the port; a row plus one, 0: it has not been tried.
    by_slot: Mapped,
    kept: Mutex<Kept>,
}

/// Rows that were kept back.
struct Kept {
    map: Array<MapData, u64>,
    /// By position of the port.
    given: BTreeMap<u16, u16>,
    next: u16,
    end: u16,
}

impl Rows {
    pub fn new(ebpf: &mut Ebpf, plan: Plan) -> anyhow::Result<Self> {
        let by_slot = Mapped::new(ebpf, "ROWS", plan.watched.into())?;
        let map = Array::try_from(Map::Array(by_slot.share()?)).context("map ROWS")?;
        let kept = Kept {
            map,
            given: BTreeMap::new(),
            next: plan.by_syn(),
            end: plan.rows(),
        };
        Ok(Self {
            by_slot,
            kept: Mutex::new(kept),
        })
    }

    /// Positions of the ports with a row of their own, each with it, and those of the
    /// ports that share one; ascending.
    pub fn all(&self) -> (Vec<(u16, u16)>, Vec<u16>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut own, mut sharing) = (Vec::new(), Vec::new());
        for (slot, row) in (0..=u16::MAX).zip(self.by_slot.numbers()) {
            // A program that has just found none left may have written over it.
            let row = kept.given.get(&slot).copied().or_else(|| read(row));
            match row {
                Some(SHARED_ROW) => sharing.push(slot),
                Some(row) => own.push((slot, row)),
                None => {}
            }
        }
        (own, sharing)
    }

    /// Gives rows of their own to the ports at these positions that share one, as long as
    /// there are any.
    pub fn give(&self, slots: impl Iterator<Item = u16>) -> Result<(), MapError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for slot in slots {
            let row = self.by_slot.numbers().get(usize::from(slot));
            if row.and_then(read) != Some(SHARED_ROW) {
                continue;
            }
            let known = kept.given.get(&slot).copied();
            let row = known.unwrap_or(kept.next);
            if known.is_none() && row >= kept.end {
                return Ok(());
            }
            kept.map.set(slot.into(), u64::from(row) + 1, 0)?;
            if known.is_none() {
                kept.given.insert(slot, row);
                kept.next += 1;
            }
        }
        Ok(())
    }
}

fn read(row: &AtomicU64) -> Option<u16> {
    (row.load(Ordering::Relaxed) as u16).checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_watched_ports_take_no_more_rows_than_some() {
        let rows = |watched| Plan::new(watched).unwrap().rows();
        assert_eq!((rows(1), rows(2768)), (2, 2769));
        assert_eq!(rows(ROWS_BY_SYN.into()), 1 + ROWS_BY_SYN);
        let most = 1 + ROWS_BY_SYN + ROWS_KEPT;
        assert_eq!((rows(20_001), rows(65_535)), (most, most));
    }
}
