//! Random numbers by key and counter: the same everywhere, in any order, from any thread.
//!
//! Every consumer names its stream, so that adding one consumer never shifts the numbers of another.

use sha2::{Digest as _, Sha256};

/// The finaliser of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014): a bijection
/// on 64 bits in which every input bit reaches every output bit.
pub const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A 64-bit value for (`key`, `counter`).
pub const fn keyed(key: u64, counter: u64) -> u64 {
    mix(key.wrapping_add(counter.wrapping_mul(GOLDEN)).wrapping_add(GOLDEN))
}

/// The key of the stream `name` under the run's seed.
pub fn stream_key(seed: u64, name: &str) -> u64 {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(name.as_bytes());
    let bytes: [u8; 32] = hash.finalize().into();
    u64::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]])
}

/// A named sequence of random numbers.
#[derive(Clone, Debug)]
pub struct Stream {
    key: u64,
    counter: u64,
}

impl Stream {
    /// The stream `name` under `seed`, from its start.
    pub fn new(seed: u64, name: &str) -> Self {
        Self { key: stream_key(seed, name), counter: 0 }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        let bits = keyed(self.key, self.counter);
        self.counter += 1;
        bits
    }

    /// Uniform in (0, 1]: never zero, so that its logarithm is finite.
    pub fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 1.0) / (1_u64 << 53) as f64
    }

    /// Uniform in `0..below`, by multiplication (bias below 2⁻³² for the sizes used here). Zero when `below` is zero.
    pub fn below(&mut self, below: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(below)) >> 64) as u64
    }

    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -libm::log(self.uniform())
    }

    /// Standard normal (Box–Muller; the second value is not kept, so that the stream's position is one per call pair).
    pub fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(self.uniform()));
        radius * libm::cos(2.0 * std::f64::consts::PI * self.uniform())
    }

    /// Gamma with the given shape and mean `shape` (Marsaglia and Tsang, "A simple method for generating gamma variables",
    /// 2000; for shapes below 1 the boost by U^(1/shape)).
    pub fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let boost = libm::pow(self.uniform(), 1.0 / shape);
            return self.gamma(shape + 1.0) * boost;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / libm::sqrt(9.0 * d);
        loop {
            let x = self.normal();
            let v = 1.0 + c * x;
            if v <= 0.0 {
                continue;
            }
            let v = v * v * v;
            if libm::log(self.uniform()) < 0.5 * x * x + d - d * v + d * libm::log(v) {
                return d * v;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_named_and_repeat() {
        let (mut a, mut b, mut c) = (Stream::new(1, "arrivals"), Stream::new(1, "arrivals"), Stream::new(1, "lengths"));
        let (x, y, z): (Vec<_>, Vec<_>, Vec<_>) =
            ((0..8).map(|_| a.bits()).collect(), (0..8).map(|_| b.bits()).collect(), (0..8).map(|_| c.bits()).collect());
        assert_eq!(x, y);
        assert_ne!(x, z);
    }

    #[test]
    fn moments_of_the_laws() {
        let n = 200_000;
        let check = |name: &str, mean: f64, variance: f64, draw: &mut dyn FnMut() -> f64| {
            let xs: Vec<f64> = (0..n).map(|_| draw()).collect();
            let m = xs.iter().sum::<f64>() / n as f64;
            let v = xs.iter().map(|x| (x - m) * (x - m)).sum::<f64>() / n as f64;
            assert!((m - mean).abs() < 0.02 * mean.max(1.0), "{name}: mean {m}");
            assert!((v - variance).abs() < 0.05 * variance, "{name}: variance {v}");
        };
        let mut s = Stream::new(7, "laws");
        check("uniform", 0.5, 1.0 / 12.0, &mut || s.uniform());
        let mut s = Stream::new(7, "laws");
        check("exponential", 1.0, 1.0, &mut || s.exponential());
        for shape in [0.25, 1.0, 4.0] {
            let mut s = Stream::new(7, "laws");
            check("gamma", shape, shape, &mut || s.gamma(shape));
        }
    }
}
