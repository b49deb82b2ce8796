//! The kernel side of the daemon: loads and attaches the programs, keeps them
//! up to date and reads their counters.

mod ahead;
mod arrivals;
mod batch;
mod check;
mod counters;
mod failures;
mod flows;
mod interfaces;
mod keeper;
mod latencies;
mod layout;
mod log;
mod mapped;
mod misses;
mod numbers;
mod object;
mod own;
mod preconditions;
mod rows;
mod services;
mod tapped;
mod wire;
pub mod xtables;

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use anyhow::Context as _;
use aya::maps::{MapData, PerCpuArray};
use nix::{fcntl::OFlag, unistd::pipe2};
use tracer_common::{
    failure::{Record, ServedKey},
    words::Lost,
};

pub use self::{
    ahead::programs,
    check::{Checked, Loaded, check},
    interfaces::{addr, reachable},
    object::limits,
    preconditions::{interfaces_exist, privileges as privileged},
};
use self::{
    arrivals::Arrivals,
    counters::{Counters, Read},
    failures::Tables,
    flows::Flows,
    interfaces::Changes,
    keeper::Keeper,
    own::Own,
    services::Services,
    wire::{Mode, Taps},
};
use crate::{
    config::{Config, KernelLog},
    exit::Exit,
    hooks::Plan,
    privileges,
    snapshot::{Arrival, Failures, HookStatus, Snapshot, Source, View, WIRE},
};

/// The loaded and attached programs. Dropping it detaches everything.
pub struct Tracer {
    counters: Counters,
    tables: Arc<Tables>,
    arrivals: Arrivals,
    services: Mutex<Services>,
    lost: PerCpuArray<MapData, u64>,
    flow_count: Arc<AtomicU64>,
    misses: Arc<AtomicU64>,
    tapped: Arc<AtomicUsize>,
    addresses: Arc<AtomicUsize>,
    flows_capacity: u32,
    hooks: Vec<HookStatus>,
    mode: Mode,
    /// Ids of the tap's own programs.
    programs: Vec<u32>,
    stop: Option<OwnedFd>,
    keeper: Option<JoinHandle<()>>,
}

impl Tracer {
    /// Loads and attaches everything in the current network namespace.
    ///
    /// # Errors
    /// [`Exit`] with the cause and what to do; nothing stays attached then.
    pub fn load(config: &Config) -> Result<Self, Exit> {
        preconditions::privileges()?;
        preconditions::permitted()?;
        let plan = Plan::new(config).map_err(|e| Exit::unavailable("find struct offsets", e))?;
        preconditions::interfaces_exist(config)?;
        Self::assemble(config, &plan).map_err(|e| {
            Exit::unavailable("load the kernel programs", e)
                .remedy("`tracer check` shows what this kernel allows")
        })
    }

    fn assemble(config: &Config, plan: &Plan) -> anyhow::Result<Self> {
        let mut ebpf = object::load(config, plan)?;
        let log = match config.kernel_log {
            KernelLog::Off => None,
            _ => Some(log::start(&mut ebpf)?),
        };
        let counters = Counters::map(&mut ebpf, config.ports.as_slice())?;
        let tables = Arc::new(Tables::new(&mut ebpf)?);
        let services = Services::new(&mut ebpf)?;
        let lost = object::take(&mut ebpf, "LOST")?;
        let flow_count = Arc::new(AtomicU64::new(0));
        let misses = Arc::new(AtomicU64::new(0));
        let interfaces = Arc::new(AtomicUsize::new(0));
        let addresses = Arc::new(AtomicUsize::new(0));
        let taps = Taps::load(&mut ebpf, config)?;
        let flows = Flows::new(&mut ebpf, object::limits(config)?, config.flows)?;
        let arrivals = Arrivals::new(&mut ebpf, &flows)?;
        // Before the taps: an address that a tapped SYN is for must be known.
        let changes = Changes::listen()?;
        let mut hooks = plan.attach(&mut ebpf)?;
        let mut keeper = Keeper {
            clock: object::take(&mut ebpf, "CLOCK")?,
            own: Own::new(&mut ebpf, Arc::clone(&addresses))?,
            flow_count: Arc::clone(&flow_count),
            misses: Arc::clone(&misses),
            tapped: Arc::clone(&interfaces),
            tables: Arc::clone(&tables),
            next_clean_s: 0,
            next_look_s: 0,
            ebpf,
            taps,
            flows,
            changes,
            log,
        };
        hooks.insert(0, tapped(&mut keeper, config)?);
        let mode = keeper.taps.mode();
        let sockets = mode == Mode::Packet;
        let programs = ahead::ids(&keeper.ebpf, mode.programs());
        privileges::learn(sockets, || read_lost(&lost).is_ok())?;
        let (stopped, stop) = pipe2(OFlag::O_CLOEXEC).context("make a pipe")?;
        let keeper = std::thread::Builder::new()
            .name("keeper".into())
            .spawn(move || keeper.run(&stopped))
            .context("start the keeper thread")?;
        Ok(Self {
            counters,
            tables,
            arrivals,
            services: Mutex::new(services),
            lost,
            flow_count,
            misses,
            tapped: interfaces,
            addresses,
            flows_capacity: config.flows,
            hooks,
            mode,
            programs,
            stop: Some(stop),
            keeper: Some(keeper),
        })
    }
}

impl Tracer {
    /// As attached at the start, but for the interfaces, which come and go.
    fn hooks(&self) -> Vec<HookStatus> {
        let mut hooks = self.hooks.clone();
        if self.tapped.load(Ordering::Relaxed) == 0
            && let Some(wire) = hooks.iter_mut().find(|hook| hook.hook == WIRE)
        {
            wire.attached = false;
            "no interface is there to be tapped".clone_into(&mut wire.detail);
        }
        hooks
    }
}

/// Starts the clock and taps the interfaces; an error unless all that were
/// named, or at least one, could be tapped.
fn tapped(keeper: &mut Keeper, config: &Config) -> anyhow::Result<HookStatus> {
    keeper.tick_clock()?;
    let (inventory, tapped) = keeper.follow()?;
    let interfaces = keeper.taps.names(&inventory);
    if interfaces.is_empty() || !config.interfaces.is_empty() {
        tapped?;
    }
    Ok(HookStatus {
        hook: WIRE,
        mode: keeper.taps.mode().as_str(),
        attached: true,
        detail: listed(&interfaces),
    })
}

/// Names of interfaces; of many the first ones, and how many there are.
fn listed(names: &[String]) -> String {
    const MOST: usize = 8;
    match names.get(..MOST).zip(names.len().checked_sub(MOST)) {
        Some((first, more)) if more > 0 => format!("{} and {more} more", first.join(",")),
        _ => names.join(","),
    }
}

fn read_lost(map: &PerCpuArray<MapData, u64>) -> anyhow::Result<[u64; Lost::COUNT]> {
    let mut lost = [0; Lost::COUNT];
    for (index, sum) in (0..).zip(lost.iter_mut()) {
        let per_cpu = map.get(&index, 0).context("read the lost packets")?;
        *sum = per_cpu.iter().sum();
    }
    Ok(lost)
}

impl Source for Tracer {
    fn snapshot(&self) -> anyhow::Result<Snapshot> {
        let Read { ports, sharing } = self.counters.read();
        Ok(Snapshot {
            ports,
            sharing,
            lost: read_lost(&self.lost)?,
            misses: self.misses.load(Ordering::Relaxed),
            addresses: self.addresses.load(Ordering::Relaxed) as u64,
            flows: self.flow_count.load(Ordering::Relaxed),
            flows_capacity: u64::from(self.flows_capacity),
            hooks: self.hooks(),
        })
    }

    fn failures(&self) -> anyhow::Result<Failures> {
        self.tables.read()
    }

    fn records(&self) -> Vec<Record> {
        self.tables.records()
    }

    fn served(&self) -> Vec<(ServedKey, u64)> {
        self.tables.served()
    }

    fn elsewhere(&self) -> Vec<(SocketAddr, u64)> {
        self.tables.elsewhere()
    }

    fn view(&self) -> View {
        View {
            mode: self.mode.as_str(),
            programs: self.programs.clone(),
            interfaces: self.tables.tapped().here(),
            tapped: self.tapped.load(Ordering::Relaxed),
            addresses: self.addresses.load(Ordering::Relaxed),
        }
    }

    fn arrivals(&self, port: u16) -> anyhow::Result<Vec<Arrival>> {
        self.arrivals.at(port)
    }

    fn port_at(&self, slot: u16) -> Option<u16> {
        self.counters.port_at(slot)
    }

    fn give_rows(&self, ports: &[u16]) -> anyhow::Result<()> {
        self.counters.give(ports).context("write the rows")
    }

    fn set_services(&self, unchecked: &[u16], addresses: &BTreeSet<IpAddr>) -> anyhow::Result<()> {
        let mut services = self.services.lock();
        let services = services
            .as_deref_mut()
            .map_err(|_| anyhow::anyhow!("a write of them has panicked"))?;
        services.set(unchecked, addresses)
    }

    fn ready(&self) -> Result<(), String> {
        match &self.keeper {
            Some(keeper) if !keeper.is_finished() => Ok(()),
            _ => Err("the keeper thread has ended".into()),
        }
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Closing the pipe ends the thread, and with it everything attached.
        drop(self.stop.take());
        if let Some(keeper) = self.keeper.take()
            && keeper.join().is_err()
        {
            tracing::error!("the keeper thread panicked");
        }
    }
}
