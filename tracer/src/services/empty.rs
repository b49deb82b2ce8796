//! When a node port had no ready endpoint. Times are nanoseconds of the monotonic clock.

use std::collections::BTreeMap;

/// How long after its end such a time is remembered.
const KEPT: u64 = 15 * 60 * 1_000_000_000;
/// Such times of one port that are remembered, at most; the oldest go first.
const EACH: usize = 32;

/// By port, from when to when; the last may have no end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Empty(BTreeMap<u16, Vec<(u64, Option<u64>)>>);

impl Empty {
    /// Takes whether each port has no ready endpoint `now`; `first`: nobody looked
    /// before, so that it may have been so for long.
    pub fn update(&mut self, ports: impl Iterator<Item = (u16, bool)>, first: bool, now: u64) {
        let ports: BTreeMap<u16, bool> = ports.collect();
        self.0.retain(|port, times| {
            times.retain(|(_, end)| end.is_none_or(|end| now.saturating_sub(end) <= KEPT));
            ports.contains_key(port) && !times.is_empty()
        });
        for (port, empty) in ports {
            let open = self.0.get_mut(&port).and_then(|times| times.last_mut());
            match open.filter(|(_, end)| end.is_none()) {
                Some((_, end)) if !empty => *end = Some(now),
                None if empty => {
                    let times = self.0.entry(port).or_default();
                    times.push((if first { 0 } else { now }, None));
                    let more = times.len().saturating_sub(EACH);
                    times.drain(..more);
                }
                _ => {}
            }
        }
    }

    /// Whether the port had none at some time from `first` to `last`.
    #[must_use]
    pub fn between(&self, port: u16, first: u64, last: u64) -> bool {
        let mut times = self.0.get(&port).into_iter().flatten();
        times.any(|(from, end)| *from <= last && end.is_none_or(|end| end >= first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_without_endpoints_are_remembered() {
        let mut empty = Empty::default();
        empty.update([(1, true), (2, false)].into_iter(), true, 10);
        assert!(empty.between(1, 0, 5) && !empty.between(2, 0, 50));
        empty.update([(1, false), (2, true)].into_iter(), false, 20);
        empty.update([(1, false), (2, false)].into_iter(), false, 30);
        let told = |port, at| empty.between(port, at, at);
        assert!(told(1, 20) && !told(1, 21));
        assert!(!told(2, 19) && told(2, 20) && told(2, 30) && !told(2, 31));
        assert!(!told(3, 20));
        for now in 0..1000 {
            empty.update([(1, now % 2 == 0)].into_iter(), false, 100 + now);
        }
        assert_eq!(empty.0.values().map(Vec::len).sum::<usize>(), EACH);
        empty.update([(1, false)].into_iter(), false, 2 * KEPT);
        assert_eq!(empty, Empty::default());
    }
}
