//! How long answers took: percentiles.

use tracer_common::{
    counters::{Cell, LATENCY_BOUNDS_NS, LATENCY_BUCKETS},
    latency::latency_of,
    words::Answer,
};

use crate::{counted::Counted, report::Latency};

/// SYN to first answer; `None` without any.
pub(super) fn latency(counters: &Counted) -> Option<Latency> {
    let buckets: [u64; LATENCY_BUCKETS] = std::array::from_fn(|bucket| {
        let cells = Answer::ALL.iter().map(|a| Cell::latency(*a, bucket));
        cells.map(|cell| counters.get(cell)).sum()
    });
    let answers: u64 = buckets.iter().sum();
    let told: u64 = counters.latencies().map(|(_, count)| count).sum();
    // Fine cells may be lost, the buckets never are. Both are read one after the other,
    // hence not all the same answers are in both.
    let quantile = |q| match told {
        0 => coarse(&buckets, q),
        told if told.saturating_mul(20) < answers.saturating_mul(19) => coarse(&buckets, q),
        told => fine(counters, told, q),
    };
    Some(Latency {
        p50: quantile(0.5)?,
        p99: quantile(0.99)?,
    })
}

/// A quantile of `total` answers in seconds: what stands for the cell of the answer with
/// that rank, which is within 3.1 % of what this took.
fn fine(counters: &Counted, total: u64, q: f64) -> Option<f64> {
    let rank = (q * total as f64).ceil() as u64;
    let mut below = 0;
    let mut cells = counters.latencies();
    let found = cells.find(|(_, count)| {
        below += count;
        below >= rank
    });
    found.map(|(cell, _)| latency_of(cell) as f64 / 1e9)
}

/// A quantile in seconds, linear within its bucket; the lower bound of the
/// unbounded one.
fn coarse(buckets: &[u64; LATENCY_BUCKETS], q: f64) -> Option<f64> {
    let total: u64 = buckets.iter().sum();
    let rank = q * total as f64;
    let mut below = 0.0;
    let mut lower = 0.0;
    let bounds = LATENCY_BOUNDS_NS.iter().map(|ns| *ns as f64 / 1e9);
    for (count, upper) in buckets.iter().zip(bounds.chain([f64::NAN])) {
        let count = *count as f64;
        if count > 0.0 && below + count >= rank {
            let within = lower + (upper - lower) * (rank - below) / count;
            return Some(if upper.is_nan() { lower } else { within });
        }
        below += count;
        lower = upper;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use tracer_common::{
        counters::{PortCounters, Tally},
        latency::latency_cell,
    };

    use super::*;

    /// A port's cells, as the kernel programs and the daemon fill them.
    #[derive(Default)]
    struct Port {
        counters: Option<PortCounters>,
        latencies: BTreeMap<u16, u64>,
    }

    impl Tally for Port {
        fn add(&mut self, cell: Cell, delta: i64) {
            let counters = self.counters.get_or_insert(PortCounters::ZERO);
            counters.add(cell, delta);
        }

        fn took(&mut self, ns: u64) {
            *self.latencies.entry(latency_cell(ns)).or_default() += 1;
        }
    }

    fn after(answers: &[u64]) -> Counted {
        let mut port = Port::default();
        for ns in answers {
            port.answered(Answer::SynAck, *ns);
        }
        let counters = port.counters.unwrap_or(PortCounters::ZERO);
        Counted::new(&counters, port.latencies.into_iter())
    }

    proptest! {
        #[test]
        fn percentiles_are_those_of_the_answers(
            mut answers in prop::collection::vec(10_000..60_000_000_000_u64, 1..200),
        ) {
            let told = latency(&after(&answers)).unwrap();
            answers.sort_unstable();
            for (q, told) in [(0.5, told.p50), (0.99, told.p99)] {
                let rank = (q * answers.len() as f64).ceil() as usize;
                let true_s = answers[rank - 1] as f64 / 1e9;
                prop_assert!((told / true_s - 1.0).abs() <= 0.05, "{q}: {told} for {true_s}");
            }
        }
    }

    #[test]
    fn short_and_late_answers_are_told_as_they_were() {
        let told = |ns| latency(&after(&[ns; 100])).unwrap();
        let is = |told: f64, s: f64| assert!((told / s - 1.0).abs() < 0.032, "{told} for {s}");
        is(told(17_000).p50, 0.000_017);
        is(told(17_000).p99, 0.000_017);
        is(told(1_004_000_000).p50, 1.004);
        assert_eq!(latency(&Counted::default()), None);
    }

    #[test]
    fn without_the_fine_cells_the_buckets_tell() {
        let mut port = Port::default();
        port.answered(Answer::Rst, 1_004_000_000);
        let counted = Counted::from(&port.counters.unwrap());
        let told = latency(&counted).unwrap();
        assert!((0.9..=1.5).contains(&told.p50), "{told:?}");
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let mut buckets = [0; LATENCY_BUCKETS];
        assert_eq!(coarse(&buckets, 0.5), None);
        buckets[1] = 100;
        let close = |q, to: f64| (coarse(&buckets, q).unwrap() - to).abs() < 1e-9;
        assert!(close(0.5, 0.000_175), "{:?}", coarse(&buckets, 0.5));
        buckets[LATENCY_BUCKETS - 1] = 100;
        assert_eq!(coarse(&buckets, 0.99), Some(7.5));
    }
}
