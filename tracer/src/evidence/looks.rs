//! What earlier looks at backends on this node have shown: a full queue that has emptied
//! since, drops of a listener, and whether a process that lets bytes wait reads at all.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    Pod,
    history::{KEPT, LEAD},
};

/// Between two looks of which the earlier one tells whether a process reads.
const APART: Duration = Duration::from_millis(300);
/// Most backends, and most looks at each that are kept.
const BACKENDS: usize = 1024;
const MOST: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    was_full: bool,
    /// Of the listener; `None`: nothing listened.
    drops: Option<u32>,
}

#[derive(Debug, Default)]
struct Known {
    looks: VecDeque<Look>,
    /// Unread connections at the look of that time: by inode the bytes read so far.
    unread: Option<(Instant, HashMap<u32, u64>)>,
}

/// Looks by backend.
#[derive(Debug, Default)]
pub struct Looks(HashMap<SocketAddr, Known>);

impl Looks {
    /// Remembers a look at a backend, and tells its pod what the looks within `window`
    /// have shown.
    pub fn add(&mut self, at: Instant, window: Duration, backend: SocketAddr, pod: &mut Pod) {
        self.forget(at);
        if self.0.len() >= BACKENDS && !self.0.contains_key(&backend) {
            return;
        }
        let known = self.0.entry(backend).or_default();
        let look = Look {
            at,
            was_full: pod.listener.is_some_and(|l| l.queue > l.limit),
            drops: pod.listener.map(|l| l.drops),
        };
        known.push(look);
        let within = |look: &&Look| at.duration_since(look.at) <= window + LEAD;
        pod.was_full = known.looks.iter().filter(within).any(|look| look.was_full);
        pod.drops_rise = known.rise(at, window);
        known.compare(at, pod);
    }

    fn forget(&mut self, now: Instant) {
        self.0.retain(|_, known| {
            let last = known.looks.back();
            last.is_some_and(|look| now.duration_since(look.at) <= KEPT)
        });
    }
}

impl Known {
    /// Looks that show the same as the one before and the one after are not kept.
    fn push(&mut self, look: Look) {
        let same = |a: &Look, b: &Look| (a.was_full, a.drops) == (b.was_full, b.drops);
        let mut last = self.looks.iter().rev();
        if let (Some(last), Some(before)) = (last.next(), last.next())
            && same(last, before)
            && same(last, &look)
        {
            self.looks.pop_back();
        }
        if self.looks.len() == MOST {
            self.looks.pop_front();
        }
        self.looks.push_back(look);
    }

    fn rise(&self, now: Instant, window: Duration) -> Option<u64> {
        let within = |look: &&Look| now.duration_since(look.at) <= window + LEAD;
        // The last look before the window is the better baseline, if there is one.
        let before = self.looks.iter().rev().find(|look| !within(look));
        let first = before.or_else(|| self.looks.iter().find(within))?;
        let last = self.looks.back().filter(|last| last.at > first.at)?;
        let (before, now) = (first.drops?, last.drops?);
        // A listener that is made anew counts from 0.
        Some(u64::from(now.checked_sub(before).unwrap_or(now)))
    }

    /// Takes those off that have read something since the look before, and says whether
    /// the others have waited since then.
    fn compare(&mut self, at: Instant, pod: &mut Pod) {
        if let Some((_, before)) = self.unread.as_ref().filter(|(b, _)| *b + APART <= at) {
            let met = |(inode, read): &(u32, u64)| before.get(inode).map(|b| b == read);
            let reads = pod.met_unread.iter().filter(|s| met(s) == Some(false));
            let waits = pod
                .met_unread
                .iter()
                .filter(|s| met(s) == Some(true))
                .count();
            pod.unread = pod.unread.saturating_sub(reads.count() as u32);
            pod.unread_for_long = waits > 0 && waits * 2 >= pod.unread as usize;
        }
        let old = self.unread.as_ref();
        if old.is_none_or(|(before, _)| *before + APART <= at) {
            self.unread = Some((at, pod.met_unread.iter().copied().collect()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Listener;

    const WINDOW: Duration = Duration::from_secs(60);

    fn backend() -> SocketAddr {
        "10.244.0.7:9090".parse().unwrap()
    }

    fn pod(queue: u32, drops: u32, unread: &[(u32, u64)]) -> Pod {
        Pod {
            listener: Some(Listener {
                queue,
                limit: 4,
                drops,
            }),
            unread: unread.len() as u32,
            met_unread: unread.to_vec(),
            ..Pod::default()
        }
    }

    fn after(looks: &mut Looks, start: Instant, seconds: u64, mut pod: Pod) -> Pod {
        let at = start + Duration::from_secs(seconds);
        looks.add(at, WINDOW, backend(), &mut pod);
        pod
    }

    #[test]
    fn a_queue_that_was_full_is_remembered_for_the_window() {
        let (mut looks, start) = (Looks::default(), Instant::now());
        assert!(!after(&mut looks, start, 0, pod(0, 7, &[])).was_full);
        let full = after(&mut looks, start, 1, pod(5, 9, &[]));
        assert!(full.was_full);
        let later = after(&mut looks, start, 30, pod(0, 12, &[]));
        assert!(later.was_full);
        assert_eq!(later.drops_rise, Some(5));
        let much_later = after(&mut looks, start, 200, pod(0, 12, &[]));
        assert!(!much_later.was_full);
        assert_eq!(much_later.drops_rise, Some(0));
    }

    #[test]
    fn a_listener_that_is_made_anew_has_dropped_little() {
        let (mut looks, start) = (Looks::default(), Instant::now());
        after(&mut looks, start, 0, pod(0, 500, &[]));
        let anew = after(&mut looks, start, 2, pod(0, 3, &[]));
        assert_eq!(anew.drops_rise, Some(3));
    }

    #[test]
    fn the_first_look_knows_no_rise() {
        let (mut looks, start) = (Looks::default(), Instant::now());
        assert_eq!(after(&mut looks, start, 0, pod(0, 7, &[])).drops_rise, None);
    }

    #[test]
    fn who_reads_in_between_is_not_stuck() {
        let (mut looks, start) = (Looks::default(), Instant::now());
        let first = after(&mut looks, start, 0, pod(0, 0, &[(5, 10), (6, 10)]));
        assert!(!first.unread_for_long);
        let second = after(&mut looks, start, 2, pod(0, 0, &[(5, 900), (6, 10)]));
        assert_eq!((second.unread, second.unread_for_long), (1, true));
        let third = after(&mut looks, start, 4, pod(0, 0, &[(5, 999), (7, 1)]));
        assert_eq!((third.unread, third.unread_for_long), (1, false));
    }

    #[test]
    fn memory_is_bounded() {
        let (mut looks, start) = (Looks::default(), Instant::now());
        for n in 0..10_000 {
            after(&mut looks, start, n, pod(n as u32 % 9, n as u32, &[]));
        }
        assert!(looks.0[&backend()].looks.len() <= MOST);
        for n in 0..3000_u32 {
            let other = SocketAddr::from((n.to_be_bytes(), 1));
            looks.add(start, WINDOW, other, &mut Pod::default());
        }
        assert!(looks.0.len() <= BACKENDS);
    }
}
