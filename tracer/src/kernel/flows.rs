//! The flow table from outside: walk it, find what time has decided, and have
//! the kernel's own sweep program do the deciding.

use std::{os::fd::AsFd as _, time::Duration};

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{HashMap, IterableMap as _, Map, MapData},
    programs::{SchedClassifier, TestRun as _, TestRunOptions},
};
use nix::time::{ClockId, clock_gettime};
use tracer_common::{
    config::{SWEEP_CROWDED, SWEEP_KEYS},
    counters::{Cell, Tally},
    flow::{Flow, FlowKey},
    machine::{Fate, Limits, Now},
};

use super::{batch::Batch, failures::Used, object};

/// Flows read by one system call.
const BATCH: usize = 2048;

/// The walker of the flow table.
pub struct Flows {
    map: HashMap<MapData, FlowKey, Flow>,
    limits: Limits,
    batch: Batch<FlowKey, Flow>,
    due: Vec<FlowKey>,
    used: Used,
    /// Flows from which on those that are spent make room.
    crowd: u64,
    /// Flows at the last sweep.
    flows: u64,
}

/// Counts nothing: for asking whether a flow is due.
struct Nothing;

impl Tally for Nothing {
    fn add(&mut self, _cell: Cell, _delta: i64) {}
}

impl Flows {
    /// Takes the table, which has room for `capacity` flows, out of the object and
    /// loads the sweep program.
    pub fn new(ebpf: &mut Ebpf, limits: Limits, capacity: u32) -> anyhow::Result<Self> {
        sweeper(ebpf)?.load().context("load the sweep program")?;
        Ok(Self {
            map: object::take(ebpf, "FLOWS")?,
            limits,
            batch: Batch::new(BATCH),
            due: Vec::new(),
            used: Used::none(),
            crowd: u64::from(capacity / 2),
            flows: 0,
        })
    }

    /// Decides everything that is due at `now`; returns how many flows there are.
    pub fn sweep(&mut self, ebpf: &mut Ebpf, now: Now) -> anyhow::Result<u64> {
        let mut flows = 0;
        self.due.clear();
        self.used.clear();
        let crowded = self.flows >= self.crowd;
        let (limits, due, used) = (&self.limits, &mut self.due, &mut self.used);
        self.batch
            .walk(&self.map, |key, flow| {
                flows += 1;
                if !flow.is_settled() {
                    used.add(flow.backend);
                }
                let mut after = *flow;
                let goes = after.tick(now, limits, &mut Nothing) == Fate::Remove;
                if goes || after != *flow || crowded && after.is_spent(now) {
                    due.push(*key);
                }
            })
            .context("read the flow table")?;
        self.flows = flows;
        let program = sweeper(ebpf)?;
        let context = context(if crowded { SWEEP_CROWDED } else { 0 });
        for keys in self.due.chunks(SWEEP_KEYS as usize) {
            let options = TestRunOptions {
                data_in: Some(bytes_of(keys)),
                ctx_in: Some(&context),
                ..TestRunOptions::new()
            };
            program.test_run(options).context("run the sweep program")?;
        }
        Ok(flows)
    }

    /// The table, for another reader.
    pub fn table(&self) -> anyhow::Result<HashMap<MapData, FlowKey, Flow>> {
        let fd = self.map.map().fd().as_fd().try_clone_to_owned();
        let map = MapData::from_fd(fd.context("share the flow table")?)?;
        HashMap::try_from(Map::HashMap(map)).context("share the flow table")
    }

    /// The backends of the flows that the last sweep met and of which more may be reported.
    pub fn used(&self) -> &Used {
        &self.used
    }
}

fn sweeper(ebpf: &mut Ebpf) -> anyhow::Result<&mut SchedClassifier> {
    let program = ebpf
        .program_mut("sweep")
        .context("the kernel object has no program sweep")?;
    Ok(program.try_into()?)
}

/// The start of a `struct __sk_buff`, whose third field is the mark; the kernel takes
/// what is missing for zeros.
fn context(mark: u32) -> [u8; 12] {
    let mut context = [0; 12];
    context[8..].copy_from_slice(&mark.to_ne_bytes());
    context
}

fn bytes_of(keys: &[FlowKey]) -> &[u8] {
    // SAFETY: FlowKey is plain integers without padding.
    unsafe { std::slice::from_raw_parts(keys.as_ptr().cast(), size_of_val(keys)) }
}

/// The monotonic clock, as `bpf_ktime_get_ns` reads it.
pub fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}
