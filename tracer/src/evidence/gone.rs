//! Addresses whose network namespaces have gone from this node.

use std::{collections::HashMap, net::IpAddr};

/// How long they are remembered, nanoseconds: as far back as can be asked for.
const KEPT: u64 = 15 * 60 * 1_000_000_000;
/// How many, at most; the oldest go first.
const MOST: usize = 4096;

/// When each was found gone, nanoseconds of the monotonic clock.
#[derive(Clone, Debug, Default)]
pub struct Gone(HashMap<IpAddr, u64>);

impl Gone {
    /// A namespace with these addresses was found gone `now`.
    pub fn add(&mut self, addresses: impl Iterator<Item = IpAddr>, now: u64) {
        self.0.retain(|_, at| now.saturating_sub(*at) <= KEPT);
        for address in addresses.filter(|address| !address.is_loopback()) {
            if self.0.len() >= MOST && !self.0.contains_key(&address) {
                let oldest = self.0.iter().min_by_key(|(_, at)| **at);
                if let Some(oldest) = oldest.map(|(address, _)| *address) {
                    self.0.remove(&oldest);
                }
            }
            self.0.insert(address, now);
        }
    }

    /// When one of this address was found gone last.
    #[must_use]
    pub fn at(&self, address: IpAddr) -> Option<u64> {
        self.0.get(&address).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn so_many_are_remembered_for_so_long() {
        let mut gone = Gone::default();
        let address = |n: u32| IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + n));
        for n in 0..MOST as u32 + 3 {
            gone.add(
                [address(n), Ipv4Addr::LOCALHOST.into()].into_iter(),
                n.into(),
            );
        }
        assert_eq!(gone.0.len(), MOST);
        assert_eq!(gone.at(address(2)), None);
        assert_eq!(gone.at(address(3)), Some(3));
        gone.add(std::iter::once(address(0)), KEPT + 5);
        assert_eq!((gone.at(address(4)), gone.at(address(5))), (None, Some(5)));
    }
}
