//! When a node port had no ready endpoint, and when one that is being deleted served alone
//! on its node. Times are nanoseconds of the monotonic clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

/// How long after its end such a time is remembered.
const KEPT: u64 = 15 * 60 * 1_000_000_000;
/// Such times of one key that are remembered, at most; the oldest go first.
const EACH: usize = 32;
/// Keys that are remembered, at most: 3.5 MiB, if each came and went as often as that.
const KEYS: usize = 4096;

/// Ports without any ready endpoint.
pub type Empty = Spells<u16>;
/// By port, endpoints that are being deleted, still serve, and have no ready one beside
/// them on their node: with externalTrafficPolicy Local they are chosen (KEP-1669).
pub type Alone = Spells<(u16, SocketAddr)>;

/// By key, from when to when something was so; the last may have no end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spells<K>(BTreeMap<K, Vec<(u64, Option<u64>)>>);

impl<K> Default for Spells<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Spells<K> {
    /// Takes for which keys it is so `now`; `first`: nobody looked before, so that it may
    /// have been so for long.
    pub fn update(&mut self, are: impl Iterator<Item = K>, first: bool, now: u64) {
        let mut are: BTreeSet<K> = are.collect();
        self.0.retain(|key, times| {
            let is = are.remove(key);
            match times.last_mut() {
                Some((_, end @ None)) if !is => *end = Some(now),
                Some((_, Some(_))) if is => times.push((now, None)),
                _ => {}
            }
            times.retain(|(_, end)| end.is_none_or(|end| now.saturating_sub(end) <= KEPT));
            let more = times.len().saturating_sub(EACH);
            times.drain(..more);
            !times.is_empty()
        });
        let room = KEYS.saturating_sub(self.0.len());
        let from = if first { 0 } else { now };
        let new = are.into_iter().take(room);
        self.0.extend(new.map(|key| (key, vec![(from, None)])));
    }

    /// Whether it was so at some time from `first` to `last`.
    #[must_use]
    pub fn between(&self, key: K, first: u64, last: u64) -> bool {
        let mut times = self.0.get(&key).into_iter().flatten();
        times.any(|(from, end)| *from <= last && end.is_none_or(|end| end >= first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_without_endpoints_are_remembered() {
        let mut empty = Empty::default();
        empty.update([1].into_iter(), true, 10);
        assert!(empty.between(1, 0, 5) && !empty.between(2, 0, 50));
        empty.update([2].into_iter(), false, 20);
        empty.update([].into_iter(), false, 30);
        let told = |port, at| empty.between(port, at, at);
        assert!(told(1, 20) && !told(1, 21));
        assert!(!told(2, 19) && told(2, 20) && told(2, 30) && !told(2, 31));
        assert!(!told(3, 20));
        for now in 0..1000 {
            empty.update((now % 2 == 0).then_some(1).into_iter(), false, 100 + now);
        }
        assert_eq!(empty.0[&1].len(), EACH);
        empty.update([].into_iter(), false, 2 * KEPT);
        assert_eq!(empty, Empty::default());
    }

    #[test]
    fn memory_is_bounded() {
        let mut alone = Spells::default();
        for now in 0..20_u32 {
            alone.update((0..1000).map(|i| (now, i)), false, u64::from(now));
        }
        assert_eq!(alone.0.len(), KEYS);
    }
}
