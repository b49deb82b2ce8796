//! Looks at the daemon once a second: what never may be, and what it takes.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use testbed::{Metrics, Tracer};

use crate::bench::machine::field;

/// Breaches that are kept word by word; all are counted.
const KEPT: usize = 20;

/// One look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Since the start.
    pub(super) at: Duration,
    /// Resident memory in KiB, and the anonymous part of it.
    pub(super) rss_kib: f64,
    pub(super) anonymous_kib: f64,
    pub(super) threads: f64,
    pub(super) descriptors: f64,
    pub(super) series: f64,
    /// How long the scrape took.
    pub(super) scrape: Duration,
}

/// Everything seen so far.
pub(super) struct Watch {
    start: Instant,
    pub(super) samples: Vec<Sample>,
    /// The last scrape.
    pub(super) metrics: Metrics,
    /// Scrapes that failed.
    pub(super) missed: u64,
    /// Scrapes in which attempts were not what they must be the sum of.
    pub(super) unbalanced: u64,
    /// Counters that fell or vanished.
    pub(super) fallen: u64,
    /// The first of all these, in words.
    pub(super) breaches: Vec<String>,
}

impl Watch {
    /// Nothing seen yet.
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            samples: Vec::new(),
            metrics: Metrics::default(),
            missed: 0,
            unbalanced: 0,
            fallen: 0,
            breaches: Vec::new(),
        }
    }

    /// One look.
    ///
    /// # Errors
    /// The daemon is gone.
    pub(super) fn look(&mut self, tracer: &Tracer<'_>) -> Result<()> {
        let at = self.start.elapsed();
        let process = Process::read(tracer.process().pid()).context("the daemon is gone")?;
        let asked = Instant::now();
        let metrics = match tracer.metrics() {
            Ok(metrics) => metrics,
            Err(error) => {
                self.missed += 1;
                self.breach(at, &format!("{error:#}"));
                return Ok(());
            }
        };
        self.samples.push(Sample {
            at,
            rss_kib: process.rss_kib,
            anonymous_kib: process.anonymous_kib,
            threads: process.threads,
            descriptors: process.descriptors,
            series: metrics.len() as f64,
            scrape: asked.elapsed(),
        });
        self.judge(at, metrics);
        Ok(())
    }

    fn judge(&mut self, at: Duration, metrics: Metrics) {
        if let Err(error) = metrics.balanced() {
            self.unbalanced += 1;
            self.breach(at, &format!("identity: {error:#}"));
        }
        for fallen in metrics.fallen_since(&self.metrics) {
            self.fallen += 1;
            self.breach(at, &format!("not monotonic: {fallen}"));
        }
        self.metrics = metrics;
    }

    fn breach(&mut self, at: Duration, what: &str) {
        if self.breaches.len() < KEPT {
            self.breaches
                .push(format!("after {:.0} s: {what}", at.as_secs_f64()));
        }
    }

    /// Anything that must not have been.
    pub(super) fn bad(&self) -> u64 {
        self.missed + self.unbalanced + self.fallen
    }
}

/// What /proc says of the daemon (proc(5)).
struct Process {
    rss_kib: f64,
    anonymous_kib: f64,
    threads: f64,
    descriptors: f64,
}

impl Process {
    fn read(pid: i32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let number = |name: &str| -> Result<f64> {
            let text = field(&status, name).with_context(|| name.to_owned())?;
            Ok(text.trim_end_matches(" kB").parse()?)
        };
        Ok(Self {
            rss_kib: number("VmRSS")?,
            anonymous_kib: number("RssAnon")?,
            threads: number("Threads")?,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count() as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_not_be_is_found() {
        let text = |attempts: u32| {
            let text = format!(
                "tracer_attempts_total{{node_port=\"1\"}} {attempts}\n\
                 tracer_handshakes_total{{node_port=\"1\"}} 2\n"
            );
            Metrics::parse(&text).unwrap()
        };
        let mut watch = Watch::new();
        watch.judge(Duration::ZERO, text(2));
        assert_eq!(watch.bad(), 0);
        watch.judge(Duration::from_secs(1), text(3));
        assert_eq!((watch.unbalanced, watch.fallen), (1, 0));
        watch.judge(Duration::from_secs(2), text(2));
        assert_eq!((watch.unbalanced, watch.fallen), (1, 1));
        assert!(watch.breaches[1].starts_with("after 2 s: not monotonic"));
    }
}
