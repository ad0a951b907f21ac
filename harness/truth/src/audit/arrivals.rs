//! The arrival process as the server saw it, beside the one that was asked for.

use nomoat_core::units::Nanos;

/// Arrivals a window holds on average, for the index of dispersion.
const PER_WINDOW: f64 = 10.0;
/// Fewest windows of which a variance is taken.
const FEWEST_WINDOWS: usize = 5;

/// The load that both harnesses were asked for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum AskedLoad {
    /// One request every 1/rate seconds.
    Constant(f64),
    /// A Poisson process of this rate.
    Poisson(f64),
    /// So many requests at any time.
    Closed(u32),
}

impl AskedLoad {
    /// The rate, where there is one.
    pub fn rate(self) -> Option<f64> {
        match self {
            Self::Constant(rate) | Self::Poisson(rate) => Some(rate),
            Self::Closed(_) => None,
        }
    }
}

/// Kolmogorov and Smirnov's distance between the gaps and the exponential law of the asked rate.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Ks {
    /// The largest distance between the two distribution functions.
    pub distance: f64,
    /// The distance that a true Poisson process exceeds once in twenty times: 1.358/√n.
    pub critical: f64,
}

/// What the server saw. `None` where there were too few arrivals.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Arrivals {
    /// Arrivals.
    pub count: u64,
    /// (n − 1) / (last − first), in requests per second.
    pub rate_per_s: Option<f64>,
    /// Standard deviation of the gaps over their mean: 0 for a constant rate, 1 for a Poisson process.
    pub cv: Option<f64>,
    /// Variance over mean of the counts in windows of ten arrivals on average: 0 for a constant rate, 1 for a Poisson process, more
    /// where arrivals come in bursts.
    pub dispersion: Option<f64>,
    /// Against the exponential law, where a Poisson process was asked for.
    pub ks: Option<Ks>,
}

/// How late requests arrived: arrival − (first arrival + i / rate), for the i-th to arrive.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Lateness {
    /// Median, nearest rank.
    pub p50: Nanos,
    /// 99th percentile, nearest rank.
    pub p99: Nanos,
    /// Largest.
    pub max: Nanos,
    /// Slope of the straight line through lateness over time (least squares): seconds lost per second.
    pub drift: f64,
}

impl Arrivals {
    /// Of moments that ascend.
    pub fn of(at: &[Nanos], asked: AskedLoad) -> Self {
        let gaps: Vec<f64> = at.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        let span: f64 = gaps.iter().sum();
        let mean = span / gaps.len() as f64;
        let known = !gaps.is_empty() && span > 0.0;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        Self {
            count: at.len() as u64,
            rate_per_s: known.then(|| 1.0 / mean),
            cv: (known && gaps.len() > 1).then(|| variance.sqrt() / mean),
            dispersion: dispersion(at),
            ks: if let AskedLoad::Poisson(rate) = asked { ks(gaps, rate) } else { None },
        }
    }
}

fn dispersion(at: &[Nanos]) -> Option<f64> {
    let windows = (at.len() as f64 / PER_WINDOW) as usize;
    let span = (*at.last()? - *at.first()?).0;
    if windows < FEWEST_WINDOWS || span <= 0 {
        return None;
    }
    let mut counts = vec![0.0_f64; windows];
    for moment in at {
        let place = i128::from((*moment - at[0]).0) * windows as i128 / i128::from(span);
        // The last arrival is the end of the last window.
        counts[(place as usize).min(windows - 1)] += 1.0;
    }
    let mean = at.len() as f64 / windows as f64;
    let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / (windows - 1) as f64;
    Some(variance / mean)
}

fn ks(mut gaps: Vec<f64>, rate: f64) -> Option<Ks> {
    let n = gaps.len() as f64;
    gaps.sort_unstable_by(f64::total_cmp);
    let step = |(index, gap): (usize, &f64)| {
        let law = 1.0 - (-rate * gap).exp();
        (law - index as f64 / n).max((index + 1) as f64 / n - law)
    };
    let distance = gaps.iter().enumerate().map(step).reduce(f64::max)?;
    Some(Ks { distance, critical: 1.358 / n.sqrt() })
}

impl Lateness {
    /// Of moments that ascend.
    ///
    /// # Errors
    /// Why it cannot be known.
    pub fn of(at: &[Nanos], asked: AskedLoad) -> Result<Self, &'static str> {
        let rate = match asked {
            AskedLoad::Constant(rate) => rate,
            AskedLoad::Poisson(_) => return Err("the harness drew its own arrivals; when each was due, only it knows"),
            AskedLoad::Closed(_) => return Err("in a closed loop a request is due when an answer has ended"),
        };
        let Some(first) = at.first().filter(|_| at.len() > 1) else { return Err("fewer than two requests arrived") };
        let due: Vec<f64> = (0..at.len()).map(|i| i as f64 / rate).collect();
        let late: Vec<f64> = at.iter().zip(&due).map(|(at, due)| (*at - *first).as_secs_f64() - due).collect();
        let n = late.len() as f64;
        let (mean_due, mean_late) = (due.iter().sum::<f64>() / n, late.iter().sum::<f64>() / n);
        let slope = due.iter().zip(&late).map(|(d, l)| (d - mean_due) * (l - mean_late)).sum::<f64>();
        let drift = slope / due.iter().map(|d| (d - mean_due).powi(2)).sum::<f64>();
        let mut sorted = late;
        sorted.sort_unstable_by(f64::total_cmp);
        let rank = |percent: usize| Nanos::from_secs_f64(sorted[(sorted.len() * percent).div_ceil(100) - 1]);
        Ok(Self { p50: rank(50), p99: rank(99), max: rank(100), drift })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: impl IntoIterator<Item = f64>) -> Vec<Nanos> {
        seconds.into_iter().map(Nanos::from_secs_f64).collect()
    }

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-6, "{a} is not {b}");
    }

    #[test]
    fn a_constant_rate() {
        let moments = at((0..101).map(|i| f64::from(i) * 0.05));
        let arrivals = Arrivals::of(&moments, AskedLoad::Constant(20.0));
        near(arrivals.rate_per_s.unwrap(), 20.0);
        near(arrivals.cv.unwrap(), 0.0);
        // Ten windows, each ten arrivals but the last, which has the end too: variance 9 · 0.1² + 0.9² over 9, mean 10.1.
        near(arrivals.dispersion.unwrap(), 0.1 / 10.1);
        assert_eq!(arrivals.ks, None);
        let lateness = Lateness::of(&moments, AskedLoad::Constant(20.0)).unwrap();
        assert_eq!([lateness.p50, lateness.p99, lateness.max], [Nanos::ZERO; 3]);
        near(lateness.drift, 0.0);
    }

    #[test]
    fn a_rate_that_is_too_low_drifts() {
        // Asked 20/s, seen 16/s: the i-th is late by i/16 − i/20 = i/80, a quarter of a second for each second.
        let lateness = Lateness::of(&at((0..101).map(|i| f64::from(i) / 16.0)), AskedLoad::Constant(20.0)).unwrap();
        near(lateness.drift, 0.25);
        assert_eq!([lateness.p50, lateness.p99, lateness.max], [0.625, 1.2375, 1.25].map(Nanos::from_secs_f64));
    }

    #[test]
    fn gaps_by_hand() {
        // Gaps of 1 and 3 s: mean 2, deviation 1.
        let arrivals = Arrivals::of(&at([0.0, 1.0, 4.0]), AskedLoad::Poisson(0.5));
        near(arrivals.rate_per_s.unwrap(), 0.5);
        near(arrivals.cv.unwrap(), 0.5);
        assert_eq!(arrivals.dispersion, None, "too few");
        // F(1) = 1 − e^−0.5 = 0.393469, F(3) = 1 − e^−1.5 = 0.776870: the distances are 0.393469 (before the first step) and 0.276870.
        let ks = arrivals.ks.unwrap();
        near(ks.distance, 0.393469);
        near(ks.critical, 0.960251);
    }

    #[test]
    fn what_cannot_be_known() {
        for (moments, asked, says) in [
            (at([0.0, 1.0]), AskedLoad::Poisson(1.0), "drew its own arrivals"),
            (at([0.0, 1.0]), AskedLoad::Closed(2), "closed loop"),
            (at([0.0]), AskedLoad::Constant(1.0), "fewer than two"),
        ] {
            assert!(Lateness::of(&moments, asked).unwrap_err().contains(says));
        }
        let none = Arrivals { count: 1, ..Arrivals::default() };
        assert_eq!(Arrivals::of(&at([5.0]), AskedLoad::Constant(1.0)), none);
        assert_eq!(Arrivals::of(&at([5.0, 5.0]), AskedLoad::Closed(1)), Arrivals { count: 2, ..none });
        assert_eq!(Arrivals::of(&[], AskedLoad::Closed(1)).count, 0);
    }
}
