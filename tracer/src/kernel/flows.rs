//! The flow table from outside: walk it, find what time has decided, and have
//! the kernel's own sweep program do the deciding.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
    time::Duration,
};

use anyhow::{Context as _, bail};
use aya::{
    Ebpf,
    maps::{Map, MapData},
    programs::{SchedClassifier, TestRun as _, TestRunOptions},
};
use nix::time::{ClockId, clock_gettime};
use tracer_common::{
    config::SWEEP_KEYS,
    counters::{Cell, Tally},
    flow::{Flow, FlowKey},
    machine::{Fate, Limits, Now},
};

/// Flows read by one system call.
const BATCH: usize = 2048;

/// The walker of the flow table.
pub struct Flows {
    map: MapData,
    limits: Limits,
    keys: Vec<FlowKey>,
    values: Vec<Flow>,
    due: Vec<FlowKey>,
}

/// Counts nothing: for asking whether a flow is due.
struct Nothing;

impl Tally for Nothing {
    fn add(&mut self, _cell: Cell, _delta: i64) {}
}

impl Flows {
    /// Takes the table out of the object and loads the sweep program.
    pub fn new(ebpf: &mut Ebpf, limits: Limits) -> anyhow::Result<Self> {
        sweeper(ebpf)?.load().context("load the sweep program")?;
        Ok(Self {
            map: table(ebpf)?,
            limits,
            keys: vec![FlowKey::default(); BATCH],
            values: vec![Flow::default(); BATCH],
            due: Vec::new(),
        })
    }

    /// Decides everything that is due at `now`; returns how many flows there are.
    pub fn sweep(&mut self, ebpf: &mut Ebpf, now: Now) -> anyhow::Result<u64> {
        let mut flows = 0;
        let mut position = None;
        self.due.clear();
        loop {
            let (read, next) = self.read_batch(position)?;
            flows += read as u64;
            self.collect_due(read, now);
            position = next;
            if position.is_none() {
                break;
            }
        }
        let program = sweeper(ebpf)?;
        for keys in self.due.chunks(SWEEP_KEYS as usize) {
            let options = TestRunOptions {
                data_in: Some(bytes_of(keys)),
                ..TestRunOptions::new()
            };
            program.test_run(options).context("run the sweep program")?;
        }
        Ok(flows)
    }

    fn collect_due(&mut self, read: usize, now: Now) {
        for (key, flow) in self.keys.iter().zip(&self.values).take(read) {
            let mut after = *flow;
            if after.tick(now, &self.limits, &mut Nothing) == Fate::Remove || after != *flow {
                self.due.push(*key);
            }
        }
    }

    /// Reads the next flows; the position to go on from, or `None` at the end.
    fn read_batch(&mut self, position: Option<u32>) -> io::Result<(usize, Option<u32>)> {
        let mut next = 0u32;
        let mut attr = BatchAttr {
            in_batch: position
                .as_ref()
                .map_or(0, |p| std::ptr::from_ref(p) as u64),
            out_batch: std::ptr::from_mut(&mut next) as u64,
            keys: self.keys.as_mut_ptr() as u64,
            values: self.values.as_mut_ptr() as u64,
            count: BATCH as u32,
            map_fd: self.map_fd(),
            ..BatchAttr::default()
        };
        const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;
        // SAFETY: `attr` has the layout of union bpf_attr's `batch`, and its
        // pointers are to buffers of BATCH elements that outlive the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_MAP_LOOKUP_BATCH,
                &raw mut attr,
                size_of::<BatchAttr>(),
            )
        };
        let read = (attr.count as usize).min(BATCH);
        match result {
            0 => Ok((read, Some(next))),
            _ => match io::Error::last_os_error() {
                end if end.raw_os_error() == Some(libc::ENOENT) => Ok((read, None)),
                error => Err(error),
            },
        }
    }

    fn map_fd(&self) -> u32 {
        self.map.fd().as_fd().as_raw_fd().cast_unsigned()
    }
}

/// `batch` in union bpf_attr (include/uapi/linux/bpf.h).
#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

fn table(ebpf: &mut Ebpf) -> anyhow::Result<MapData> {
    match ebpf.take_map("FLOWS") {
        Some(Map::HashMap(map)) => Ok(map),
        _ => bail!("the kernel object has no hash map FLOWS"),
    }
}

fn sweeper(ebpf: &mut Ebpf) -> anyhow::Result<&mut SchedClassifier> {
    let program = ebpf
        .program_mut("sweep")
        .context("the kernel object has no program sweep")?;
    Ok(program.try_into()?)
}

fn bytes_of(keys: &[FlowKey]) -> &[u8] {
    // SAFETY: FlowKey is plain integers without padding.
    unsafe { std::slice::from_raw_parts(keys.as_ptr().cast(), size_of_val(keys)) }
}

/// The monotonic clock, as `bpf_ktime_get_ns` reads it.
pub fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}
