//! Sixteen numbers side by side, and the few things that are done with them.

use super::Arith;

/// Numbers in a [`Lanes`]: one AVX-512 register, and the tokens of a KV block.
pub const LANES: usize = 16;

/// Sixteen numbers, aligned to a cache line.
#[derive(Clone, Copy, PartialEq, Debug)]
#[repr(align(64))]
pub struct Lanes(pub [f32; LANES]);

impl Lanes {
    /// All zero.
    pub const ZERO: Self = Self([0.0; LANES]);

    /// All `value`.
    #[inline(always)]
    pub fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    /// The first sixteen of `values`.
    #[inline(always)]
    pub fn load(values: &[f32]) -> Self {
        let mut out = [0.0; LANES];
        out.copy_from_slice(&values[..LANES]);
        Self(out)
    }

    /// Writes them to the first sixteen of `values`.
    #[inline(always)]
    pub fn store(self, values: &mut [f32]) {
        values[..LANES].copy_from_slice(&self.0);
    }

    /// self · by + to, lane by lane.
    #[inline(always)]
    pub fn fma<A: Arith>(self, by: Self, to: Self) -> Self {
        let mut out = to;
        let mut lane = 0;
        while lane < LANES {
            out.0[lane] = A::fma(self.0[lane], by.0[lane], to.0[lane]);
            lane += 1;
        }
        out
    }

    /// self · by, lane by lane.
    #[inline(always)]
    pub fn times(self, by: Self) -> Self {
        let mut out = self;
        let mut lane = 0;
        while lane < LANES {
            out.0[lane] = self.0[lane] * by.0[lane];
            lane += 1;
        }
        out
    }

    /// self + other, lane by lane.
    #[inline(always)]
    pub fn plus(self, other: Self) -> Self {
        let mut out = self;
        let mut lane = 0;
        while lane < LANES {
            out.0[lane] = self.0[lane] + other.0[lane];
            lane += 1;
        }
        out
    }

    /// The larger of both, lane by lane. Not for NaN.
    #[inline(always)]
    pub fn max(self, other: Self) -> Self {
        let mut out = self;
        let mut lane = 0;
        while lane < LANES {
            out.0[lane] = if self.0[lane] > other.0[lane] { self.0[lane] } else { other.0[lane] };
            lane += 1;
        }
        out
    }

    /// Their sum, always as the same tree: halves are added until one is left.
    #[inline(always)]
    pub fn sum(self) -> f32 {
        let mut all = self.0;
        let mut half = LANES / 2;
        while half > 0 {
            let mut lane = 0;
            while lane < half {
                all[lane] += all[lane + half];
                lane += 1;
            }
            half /= 2;
        }
        all[0]
    }

    /// The largest.
    #[inline(always)]
    pub fn largest(self) -> f32 {
        let mut best = self.0[0];
        let mut lane = 1;
        while lane < LANES {
            if self.0[lane] > best {
                best = self.0[lane];
            }
            lane += 1;
        }
        best
    }

    /// The first `keep` lanes; the others become `instead`.
    #[inline(always)]
    pub fn head(self, keep: usize, instead: f32) -> Self {
        let mut out = self;
        let mut lane = 0;
        while lane < LANES {
            out.0[lane] = if lane < keep { self.0[lane] } else { instead };
            lane += 1;
        }
        out
    }

    /// eˣ, lane by lane, within two units in the last place of f32 between −87 and 88 and clamped outside.
    ///
    /// Range reduction by ln 2 in two parts (Cody and Waite) and a polynomial of degree 6 with the coefficients of the
    /// series, which is enough on |r| ≤ ln 2 / 2 (remainder 1.2·10⁻⁷ relative to one at most). Own code, because every path
    /// must use the same one and because a call per element would not vectorise.
    #[inline(always)]
    pub fn exp<A: Arith>(self) -> Self {
        // Adding 1.5·2²³ leaves the nearest integer in the low bits of the sum.
        const ROUND: f32 = 12_582_912.0;
        let mut out = self;
        let mut lane = 0;
        while lane < LANES {
            let x = self.0[lane];
            let x = if x < -87.0 { -87.0 } else { x };
            let x = if x > 88.0 { 88.0 } else { x };
            let shifted = A::fma(x, std::f32::consts::LOG2_E, ROUND);
            let n = shifted - ROUND;
            let r = A::fma(n, -0.693_359_4, x);
            let r = A::fma(n, 2.121_944_4e-4, r);
            let mut p = 1.0 / 720.0;
            p = A::fma(p, r, 1.0 / 120.0);
            p = A::fma(p, r, 1.0 / 24.0);
            p = A::fma(p, r, 1.0 / 6.0);
            p = A::fma(p, r, 0.5);
            p = A::fma(p, r, 1.0);
            p = A::fma(p, r, 1.0);
            let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
            out.0[lane] = p * f32::from_bits(exponent);
            lane += 1;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kernel, Work};
    use super::*;

    struct Exp<'a>(&'a mut [Lanes]);

    impl Work for Exp<'_> {
        #[inline(always)]
        fn run<A: Arith>(self) {
            for lanes in self.0 {
                *lanes = lanes.exp::<A>();
            }
        }
    }

    #[test]
    fn exp_agrees_with_the_library() {
        for kernel in Kernel::available() {
            let inputs: Vec<f32> = (0..16 * 1000).map(|i| -87.0 + i as f32 * (175.0 / 16_000.0)).collect();
            let mut lanes: Vec<Lanes> = inputs.chunks(LANES).map(Lanes::load).collect();
            kernel.run(Exp(&mut lanes));
            for (x, got) in inputs.iter().zip(lanes.iter().flat_map(|l| l.0)) {
                let want = libm::exp(f64::from(*x));
                assert!((f64::from(got) / want - 1.0).abs() < 3e-7, "{}: exp({x}) = {got}, not {want}", kernel.name());
            }
            let mut edge = [Lanes([0.0, -0.0, -1e30, f32::NEG_INFINITY, 1e30, 1.0, -1.0, 0.5, -0.5, 87.9, -86.9, 2.0, 3.0, 4.0, 5.0, 6.0])];
            kernel.run(Exp(&mut edge));
            assert_eq!((edge[0].0[0], edge[0].0[1]), (1.0, 1.0));
            assert!(edge[0].0.iter().all(|y| y.is_finite() && *y > 0.0), "{edge:?}");
        }
    }

    #[test]
    fn heads_sums_and_maxima() {
        let lanes = Lanes(std::array::from_fn(|i| i as f32));
        assert_eq!(lanes.sum(), 120.0);
        assert_eq!(lanes.largest(), 15.0);
        assert_eq!(lanes.head(3, -1.0).sum(), 3.0 - 13.0);
        assert_eq!(lanes.max(Lanes::splat(7.5)).0[..9], [7.5, 7.5, 7.5, 7.5, 7.5, 7.5, 7.5, 7.5, 8.0]);
    }
}
