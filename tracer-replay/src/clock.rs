//! The time of a capture: never goes back, whatever the file says.

use tracer_common::machine::Now;

const NS_PER_S: i64 = 1_000_000_000;
/// Packets that come later in the file than their times say by no more than
/// this were only written in another order than they were seen in.
const DISORDER: i64 = NS_PER_S;

/// The clock.
#[derive(Debug, Default)]
pub struct Clock {
    /// What is added to a file's time; `None` before the first packet.
    offset: Option<i64>,
    first: Option<i64>,
    now: i64,
    /// Packets whose time was before that of the packet ahead of them.
    pub disordered: u64,
    /// How often time went back by more than that.
    pub set_back: u64,
    /// Packets without a time.
    pub timeless: u64,
}

impl Clock {
    /// Moves on to the time of the next packet, nanoseconds since the epoch.
    pub(crate) fn advance(&mut self, time: Option<u64>) -> Now {
        let Some(time) = time else {
            self.timeless += 1;
            return self.now();
        };
        let time = i64::try_from(time).unwrap_or(i64::MAX);
        self.first.get_or_insert(time);
        // 0 would look like no time at all.
        let offset = *self.offset.get_or_insert(NS_PER_S.saturating_sub(time));
        let at = time.saturating_add(offset);
        if at >= self.now {
            self.now = at;
        } else if self.now - at <= DISORDER {
            self.disordered += 1;
        } else {
            // The clock was set, or another capture follows: time goes on from
            // where it was.
            self.set_back += 1;
            self.offset = Some(self.now.saturating_sub(time));
        }
        self.now()
    }

    /// The present.
    pub(crate) fn now(&self) -> Now {
        now(self.now.cast_unsigned())
    }

    /// The time of the first packet, seconds since the epoch.
    #[must_use]
    pub fn start(&self) -> Option<f64> {
        self.first.map(|ns| ns as f64 / 1e9)
    }

    /// Nanoseconds since the first packet.
    #[must_use]
    pub fn elapsed(&self) -> u64 {
        self.now.saturating_sub(NS_PER_S).max(0).cast_unsigned()
    }

    /// The file's time for a time of this clock: seconds since the epoch.
    #[must_use]
    pub fn epoch(&self, ns: u64) -> f64 {
        let offset = self.offset.unwrap_or(0);
        let time = i128::from(ns) - i128::from(offset);
        time as f64 / 1e9
    }
}

/// A time in the machine's form.
pub(crate) fn now(ns: u64) -> Now {
    let s = ns / NS_PER_S.cast_unsigned();
    Now {
        ns,
        s: u32::try_from(s).unwrap_or(u32::MAX),
    }
}

/// The beginning of a second, in the machine's form.
pub(crate) fn at_second(s: u32) -> Now {
    now(u64::from(s) * NS_PER_S.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn time_never_goes_back() {
        let mut clock = Clock::default();
        let first = clock.advance(Some(1_700_000_000 * S)).ns;
        assert_eq!(first, S);
        assert_eq!(clock.advance(Some(1_700_000_002 * S)).ns, 3 * S);
        assert_eq!(clock.advance(Some(1_700_000_001 * S + 1)).ns, 3 * S);
        assert_eq!((clock.disordered, clock.set_back), (1, 0));
        // Set back by an hour: from here on it counts anew.
        assert_eq!(clock.advance(Some(1_699_996_400 * S)).ns, 3 * S);
        assert_eq!(clock.advance(Some(1_699_996_405 * S)).ns, 8 * S);
        assert_eq!((clock.disordered, clock.set_back), (1, 1));
        assert_eq!(clock.epoch(8 * S), 1_699_996_405.0);
        assert_eq!((clock.start(), clock.elapsed()), (Some(1.7e9), 7 * S));
    }

    #[test]
    fn any_time_is_taken() {
        let mut clock = Clock::default();
        for time in [0, u64::MAX, 0, 1, u64::MAX - 1, 5] {
            clock.advance(Some(time));
        }
        assert_eq!(clock.advance(None).ns, clock.now().ns);
        assert_eq!(clock.timeless, 1);
    }
}
