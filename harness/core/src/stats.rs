//! Order statistics of one run: nearest-rank percentiles of exact values, how sure they are, and how many observations they
//! need before they are worth printing.
//!
//! Pure and exact: values are integers, ranks are counted, and the only floating point is in probabilities. What compares
//! runs with each other (repeats, pairs, change points) is not here: one run can say nothing about it.

use crate::report::Interval;

/// +∞ among the values of a series: the moment was never reached. Sorts after every real value.
pub const NEVER: i64 = i64::MAX;

/// Level of every interval within a run.
pub const LEVEL: f64 = 0.95;

/// Longest lag at which autocorrelation is looked for. A series that is still correlated there has a trend rather than a
/// correlation length, and no interval is given for it.
pub const MAX_LAG: usize = 1024;

/// The nearest rank ⌈qN⌉, counted from 1, for a quantile of `n` values. Zero when there are none.
pub fn nearest_rank(n: u64, q: f64) -> u64 {
    let exact = q * n as f64;
    let whole = libm::round(exact);
    // A product such as 0.07 × 100 must not be pushed to the next rank by its last bit.
    let rank = if (exact - whole).abs() <= 1e-12 * n as f64 { whole } else { libm::ceil(exact) };
    (rank as u64).clamp(n.min(1), n)
}

/// Smallest number of independent observations whose order statistics bound the quantile `q` on both sides at `level`.
///
/// The widest interval is [x(1), x(n)]; it leaves out the true quantile with probability qⁿ above and (1−q)ⁿ below, so each
/// of them must be at most half of 1 − `level`: 6 for the median, 36 for p90, 72 for p95, 368 for p99.
pub fn min_observations(q: f64, level: f64) -> u64 {
    let tail = (1.0 - level) / 2.0;
    libm::ceil(libm::log(tail) / libm::log(q.max(1.0 - q))) as u64
}

/// Smallest number of requests of which `misses` may exceed a limit while "at least a share `q` is within it" still holds
/// with `confidence`: the smallest n with P(Bin(n, 1−q) ≤ misses) ≤ 1 − confidence. It is the rule by which MLPerf's LoadGen
/// decides that a run was long enough (early stopping, tolerance 0).
pub fn early_stopping_min_n(q: f64, confidence: f64, misses: u64) -> u64 {
    let enough = |n: u64| binomial_cdf(misses, n, 1.0 - q) <= 1.0 - confidence;
    let mut above = misses + 1;
    while !enough(above) {
        above *= 2;
    }
    let mut below = above / 2;
    while below + 1 < above {
        let middle = below.midpoint(above);
        if enough(middle) { above = middle } else { below = middle }
    }
    above
}

/// Ranks of the two order statistics that enclose the quantile `q` of `n` values at `level`, when they are worth `n_eff`
/// independent ones. The upper is `None` when it lies beyond the largest value; the whole is `None` when the lower lies
/// before the smallest.
///
/// The ranks are those of the exact binomial interval of ⌊n_eff⌋ trials, stretched to `n`. The usual normal approximation
/// agrees with it within a few ranks for large n, and near the ends, where the number of observations is decided, it does not.
pub fn rank_interval(n: u64, n_eff: f64, q: f64, level: f64) -> Option<(u64, Option<u64>)> {
    let trials = (n_eff as u64).clamp(1, n.max(1));
    let tail = (1.0 - level) / 2.0;
    let cdf = |k: u64| binomial_cdf(k, trials, q);
    let spread = 1.96 * libm::sqrt(trials as f64 * q * (1.0 - q));
    let guess = |sign: f64| (trials as f64 * q + sign * spread).clamp(0.0, trials as f64) as u64;
    // The lower rank is the number of values that are below the quantile with probability at most `tail`.
    let mut lower = guess(-1.0);
    while lower < trials && cdf(lower) <= tail {
        lower += 1;
    }
    while lower > 0 && cdf(lower - 1) > tail {
        lower -= 1;
    }
    let mut upper = guess(1.0).max(1);
    while upper <= trials && cdf(upper - 1) < 1.0 - tail {
        upper += 1;
    }
    while upper > 1 && cdf(upper - 2) >= 1.0 - tail {
        upper -= 1;
    }
    let stretch = n as f64 / trials as f64;
    let lower = (lower > 0).then(|| (libm::floor(lower as f64 * stretch) as u64).clamp(1, n))?;
    Some((lower, (upper <= trials).then(|| (libm::ceil(upper as f64 * stretch) as u64).clamp(1, n))))
}

/// P(X ≤ k) for X binomial with `n` trials of probability `p`, by the regularised incomplete beta function.
pub fn binomial_cdf(k: u64, n: u64, p: f64) -> f64 {
    if k >= n { 1.0 } else { regularised_beta((n - k) as f64, (k + 1) as f64, 1.0 - p) }
}

/// The value that the size of a Student's t variable with `freedom` degrees of freedom exceeds with probability 1 − `level`: 12.706 for one
/// degree at 95 %, 1.960 for very many. By bisection of its tail, I_{ν/(ν+t²)}(ν/2, 1/2).
pub fn student_t(level: f64, freedom: f64) -> f64 {
    let tail = |t: f64| regularised_beta(freedom / 2.0, 0.5, freedom / (freedom + t * t));
    let (mut below, mut above) = (0.0, 1.0);
    while tail(above) > 1.0 - level && above < 1e12 {
        above *= 2.0;
    }
    for _ in 0..100 {
        let middle = f64::midpoint(below, above);
        if tail(middle) > 1.0 - level { below = middle } else { above = middle }
    }
    f64::midpoint(below, above)
}

/// I_x(a, b), by its continued fraction (DLMF 8.17.22), evaluated from the front by the modified Lentz method on the side where
/// it converges fast.
fn regularised_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - regularised_beta(b, a, 1.0 - x);
    }
    let front = libm::exp(libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b) + a * libm::log(x) + b * libm::log1p(-x)) / a;
    let away_from_zero = |v: f64| if v.abs() < 1e-300 { 1e-300 } else { v };
    let (mut c, mut d) = (1.0, 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = d;
    // It needs about √max(a, b) terms; the bound is for arguments no run will have.
    for m in 1..100_000 {
        let m = f64::from(m);
        for numerator in
            [m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m)), -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))]
        {
            d = 1.0 / away_from_zero(1.0 + numerator * d);
            c = away_from_zero(1.0 + numerator / c);
            fraction *= c * d;
        }
        if (c * d - 1.0).abs() < 1e-14 {
            break;
        }
    }
    front * fraction
}

/// How many independent observations a series in schedule order is worth for the quantile whose value is `threshold`.
///
/// n / τ with τ = 1 + 2 Σ ρ_k, where ρ is the autocorrelation of the indicator "exceeds the threshold" and the sum runs over
/// the initial positive pairs of lags (Geyer, "Practical Markov chain Monte Carlo", 1992). Never more than n. `None` when the
/// pairs are still positive at [`MAX_LAG`]: the series has a trend.
pub fn effective_n(series: &[i64], threshold: i64) -> Option<f64> {
    let n = series.len();
    let bits = Bits::new(series.iter().map(|v| *v > threshold), n);
    let ones = bits.count() as f64;
    let mean = ones / n as f64;
    let variance = ones * (1.0 - mean);
    if n == 0 || variance <= 0.0 {
        return Some(n as f64);
    }
    let (mut head, mut tail) = (0.0, 0.0);
    let mut correlation = |lag: usize| {
        if lag > 0 {
            head += f64::from(u8::from(bits.get(lag - 1)));
            tail += f64::from(u8::from(bits.get(n - lag)));
        }
        let both = bits.count_with_lag(lag) as f64;
        (both - mean * (2.0 * ones - head - tail) + (n - lag) as f64 * mean * mean) / variance
    };
    let mut pairs = 0.0;
    let mut lag = 0;
    while lag + 1 < n {
        if lag >= MAX_LAG {
            return None;
        }
        let pair = correlation(lag) + correlation(lag + 1);
        // Zero but for rounding is zero.
        if pair <= 1e-9 {
            break;
        }
        pairs += pair;
        lag += 2;
    }
    Some(n as f64 / (2.0 * pairs - 1.0).max(1.0))
}

/// A sequence of yes and no, 64 to a word, so that the autocovariance at one lag of a million requests is sixteen thousand
/// word operations.
struct Bits(Vec<u64>);

impl Bits {
    fn new(bits: impl Iterator<Item = bool>, n: usize) -> Self {
        let mut words = vec![0_u64; n.div_ceil(64)];
        bits.enumerate().for_each(|(i, bit)| words[i / 64] |= u64::from(bit) << (i % 64));
        Self(words)
    }

    fn get(&self, i: usize) -> bool {
        self.0[i / 64] >> (i % 64) & 1 == 1
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|w| u64::from(w.count_ones())).sum()
    }

    /// Positions i where both i and i + `lag` are set.
    fn count_with_lag(&self, lag: usize) -> u64 {
        let (words, shift) = (lag / 64, lag % 64);
        let later = &self.0[words.min(self.0.len())..];
        let last = later.len().saturating_sub(1);
        let both = |here: u64, low: u64, high: u64| {
            let shifted = if shift == 0 { low } else { low >> shift | high << (64 - shift) };
            u64::from((here & shifted).count_ones())
        };
        let inner: u64 = self.0.iter().zip(later.windows(2)).map(|(here, pair)| both(*here, pair[0], pair[1])).sum();
        inner + later.last().map_or(0, |low| both(self.0[last], *low, 0))
    }
}

/// Values of which order statistics can be asked, each found by selection within what earlier questions left undecided.
pub struct Ranks<T = i64> {
    values: Vec<T>,
    /// Positions that hold their order statistic, ascending.
    settled: Vec<usize>,
}

impl<T: Copy + Ord> Ranks<T> {
    /// Takes the values, in any order.
    pub fn new(values: Vec<T>) -> Self {
        Self { values, settled: vec![] }
    }

    /// The value of `rank`, counted from 1; `None` outside 1..=n.
    pub fn at(&mut self, rank: u64) -> Option<T> {
        let index = usize::try_from(rank.checked_sub(1)?).ok().filter(|i| *i < self.values.len())?;
        if let Err(slot) = self.settled.binary_search(&index) {
            let from = slot.checked_sub(1).map_or(0, |before| self.settled[before] + 1);
            let to = self.settled.get(slot).copied().unwrap_or(self.values.len());
            self.values[from..to].select_nth_unstable(index - from);
            self.settled.insert(slot, index);
        }
        Some(self.values[index])
    }

    /// The nearest-rank percentile x(⌈qN⌉); [`NEVER`] when the rank falls among the values that were never reached.
    pub fn percentile(&mut self, q: f64) -> Option<T> {
        self.at(nearest_rank(self.values.len() as u64, q))
    }
}

/// A percentile with what is known of its error.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Percentile {
    /// The value; [`NEVER`] when it was not reached.
    pub value: i64,
    /// Independent observations the series is worth here; `None` when it has a trend.
    pub n_eff: Option<f64>,
    /// The interval at [`LEVEL`]; an end that was never reached is open. `None` when there is no lower end or no `n_eff`.
    pub ci: Option<Interval>,
}

/// Percentiles `qs` of a series in schedule order; `None` where it is shorter than [`min_observations`].
pub fn percentiles<const N: usize>(series: &[i64], qs: [f64; N]) -> [Option<Percentile>; N] {
    let n = series.len() as u64;
    let mut ranks = Ranks::new(series.to_vec());
    qs.map(|q| {
        let value = ranks.percentile(q).filter(|_| n >= min_observations(q, LEVEL))?;
        let n_eff = effective_n(series, value);
        let interval = n_eff.and_then(|n_eff| rank_interval(n, n_eff, q, LEVEL));
        let ci = interval.and_then(|(lower, upper)| {
            let lo = ranks.at(lower).filter(|v| *v != NEVER)?;
            let hi = upper.and_then(|rank| ranks.at(rank)).filter(|v| *v != NEVER);
            Some(Interval { lo: lo as f64, hi: hi.map(|v| v as f64), level: LEVEL })
        });
        Some(Percentile { value, n_eff, ci })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;
    use proptest::prelude::*;

    #[test]
    fn nearest_ranks() {
        for (n, q, rank) in [
            (0, 0.5, 0),
            (1, 0.5, 1),
            (2, 0.5, 1),
            (3, 0.5, 2),
            (10, 0.9, 9),
            (11, 0.9, 10),
            (100, 0.07, 7),
            (100, 0.99, 99),
            (101, 0.99, 100),
            (5, 1.0, 5),
            (5, 0.0, 1),
        ] {
            assert_eq!(nearest_rank(n, q), rank, "n {n}, q {q}");
        }
    }

    #[test]
    fn observations_that_percentiles_need() {
        for (q, n) in [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368), (0.999, 3688), (0.1, 36)] {
            assert_eq!(min_observations(q, 0.95), n, "q {q}");
            // The same number by the interval itself: it is the first n at which both ends are among the values.
            let closed = |n: u64| rank_interval(n, n as f64, q, 0.95).is_some_and(|(_, upper)| upper.is_some());
            assert!(closed(n) && !closed(n - 1), "q {q}");
        }
    }

    #[test]
    fn early_stopping_agrees_with_the_published_table() {
        let misses = [0, 1, 2, 5, 10, 50];
        for (q, confidence, ns) in [
            (0.90, 0.99, [44, 64, 81, 127, 197, 681]),
            (0.95, 0.99, [90, 130, 165, 259, 398, 1372]),
            (0.99, 0.99, [459, 662, 838, 1307, 2010, 6898]),
            (0.99, 0.95, [299, 473, 628, 1049, 1693, 6323]),
            (0.999, 0.99, [4603, 6636, 8403, 13105, 20140, 69058]),
        ] {
            assert_eq!(misses.map(|t| early_stopping_min_n(q, confidence, t)), ns, "q {q}, confidence {confidence}");
        }
    }

    #[test]
    fn binomial_sums() {
        // Against the sum itself, where it can be done by hand.
        let direct = |k: u64, n: u64, p: f64| {
            let mut term = libm::pow(1.0 - p, n as f64);
            let mut sum = term;
            for i in 0..k {
                term *= (n - i) as f64 / (i + 1) as f64 * p / (1.0 - p);
                sum += term;
            }
            sum
        };
        for (n, p) in [(1, 0.5), (10, 0.1), (50, 0.9), (400, 0.01), (1000, 0.3)] {
            for k in 0..n {
                let (ours, exact) = (binomial_cdf(k, n, p), direct(k, n, p));
                assert!((ours - exact).abs() < 1e-10, "k {k}, n {n}, p {p}: {ours} against {exact}");
            }
        }
    }

    #[test]
    fn quantiles_of_student_are_those_of_any_table() {
        for (freedom, at_95, at_99) in
            [(1.0, 12.706, 63.657), (2.0, 4.303, 9.925), (5.0, 2.571, 4.032), (10.0, 2.228, 3.169), (1e6, 1.960, 2.576)]
        {
            assert!((student_t(0.95, freedom) - at_95).abs() < 6e-4, "{freedom}: {}", student_t(0.95, freedom));
            assert!((student_t(0.99, freedom) - at_99).abs() < 6e-4, "{freedom}: {}", student_t(0.99, freedom));
        }
    }

    #[test]
    fn interval_is_close_to_the_normal_one_for_many_values() {
        for (n, q) in [(4_000, 0.5), (4_000, 0.9), (4_000, 0.99), (1_000_000, 0.99)] {
            let (lower, upper) = rank_interval(n, n as f64, q, 0.95).expect("n is large");
            let spread = 1.96 * (n as f64 * q * (1.0 - q)).sqrt();
            assert!((lower as f64 - (n as f64 * q - spread)).abs() <= 3.0, "n {n}, q {q}: lower {lower}");
            assert!((upper.expect("n is large") as f64 - (n as f64 * q + spread)).abs() <= 4.0, "n {n}, q {q}: upper {upper:?}");
        }
        assert_eq!(rank_interval(40, 40.0, 0.99, 0.95).map(|(_, upper)| upper), Some(None), "open above");
        assert_eq!(rank_interval(40, 1.0, 0.5, 0.95), None, "worth one observation");
        // Half as many independent values: wider by √2.
        let width = |n_eff: f64| rank_interval(10_000, n_eff, 0.5, 0.95).and_then(|(l, u)| Some(u? - l)).expect("closed") as f64;
        assert!((width(5_000.0) / width(10_000.0) - std::f64::consts::SQRT_2).abs() < 0.03);
    }

    #[test]
    fn effective_n_of_known_series() {
        let mut s = Stream::new(1, "effective");
        let independent: Vec<i64> = (0..20_000).map(|_| (s.uniform() * 1e9) as i64).collect();
        let n_eff = effective_n(&independent, 500_000_000).expect("no trend");
        assert!(n_eff > 17_000.0, "{n_eff}");
        // Each value ten times in a row: a tenth of the information.
        let repeated: Vec<i64> = independent.iter().flat_map(|v| [*v; 10]).collect();
        let n_eff = effective_n(&repeated, 500_000_000).expect("no trend");
        assert!((15_000.0..24_000.0).contains(&n_eff), "{n_eff}");
        let rising: Vec<i64> = (0..20_000).collect();
        assert_eq!(effective_n(&rising, 10_000), None, "a trend has no correlation length");
        assert_eq!(effective_n(&[5; 100], 5), Some(100.0), "nothing exceeds");
        let alternating: Vec<i64> = (0..100).map(|i| i % 2).collect();
        assert_eq!(effective_n(&alternating, 0), Some(100.0), "never worth more than it is");
        assert_eq!(effective_n(&[], 0), Some(0.0));
    }

    proptest! {
        #[test]
        fn lagged_counts_are_those_of_the_loop(bits in prop::collection::vec(any::<bool>(), 1..400), lag in 0_usize..400) {
            let expect = (0..bits.len().saturating_sub(lag)).filter(|i| bits[*i] && bits[i + lag]).count() as u64;
            prop_assert_eq!(Bits::new(bits.iter().copied(), bits.len()).count_with_lag(lag), expect);
        }

        #[test]
        fn ranks_are_those_of_the_sorted_values(values in prop::collection::vec(any::<i64>(), 1..200), asks in prop::collection::vec(0_u64..210, 0..30)) {
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let mut ranks = Ranks::new(values);
            for rank in asks {
                prop_assert_eq!(ranks.at(rank), rank.checked_sub(1).and_then(|i| sorted.get(i as usize)).copied());
            }
        }
    }

    /// The same sum, lag by lag over the values.
    fn effective_n_by_definition(series: &[i64], threshold: i64) -> f64 {
        let n = series.len();
        let x: Vec<f64> = series.iter().map(|v| f64::from(u8::from(*v > threshold))).collect();
        let mean = x.iter().sum::<f64>() / n as f64;
        let covariance = |lag: usize| (0..n - lag).map(|i| (x[i] - mean) * (x[i + lag] - mean)).sum::<f64>();
        if covariance(0) < 1e-12 {
            return n as f64;
        }
        let pairs = (0..n - 1).step_by(2).map(|lag| (covariance(lag) + covariance(lag + 1)) / covariance(0));
        let sum: f64 = pairs.take_while(|pair| *pair > 1e-9).sum();
        n as f64 / (2.0 * sum - 1.0).max(1.0)
    }

    proptest! {
        #[test]
        fn effective_n_is_that_of_the_definition(steps in prop::collection::vec(-3_i64..4, 2..150), stay in 1_usize..5) {
            let mut level = 0;
            let walk: Vec<i64> = steps.iter().flat_map(|step| { level += step; vec![level; stay] }).collect();
            let (ours, slow) = (effective_n(&walk, 2), effective_n_by_definition(&walk, 2));
            prop_assert!(ours.is_some_and(|n| (n - slow).abs() < 1e-6 * slow), "{ours:?} for {slow}");
        }
    }

    #[test]
    fn percentiles_of_a_series() {
        let series: Vec<i64> = (1..=40).rev().collect();
        let [p50, p90, p95] = percentiles(&series, [0.5, 0.9, 0.95]);
        assert_eq!((p50.map(|p| p.value), p90.map(|p| p.value), p95), (Some(20), Some(36), None));
        let mut failing = vec![7; 90];
        failing.extend([NEVER; 10]);
        let [p90, p95] = percentiles(&failing, [0.9, 0.95]);
        assert_eq!((p90.map(|p| p.value), p95.map(|p| p.value)), (Some(7), Some(NEVER)));
        assert_eq!(p90.and_then(|p| p.ci).and_then(|ci| ci.hi), None, "the upper end is among the failures");
    }
}
