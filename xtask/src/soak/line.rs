//! A straight line through samples.

/// Slope of a line fitted by least squares, and its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Slope {
    /// Units of y per unit of x.
    pub(super) value: f64,
    /// Standard error of the value, should the deviations be independent.
    pub(super) error: f64,
}

/// The line through `(x, y)`; `None` for fewer than three points, or all at one x.
pub(super) fn slope(points: &[(f64, f64)]) -> Option<Slope> {
    let n = points.len() as f64;
    if points.len() < 3 {
        return None;
    }
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / n;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / n;
    let xx: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let xy: f64 = points
        .iter()
        .map(|(x, y)| (x - mean_x) * (y - mean_y))
        .sum();
    if xx <= 0.0 {
        return None;
    }
    let value = xy / xx;
    let rest: f64 = points
        .iter()
        .map(|(x, y)| (y - mean_y - value * (x - mean_x)).powi(2))
        .sum();
    Some(Slope {
        value,
        error: (rest / (n - 2.0) / xx).sqrt(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_slope_and_no_error() {
        let points: Vec<(f64, f64)> = (0..10).map(f64::from).map(|x| (x, 3.0 - 2.0 * x)).collect();
        let found = slope(&points).unwrap();
        assert!((found.value + 2.0).abs() < 1e-12 && found.error < 1e-9);
    }

    #[test]
    fn deviations_make_an_error() {
        // By hand: slope 0.5, sum of squares of the rest 0.5 (with 1 degree of freedom).
        let found = slope(&[(0.0, 0.0), (1.0, 1.0), (2.0, 1.0)]).unwrap();
        assert!((found.value - 0.5).abs() < 1e-12);
        assert!((found.error - (1.0_f64 / 6.0 / 2.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn too_little_has_no_slope() {
        assert_eq!(slope(&[(0.0, 0.0), (1.0, 1.0)]), None);
        assert_eq!(slope(&[(1.0, 0.0), (1.0, 1.0), (1.0, 2.0)]), None);
    }
}
