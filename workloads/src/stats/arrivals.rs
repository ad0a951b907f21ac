//! The law of arrivals: rate, irregularity, and how busy the busiest minute is.

use nomoat_core::units::Nanos;

/// Arrivals of the requests that arrive by themselves: what waits for others has no arrival law.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct ArrivalStats {
    /// How many requests arrive by themselves.
    pub roots: usize,
    /// From the first to the last recorded arrival.
    pub span: Option<Nanos>,
    /// (arrivals − 1) / span; `None` without arrivals or with all at once.
    pub rate_per_s: Option<f64>,
    /// Standard deviation (of the population) over mean of the gaps between arrivals: 1 for Poisson, 0 for constant.
    pub gap_cv: Option<f64>,
    /// Variance over mean of the arrivals in windows of one second: 1 for Poisson.
    pub dispersion_1s: Option<f64>,
    /// The same in windows of a minute: changes of load that single gaps do not show.
    pub dispersion_60s: Option<f64>,
    /// Arrivals per second in the busiest of these minutes.
    pub peak_per_s: Option<f64>,
}

/// Arrivals as they come.
#[derive(Default)]
pub(super) struct Arrivals {
    roots: usize,
    times: Vec<Nanos>,
}

impl Arrivals {
    pub fn add(&mut self, at: Option<Nanos>) {
        self.roots += 1;
        self.times.extend(at);
    }

    pub fn finish(mut self) -> ArrivalStats {
        self.times.sort_unstable();
        let (Some(first), Some(last)) = (self.times.first(), self.times.last()) else {
            return ArrivalStats { roots: self.roots, ..ArrivalStats::default() };
        };
        let span = *last - *first;
        let minutes = self.counts(Nanos::from_secs(60));
        ArrivalStats {
            roots: self.roots,
            span: Some(span),
            rate_per_s: (span.0 > 0).then(|| (self.times.len() - 1) as f64 / span.as_secs_f64()),
            gap_cv: self.gap_cv(),
            dispersion_1s: dispersion(&self.counts(Nanos::from_secs(1))),
            dispersion_60s: dispersion(&minutes),
            peak_per_s: (span >= Nanos::from_secs(60)).then(|| minutes.iter().copied().max().unwrap_or_default() as f64 / 60.0),
        }
    }

    fn gap_cv(&self) -> Option<f64> {
        let gaps = || self.times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64());
        let n = (self.times.len() - 1) as f64;
        let mean = gaps().sum::<f64>() / n;
        let variance = gaps().map(|gap| (gap - mean) * (gap - mean)).sum::<f64>() / n;
        (mean > 0.0).then(|| variance.sqrt() / mean)
    }

    /// Arrivals in each whole window from the first arrival on. One that ends after the last arrival would count time in which nothing
    /// was recorded.
    fn counts(&self, window: Nanos) -> Vec<u64> {
        /// A trace of a year has 32 million seconds.
        const MOST: i64 = 1 << 26;
        let first = self.times[0];
        let windows = (self.times[self.times.len() - 1] - first).0 / window.0;
        if windows > MOST {
            return vec![];
        }
        let mut counts = vec![0; windows as usize];
        for at in &self.times {
            if let Some(count) = counts.get_mut(((*at - first).0 / window.0) as usize) {
                *count += 1;
            }
        }
        counts
    }
}

fn dispersion(counts: &[u64]) -> Option<f64> {
    let n = counts.len() as f64;
    let mean = counts.iter().sum::<u64>() as f64 / n;
    let variance = counts.iter().map(|c| (*c as f64 - mean) * (*c as f64 - mean)).sum::<f64>() / n;
    (counts.len() > 1 && mean > 0.0).then(|| variance / mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ms: &[i64]) -> ArrivalStats {
        let mut arrivals = Arrivals::default();
        ms.iter().for_each(|ms| arrivals.add(Some(Nanos::from_millis(*ms))));
        arrivals.finish()
    }

    #[test]
    fn by_hand() {
        assert_eq!(Arrivals::default().finish(), ArrivalStats::default());
        let even = of(&(0..=300).map(|i| i * 500).collect::<Vec<_>>());
        assert_eq!((even.rate_per_s, even.gap_cv, even.dispersion_1s, even.peak_per_s), (Some(2.0), Some(0.0), Some(0.0), Some(2.0)));
        // Two windows of a second, with three arrivals and with one: mean 2, variance 1.
        assert_eq!(of(&[0, 1, 2, 1_500, 2_000]).dispersion_1s, Some(0.5));
        assert_eq!(of(&[5, 5]).rate_per_s, None);
        assert_eq!(of(&[0, 59_000]).peak_per_s, None, "no whole minute");
    }
}
