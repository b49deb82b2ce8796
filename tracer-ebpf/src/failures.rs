//! What becomes of the failures that the machine reports: each counts under its
//! kind, with what the other hooks have noted of the flow, and leaves a record.

use core::intrinsics::{AtomicOrdering::Relaxed, atomic_xadd};

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    macros::map,
    maps::{HashMap, PerCpuArray},
};
use tracer_common::{
    config::SHARED_ROW,
    counters::{Cell, Tally},
    failure::{FAILURES as KINDS, Failed, FailureKey, ServedKey, Way},
    flow::FlowKey,
    latency::{LatencyKey, latency_cell},
    words::Lost,
};

use crate::{latencies, maps::lost, notes, own, records, rows::Port, served, verifier::forget};

/// How often each kind of failure was seen.
#[map]
static FAILURES: HashMap<FailureKey, u64> = HashMap::with_max_entries(KINDS, 0);

/// A step's report until its flow's lock is released, and the key it counts
/// under, for which the stack has no room.
#[repr(C)]
struct Reported {
    /// How long the answer took that the step has seen, nanoseconds, never even; 0: it
    /// has seen none.
    took: u64,
    failed: Failed,
    key: FailureKey,
    served: ServedKey,
    /// The step has reported a failure.
    any: u8,
    /// It has completed a handshake.
    established: u8,
    /// The row that effects go to, and the cell of the answer.
    latency: LatencyKey,
}

/// By [`Scratch`]: packets may come in while the sweep runs on their CPU.
#[map]
static REPORTED: PerCpuArray<Reported> = PerCpuArray::with_max_entries(2, 0);

/// Which of this CPU's places a program uses.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Scratch {
    /// The packet programs', which do not nest.
    Tap = 0,
    /// The sweep's.
    Sweep = 1,
}

/// Where the effects of one step go.
pub struct Effects {
    port: Port,
    reported: &'static mut Reported,
}

impl Effects {
    /// For one step of a flow, whose row is told by [`Effects::go_to`].
    #[inline(always)]
    pub fn of(scratch: Scratch) -> Option<Self> {
        let port = Port::at(SHARED_ROW)?;
        let reported = REPORTED.get_ptr_mut(scratch as u32)?;
        // SAFETY: the element is this CPU's and this kind of program's own.
        let reported = unsafe { &mut *reported };
        reported.any = 0;
        reported.established = 0;
        reported.took = 0;
        reported.latency.row = SHARED_ROW;
        Some(Self { port, reported })
    }

    /// From here on effects go to a row.
    #[inline(always)]
    pub fn go_to(&mut self, row: u16) -> Option<()> {
        self.port = Port::at(row)?;
        self.reported.latency.row = row;
        Some(())
    }

    /// Counts the connection that the step has established, if it has; to be called
    /// once, after the step, without any lock.
    #[inline(always)]
    pub fn serve(&mut self, flow: &FlowKey, slot: u16) {
        forget();
        if self.reported.established == 0 {
            return;
        }
        let key = &mut self.reported.served;
        key.client = flow.client;
        key.node = flow.node;
        key.slot = slot;
        served::count(key);
    }

    /// Counts the latency of the answer that the step has seen, if it has; to be called
    /// once, after the step, without any lock.
    #[inline(always)]
    pub fn time(&mut self) {
        forget();
        if self.reported.took == 0 {
            return;
        }
        let key = &mut self.reported.latency;
        key.cell = latency_cell(self.reported.took);
        latencies::count(key);
    }

    /// Counts and records what the step has reported; to be called once, after
    /// the step, without any lock.
    #[inline(always)]
    pub fn report(self, flow: &FlowKey, slot: u16) {
        forget();
        if self.reported.any == 0 {
            return;
        }
        let Reported { failed, key, .. } = self.reported;
        let note = notes::about(flow, failed.syn_at).unwrap_or_default();
        *key = FailureKey {
            location: note.location,
            reason: note.reason,
            reset_reason: note.reset_reason,
            slot,
            backend: failed.backend,
            failure: failed.failure as u8,
            reply: failed.reply as u8,
            code: failed.code,
            address: own::number_of(&flow.node),
            seen: note.seen,
            interface: failed.interface,
            netns: note.netns,
        };
        count(key);
        records::leave(flow, failed, key);
    }
}

/// Adds one to a kind. Two CPUs may both meet it first: either makes it with 0.
#[inline(always)]
fn count(key: &FailureKey) {
    let place = FAILURES.get_ptr_mut(key).or_else(|| {
        // It may be there by now, or the table may be full.
        let _ = FAILURES.insert(key, 0, u64::from(BPF_NOEXIST));
        FAILURES.get_ptr_mut(key)
    });
    let Some(place) = place else {
        return lost(Lost::Failures);
    };
    // The result must stay unused: see `rows.rs: Port`.
    // SAFETY: an aligned element of a map, only ever added to.
    let _ = unsafe { atomic_xadd::<u64, u64, { Relaxed }>(place, 1) };
}

impl Tally for Effects {
    #[inline(always)]
    fn ways_meet(&mut self) {
        self.port.ways_meet();
    }

    #[inline(always)]
    fn add(&mut self, cell: Cell, delta: i64) {
        self.port.add(cell, delta);
    }

    #[inline(always)]
    fn took(&mut self, ns: u64) {
        // Its cell is found after the step: the ways to it would multiply those through it.
        self.reported.took = ns | 1;
    }

    #[inline(always)]
    fn established(&mut self, way: Way) {
        self.reported.served.interface = way.interface;
        self.reported.served.backend = way.backend;
        self.reported.established = 1;
    }

    #[inline(always)]
    fn failed(&mut self, failed: Failed) {
        self.reported.failed = failed;
        self.reported.any = 1;
    }
}
