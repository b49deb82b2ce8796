//! Tells the programs what is the node's own: addresses, prefixes, bridges.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use aya::{
    Ebpf,
    maps::{HashMap, LpmTrie, MapData},
};
use ipnet::IpNet;
use tracer_common::{
    config::{Mac, OWN_PREFIXES},
    flow::Addr,
};

use super::{
    failures::Tables,
    flows::monotonic,
    interfaces::{Inventory, addr},
    object::{prefix_key, take},
};

/// The maps of `own.rs` of the programs, and what is in them.
pub struct Own {
    local: HashMap<MapData, Addr, u8>,
    /// What is in `local`, with its number, and what had no place there.
    known: BTreeMap<IpAddr, u8>,
    refused: BTreeSet<IpAddr>,
    prefixes: LpmTrie<MapData, Addr, u8>,
    known_prefixes: BTreeSet<IpNet>,
    bridges: HashMap<MapData, Mac, u8>,
    known_bridges: BTreeSet<Mac>,
    /// Own addresses that are known to the programs.
    addresses: Arc<AtomicUsize>,
}

impl Own {
    /// Takes the maps out of the object; `addresses` will tell how many there are.
    pub fn new(ebpf: &mut Ebpf, addresses: Arc<AtomicUsize>) -> anyhow::Result<Self> {
        Ok(Self {
            local: take(ebpf, "LOCAL")?,
            known: BTreeMap::new(),
            refused: BTreeSet::new(),
            prefixes: take(ebpf, "LOCAL_PREFIXES")?,
            known_prefixes: BTreeSet::new(),
            bridges: take(ebpf, "BRIDGES")?,
            known_bridges: BTreeSet::new(),
            addresses,
        })
    }

    /// Makes the maps fit what there is now.
    pub fn follow(&mut self, now: &Inventory, tables: &Tables) {
        self.follow_addresses(&now.addresses, tables);
        self.follow_prefixes(&now.prefixes);
        self.follow_bridges(&now.bridges);
    }

    /// Tells of each that is new, and of those that have no place.
    fn follow_prefixes(&mut self, now: &BTreeSet<IpNet>) {
        let known = std::mem::take(&mut self.known_prefixes);
        for gone in known.difference(now) {
            // Absent already: nothing to undo.
            let _ = self.prefixes.remove(&prefix_key(gone));
        }
        for net in now.iter().take(OWN_PREFIXES as usize) {
            let is_new = !known.contains(net);
            match self.prefixes.insert(&prefix_key(net), 1, 0) {
                Ok(()) if is_new => tracing::info!(prefix = %net, "own by a local route"),
                Ok(()) => {}
                // Tried again at the next look.
                Err(error) => tracing::warn!(prefix = %net, %error, "SYNs are not counted"),
            }
            self.known_prefixes.insert(*net);
        }
        let all = now.len();
        if all > OWN_PREFIXES as usize && known != self.known_prefixes {
            let most = OWN_PREFIXES;
            tracing::warn!(
                all,
                most,
                "SYNs to own prefixes beyond these are not counted"
            );
        }
    }

    fn follow_bridges(&mut self, now: &BTreeSet<Mac>) {
        let known = std::mem::take(&mut self.known_bridges);
        for gone in known.difference(now) {
            // Absent already: nothing to undo.
            let _ = self.bridges.remove(gone);
        }
        for mac in now {
            match self.bridges.insert(*mac, 1, 0) {
                Ok(()) => drop(self.known_bridges.insert(*mac)),
                // Tried again at the next look.
                Err(error) => tracing::warn!(%error, "SYNs to a bridge are not counted"),
            }
        }
    }

    /// Tells of changes, but not of what is there at the start.
    fn follow_addresses(&mut self, now: &BTreeMap<IpAddr, bool>, tables: &Tables) {
        let starting = self.known.is_empty();
        self.forget_addresses(now, tables);
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
            let number = tables.numbers().give(*new, outer);
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

    fn forget_addresses(&mut self, now: &BTreeMap<IpAddr, bool>, tables: &Tables) {
        let now_s = u32::try_from(monotonic().as_secs()).unwrap_or(u32::MAX);
        let known = std::mem::take(&mut self.known);
        for (ip, number) in known {
            if now.contains_key(&ip) {
                self.known.insert(ip, number);
                continue;
            }
            // Absent already: nothing to undo.
            let _ = self.local.remove(&addr(ip));
            tables.numbers().gone(ip, now_s);
            tracing::info!(address = %ip, "own address removed");
        }
    }
}
