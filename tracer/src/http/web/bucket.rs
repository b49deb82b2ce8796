//! The rate of requests: a bucket of tokens, full at first.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::format::Rate;

pub(super) struct Bucket {
    rate: Rate,
    /// Tokens, as of when.
    level: Mutex<(f64, Instant)>,
}

impl Bucket {
    pub(super) fn new(rate: Rate) -> Self {
        let level = Mutex::new((f64::from(rate.burst), Instant::now()));
        Self { rate, level }
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&self) -> bool {
        let now = Instant::now();
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let gained = (now - level.1).div_duration_f64(self.rate.interval);
        let tokens = (level.0 + gained).min(f64::from(self.rate.burst));
        let there = tokens >= 1.0;
        *level = (if there { tokens - 1.0 } else { tokens }, now);
        there
    }
}
