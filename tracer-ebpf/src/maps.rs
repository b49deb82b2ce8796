//! The maps that all programs share, each with its shape of access; the flow
//! table is in `flows.rs`.

use aya_ebpf::{
    bindings::BPF_F_RDONLY_PROG,
    macros::map,
    maps::{Array, LpmTrie, PerCpuArray, ProgramArray, lpm_trie},
    programs::SkBuffContext,
};
use tracer_common::{
    config::{PORT_LINES, PORTS_PER_LINE, PortLine, Tail, UNCHECKED_WORDS},
    failure::Got,
    flow::{Addr, Flow, FlowKey},
    machine::Segment,
    words::Lost,
};

/// Port to its position among the watched ones, plus one.
#[map]
static PORT_SLOTS: Array<PortLine> = Array::with_max_entries(PORT_LINES, BPF_F_RDONLY_PROG);
/// Configured probe sources.
#[map]
static PROBE_SOURCES: LpmTrie<Addr, u8> = LpmTrie::with_max_entries(1024, 0);
/// Ports that the load balancer's health check is known not to go to: a bit per
/// port, the lowest first. The daemon changes it while programs run.
#[map]
static UNCHECKED: Array<u64> = Array::with_max_entries(UNCHECKED_WORDS, BPF_F_RDONLY_PROG);
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
    unsafe { TAILS.tail_call(ctx, to as u32) };
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
    /// Position of the port.
    pub slot: u16,
    /// An ICMP error that quotes a segment of the flow.
    pub got: Got,
    /// What to put into the flow table: nothing but the row is ever written.
    /// (Zeroed on the stack, it would take a call of a byte-wise `memset`.)
    pub unused: Flow,
}

/// Scratch space of one packet. It is a map and not the stack because the
/// verifier does not follow map contents: after parsing, the ways that IPv4,
/// IPv6, options and tags have taken are one way again. On the stack they stay
/// apart ("BPF program is too large. Processed 1000001 insn"). Packet programs
/// do not nest on a CPU, so one per CPU is enough.
#[map]
static WORK: PerCpuArray<Work> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's scratch space, zero at the start.
#[inline(always)]
pub fn work() -> Option<&'static mut Work> {
    // SAFETY: the element is this CPU's own; every field is written before it
    // is read, or zero.
    WORK.get_ptr_mut(0).map(|work| unsafe { &mut *work })
}

/// Position of a port; `None` when the port is not watched.
#[inline(always)]
pub fn slot_of(port: u16) -> Option<u16> {
    let line = PORT_SLOTS.get(u32::from(port) / PORTS_PER_LINE as u32)?;
    line.get(usize::from(port) % PORTS_PER_LINE)?.checked_sub(1)
}

/// Within a configured probe range.
#[inline(always)]
pub fn is_probe_source(addr: &Addr) -> bool {
    PROBE_SOURCES.get(lpm_trie::Key::new(128, *addr)).is_some()
}

/// The load balancer's health check is known not to go to this port.
#[inline(always)]
pub fn is_unchecked(port: u16) -> bool {
    let word = UNCHECKED.get(u32::from(port) / 64);
    word.is_some_and(|word| word >> (port % 64) & 1 != 0)
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
