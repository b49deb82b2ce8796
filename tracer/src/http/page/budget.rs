//! How much of a CPU making pages takes.

use std::time::Duration;

use tokio::time::Instant;

/// Making pages may take one part in so many of a CPU.
const SHARE: u32 = 10;
/// And so much at once.
const RESERVE: Duration = Duration::from_millis(500);
/// Longest time that a page waits for that.
const LONGEST: Duration = Duration::from_secs(1);

/// What was spent and has not come back yet.
pub(super) struct Budget {
    spent: Duration,
    as_of: Instant,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            spent: Duration::ZERO,
            as_of: Instant::now(),
        }
    }
}

impl Budget {
    /// How long the next page has to wait.
    pub(super) fn wait(&mut self) -> Duration {
        let now = Instant::now();
        self.spent = self.spent.saturating_sub((now - self.as_of) / SHARE);
        self.as_of = now;
        let beyond = self.spent.saturating_sub(RESERVE);
        (beyond * SHARE).min(LONGEST)
    }

    pub(super) fn spend(&mut self, time: Duration) {
        self.spent += time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_share_of_the_time_comes_back() {
        let mut budget = Budget::default();
        budget.spend(RESERVE);
        assert_eq!(budget.wait(), Duration::ZERO);
        budget.spend(Duration::from_millis(5));
        assert_eq!(budget.wait(), Duration::from_millis(50));
        tokio::time::advance(Duration::from_millis(20)).await;
        assert_eq!(budget.wait(), Duration::from_millis(30));
        budget.spend(Duration::from_secs(60));
        assert_eq!(budget.wait(), LONGEST);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(budget.wait(), Duration::ZERO);
        budget.spend(RESERVE);
        assert_eq!(budget.wait(), Duration::ZERO);
    }
}
