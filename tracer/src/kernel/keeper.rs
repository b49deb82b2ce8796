//! The one background thread: follows interfaces and addresses, moves the
//! coarse clock on and sweeps the flow table.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracer_common::machine::Now;

use super::{
    failures::Tables,
    flows::{Flows, monotonic},
    interfaces::{Changes, Inventory, inventory},
    log::KernelLog,
    misses::misses,
    own::Own,
    wire::Taps,
};
use crate::privileges::{self, Opens, Role, Sockets};

/// Milliseconds between two sweeps: what time alone decides is decided this
/// much late at most.
const SWEEP_EVERY_MS: u16 = 1000;

/// Seconds between two looks for failures and backends that are long past.
const CLEAN_EVERY_S: u32 = 60;

/// Seconds between two looks at what the kernel gives no notice of that is heard: routes
/// of type local, and whether bridges have netfilter translate.
const LOOK_EVERY_S: u32 = 30;

/// Everything the thread owns; dropping it detaches all programs.
pub struct Keeper {
    pub ebpf: Ebpf,
    pub taps: Taps,
    pub flows: Flows,
    pub changes: Changes,
    pub clock: Array<MapData, u32>,
    pub own: Own,
    pub flow_count: Arc<AtomicU64>,
    pub misses: Arc<AtomicU64>,
    /// Interfaces that are tapped.
    pub tapped: Arc<AtomicUsize>,
    pub tables: Arc<Tables>,
    pub next_clean_s: u32,
    pub next_look_s: u32,
    pub log: Option<KernelLog>,
}

impl Keeper {
    /// Works until `stop` becomes readable or its other end closes.
    pub fn run(mut self, stop: &OwnedFd) {
        privileges::settle(Role::Keeper);
        privileges::wall(Opens::Below(&[]), None);
        privileges::confine(Sockets::Interfaces);
        let mut last_error = String::new();
        loop {
            let mut fds = [
                PollFd::new(stop.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.changes.as_fd(), PollFlags::POLLIN),
            ];
            let ready = poll(&mut fds, PollTimeout::from(SWEEP_EVERY_MS));
            let stopped = fds[0].revents().is_some_and(|events| !events.is_empty());
            if stopped && ready.is_ok() {
                return;
            }
            // One line per change of state, not one per second.
            let error = self
                .round()
                .map_or_else(|e| format!("{e:#}"), |()| String::new());
            if error != last_error {
                if error.is_empty() {
                    tracing::info!("sweeping again");
                } else {
                    tracing::error!(error, "sweep failed, trying again");
                }
                last_error = error;
            }
        }
    }

    /// One round: changes of the node, then the clock, then the sweep, and now
    /// and then what is long past.
    pub fn round(&mut self) -> anyhow::Result<()> {
        if self.changes.drain() || coarse_s() >= self.next_look_s {
            let (_, tapped) = self.follow()?;
            // Reported there already, and tried again at the next change.
            drop(tapped);
        }
        if let Some(log) = &mut self.log {
            log.flush();
        }
        let now = self.tick_clock()?;
        let flows = self.flows.sweep(&mut self.ebpf, now)?;
        self.flow_count.store(flows, Ordering::Relaxed);
        self.misses.store(misses(&self.ebpf), Ordering::Relaxed);
        if now.s >= self.next_clean_s {
            self.next_clean_s = now.s.saturating_add(CLEAN_EVERY_S);
            self.tables.clean(now.s, self.flows.used())?;
        }
        Ok(())
    }

    /// Reads the node's interfaces and addresses and makes taps and map fit;
    /// returns what there is and whether all of it could be tapped.
    pub fn follow(&mut self) -> anyhow::Result<(Inventory, anyhow::Result<()>)> {
        self.next_look_s = coarse_s().saturating_add(LOOK_EVERY_S);
        let now = inventory()?;
        self.own.follow(&now, &self.tables);
        // Before the taps: who comes by an interface tells its name.
        self.tables.tapped().follow(self.taps.wanted(&now));
        let raised = privileges::raise();
        let tapped = self.taps.follow(&mut self.ebpf, &now);
        drop(raised);
        self.tapped.store(self.taps.count(), Ordering::Relaxed);
        Ok((now, tapped))
    }

    /// Moves the programs' coarse clock on.
    pub fn tick_clock(&mut self) -> anyhow::Result<Now> {
        let now = monotonic();
        let s = coarse_s();
        self.clock
            .set(0, s, 0)
            .context("move the coarse clock on")?;
        Ok(Now {
            ns: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
            s,
        })
    }
}

/// Seconds of the monotonic clock.
fn coarse_s() -> u32 {
    u32::try_from(monotonic().as_secs()).unwrap_or(u32::MAX)
}
