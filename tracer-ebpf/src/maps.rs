//! The maps of the wire tap, and the three shapes of access to them: the port
//! table, a port's counters, the flow table under its lock.

use core::intrinsics::{AtomicOrdering::Relaxed, atomic_xadd, is_val_statically_known};

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_RDONLY_PROG, BPF_NOEXIST},
    macros::map,
    maps::{Array, HashMap, LpmTrie, PerCpuArray, ProgramArray, lpm_trie},
    programs::SkBuffContext,
};
use tracer_common::{
    config::{LOCK_BITS, PORT_LINES, PORTS_PER_LINE, PortLine, Tail},
    counters::{CELLS, Cell, PortCounters, Tally},
    flow::{Addr, Flow, FlowKey},
    machine::Segment,
    words::Lost,
};

use crate::verifier::{forget, opaque};

/// Port to position of its counters, plus one.
#[map]
static PORT_SLOTS: Array<PortLine> = Array::with_max_entries(PORT_LINES, BPF_F_RDONLY_PROG);
/// Counters by position; the loader sets the number and maps them into memory.
#[map]
static PORTS: Array<PortCounters> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// Followed attempts; the loader sets the size.
#[map]
static FLOWS: HashMap<FlowKey, Flow> = HashMap::with_max_entries(1, 0);
/// One lock per stripe of flow keys. It stands outside the flow table because
/// the table hands the memory of a deleted element to the next one at once.
#[map]
static LOCKS: Array<u32> = Array::with_max_entries(1 << LOCK_BITS, 0);
/// The node's own addresses.
#[map]
static LOCAL: HashMap<Addr, u8> = HashMap::with_max_entries(4096, 0);
/// Configured probe sources.
#[map]
static PROBE_SOURCES: LpmTrie<Addr, u8> = LpmTrie::with_max_entries(1024, 0);
/// The coarse clock in seconds, which the daemon moves on: reading it costs
/// 2 ns where `bpf_ktime_get_ns` costs 40.
#[map]
static CLOCK: Array<u32> = Array::with_max_entries(1, BPF_F_RDONLY_PROG);
/// Packets not taken into account, by [`Lost`].
#[map]
static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(Lost::COUNT as u32, 0);

/// Programs that others go on with, by [`Tail`].
#[map]
static TAILS: ProgramArray = ProgramArray::with_max_entries(2, 0);

/// Goes on with another program; comes back only when there is none.
#[inline(always)]
pub fn tail_call(ctx: &SkBuffContext, to: Tail) {
    // SAFETY: the table holds programs of the caller's type only.
    let _ = unsafe { TAILS.tail_call(ctx, to as u32) };
}

/// What a packet came down to.
#[repr(C)]
pub struct Work {
    /// The flow.
    pub key: FlowKey,
    /// The segment.
    pub segment: Segment,
    /// Offset of the payload in the packet, bytes.
    pub payload: u32,
    /// Position of the port's counters.
    pub slot: u16,
}

/// Scratch space of one packet. It is a map and not the stack because the
/// verifier does not follow map contents: after parsing, the ways that IPv4,
/// IPv6, options and tags have taken are one way again. On the stack they stay
/// apart ("BPF program is too large. Processed 1000001 insn"). Packet programs
/// do not nest on a CPU, so one per CPU is enough.
#[map]
static WORK: PerCpuArray<Work> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's scratch space.
#[inline(always)]
pub fn work() -> Option<&'static mut Work> {
    // SAFETY: the element is this CPU's own; every field is written before it
    // is read.
    WORK.get_ptr_mut(0).map(|work| unsafe { &mut *work })
}

/// Position of a port's counters; `None` when the port is not watched.
#[inline(always)]
pub fn slot_of(port: u16) -> Option<u16> {
    let line = PORT_SLOTS.get(u32::from(port) / PORTS_PER_LINE as u32)?;
    line.get(usize::from(port) % PORTS_PER_LINE)?.checked_sub(1)
}

/// One of the node's own addresses.
#[inline(always)]
pub fn is_local(addr: &Addr) -> bool {
    LOCAL.get_ptr(addr).is_some()
}

/// Within a configured probe range.
#[inline(always)]
pub fn is_probe_source(addr: &Addr) -> bool {
    PROBE_SOURCES.get(lpm_trie::Key::new(128, *addr)).is_some()
}

/// Seconds of the coarse clock.
#[inline(always)]
pub fn clock_s() -> u32 {
    CLOCK.get(0).copied().unwrap_or(0)
}

/// Counts a packet that is not taken into account.
#[inline(always)]
pub fn lost(why: Lost) {
    if let Some(cell) = LOST.get_ptr_mut(why.index() as u32) {
        // SAFETY: the element is this CPU's own and programs do not migrate.
        unsafe { *cell += 1 };
    }
}

/// The counters of one port.
pub struct Port(&'static PortCounters);

impl Port {
    /// The counters at a position.
    #[inline(always)]
    pub fn at(slot: u16) -> Option<Self> {
        PORTS.get(u32::from(slot)).map(Port)
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

/// The flow table's entry for one key, held under its stripe's lock.
pub struct Entry<'a> {
    key: &'a FlowKey,
    lock: Lock,
}

/// A count of holders and takers in an element of [`LOCKS`].
struct Lock(*mut u32);

impl Lock {
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
const SPINS: u32 = 64;

impl<'a> Entry<'a> {
    /// Takes the lock; `None` when another CPU keeps it.
    ///
    /// The lock is a counter of holders and takers. Who adds one and then reads
    /// one is alone: everybody else present would have added one too. Only
    /// plain atomic addition is needed, the sole read-modify-write of 5.10; on
    /// x86-64 it is a full barrier (Intel SDM vol. 3, 9.2.3.9).
    #[inline(always)]
    pub fn lock(key: &'a FlowKey) -> Option<Self> {
        let lock = Lock(LOCKS.get_ptr_mut(key.stripe(LOCK_BITS))?);
        for _ in 0..SPINS {
            lock.add(1);
            if lock.holders() == 1 {
                return Some(Self { key, lock });
            }
            lock.add(-1);
        }
        lost(Lost::Contention);
        None
    }

    /// The flow, if it is in the table.
    #[inline(always)]
    pub fn flow(&self) -> Option<&'static mut Flow> {
        // SAFETY: the stripe's lock is held, so that nobody else changes or
        // removes this element while it is in use.
        FLOWS
            .get_ptr_mut(self.key)
            .map(|flow| unsafe { &mut *flow })
    }

    /// Puts an unused flow for the port at `slot` into the table; `None` when full.
    #[inline(always)]
    pub fn insert(&self, slot: u16) -> Option<&'static mut Flow> {
        let flow = Flow {
            slot,
            ..Flow::default()
        };
        FLOWS.insert(self.key, &flow, u64::from(BPF_NOEXIST)).ok()?;
        self.flow()
    }

    /// Takes the flow out of the table.
    #[inline(always)]
    pub fn remove(&self) {
        // Absent already: nothing to undo.
        let _ = FLOWS.remove(self.key);
    }
}

impl Drop for Entry<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.lock.add(-1);
    }
}

/// The flow without its lock, for [`Flow::quick`] alone: what that writes
/// harms no other flow should the element be reused in the meantime.
#[inline(always)]
pub fn peek(key: &FlowKey) -> Option<&'static mut Flow> {
    // SAFETY: map memory stays mapped while the program runs; see above.
    FLOWS.get_ptr_mut(key).map(|flow| unsafe { &mut *flow })
}
