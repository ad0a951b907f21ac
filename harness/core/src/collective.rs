//! How long a collective takes: the α–β model, what its two numbers are by a fit over measured times, and the batch at which the bytes of
//! tensor parallelism take as long as the waiting.
//!
//! One operation over S bytes takes α + S/β: α does not depend on the bytes, β is bytes of the operation per second. Of a ring over n
//! ranks α is 2(n−1) hops and β is the links' bandwidth times n/(2(n−1)) (Thakur, Rabenseifner and Gropp 2005). Real libraries change
//! their algorithm with the size, so one line never fits all sizes: where it does not is part of the answer.

/// What all ranks do together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Collective {
    /// Everybody gets the sum of all.
    AllReduce,
    /// Everybody gets the parts of all.
    AllGather,
    /// Everybody gets a part of the sum.
    ReduceScatter,
    /// Everybody sends everybody a part.
    AllToAll,
    /// One sends all the same.
    Broadcast,
    /// One gets the sum.
    Reduce,
    /// One gets the parts of all.
    Gather,
    /// One sends each its part.
    Scatter,
    /// Each sends to the next.
    SendReceive,
}

impl Collective {
    /// All of them, by the names of nccl-tests' programs without `_perf`.
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::AllReduce, "all_reduce"),
        (Self::AllGather, "all_gather"),
        (Self::ReduceScatter, "reduce_scatter"),
        (Self::AllToAll, "alltoall"),
        (Self::Broadcast, "broadcast"),
        (Self::Reduce, "reduce"),
        (Self::Gather, "gather"),
        (Self::Scatter, "scatter"),
        (Self::SendReceive, "sendrecv"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(of, _)| *of == self).map_or("", |(_, name)| name)
    }

    /// Bus bandwidth ÷ algorithm bandwidth over `ranks`, as nccl-tests defines it (its doc/PERFORMANCE.md): what the links carry for each
    /// byte of the operation. Of all-reduce 2(n−1)/n; of gathers, scatters and all-to-all (n−1)/n; else 1.
    pub fn bus_factor(self, ranks: u32) -> f64 {
        let share = f64::from(ranks.saturating_sub(1)) / f64::from(ranks.max(1));
        match self {
            Self::AllReduce => 2.0 * share,
            Self::AllGather | Self::ReduceScatter | Self::AllToAll | Self::Gather | Self::Scatter => share,
            Self::Broadcast | Self::Reduce | Self::SendReceive => 1.0,
        }
    }
}

/// Seconds of a ring all-reduce of `bytes` over `ranks`: 2(n−1)α + 2(n−1)/n·S/BW, `hop_s` being α of one hop and `bandwidth` the links' in
/// bytes per second. One rank has nothing to do.
pub fn ring_all_reduce_s(ranks: u32, bytes: f64, hop_s: f64, bandwidth: f64) -> f64 {
    2.0 * f64::from(ranks.saturating_sub(1)) * hop_s + Collective::AllReduce.bus_factor(ranks) * bytes / bandwidth
}

/// Tokens of a step at which the bytes of one all-reduce of tensor parallelism take as long as its α: B* = α·β/(s·d), with s bytes an
/// element (2 for bf16) and d the model's width. Below it waiting is the larger part, above it bandwidth.
pub fn crossover(alpha_s: f64, bytes_per_s: f64, width: u32, element_bytes: f64) -> f64 {
    alpha_s * bytes_per_s / (element_bytes * f64::from(width))
}

/// How much each point says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weighting {
    /// Errors are relative: a microsecond in ten counts as a millisecond in ten thousand. What times of many sizes need.
    Relative,
    /// Errors are absolute: the largest sizes decide, and α is hardly seen.
    Even,
}

/// A straight line through times over bytes.
#[derive(Clone, PartialEq, Debug)]
pub struct Fit {
    /// Seconds at no bytes.
    pub alpha_s: f64,
    /// Its standard error.
    pub alpha_error_s: f64,
    /// Seconds for each byte: 1/β.
    pub slope: f64,
    /// Its standard error.
    pub slope_error: f64,
    /// Covariance of the two.
    pub covariance: f64,
    /// Share of the (weighted) variance of times that the line explains.
    pub r2: f64,
    /// Of each point in the order given, (time − line) ÷ time.
    pub residuals: Vec<f64>,
}

/// Why there is no line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FitError {
    /// Two numbers and their errors need three sizes.
    #[error("a fit of α and β needs three sizes at least")]
    TooFew,
    /// A size or a time is no positive number.
    #[error("a size or a time is not positive")]
    NotPositive,
}

impl Fit {
    /// Least squares over (bytes, seconds).
    ///
    /// # Errors
    /// Fewer than three different sizes, or a number that is not positive.
    pub fn new(points: &[(f64, f64)], weighting: Weighting) -> Result<Self, FitError> {
        if points.iter().any(|(bytes, seconds)| !(*bytes > 0.0 && *seconds > 0.0 && bytes.is_finite() && seconds.is_finite())) {
            return Err(FitError::NotPositive);
        }
        let mut sizes: Vec<u64> = points.iter().map(|(bytes, _)| bytes.to_bits()).collect();
        sizes.sort_unstable();
        sizes.dedup();
        if sizes.len() < 3 {
            return Err(FitError::TooFew);
        }
        // Weights have mean 1, so that the residual variance is that of the points.
        let raw: Vec<f64> = points.iter().map(|(_, t)| if weighting == Weighting::Relative { 1.0 / (t * t) } else { 1.0 }).collect();
        let mean = raw.iter().sum::<f64>() / raw.len() as f64;
        let rows: Vec<(f64, f64, f64)> = points.iter().zip(&raw).map(|((x, y), w)| (w / mean, *x, *y)).collect();
        let n = rows.len() as f64;
        let x_mean = rows.iter().map(|(w, x, _)| w * x).sum::<f64>() / n;
        let y_mean = rows.iter().map(|(w, _, y)| w * y).sum::<f64>() / n;
        let spread: f64 = rows.iter().map(|(w, x, _)| w * (x - x_mean) * (x - x_mean)).sum();
        let slope = rows.iter().map(|(w, x, y)| w * (x - x_mean) * (y - y_mean)).sum::<f64>() / spread;
        let alpha_s = y_mean - slope * x_mean;
        let off = |x: f64, y: f64| y - (alpha_s + slope * x);
        let left: f64 = rows.iter().map(|(w, x, y)| w * off(*x, *y) * off(*x, *y)).sum();
        let all: f64 = rows.iter().map(|(w, _, y)| w * (y - y_mean) * (y - y_mean)).sum();
        let variance = left / (n - 2.0);
        Ok(Self {
            alpha_s,
            alpha_error_s: libm::sqrt(variance * (1.0 / n + x_mean * x_mean / spread)),
            slope,
            slope_error: libm::sqrt(variance / spread),
            covariance: -x_mean * variance / spread,
            r2: if all > 0.0 { 1.0 - left / all } else { 0.0 },
            residuals: points.iter().map(|(x, y)| off(*x, *y) / y).collect(),
        })
    }

    /// Whether both numbers are positive, as α and 1/β must be.
    pub fn is_physical(&self) -> bool {
        self.alpha_s > 0.0 && self.slope > 0.0
    }

    /// Bytes per second; `None` where times do not grow with bytes.
    pub fn bytes_per_s(&self) -> Option<f64> {
        (self.slope > 0.0).then(|| 1.0 / self.slope)
    }

    /// The largest residual, as a share of its time.
    pub fn worst(&self) -> f64 {
        self.residuals.iter().fold(0.0, |worst: f64, residual| worst.max(residual.abs()))
    }

    /// Half of the 95 % interval of a number with this standard error, by Student's t at n − 2 degrees of freedom.
    pub fn half_width(&self, error: f64) -> f64 {
        student_95(self.residuals.len().saturating_sub(2)) * error
    }

    /// Bytes whose time is α: where one line serves, small operations below it wait and large ones above it move. With its standard error
    /// by the delta method; `None` where the line is not physical.
    pub fn crossover_bytes(&self) -> Option<(f64, f64)> {
        if !self.is_physical() {
            return None;
        }
        let bytes = self.alpha_s / self.slope;
        let relative = libm::pow(self.alpha_error_s / self.alpha_s, 2.0) + libm::pow(self.slope_error / self.slope, 2.0)
            - 2.0 * self.covariance / (self.alpha_s * self.slope);
        Some((bytes, bytes * libm::sqrt(relative.max(0.0))))
    }
}

/// The 97.5 % quantile of Student's t. By table up to ten degrees of freedom, then by three terms of its expansion about the normal.
fn student_95(freedom: usize) -> f64 {
    const TABLE: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];
    match freedom {
        0 => f64::INFINITY,
        n if n <= TABLE.len() => TABLE[n - 1],
        n => {
            let n = n as f64;
            1.959_96 + 2.372_27 / n + 2.822_50 / (n * n) + 2.555_85 / (n * n * n)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_and_rings() {
        for (collective, ranks, expect) in [
            (Collective::AllReduce, 8, 1.75),
            (Collective::AllReduce, 2, 1.0),
            (Collective::AllReduce, 1, 0.0),
            (Collective::AllGather, 8, 0.875),
            (Collective::ReduceScatter, 4, 0.75),
            (Collective::AllToAll, 16, 0.9375),
            (Collective::Broadcast, 8, 1.0),
            (Collective::SendReceive, 8, 1.0),
        ] {
            assert_eq!(collective.bus_factor(ranks), expect, "{}", collective.name());
        }
        // 14 hops of 2 µs, and 1.75 bytes at 450 GB/s for each byte.
        let seconds = ring_all_reduce_s(8, 450e6, 2e-6, 450e9);
        assert!((seconds - (28e-6 + 1.75e-3)).abs() < 1e-12, "{seconds}");
        assert_eq!(ring_all_reduce_s(1, 1e9, 2e-6, 450e9), 0.0);
    }

    #[test]
    fn crossovers_are_no_constant() {
        for (alpha_us, width, expect) in [(20.0, 7_168, 511.0), (10.0, 7_168, 255.0), (10.0, 16_384, 112.0), (20.0, 16_384, 223.0)] {
            let batch = crossover(alpha_us * 1e-6, 366e9, width, 2.0);
            assert!((batch - expect).abs() < 1.0, "{alpha_us} {width}: {batch}");
        }
    }

    fn line(alpha: f64, slope: f64, noise: impl Fn(usize) -> f64) -> Vec<(f64, f64)> {
        (0..18)
            .map(|i| f64::from(1 << (i + 10)))
            .enumerate()
            .map(|(i, bytes)| (bytes, (alpha + slope * bytes) * (1.0 + noise(i))))
            .collect()
    }

    #[test]
    fn a_line_is_found_again() {
        let exact = line(20e-6, 1.0 / 366e9, |_| 0.0);
        for weighting in [Weighting::Relative, Weighting::Even] {
            let fit = Fit::new(&exact, weighting).unwrap();
            assert!((fit.alpha_s / 20e-6 - 1.0).abs() < 1e-9 && (fit.bytes_per_s().unwrap() / 366e9 - 1.0).abs() < 1e-9);
            assert!(fit.r2 > 1.0 - 1e-12 && fit.worst() < 1e-9);
            let (bytes, error) = fit.crossover_bytes().unwrap();
            assert!((bytes - 20e-6 * 366e9).abs() < 1.0 && error < 1.0, "{bytes} {error}");
        }
        // Errors of two in a hundred: the weighted line finds α within its interval, the other does not see it well.
        let noisy = line(20e-6, 1.0 / 366e9, |i| if i % 2 == 0 { 0.02 } else { -0.02 });
        let (relative, even) = (Fit::new(&noisy, Weighting::Relative).unwrap(), Fit::new(&noisy, Weighting::Even).unwrap());
        assert!((relative.alpha_s - 20e-6).abs() < relative.half_width(relative.alpha_error_s), "{relative:?}");
        assert!((relative.slope - 1.0 / 366e9).abs() < relative.half_width(relative.slope_error));
        assert!(relative.worst() < 0.03 && even.alpha_error_s > 2.0 * relative.alpha_error_s);
    }

    /// Against formulas of a textbook for five points: x = 1 … 5, y = 2.2, 2.8, 4.5, 4.9, 6.1.
    #[test]
    fn errors_of_a_textbook() {
        let fit = Fit::new(&[(1.0, 2.2), (2.0, 2.8), (3.0, 4.5), (4.0, 4.9), (5.0, 6.1)], Weighting::Even).unwrap();
        // Sxx = 10, Sxy = 9.9, so 0.99 and 4.1 − 0.99·3; residuals 0.08, −0.31, 0.4, −0.19, 0.02 leave 0.299 for three degrees.
        assert!((fit.slope - 0.99).abs() < 1e-12 && (fit.alpha_s - 1.13).abs() < 1e-12);
        let variance = 0.299 / 3.0;
        assert!((fit.slope_error - f64::sqrt(variance / 10.0)).abs() < 1e-12);
        assert!((fit.alpha_error_s - f64::sqrt(variance * (0.2 + 0.9))).abs() < 1e-12);
        assert!((fit.covariance + 3.0 * variance / 10.0).abs() < 1e-12);
        assert!((fit.r2 - (1.0 - 0.299 / 10.1)).abs() < 1e-12);
        assert!((fit.half_width(1.0) - 3.182).abs() < 1e-12);
        for (freedom, expect) in [(11, 2.201), (20, 2.086), (100, 1.984)] {
            assert!((student_95(freedom) - expect).abs() < 0.002, "{freedom}");
        }
    }

    #[test]
    fn what_is_no_line_is_said() {
        assert_eq!(Fit::new(&[(1.0, 1.0), (2.0, 2.0), (2.0, 2.1)], Weighting::Even), Err(FitError::TooFew));
        assert_eq!(Fit::new(&[(0.0, 1.0), (2.0, 2.0), (3.0, 2.1)], Weighting::Even), Err(FitError::NotPositive));
        assert_eq!(Fit::new(&[(1.0, f64::NAN), (2.0, 2.0), (3.0, 2.1)], Weighting::Relative), Err(FitError::NotPositive));
        // Times that fall with bytes have no β, and no crossover.
        let falling = Fit::new(&[(1.0, 3.0), (2.0, 2.0), (3.0, 1.5)], Weighting::Even).unwrap();
        assert!(falling.bytes_per_s().is_none() && falling.crossover_bytes().is_none() && !falling.is_physical());
        // A step in the middle, as between two algorithms, shows in the residuals.
        let stepped = line(20e-6, 1.0 / 366e9, |i| if i < 9 { 0.0 } else { 0.5 });
        assert!(Fit::new(&stepped, Weighting::Relative).unwrap().worst() > 0.15);
    }
}
