//! What the kernel programs know of Services: the ports that no health check goes to, and
//! addresses.

use std::{collections::BTreeSet, net::IpAddr};

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData},
};
use tracer_common::{
    config::{SERVICE_ADDRESSES, UNCHECKED_WORDS},
    flow::Addr,
};

use super::{interfaces::addr, object::take};

/// The maps, and what was written to them.
pub struct Services {
    unchecked: Array<MapData, u64>,
    words: Vec<u64>,
    addresses: HashMap<MapData, Addr, u8>,
    known: BTreeSet<IpAddr>,
}

impl Services {
    /// Takes the maps out of the object.
    pub fn new(ebpf: &mut Ebpf) -> anyhow::Result<Self> {
        Ok(Self {
            unchecked: take(ebpf, "UNCHECKED")?,
            words: vec![0; UNCHECKED_WORDS as usize],
            addresses: take(ebpf, "SERVICE_ADDRESSES")?,
            known: BTreeSet::new(),
        })
    }

    /// Writes what changes: a port's bit is never wrong in between.
    pub fn set(&mut self, unchecked: &[u16], addresses: &BTreeSet<IpAddr>) -> anyhow::Result<()> {
        let words = words(unchecked);
        for (index, (new, old)) in (0..).zip(words.iter().zip(&mut self.words)) {
            if new != old {
                let written = self.unchecked.set(index, new, 0);
                written.context("write the unchecked ports")?;
                *old = *new;
            }
        }
        self.set_addresses(addresses)
            .context("write the addresses of Services")
    }

    fn set_addresses(&mut self, now: &BTreeSet<IpAddr>) -> anyhow::Result<()> {
        let most = SERVICE_ADDRESSES as usize;
        if now.len() > most && now.len() != self.known.len() {
            let all = now.len();
            tracing::warn!(all, most, "dials to Services beyond these are not counted");
        }
        let now: BTreeSet<IpAddr> = now.iter().copied().take(most).collect();
        for gone in self.known.difference(&now) {
            // Absent already: nothing to undo.
            let _ = self.addresses.remove(&addr(*gone));
        }
        self.known.retain(|known| now.contains(known));
        for new in now {
            if !self.known.contains(&new) {
                self.addresses.insert(addr(new), 1, 0)?;
                self.known.insert(new);
            }
        }
        Ok(())
    }
}

/// A bit per port, the lowest first.
fn words(ports: &[u16]) -> Vec<u64> {
    let mut words = vec![0; UNCHECKED_WORDS as usize];
    for port in ports {
        if let Some(word) = words.get_mut(usize::from(*port) / 64) {
            *word |= 1 << (port % 64);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_has_a_bit() {
        let words = words(&[0, 63, 64, 30_101, u16::MAX]);
        let is_set = |port: u16| words[usize::from(port) / 64] >> (port % 64) & 1 == 1;
        let set: Vec<u16> = (0..=u16::MAX).filter(|port| is_set(*port)).collect();
        assert_eq!(set, [0, 63, 64, 30_101, u16::MAX]);
    }
}
