//! Whether the daemon gets the time that it needs.

use std::time::Duration;

/// A round that begins so much after its time is late.
const LATE: Duration = Duration::from_secs(5);
/// Without a late one for so long it is over.
const OVER: Duration = Duration::from_secs(60);

/// What was seen of the rounds; times are of a clock that stands still while the
/// machine is suspended.
#[derive(Debug, Default)]
pub(super) struct Lateness {
    /// The end of the last spell of late rounds, if that is not long ago.
    last: Option<Duration>,
    count: u64,
}

/// What is new.
#[derive(Debug, PartialEq, Eq)]
enum News {
    Begun,
    Over,
}

impl Lateness {
    /// A round begins at `now`, `late` after its time; tells when this begins and when it
    /// is over, and returns how many late ones there have been.
    pub(super) fn round(&mut self, now: Duration, late: Duration) -> u64 {
        match self.news(now, late) {
            Some(News::Begun) => tracing::warn!(
                late_s = late.as_secs(),
                "the daemon does not get the CPU time that it needs; counts go on"
            ),
            Some(News::Over) => {
                tracing::info!(late = self.count, "the daemon gets CPU time in time again");
            }
            None => {}
        }
        self.count
    }

    fn news(&mut self, now: Duration, late: Duration) -> Option<News> {
        if late >= LATE {
            self.count += 1;
            return self.last.replace(now).is_none().then_some(News::Begun);
        }
        let over = |last: &mut Duration| now.saturating_sub(*last) > OVER;
        self.last.take_if(over).map(|_| News::Over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_rounds_begin_and_end() {
        let s = Duration::from_secs;
        let mut lateness = Lateness::default();
        assert_eq!(lateness.news(s(1), s(0)), None);
        assert_eq!(lateness.news(s(7), s(4)), None);
        assert_eq!(lateness.news(s(20), s(12)), Some(News::Begun));
        assert_eq!(lateness.news(s(70), s(0)), None);
        assert_eq!(lateness.news(s(80), s(5)), None);
        assert_eq!(lateness.news(s(140), s(0)), None);
        assert_eq!(lateness.news(s(141), s(0)), Some(News::Over));
        assert_eq!(lateness.news(s(142), s(0)), None);
        assert_eq!(lateness.count, 2);
    }
}
