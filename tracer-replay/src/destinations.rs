//! Where SYNs went that open no attempt, counted by address and port.

use std::collections::HashMap;

use tracer_common::flow::Addr;

/// Destinations that are counted one by one.
const REMEMBERED: usize = 4_096;

/// Counts by destination.
#[derive(Clone, Debug, Default)]
pub struct Destinations {
    by: HashMap<(Addr, u16), u64>,
    /// SYNs to other destinations than those that are counted one by one.
    pub beyond: u64,
}

impl Destinations {
    /// Counts a SYN.
    pub(crate) fn note(&mut self, address: Addr, port: u16) {
        if let Some(count) = self.by.get_mut(&(address, port)) {
            *count += 1;
        } else if self.by.len() < REMEMBERED {
            self.by.insert((address, port), 1);
        } else {
            self.beyond += 1;
        }
    }

    /// How many SYNs there were.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by.values().sum::<u64>() + self.beyond
    }

    /// Address, port and SYNs, the most first.
    #[must_use]
    pub fn sorted(&self) -> Vec<(std::net::SocketAddr, u64)> {
        let by = self.by.iter();
        let mut sorted: Vec<_> = by
            .map(|((address, port), syns)| ((address.ip(), *port).into(), *syns))
            .collect();
        sorted.sort_unstable_by_key(|(at, syns)| (std::cmp::Reverse(*syns), *at));
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_syn_is_counted_though_not_every_destination() {
        let mut destinations = Destinations::default();
        for i in 0..2 * REMEMBERED as u32 {
            destinations.note(Addr::v4(i.to_be_bytes()), 443);
        }
        destinations.note(Addr::v4([0, 0, 0, 9]), 443);
        assert_eq!(destinations.total(), 2 * REMEMBERED as u64 + 1);
        let sorted = destinations.sorted();
        assert_eq!(sorted.len(), REMEMBERED);
        assert_eq!(sorted.first(), Some(&(([0, 0, 0, 9], 443).into(), 2)));
    }
}
