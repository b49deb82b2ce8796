//! The system clock, held against one that nobody sets.

use nix::time::ClockId;

use super::nanoseconds;

/// What the system clock is set by, from which on it is told, nanoseconds. NTP
/// daemons correct less by slewing, which moves both clocks alike and is not
/// seen here at all; a leap second is told.
const STEP: u128 = 500_000_000;
/// A reading that took longer, nanoseconds, does not tell what time it is of.
const SLOW: u64 = 100_000_000;

/// Both clocks at one moment, nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// CLOCK_BOOTTIME, which goes on while the machine is suspended, as the
    /// system clock does.
    before: u64,
    /// CLOCK_REALTIME
    real: u64,
    /// CLOCK_BOOTTIME again.
    after: u64,
}

impl Reading {
    /// Reads them.
    pub(super) fn now() -> Self {
        Self {
            before: nanoseconds(ClockId::CLOCK_BOOTTIME),
            real: nanoseconds(ClockId::CLOCK_REALTIME),
            after: nanoseconds(ClockId::CLOCK_BOOTTIME),
        }
    }

    /// How far the system clock is ahead; `None`: the thread did not run for a
    /// while between the readings.
    fn ahead(self) -> Option<i128> {
        let slow = self.after.saturating_sub(self.before) > SLOW;
        (!slow).then(|| i128::from(self.real) - i128::from(self.before))
    }
}

/// What was seen of the system clock.
#[derive(Debug)]
pub(super) struct Clock {
    ahead: Option<i128>,
    steps: u64,
}

impl Clock {
    /// Begins with this reading.
    pub(super) fn new(reading: Reading) -> Self {
        Self {
            ahead: reading.ahead(),
            steps: 0,
        }
    }

    /// Looks again; tells of a step, and returns how many there have been.
    pub(super) fn look(&mut self, reading: Reading) -> u64 {
        if let Some(by) = self.step(reading) {
            self.steps += 1;
            let by_s = (by / 1_000_000) as f64 / 1e3;
            tracing::warn!(by_s, "the system clock was stepped; counts go on");
        }
        self.steps
    }

    /// What the clock was set by since the last reading, nanoseconds, if that is a step.
    fn step(&mut self, reading: Reading) -> Option<i128> {
        let ahead = reading.ahead()?;
        let before = self.ahead.replace(ahead)?;
        let by = ahead - before;
        (by.unsigned_abs() >= STEP).then_some(by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    /// Any time of day.
    const DAY: u64 = 1_700_000_000 * S;

    fn at(boot: u64, real: u64) -> Reading {
        Reading {
            before: boot,
            real,
            after: boot + 1000,
        }
    }

    #[test]
    fn steps_forth_and_back_are_told_once() {
        let mut clock = Clock::new(at(10 * S, DAY));
        assert_eq!(clock.step(at(11 * S, DAY + S)), None);
        let day = 86_400 * S;
        let by = clock.step(at(12 * S, DAY + 2 * S + day));
        assert_eq!(by, Some(i128::from(day)));
        assert_eq!(clock.step(at(13 * S, DAY + 3 * S + day)), None);
        let by = clock.step(at(14 * S, DAY + 4 * S));
        assert_eq!(by, Some(-i128::from(day)));
        assert_eq!(clock.step(at(15 * S, DAY + 5 * S)), None);
        // A leap second.
        assert_eq!(clock.step(at(16 * S, DAY + 5 * S)), Some(-i128::from(S)));
    }

    #[test]
    fn what_is_small_or_no_step_is_not_told() {
        let mut clock = Clock::new(at(10 * S, DAY));
        // Suspended for an hour: both go on.
        let hour = 3600 * S;
        assert_eq!(clock.step(at(10 * S + hour, DAY + hour)), None);
        // Small corrections do not add up.
        for i in 1..100 {
            let real = DAY + hour + i * (S + S / 10);
            assert_eq!(clock.step(at(10 * S + hour + i * S, real)), None);
        }
    }

    #[test]
    fn a_thread_that_stood_still_in_between_is_no_step() {
        let mut clock = Clock::new(at(10 * S, DAY));
        let stopped = Reading {
            before: 11 * S,
            real: DAY + 61 * S,
            after: 71 * S,
        };
        assert_eq!(clock.step(stopped), None);
        assert_eq!(clock.step(at(72 * S, DAY + 62 * S)), None);
        // What happened meanwhile is seen by the next one.
        assert_eq!(clock.step(Reading { real: 0, ..stopped }), None);
        let by = clock.step(at(73 * S, DAY + 65 * S));
        assert_eq!(by, Some(i128::from(2 * S)));
    }

    #[test]
    fn steps_are_counted() {
        let mut clock = Clock::new(Reading::now());
        assert_eq!(clock.look(Reading::now()), 0);
        let now = Reading::now();
        let real = now.real + 60 * S;
        assert_eq!(clock.look(Reading { real, ..now }), 1);
        assert_eq!(clock.look(Reading::now()), 2);
    }
}
