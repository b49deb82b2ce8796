//! Readings of counters that only rise, kept for as long as a window may
//! reach back.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The longest window, and what precedes it.
pub const KEPT: Duration = Duration::from_secs(15 * 60 + 30);
/// A failure is decided later than it is caused: SYNs are sent again for
/// several seconds, and the timeout and the sweep come on top.
pub const LEAD: Duration = Duration::from_secs(15);
/// A gap in the readings longer than this makes the one before it no baseline.
const GAP: Duration = Duration::from_secs(60);
/// Most changes kept: one per poll, and some for questions in between.
const MOST: usize = 256;

/// Counters that are compared over time.
pub trait Totals: Copy + Default + PartialEq {
    /// The cells that only rise; anything else in the type is as it stands.
    fn cells(&mut self) -> impl Iterator<Item = &mut u64>;
}

/// What `now` rose by over `before`; `None` when anything fell: it is another
/// namespace now, or a counter wrapped.
fn rise<T: Totals>(mut now: T, mut before: T) -> Option<T> {
    for (now, before) in now.cells().zip(before.cells()) {
        *now = now.checked_sub(*before)?;
    }
    Some(now)
}

/// Equal readings in a row.
#[derive(Clone, Copy, Debug)]
struct Run<T> {
    first: Instant,
    last: Instant,
    totals: T,
}

/// The readings of one set of counters.
#[derive(Clone, Debug)]
pub struct History<T>(VecDeque<Run<T>>);

impl<T: Totals> History<T> {
    /// Without any reading.
    pub fn new() -> Self {
        Self(VecDeque::new())
    }

    /// Of counters that did not exist yet at `at`, and so were zero.
    pub fn born_after(at: Instant) -> Self {
        let mut history = Self::new();
        history.add(at, T::default());
        history
    }

    /// Adds a reading; `at` does not go back.
    pub fn add(&mut self, at: Instant, totals: T) {
        if let Some(run) = self.0.back_mut() {
            if run.totals == totals {
                run.last = at;
                return;
            }
            if rise(totals, run.totals).is_none() {
                self.0.clear();
            }
        }
        self.0.push_back(Run {
            first: at,
            last: at,
            totals,
        });
        while self.0.len() > MOST || self.0.front().is_some_and(|run| run.last + KEPT < at) {
            self.0.pop_front();
        }
    }

    /// What the counters rose by up to the last reading, since a little before
    /// `window` began or, when that was not read, since the first reading
    /// after it. `None` without any reading.
    pub fn rise(&self, window: Duration) -> Option<T> {
        let now = self.0.back()?;
        let Some(start) = now.last.checked_sub(window + LEAD) else {
            return rise(now.totals, self.0.front()?.totals);
        };
        let before = self.0.iter().rev().find(|run| run.first <= start);
        let before = before.filter(|run| run.last + GAP >= start);
        let after = self.0.iter().find(|run| run.first > start);
        rise(now.totals, before.or(after)?.totals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, Default, PartialEq)]
    struct One(u64);

    impl Totals for One {
        fn cells(&mut self) -> impl Iterator<Item = &mut u64> {
            std::iter::once(&mut self.0)
        }
    }

    const STEP: Duration = Duration::from_secs(5);

    /// A long uptime, so that windows can reach back.
    fn start() -> Instant {
        Instant::now() + 2 * KEPT
    }

    fn rising(start: Instant, steps: u32) -> History<One> {
        let mut history = History::new();
        for step in 0..=steps {
            history.add(start + STEP * step, One(step.into()));
        }
        history
    }

    #[test]
    fn rises_over_the_window_and_its_lead() {
        let history = rising(start(), 100);
        // (60 s + 15 s) / 5 s
        assert_eq!(history.rise(Duration::from_secs(60)), Some(One(15)));
    }

    #[test]
    fn a_younger_history_gives_what_it_has() {
        let history = rising(start(), 4);
        assert_eq!(history.rise(Duration::from_secs(60)), Some(One(4)));
        assert_eq!(History::<One>::new().rise(STEP), None);
    }

    #[test]
    fn what_is_new_starts_from_zero() {
        let start = start();
        let mut history = History::born_after(start);
        history.add(start + STEP, One(9));
        assert_eq!(history.rise(STEP), Some(One(9)));
    }

    #[test]
    fn a_reading_from_long_before_the_window_is_no_baseline() {
        let start = start();
        let mut history = History::new();
        history.add(start, One(0));
        history.add(start + GAP * 3, One(70));
        history.add(start + GAP * 3 + STEP, One(71));
        assert_eq!(history.rise(STEP), Some(One(1)));
    }

    #[test]
    fn unchanged_readings_are_one_and_still_a_baseline() {
        let start = start();
        let mut history = History::new();
        for step in 0..500 {
            history.add(start + STEP * step, One(3));
        }
        history.add(start + STEP * 500, One(8));
        assert_eq!(history.0.len(), 2);
        assert_eq!(history.rise(STEP), Some(One(5)));
    }

    #[test]
    fn counters_that_fall_start_afresh() {
        let mut history = rising(start(), 10);
        history.add(start() + STEP * 11, One(2));
        assert_eq!(history.rise(STEP), Some(One(0)));
    }

    #[test]
    fn memory_is_bounded() {
        let start = start();
        let history = rising(start, 10_000);
        assert!(history.0.len() <= MOST);
        assert!(
            history
                .0
                .front()
                .is_some_and(|run| run.last + KEPT >= start + STEP * 10_000)
        );
        let mut fast = History::new();
        for n in 0..10_000 {
            fast.add(start, One(n));
        }
        assert_eq!(fast.0.len(), MOST);
    }
}
