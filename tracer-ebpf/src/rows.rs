//! Where counters live: a row of cells for each port that saw traffic. With a few
//! thousand rows for up to 65,535 watched ports, ports get theirs at their first SYN or
//! dial, as long as there are any; the others share row 0. The daemon gives rows that it
//! has kept back to ports that it knows to be somebody's.

use core::intrinsics::{AtomicOrdering::Relaxed, atomic_xadd, is_val_statically_known};

use aya_ebpf::{bindings::BPF_F_MMAPABLE, macros::map, maps::Array};
use tracer_common::{
    config::{RowPool, SHARED_ROW},
    counters::{CELLS, Cell, PortCounters, Tally},
};

use crate::{
    flows::Lock,
    verifier::{forget, opaque},
};

/// The rows; the loader sets the number and maps them into memory.
#[map]
static PORTS: Array<PortCounters> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// The row of each watched port, by its position, plus one; 0: it has not been tried yet.
#[map]
static ROWS: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// What is left of the rows that ports get at their first SYN; the loader fills it.
#[map]
static ROW_POOL: Array<RowPool> = Array::with_max_entries(1, 0);

/// Attempts to take the lock of the pool, which is held for a few instructions.
const SPINS: u32 = 16;

/// The row of the watched port at a position, which it gets now if it has none yet. An
/// attempt keeps the row that its SYN was counted in.
#[inline(always)]
pub fn row_of(slot: u16) -> u16 {
    let Some(place) = ROWS.get_ptr_mut(u32::from(slot)) else {
        return SHARED_ROW;
    };
    read(place).unwrap_or_else(|| take(place))
}

#[inline(always)]
fn read(place: *mut u64) -> Option<u16> {
    // SAFETY: an aligned element of an array, which is never freed: loads are whole.
    (unsafe { place.read_volatile() } as u16).checked_sub(1)
}

#[inline(always)]
fn write(place: *mut u64, row: u16) -> u16 {
    // SAFETY: as above.
    unsafe { place.write_volatile(u64::from(row) + 1) };
    row
}

/// Takes a row for a port that has none. Where another CPU takes one all the while, the
/// SYN counts in the shared row, and the next one tries again.
#[inline(always)]
fn take(place: *mut u64) -> u16 {
    let Some(pool) = ROW_POOL.get_ptr_mut(0) else {
        return SHARED_ROW;
    };
    // SAFETY: an element of an array, which is never freed; its members are aligned.
    let lock = unsafe { &raw mut (*pool).lock };
    // SAFETY: as above.
    let next = unsafe { &raw mut (*pool).next };
    // SAFETY: as above.
    let end = unsafe { (*pool).end };
    let Some(_lock) = Lock::try_take::<SPINS>(lock) else {
        return SHARED_ROW;
    };
    if let Some(row) = read(place) {
        return row;
    }
    // SAFETY: as above; whoever changes it holds the lock.
    let row = unsafe { next.read_volatile() };
    if row >= end {
        return write(place, SHARED_ROW);
    }
    // SAFETY: as above.
    unsafe { next.write_volatile(row + 1) };
    write(place, row as u16)
}

/// The counters of one row.
pub struct Port(&'static PortCounters);

impl Port {
    /// A row's.
    #[inline(always)]
    pub fn at(row: u16) -> Option<Self> {
        PORTS.get(u32::from(row)).map(Port)
    }

    /// Those of the watched port at a position, for what belongs to no attempt.
    #[inline(always)]
    pub fn of(slot: u16) -> Option<Self> {
        Self::at(row_of(slot))
    }
}

impl Tally for Port {
    #[inline(always)]
    fn ways_meet(&mut self) {
        forget();
    }

    #[inline(always)]
    fn add(&mut self, cell: Cell, delta: i64) {
        let known = cell.index();
        let index = if is_val_statically_known(known) {
            known
        } else {
            opaque(known as u64) as usize
        };
        if index < CELLS {
            let base = self.0.0.as_ptr().cast_mut();
            // The result must stay unused: fetching forms exist from 5.12 on,
            // and 5.10 refuses them ("BPF_STX uses reserved fields").
            // SAFETY: `index` is within the array, whose memory is a map's
            // element: shared, aligned to 8 bytes and never freed.
            let _ = unsafe {
                atomic_xadd::<u64, u64, { Relaxed }>(
                    base.wrapping_add(index),
                    delta.cast_unsigned(),
                )
            };
        }
    }
}
