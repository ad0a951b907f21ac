//! Laws that generators share. Functions of `libm` only, so that every platform draws the same.

use nomoat_core::arrival::ArrivalProcess;
use nomoat_core::rng::Stream;
use nomoat_core::units::Nanos;

/// A number to a whole one from `min` to `max`.
fn cut(value: f64, min: u32, max: u32) -> u32 {
    libm::round(value).clamp(f64::from(min), f64::from(max)) as u32
}

/// A lognormal length in tokens.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Lognormal {
    /// Half are below.
    pub median: f64,
    /// Standard deviation of the logarithm.
    pub sigma: f64,
    pub min: u32,
    pub max: u32,
}

impl Lognormal {
    pub fn draw(&self, stream: &mut Stream) -> u32 {
        cut(self.median * libm::exp(self.sigma * stream.normal()), self.min, self.max)
    }

    /// The law with this mean and standard deviation before it is cut.
    pub fn of_mean(mean: f64, sd: f64, min: u32, max: u32) -> Self {
        let (median, sigma) = by_moments(mean, sd);
        Self { median, sigma, min, max }
    }
}

/// Median, and standard deviation of the logarithm, of the lognormal law with this mean and standard deviation.
pub(crate) fn by_moments(mean: f64, sd: f64) -> (f64, f64) {
    let spread = 1.0 + (sd / mean) * (sd / mean);
    (mean / libm::sqrt(spread), libm::sqrt(libm::log(spread)))
}

/// Draws tried for a normal length inside its limits before it is cut to the nearest: limits far out in a tail leave no other way.
const TRIES: u32 = 64;

/// A normal length in tokens, drawn again while it is outside its limits.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Normal {
    pub mean: f64,
    pub sd: f64,
    pub min: u32,
    pub max: u32,
}

impl Normal {
    pub fn draw(&self, stream: &mut Stream) -> u32 {
        let mut value = self.mean;
        for _ in 0..TRIES {
            value = self.mean + self.sd * stream.normal();
            if (f64::from(self.min)..=f64::from(self.max)).contains(&value) {
                break;
            }
        }
        cut(value, self.min, self.max)
    }
}

/// Zipf's law over `n` things: the k-th is drawn with weight k^−s. All alike where s is 0.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Zipf {
    /// Sums of the weights, the last one 1.
    sums: Vec<f64>,
}

impl Zipf {
    pub fn new(n: usize, s: f64) -> Self {
        let weights = (1..=n).map(|k| libm::pow(k as f64, -s));
        let mut sum = 0.0;
        let mut sums: Vec<f64> = weights
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        sums.iter_mut().for_each(|part| *part /= sum);
        Self { sums }
    }

    /// From 0.
    pub fn draw(&self, stream: &mut Stream) -> usize {
        let uniform = stream.uniform();
        self.sums.partition_point(|sum| *sum < uniform).min(self.sums.len().saturating_sub(1))
    }
}

/// Poisson arrivals in whole microseconds, the unit of the canonical format; none where there is no rate.
pub(crate) fn arrivals(rate_per_s: Option<f64>, stream: Stream) -> Box<dyn Iterator<Item = Option<Nanos>>> {
    match rate_per_s {
        None => Box::new(std::iter::repeat(None)),
        Some(rate) => Box::new(ArrivalProcess::Poisson.times(rate, stream).map(|at| Some(micros(at)))),
    }
}

/// Down to whole microseconds.
pub(crate) fn micros(time: Nanos) -> Nanos {
    Nanos::from_micros(time.0 / 1_000)
}

/// Rates that a trace can have, per second.
pub(crate) const RATES: std::ops::RangeInclusive<f64> = 1e-3..=1e6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let n = 100_000;
        let mut stream = Stream::new(3, "laws");
        let mut mean_sd = |draw: &mut dyn FnMut(&mut Stream) -> u32| {
            let values: Vec<f64> = (0..n).map(|_| f64::from(draw(&mut stream))).collect();
            let mean = values.iter().sum::<f64>() / f64::from(n);
            (mean, (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / f64::from(n)).sqrt())
        };
        let lognormal = Lognormal::of_mean(4_000.0, 2_000.0, 1, 1_000_000);
        let (mean, sd) = mean_sd(&mut |s| lognormal.draw(s));
        assert!((mean - 4_000.0).abs() < 40.0 && (sd - 2_000.0).abs() < 60.0, "{mean} {sd}");
        let normal = Normal { mean: 2_048.0, sd: 256.0, min: 1, max: 1 << 20 };
        let (mean, sd) = mean_sd(&mut |s| normal.draw(s));
        assert!((mean - 2_048.0).abs() < 5.0 && (sd - 256.0).abs() < 5.0, "{mean} {sd}");
        // Weights 1, 1/2, 1/3: shares 6/11, 3/11, 2/11.
        let zipf = Zipf::new(3, 1.0);
        let (mean, _) = mean_sd(&mut |s| zipf.draw(s) as u32);
        assert!((mean - 7.0 / 11.0).abs() < 0.01, "{mean}");
    }
}
