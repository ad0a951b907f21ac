//! How time grows with one size: a line through logarithms, with its error.

/// What theory says of a family's time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Scaling {
    /// The size that grows.
    pub over: &'static str,
    /// The exponent that theory gives for large sizes.
    pub exponent: f64,
    /// The claim, in a sentence.
    pub claim: &'static str,
}

/// A fitted exponent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Slope {
    /// The exponent.
    pub exponent: f64,
    /// Its standard error; zero for two points.
    pub error: f64,
    /// Points.
    pub points: usize,
}

/// Least squares through (ln size, ln time): the exponent and its standard error, s² = Σ residual² / (n − 2), SE = s / √Sxx.
pub fn fit(points: &[(f64, f64)]) -> Option<Slope> {
    let n = points.len() as f64;
    if points.len() < 2 || points.iter().any(|(size, time)| !(*size > 0.0 && *time > 0.0)) {
        return None;
    }
    let logs: Vec<(f64, f64)> = points.iter().map(|(size, time)| (size.ln(), time.ln())).collect();
    let (mean_x, mean_y) = (logs.iter().map(|p| p.0).sum::<f64>() / n, logs.iter().map(|p| p.1).sum::<f64>() / n);
    let sxx: f64 = logs.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    if sxx == 0.0 {
        return None;
    }
    let exponent = logs.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>() / sxx;
    let residual: f64 = logs.iter().map(|(x, y)| (y - mean_y - exponent * (x - mean_x)).powi(2)).sum();
    let error = if points.len() > 2 { (residual / (n - 2.0) / sxx).sqrt() } else { 0.0 };
    Some(Slope { exponent, error, points: points.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_found_exactly_and_noise_shows_in_the_error() {
        let power = |exponent: f64| (1..=5).map(|i| (f64::from(1 << i), 3.0 * f64::from(1 << i).powf(exponent))).collect::<Vec<_>>();
        for exponent in [0.0, 1.0, 2.0, -0.5] {
            let slope = fit(&power(exponent)).unwrap();
            assert!((slope.exponent - exponent).abs() < 1e-12 && slope.error < 1e-12, "{slope:?}");
        }
        let mut noisy = power(1.0);
        noisy[2].1 *= 1.2;
        assert!(fit(&noisy).unwrap().error > 0.01);
        assert_eq!(fit(&[(1.0, 1.0)]), None);
        assert_eq!(fit(&[(1.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(fit(&[(1.0, 0.0), (2.0, 2.0)]), None);
    }
}
