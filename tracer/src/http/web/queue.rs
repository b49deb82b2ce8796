//! Who may wait for a comparison: few in all, and fewer of one network, so that
//! who guesses does not keep out who comes from elsewhere.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

/// Requests that may wait, the one at work included.
const ALL: usize = 16;
/// Of these, from one address, or of IPv6 one /64.
const EACH: usize = 2;

/// Where those come from who wait now.
#[derive(Clone, Default)]
pub(super) struct Queue(Arc<Mutex<Vec<Option<IpAddr>>>>);

/// A place in the queue; free again when dropped.
pub(super) struct Place {
    queue: Queue,
    network: Option<IpAddr>,
}

impl Queue {
    /// `None`: there is none for this client.
    pub(super) fn take(&self, client: Option<IpAddr>) -> Option<Place> {
        let network = client.map(network);
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = taken.iter().filter(|other| **other == network).count();
        if same >= EACH || taken.len() >= ALL {
            return None;
        }
        taken.push(network);
        drop(taken);
        let queue = self.clone();
        Some(Place { queue, network })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.queue.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = taken.iter().position(|other| *other == self.network) {
            taken.swap_remove(at);
        }
    }
}

fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        four => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_cannot_take_all() {
        let queue = Queue::default();
        let take = |client: &str| queue.take(Some(client.parse().unwrap()));
        let (first, second) = (take("10.0.0.1"), take("::ffff:10.0.0.1"));
        assert!(first.is_some() && second.is_some());
        assert!(take("10.0.0.1").is_none());
        let mut others: Vec<_> = (2..16).map(|i| take(&format!("10.0.0.{i}"))).collect();
        assert!(others.iter().all(Option::is_some));
        assert!(take("10.0.0.99").is_none(), "no more than so many in all");
        drop(first);
        assert!(take("10.0.0.1").is_some());
        others.clear();
        let six: Vec<_> = (1..3).map(|i| take(&format!("2001:db8::{i}"))).collect();
        assert!(six.iter().all(Option::is_some));
        assert!(take("2001:db8::ffff:1").is_none());
        assert!(take("2001:db8:0:1::1").is_some());
    }
}
