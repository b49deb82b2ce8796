//! How much of a CPU making pages takes.

use std::time::Duration;

use tokio::time::Instant;

/// Making pages may take one part in so many of a CPU.
const SHARE: u32 = 20;
/// And so much at once.
const RESERVE: Duration = Duration::from_millis(250);

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
    pub(super) fn is_spent(&mut self) -> bool {
        let now = Instant::now();
        self.spent = self.spent.saturating_sub((now - self.as_of) / SHARE);
        self.as_of = now;
        self.spent >= RESERVE
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
        assert!(!budget.is_spent());
        budget.spend(RESERVE);
        assert!(budget.is_spent());
        tokio::time::advance(Duration::from_millis(20)).await;
        assert!(!budget.is_spent());
        budget.spend(Duration::from_millis(100));
        tokio::time::advance(Duration::from_millis(1900)).await;
        assert!(budget.is_spent());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!budget.is_spent());
    }
}
