//! The one background thread: follows interfaces and addresses, moves the
//! coarse clock on and sweeps the flow table.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData},
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracer_common::{flow::Addr, machine::Now};

use super::{
    failures::Tables,
    flows::{Flows, monotonic},
    interfaces::{Changes, Inventory, addr, inventory},
    log::KernelLog,
    misses::misses,
    wire::Taps,
};
use crate::privileges::{self, Opens, Role};

/// Milliseconds between two sweeps: what time alone decides is decided this
/// much late at most.
const SWEEP_EVERY_MS: u16 = 1000;

/// Seconds between two looks for failures and backends that are long past.
const CLEAN_EVERY_S: u32 = 60;

/// Everything the thread owns; dropping it detaches all programs.
pub struct Keeper {
    pub ebpf: Ebpf,
    pub taps: Taps,
    pub flows: Flows,
    pub changes: Changes,
    pub clock: Array<MapData, u32>,
    pub local: HashMap<MapData, Addr, u8>,
    /// What is in `local`, with its number, and what had no place there.
    pub known: BTreeMap<IpAddr, u8>,
    pub refused: BTreeSet<IpAddr>,
    pub flow_count: Arc<AtomicU64>,
    pub misses: Arc<AtomicU64>,
    /// Interfaces that are tapped.
    pub tapped: Arc<AtomicUsize>,
    /// Own addresses that are known to the programs.
    pub addresses: Arc<AtomicUsize>,
    pub tables: Arc<Tables>,
    pub next_clean_s: u32,
    pub log: Option<KernelLog>,
}

impl Keeper {
    /// Works until `stop` becomes readable or its other end closes.
    pub fn run(mut self, stop: &OwnedFd) {
        privileges::settle(Role::Keeper);
        privileges::wall(Opens::Below(&[]), None);
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
        if self.changes.drain() {
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
        let now = inventory()?;
        self.follow_addresses(&now.addresses);
        // Before the taps: who comes by an interface tells its name.
        self.tables.tapped().follow(self.taps.wanted(&now));
        let raised = privileges::raise();
        let tapped = self.taps.follow(&mut self.ebpf, &now);
        drop(raised);
        self.tapped.store(self.taps.count(), Ordering::Relaxed);
        Ok((now, tapped))
    }

    /// Tells of changes, but not of what is there at the start.
    fn follow_addresses(&mut self, now: &BTreeMap<IpAddr, bool>) {
        let starting = self.known.is_empty();
        self.forget_addresses(now);
        let refused = std::mem::take(&mut self.refused);
        let mut news = Vec::new();
        let mut order: Vec<(&IpAddr, bool)> = now.iter().map(|(ip, outer)| (ip, *outer)).collect();
        // Those that peers can send to first: there may not be room for all.
        order.sort_by_key(|(ip, outer)| (!outer, **ip));
        for (new, outer) in order {
            let known = self.known.get(new).copied();
            if known.is_some_and(|number| number != 0) {
                continue;
            }
            let number = self.tables.numbers().give(*new, outer);
            if known == Some(number) {
                continue;
            }
            match self.local.insert(addr(*new), number, 0) {
                // Tried again at the next change.
                Err(error) => {
                    if !refused.contains(new) {
                        news.push((*new, error));
                    }
                    self.refused.insert(*new);
                }
                Ok(()) => {
                    if !starting && known.is_none() {
                        tracing::info!(address = %new, "own address added");
                    }
                    self.known.insert(*new, number);
                }
            }
        }
        if let Some((address, error)) = news.first() {
            let count = news.len();
            tracing::warn!(%address, count, %error, "SYNs to own addresses are not counted");
        }
        let known = self.local.keys().filter(Result::is_ok).count();
        self.addresses.store(known, Ordering::Relaxed);
    }

    fn forget_addresses(&mut self, now: &BTreeMap<IpAddr, bool>) {
        let now_s = u32::try_from(monotonic().as_secs()).unwrap_or(u32::MAX);
        let known = std::mem::take(&mut self.known);
        for (ip, number) in known {
            if now.contains_key(&ip) {
                self.known.insert(ip, number);
                continue;
            }
            // Absent already: nothing to undo.
            let _ = self.local.remove(&addr(ip));
            self.tables.numbers().gone(ip, now_s);
            tracing::info!(address = %ip, "own address removed");
        }
    }

    /// Moves the programs' coarse clock on.
    pub fn tick_clock(&mut self) -> anyhow::Result<Now> {
        let now = monotonic();
        let s = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        self.clock
            .set(0, s, 0)
            .context("move the coarse clock on")?;
        Ok(Now {
            ns: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
            s,
        })
    }
}
