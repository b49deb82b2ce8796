//! Median and spread of repeated measurements.

use serde::{Deserialize, Serialize};

/// What several rounds of one measurement gave.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Spread {
    /// The middle value.
    pub(super) median: f64,
    /// The smallest value.
    pub(super) min: f64,
    /// The first quartile.
    pub(super) q1: f64,
    /// The third quartile.
    pub(super) q3: f64,
    /// The largest value.
    pub(super) max: f64,
    /// How many values there are.
    pub(super) rounds: usize,
}

impl Spread {
    /// Of one value or more; not-a-number without any.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Self {
            median: quantile(&values, 0.5),
            min: quantile(&values, 0.0),
            q1: quantile(&values, 0.25),
            q3: quantile(&values, 0.75),
            max: quantile(&values, 1.0),
            rounds: values.len(),
        }
    }
}

/// Linear between the two nearest values.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let position = share * last as f64;
    let (low, high) = (position.floor() as usize, position.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * position.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_their_neighbours() {
        let spread = Spread::of([5.0, 1.0, 2.0, 4.0]);
        assert_eq!((spread.min, spread.max, spread.rounds), (1.0, 5.0, 4));
        assert_eq!((spread.median, spread.q1, spread.q3), (3.0, 1.75, 4.25));
    }

    #[test]
    fn nothing_has_no_median() {
        assert!(Spread::of([]).median.is_nan());
    }
}
