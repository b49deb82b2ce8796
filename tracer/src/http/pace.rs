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
/// The same for the pages of probes, which cost little and are not waited for long.
const STEP_OF_PROBES: Duration = Duration::from_millis(1);
/// These pages.
const PROBES: [&str; 2] = ["/livez", "/readyz"];

/// The paces of all requests to a server.
pub(super) struct Paces {
    pages: Pace,
    probes: Pace,
}

impl Paces {
    pub(super) fn new() -> Self {
        Self {
            pages: Pace::new(STEP),
            probes: Pace::new(STEP_OF_PROBES),
        }
    }

    /// Waits for the place of a request for this page.
    pub(super) async fn request(&self, path: &str) {
        if PROBES.contains(&path) {
            self.probes.wait().await;
        } else {
            self.pages.wait().await;
        }
    }

    /// Waits for the place of a TLS handshake, which costs as much as a page.
    pub(super) async fn handshake(&self) {
        self.pages.wait().await;
    }
}

/// One row of requests.
struct Pace {
    step: Duration,
    /// When the next would be taken on if there had been no pause.
    next: Mutex<Option<Instant>>,
}

impl Pace {
    fn new(step: Duration) -> Self {
        let next = Mutex::new(None);
        Self { step, next }
    }

    /// Waits for a place in the row.
    async fn wait(&self) {
        let at = {
            let now = Instant::now();
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let earliest = now.checked_sub(self.step * BURST).unwrap_or(now);
            let at = next.map_or(earliest, |next| next.max(earliest));
            *next = Some(at + self.step);
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
        let pace = Pace::new(STEP);
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

    #[tokio::test(start_paused = true)]
    async fn probes_do_not_wait_for_scrapes() {
        let paces = Paces::new();
        let scrapes = (0..64 + BURST).map(|_| paces.request("/metrics"));
        let scrapes = futures_util::future::join_all(scrapes);
        let begun = Instant::now();
        let probe = async {
            paces.request("/livez").await;
            begun.elapsed()
        };
        let (_, took) = tokio::join!(scrapes, probe);
        assert!(took <= STEP_OF_PROBES * BURST, "{took:?}");
        assert!(begun.elapsed() >= STEP * 60, "{:?}", begun.elapsed());
    }
}
