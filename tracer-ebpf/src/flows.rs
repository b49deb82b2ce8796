//! The flow table, and one lock per stripe of its keys.

use core::{
    intrinsics::{AtomicOrdering::Relaxed, atomic_xadd},
    mem::ManuallyDrop,
};

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    macros::map,
    maps::{Array, HashMap},
};
use tracer_common::{
    config::LOCK_BITS,
    flow::{Flow, FlowKey},
    words::Lost,
};

use crate::maps::lost;

/// Followed attempts; the loader sets the size.
#[map]
static FLOWS: HashMap<FlowKey, Flow> = HashMap::with_max_entries(1, 0);
/// One lock per stripe of flow keys. It stands outside the flow table because
/// the table hands the memory of a deleted element to the next one at once.
#[map]
static LOCKS: Array<u32> = Array::with_max_entries(1 << LOCK_BITS, 0);

/// The flow table's entry for one key, held under its stripe's lock.
pub struct Entry<'a> {
    key: &'a FlowKey,
    _lock: Lock,
}

/// A count of holders and takers in an array's element.
pub struct Lock(*mut u32);

impl Lock {
    /// Takes the lock; `None` when another CPU keeps it.
    ///
    /// Who adds one and then reads one is alone: everybody else present would
    /// have added one too. Only plain atomic addition is needed, the sole
    /// read-modify-write of 5.10; on x86-64 it is a full barrier (Intel SDM
    /// vol. 3, 9.2.3.9).
    #[inline(always)]
    pub fn take(element: *mut u32) -> Option<Self> {
        let lock = Self::try_take::<SPINS>(element);
        if lock.is_none() {
            lost(Lost::Contention);
        }
        lock
    }

    /// The same where nothing is lost without it, in so many attempts: the verifier walks
    /// each of them.
    #[inline(always)]
    pub fn try_take<const SPINS: u32>(element: *mut u32) -> Option<Self> {
        let lock = ManuallyDrop::new(Self(element));
        for _ in 0..SPINS {
            lock.add(1);
            if lock.holders() == 1 {
                return Some(ManuallyDrop::into_inner(lock));
            }
            lock.add(-1);
        }
        None
    }

    #[inline(always)]
    fn add(&self, delta: i32) {
        // SAFETY: an aligned array element, only ever accessed atomically.
        let _ = unsafe { atomic_xadd::<u32, u32, { Relaxed }>(self.0, delta.cast_unsigned()) };
    }

    #[inline(always)]
    fn holders(&self) -> u32 {
        // SAFETY: as above; aligned loads are atomic.
        unsafe { self.0.read_volatile() }
    }
}

/// Attempts to take a lock before the segment is given up. The holder is never
/// preempted (packet programs run with bottom halves off), so the wait is that
/// of another CPU's step, unless the hypervisor takes that CPU away.
const SPINS: u32 = 256;

impl<'a> Entry<'a> {
    /// Takes the lock; `None` when another CPU keeps it.
    #[inline(always)]
    pub fn lock(key: &'a FlowKey) -> Option<Self> {
        let lock = Lock::take(LOCKS.get_ptr_mut(key.stripe(LOCK_BITS))?)?;
        Some(Self { key, _lock: lock })
    }

    /// The flow, if it is in the table.
    #[inline(always)]
    pub fn flow(&self) -> Option<&'static mut Flow> {
        let flow = FLOWS.get_ptr_mut(self.key)?;
        // SAFETY: the stripe's lock is held, so that nobody else changes or
        // removes this element while it is in use.
        Some(unsafe { &mut *flow })
    }

    /// Puts a flow that is not in use into the table; `None` when full.
    #[inline(always)]
    pub fn insert(&self, unused: &Flow) -> Option<&'static mut Flow> {
        FLOWS
            .insert(self.key, unused, u64::from(BPF_NOEXIST))
            .ok()?;
        self.flow()
    }

    /// Takes the flow out of the table.
    #[inline(always)]
    pub fn remove(&self) {
        // Absent already: nothing to undo.
        let _ = FLOWS.remove(self.key);
    }
}

impl Drop for Lock {
    #[inline(always)]
    fn drop(&mut self) {
        self.add(-1);
    }
}

/// The flow without its lock, for [`Flow::quick`] alone: what that writes
/// harms no other flow should the element be reused in the meantime.
#[inline(always)]
pub fn peek(key: &FlowKey) -> Option<&'static mut Flow> {
    // SAFETY: map memory stays mapped while the program runs; see above.
    FLOWS.get_ptr_mut(key).map(|flow| unsafe { &mut *flow })
}
