//! Arrival processes hold their laws, whole and split over shards.
//!
//! All draws are seeded, so a test passes or fails for ever; the bounds are those of the statistics, not of the seed.

use nomoat_core::arrival::ArrivalProcess;
use nomoat_core::request::{RequestId, ShardId};
use nomoat_core::rng::Stream;
use nomoat_core::schedule::{Due, Limit, Load, Rule, Schedule, Source, Warmup};
use nomoat_core::units::Nanos;

const RATE: f64 = 50.0;
const SEEDS: [u64; 3] = [1, 2, 3];

fn times(process: ArrivalProcess, rate_per_s: f64, seed: u64, count: usize) -> Vec<Nanos> {
    process.times(rate_per_s, Stream::new(seed, "arrivals")).take(count).collect()
}

/// Gaps in seconds, the first from zero.
fn gaps(times: &[Nanos]) -> Vec<f64> {
    let mut previous = Nanos::ZERO;
    times.iter().map(|t| (*t - std::mem::replace(&mut previous, *t)).as_secs_f64()).collect()
}

/// Variance over mean of the number of arrivals in windows of one second: 1 for Poisson.
fn dispersion(times: &[Nanos]) -> f64 {
    let seconds = (times.last().expect("not empty").0 / 1_000_000_000) as usize;
    let mut counts = vec![0_u32; seconds];
    for t in times {
        // The last, unfinished second is left out.
        if let Some(count) = counts.get_mut((t.0 / 1_000_000_000) as usize) {
            *count += 1;
        }
    }
    let n = counts.len() as f64;
    let mean = counts.iter().map(|c| f64::from(*c)).sum::<f64>() / n;
    counts.iter().map(|c| (f64::from(*c) - mean).powi(2)).sum::<f64>() / n / mean
}

/// Kolmogorov–Smirnov: the largest distance between the empirical distribution and `law`, times √n. Looked at from 100 ns up:
/// dues are whole nanoseconds, and near zero the law of a bursty gamma is so steep that the rounding shows.
fn kolmogorov_smirnov(mut values: Vec<f64>, law: impl Fn(f64) -> f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len() as f64;
    let distance = values.iter().enumerate().filter(|(_, value)| **value > 100e-9).fold(0.0_f64, |worst, (i, value)| {
        let expect = law(*value);
        worst.max(expect - i as f64 / n).max((i + 1) as f64 / n - expect)
    });
    distance * n.sqrt()
}

/// The value of √n·D that a true law exceeds once in a thousand samples (Smirnov's limit).
const KS_ONE_IN_A_THOUSAND: f64 = 1.95;

/// Regularised lower incomplete gamma function P(a, x) by its power series, which converges for every x used here.
fn gamma_cdf(shape: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let (mut term, mut sum, mut k) = (1.0 / shape, 1.0 / shape, 0.0);
    while term > sum * 1e-15 {
        k += 1.0;
        term *= x / (shape + k);
        sum += term;
    }
    (shape * x.ln() - x - ln_gamma(shape)).exp() * sum
}

/// ln Γ by Stirling's series after shifting the argument above 10.
fn ln_gamma(x: f64) -> f64 {
    let mut shift = 0.0;
    let mut y = x;
    while y < 10.0 {
        shift += y.ln();
        y += 1.0;
    }
    (y - 0.5) * y.ln() - y + 0.5 * (2.0 * std::f64::consts::PI).ln() + 1.0 / (12.0 * y) - 1.0 / (360.0 * y.powi(3))
        + 1.0 / (1260.0 * y.powi(5))
        - shift
}

#[test]
fn the_tests_own_functions_are_right() {
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a}, not {b}");
    near(ln_gamma(5.0), 24_f64.ln());
    near(ln_gamma(0.5), std::f64::consts::PI.sqrt().ln());
    near(gamma_cdf(1.0, 0.7), 1.0 - (-0.7_f64).exp());
    near(gamma_cdf(2.0, 3.0), 1.0 - 4.0 * (-3.0_f64).exp());
    let uniform: Vec<f64> = (0..100).map(|i| (f64::from(i) + 0.5) / 100.0).collect();
    near(kolmogorov_smirnov(uniform.clone(), |x| x), 0.005 * 10.0);
    assert!(kolmogorov_smirnov(uniform, |x| x * x) > KS_ONE_IN_A_THOUSAND, "a wrong law is seen");
}

#[test]
fn poisson_gaps_are_exponential() {
    for seed in SEEDS {
        let times = times(ArrivalProcess::Poisson, RATE, seed, 20_000);
        let ks = kolmogorov_smirnov(gaps(&times), |gap| 1.0 - (-gap * RATE).exp());
        assert!(ks < KS_ONE_IN_A_THOUSAND, "seed {seed}: {ks}");
        let iod = dispersion(&times);
        // 400 windows: the index has a standard deviation of about √(2/400) = 0.07.
        assert!((iod - 1.0).abs() < 0.25, "seed {seed}: {iod}");
        let rate = times.len() as f64 / times[times.len() - 1].as_secs_f64();
        assert!((rate / RATE - 1.0).abs() < 0.03, "seed {seed}: {rate}");
    }
}

#[test]
fn gamma_gaps_are_gamma() {
    for (cv, seed) in [0.5, 1.0, 2.0, 3.0].into_iter().flat_map(|cv| SEEDS.map(|seed| (cv, seed))) {
        let times = times(ArrivalProcess::Gamma { cv }, RATE, seed, 40_000);
        let shape = 1.0 / (cv * cv);
        let gaps = gaps(&times);
        let ks = kolmogorov_smirnov(gaps.clone(), |gap| gamma_cdf(shape, gap * shape * RATE));
        assert!(ks < KS_ONE_IN_A_THOUSAND, "cv {cv}, seed {seed}: {ks}");
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let deviation = (gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        assert!((mean * RATE - 1.0).abs() < 0.03 * cv.max(1.0), "cv {cv}, seed {seed}: mean {mean}");
        assert!((deviation / mean / cv - 1.0).abs() < 0.06, "cv {cv}, seed {seed}: {}", deviation / mean);
        // For long windows a renewal process has an index of dispersion of cv²; a second holds 50 gaps.
        let iod = dispersion(&times) / (cv * cv);
        assert!((0.7..1.3).contains(&iod), "cv {cv}, seed {seed}: index of dispersion {iod} × cv²");
    }
}

#[test]
fn constant_is_exact_and_does_not_drift() {
    for (rate, index, expect_ns) in [
        (10.0, 0, 0),
        (10.0, 1, 100_000_000),
        (10.0, 36_000, 3_600_000_000_000),
        (3.0, 1, 333_333_333),
        (3.0, 2, 666_666_667),
        (3.0, 3_000_000, 1_000_000_000_000_000),
        (1_000_000.0, 999_999, 999_999_000),
    ] {
        let at = ArrivalProcess::Constant.times(rate, Stream::new(1, "arrivals")).nth(index);
        assert_eq!(at, Some(Nanos(expect_ns)), "{index} at {rate}/s");
    }
}

#[test]
fn times_never_run_backwards() {
    for process in
        [ArrivalProcess::Constant, ArrivalProcess::Poisson, ArrivalProcess::Gamma { cv: 5.0 }, ArrivalProcess::Gamma { cv: 0.01 }]
    {
        let times = times(process, 1e6, 9, 10_000);
        assert!(times.is_sorted() && times[0] >= Nanos::ZERO, "{process:?}");
    }
}

fn schedule(process: ArrivalProcess, rate_per_s: f64, seconds: i64) -> Schedule {
    Schedule::new(Rule {
        source: Source::Fixed { input_tokens: 8, output_tokens: 4 },
        load: Load::Arrivals { process, rate_per_s },
        speed: 1.0,
        warmup: Warmup::Time(Nanos::ZERO),
        limit: Limit { duration: Some(Nanos::from_secs(seconds)), requests: None },
        repeat: false,
        length: None,
        seed: 11,
    })
    .expect("a schedule")
}

fn dues(schedule: &Schedule, shard: u16, shards: u16) -> Vec<(RequestId, Nanos)> {
    let streams = schedule.streams(ShardId(shard), shards);
    assert_eq!(streams.len(), 1, "an open loop has one stream a shard");
    let due = |due| if let Due::At(at) = due { at } else { panic!("open loops of single requests have absolute dues") };
    streams.into_iter().flatten().map(|entry| (entry.request.id, due(entry.due))).collect()
}

#[test]
fn shards_together_are_the_schedule_and_each_keeps_the_law() {
    for process in [ArrivalProcess::Constant, ArrivalProcess::Poisson, ArrivalProcess::Gamma { cv: 2.0 }] {
        let schedule = schedule(process, 200.0, 300);
        let whole = dues(&schedule, 0, 1);
        assert!(whole.iter().enumerate().all(|(i, (id, _))| id.0 as usize == i), "{process:?}: ids count up");
        for shards in [1, 2, 3, 7] {
            let parts: Vec<_> = (0..shards).map(|shard| dues(&schedule, shard, shards)).collect();
            let mut union: Vec<_> = parts.iter().flatten().copied().collect();
            union.sort_unstable();
            assert_eq!(union, whole, "{process:?} over {shards}");
            for part in &parts {
                let share = part.len() as f64 * f64::from(shards) / whole.len() as f64;
                assert!((0.9..1.1).contains(&share), "{process:?} over {shards}: an uneven share of {share}");
                let times: Vec<Nanos> = part.iter().map(|p| p.1).collect();
                // A thinned stream keeps 1 / shards of what its index of dispersion has above 1 (or lacks below).
                let above = match process {
                    ArrivalProcess::Constant => -1.0,
                    ArrivalProcess::Poisson => 0.0,
                    ArrivalProcess::Gamma { cv } => cv * cv - 1.0,
                };
                let (iod, expect) = (dispersion(&times), 1.0 + above / f64::from(shards));
                assert!((iod - expect).abs() < 0.25 * expect.max(1.0), "{process:?} over {shards}: {iod}, not {expect}");
                if process == ArrivalProcess::Poisson {
                    let rate = 200.0 / f64::from(shards);
                    let ks = kolmogorov_smirnov(gaps(&times), |gap| 1.0 - (-gap * rate).exp());
                    assert!(ks < KS_ONE_IN_A_THOUSAND, "over {shards}: {ks}");
                }
            }
        }
    }
}
