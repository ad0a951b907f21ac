//! A straight line through points, and how sure its slope is.

use crate::report::Interval;
use crate::stats::{LEVEL, student_t};

/// A line by least squares.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Line {
    /// How much y grows while x grows by one.
    pub slope: f64,
    /// y where x is zero.
    pub intercept: f64,
    /// Standard error of the slope; `None` with two points, which every line between them fits.
    pub standard_error: Option<f64>,
    /// Points.
    pub n: usize,
}

impl Line {
    /// The interval of the slope at [`LEVEL`], by Student's t with n − 2 degrees of freedom.
    pub fn interval(&self) -> Option<Interval> {
        slope_interval(self.slope, self.standard_error?, self.n)
    }
}

/// The interval of a slope that was fitted to `n` points, at [`LEVEL`]; `None` with fewer than three.
pub fn slope_interval(slope: f64, standard_error: f64, n: usize) -> Option<Interval> {
    let freedom = n.checked_sub(2).filter(|freedom| *freedom > 0)?;
    let half = student_t(LEVEL, freedom as f64) * standard_error;
    Some(Interval { lo: slope - half, hi: Some(slope + half), level: LEVEL })
}

/// The line with the least sum of squared distances in y. `None` where fewer than two values of x differ, or a value is not finite.
pub fn line(points: &[(f64, f64)]) -> Option<Line> {
    let n = points.len() as f64;
    if points.iter().any(|(x, y)| !x.is_finite() || !y.is_finite()) {
        return None;
    }
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / n;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / n;
    let spread: f64 = points.iter().map(|(x, _)| (x - mean_x) * (x - mean_x)).sum();
    // Without a point the means are no numbers.
    if spread.is_nan() || spread <= 0.0 {
        return None;
    }
    let slope = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>() / spread;
    let intercept = mean_y - slope * mean_x;
    let left: f64 = points.iter().map(|(x, y)| y - intercept - slope * x).map(|miss| miss * miss).sum();
    let standard_error = (points.len() > 2).then(|| libm::sqrt(left / (n - 2.0) / spread));
    Some(Line { slope, intercept, standard_error, n: points.len() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_by_hand() {
        // y = 1 + 2x, then the same with misses of −1, +2, −1: residual 6 over one degree of freedom and a spread of 2.
        let exact = line(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]).unwrap();
        assert_eq!((exact.slope, exact.intercept, exact.standard_error), (2.0, 1.0, Some(0.0)));
        let missed = line(&[(0.0, 0.0), (1.0, 5.0), (2.0, 4.0)]).unwrap();
        assert!((missed.slope - 2.0).abs() < 1e-12 && (missed.standard_error.unwrap() - 3.0_f64.sqrt()).abs() < 1e-12, "{missed:?}");
        let interval = missed.interval().unwrap();
        assert!((interval.lo - (2.0 - 12.7062 * 3.0_f64.sqrt())).abs() < 1e-3, "{interval:?}");
        assert_eq!(line(&[(0.0, 1.0), (2.0, 5.0)]).unwrap().interval(), None, "two points say nothing of their error");
        for none in [&[][..], &[(1.0, 1.0)], &[(1.0, 1.0), (1.0, 2.0)], &[(0.0, f64::NAN), (1.0, 1.0)]] {
            assert_eq!(line(none), None, "{none:?}");
        }
    }

    proptest! {
        #[test]
        fn order_and_offset_do_not_matter(points in prop::collection::vec((-1e3_f64..1e3, -1e3_f64..1e3), 3..20), off in -1e3_f64..1e3) {
            let Some(found) = line(&points) else { return Ok(()) };
            let moved: Vec<_> = points.iter().rev().map(|(x, y)| (x + off, y + off)).collect();
            if let Some(again) = line(&moved) {
                let near = |a: f64, b: f64| (a - b).abs() <= 1e-6 * (1.0 + a.abs());
                prop_assert!(near(found.slope, again.slope), "{found:?} {again:?}");
            }
        }
    }
}
