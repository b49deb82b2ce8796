//! Who insists, and who only passes by.

const SECOND: u64 = 1_000_000_000;
/// The time in which any number of tries is one.
const SPELL: u64 = 20 * SECOND;
/// Who tries in so many spells insists: a load balancer's checks, which come every
/// 5 to 300 s for ever, do; a scan, with all its retries, does not.
const SPELLS: u8 = 3;
/// A pause after which counting begins again.
const PAUSE: u64 = 900 * SECOND;

/// New ports in a minute from which on it looks like a scan.
const SCAN: usize = 100;
const MINUTE: u64 = 60 * SECOND;
/// A scan is told of so often at most.
const QUIET: u64 = 600 * SECOND;

/// The tries at one port.
#[derive(Debug, Default)]
pub(super) struct Tries {
    count: u64,
    spells: u8,
    /// When the last spell began, nanoseconds.
    began: u64,
}

impl Tries {
    /// Whether there was none.
    pub(super) const fn are_none(&self) -> bool {
        self.count == 0
    }

    /// With `count` tries so far at `now`: whether somebody insists.
    pub(super) fn see(&mut self, count: u64, now: u64) -> bool {
        if count == self.count {
            return self.spells >= SPELLS;
        }
        self.count = count;
        let since = now.saturating_sub(self.began);
        if self.spells == 0 || since > PAUSE {
            (self.spells, self.began) = (1, now);
        } else if since >= SPELL {
            (self.spells, self.began) = (self.spells.saturating_add(1), now);
        }
        self.spells >= SPELLS
    }
}

/// Ports that were tried for the first time, and what the log was told of them.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    count: usize,
    /// When counting began.
    since: u64,
    told: Option<u64>,
    told_full: bool,
}

impl Newcomers {
    /// One more.
    pub(super) fn come(&mut self, now: u64) {
        if now.saturating_sub(self.since) > MINUTE {
            (self.count, self.since) = (0, now);
        }
        self.count += 1;
    }

    /// Says that there are many, if so.
    pub(super) fn tell(&mut self, now: u64) {
        let is_due = |told: u64| now.saturating_sub(told) > QUIET;
        if self.count >= SCAN && self.told.is_none_or(is_due) {
            self.told = Some(now);
            tracing::warn!(
                ports = self.count,
                "ports where nobody is known to be are tried, as by a port scan: they count \
                 together as node_port=\"other\""
            );
        }
    }

    /// Says that a port would have its own series, were there not so many.
    pub(super) fn full(&mut self, port: u16, most: usize) {
        if !std::mem::replace(&mut self.told_full, true) {
            tracing::warn!(
                port,
                most,
                "too many ports where nobody answers are tried again and again: from this one on \
                 they stay in node_port=\"other\"; name ports by --services or Kubernetes, or \
                 watch fewer (--node-ports)"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_insist_and_scans_do_not() {
        for every in [5, 10, 30, 300] {
            let mut tries = Tries::default();
            let insists = (1..30).position(|n| tries.see(n, 1000 * SECOND + n * every * SECOND));
            let after = insists.unwrap() as u64 * every;
            assert!(
                (2 * every.max(20)..=3 * every.max(20)).contains(&after),
                "{every}: {after}"
            );
        }
        let mut scan = Tries::default();
        assert!((1..100).all(|n| !scan.see(n, n * SECOND / 4)));
        // Another scan every hour.
        let mut hourly = Tries::default();
        assert!((1..100).all(|n| !hourly.see(n, n * 3600 * SECOND)));
    }
}
