//! How fast requests are taken on, those of all clients together: who asks again as soon as there
//! is an answer gets a share of a CPU, not all of it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// Requests that may come at once.
const BURST: u32 = 50;
/// Time between two requests beyond that. All connections that there may be wait less than the
/// second that a scrape may be late.
const STEP: Duration = Duration::from_millis(10);

/// The time at which the next request would be taken on if there had been no pause.
pub(super) struct Pace(Mutex<Option<Instant>>);

impl Pace {
    pub(super) fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Waits for a place in the row.
    pub(super) async fn wait(&self) {
        let at = {
            let now = Instant::now();
            let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let earliest = now.checked_sub(STEP * BURST).unwrap_or(now);
            let at = next.map_or(earliest, |next| next.max(earliest));
            *next = Some(at + STEP);
            at
        };
        sleep_until(at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_taken_at_once_and_the_rest_in_a_row() {
        // The clock of the machine may have begun just now.
        tokio::time::advance(STEP * BURST).await;
        let pace = Pace::new();
        let begun = Instant::now();
        for _ in 0..=BURST {
            pace.wait().await;
        }
        assert!(begun.elapsed() <= STEP, "{:?}", begun.elapsed());
        for _ in 0..100 {
            pace.wait().await;
        }
        let took = begun.elapsed();
        assert!(took >= STEP * 99 && took <= STEP * 102, "{took:?}");
        tokio::time::advance(STEP * BURST * 2).await;
        let begun = Instant::now();
        for _ in 0..BURST {
            pace.wait().await;
        }
        assert!(begun.elapsed() <= STEP);
    }
}
