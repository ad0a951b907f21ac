//! How long a variant takes: warm, repeated, with cold and hot caches told apart.

use crate::device::{Device, DeviceError, Ready};
use crate::dims::Dims;
use crate::kernel::Kernel;
use crate::problem::Problem;
use std::time::{Duration, Instant};

/// How many caches' worth of operands a cold run goes through before it comes back to the first.
const CACHES: usize = 5;
/// Sets of operands at most: making them takes time, too.
const SETS: usize = 96;

/// How much time a measurement may take, and when it is good enough.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Effort {
    /// Samples are taken until this much time has passed …
    pub limit: Duration,
    /// … or the spread is below this share of the median.
    pub spread: f64,
    /// Samples at least.
    pub samples: usize,
}

impl Effort {
    /// For a table that somebody waits for.
    pub const QUICK: Self = Self { limit: Duration::from_millis(250), spread: 0.005, samples: 7 };
    /// For a table that is published.
    pub const FULL: Self = Self { limit: Duration::from_millis(1500), spread: 0.005, samples: 15 };
}

/// Whether operands can still be in the last cache from the run before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cache {
    /// They cannot: the operands of one run, or of all sets gone through, are five times the cache.
    Cold,
    /// They can: the same operands again and again.
    Hot,
}

impl Cache {
    /// Its word in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Hot => "hot",
        }
    }
}

/// Times of one variant on one shape.
#[derive(Clone, PartialEq, Debug)]
pub struct Timing {
    /// Whether operands could be in the cache.
    pub cache: Cache,
    /// Seconds of one run: each sample is the mean of `runs` runs.
    pub samples: Vec<f64>,
    /// Runs of a sample.
    pub runs: usize,
    /// Processor seconds of one run, of all threads, where the device is the host's processor.
    pub cpu: Option<f64>,
}

impl Timing {
    /// The middle sample, seconds.
    pub fn median(&self) -> f64 {
        quantile(&self.samples, 0.5)
    }

    /// The distance between the quartiles as a share of the median.
    pub fn spread(&self) -> f64 {
        spread(&self.samples)
    }
}

/// Nearest rank of a list in any order.
fn quantile(samples: &[f64], q: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = ((q * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len().max(1));
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

fn spread(samples: &[f64]) -> f64 {
    (quantile(samples, 0.75) - quantile(samples, 0.25)) / quantile(samples, 0.5)
}

/// Sets of operands that a cold measurement needs: one where it is large enough by itself, `None` where even many would not do.
pub fn sets(bytes: usize, cache: usize) -> Option<usize> {
    let needed = (cache * CACHES).div_ceil(bytes.max(1));
    match needed {
        0 | 1 => Some(1),
        needed if needed < SETS => Some(needed + 1),
        _ => None,
    }
}

/// Times the steps over these sets of operands, round and round.
///
/// # Errors
/// When the device fails.
pub fn time(device: &dyn Device, sets: &[Problem<'_>], steps: &[Ready], cache: Cache, effort: Effort) -> Result<Timing, DeviceError> {
    let mut next = (0..sets.len()).cycle();
    let mut batch = |runs: usize| -> Result<(f64, Option<f64>), DeviceError> {
        let from = device.mark()?;
        for set in next.by_ref().take(runs) {
            sets[set].run(steps)?;
        }
        let to = device.mark()?;
        let took = device.between(&from, &to)?.as_secs_f64();
        Ok((took / runs as f64, device.cpu_between(&from, &to).map(|spent| spent.as_secs_f64() / runs as f64)))
    };
    // Warm: code loaded, clocks up, and how long a run takes.
    let begun = Instant::now();
    let mut once = f64::INFINITY;
    for round in 0.. {
        once = once.min(batch(1)?.0);
        if round >= 2 && begun.elapsed() > effort.limit / 8 {
            break;
        }
    }
    // A sample is long beside the clock's resolution and beside the start of a kernel.
    let runs = (0.002 / once.max(1e-7)).ceil().clamp(1.0, 2000.0) as usize;
    let (mut samples, mut cpu) = (vec![], vec![]);
    let begun = Instant::now();
    while samples.len() < effort.samples
        || (begun.elapsed() < effort.limit && (samples.len() < 3 * effort.samples || spread(&samples) > effort.spread))
    {
        let (took, spent) = batch(runs)?;
        samples.push(took);
        cpu.extend(spent);
    }
    device.sync()?;
    let cpu = (!cpu.is_empty()).then(|| quantile(&cpu, 0.5));
    Ok(Timing { cache, samples, runs, cpu })
}

/// Problems of a shape with different values, as many as a cold measurement needs.
///
/// # Errors
/// When the device has no room.
pub fn problems<'d>(
    device: &'d dyn Device,
    kernel: &dyn Kernel,
    dims: &Dims,
    seed: u32,
    count: usize,
) -> Result<Vec<Problem<'d>>, DeviceError> {
    (0..count as u32).map(|set| Problem::new(device, kernel, dims, seed.wrapping_add(set))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_operands_exceed_the_cache_or_are_refused() {
        for (bytes, cache, expected) in [(1 << 30, 32 << 20, Some(1)), (32 << 20, 32 << 20, Some(6)), (100, 32 << 20, None)] {
            assert_eq!(sets(bytes, cache), expected, "{bytes} of {cache}");
        }
    }

    #[test]
    fn the_median_is_a_sample_and_the_spread_is_between_quartiles() {
        let timing = Timing { cache: Cache::Hot, samples: vec![4.0, 1.0, 2.0, 3.0, 100.0], runs: 1, cpu: None };
        assert_eq!(timing.median(), 3.0);
        assert_eq!(timing.spread(), (4.0 - 2.0) / 3.0);
    }
}
