//! What operands hold: a number from the index alone, so that host, device and reference agree without sharing an array.
//!
//! Values (but for fine ones) are odd multiples of 1/256 below one, times a power of two. They have eight significant bits, so they are exact in
//! bf16 and in f32, their mean is zero, and a reference can be computed for any element of an operand of any size.

use std::sync::Arc;

/// What an operand holds before a run.
#[derive(Clone, Debug)]
pub enum Fill {
    /// Uniform in (−scale, scale); `scale` is a power of two.
    Uniform {
        /// The bound.
        scale: f32,
    },
    /// Uniform in (low, low + 2·scale): for decays, step sizes and other positive operands. Both are chosen such that sums are
    /// exact in bf16, or the operand is f32.
    Shifted {
        /// The lower bound.
        low: f32,
        /// Half the width, a power of two.
        scale: f32,
    },
    /// Uniform in (−scale, scale) with 24 significant bits, so that few of even a million values are equal; `scale` is a power of two. For
    /// f32 operands: scores to choose from.
    Fine {
        /// The bound.
        scale: f32,
    },
    /// These integers: page tables, lengths, indices.
    Ints(Arc<[i32]>),
    /// Every byte 0xFF: not a number in any float format, −1 as an integer. An output that is not written shows.
    Poison,
}

/// A well mixed word of an index. Two rounds of multiply and shift; the constants are those of "lowbias32" (C. Wellons,
/// "Prospecting for Hash Functions", public domain). Kernel text has the same function in `fill.cu`.
#[inline]
pub fn mix(index: u64, seed: u32) -> u32 {
    let mut x = (index as u32) ^ ((index >> 32) as u32).wrapping_mul(0x9E37_79B9);
    x ^= x >> 16;
    // Added in the middle: put in at the start, two seeds would give the same numbers in another order.
    x = x.wrapping_mul(0x7FEB_352D).wrapping_add(seed);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846C_A68B);
    x ^ (x >> 16)
}

/// Element `index` of a uniform operand with this seed: exact in bf16.
#[inline]
pub fn uniform(index: u64, seed: u32, scale: f32) -> f32 {
    let odd = ((mix(index, seed) >> 24) as i32) * 2 - 255;
    odd as f32 * (scale / 256.0)
}

/// Element `index` of a fine operand with this seed: exact in f32.
#[inline]
pub fn fine(index: u64, seed: u32, scale: f32) -> f32 {
    let odd = ((mix(index, seed) >> 9) as i32) * 2 - 8_388_607;
    odd as f32 * (scale / 8_388_608.0)
}

impl Fill {
    /// Element `index`, as the device holds it.
    pub fn at(&self, index: usize, seed: u32) -> f64 {
        match self {
            Self::Uniform { scale } => f64::from(uniform(index as u64, seed, *scale)),
            Self::Shifted { low, scale } => f64::from(low + scale + uniform(index as u64, seed, *scale)),
            Self::Fine { scale } => f64::from(fine(index as u64, seed, *scale)),
            Self::Ints(values) => f64::from(values[index]),
            Self::Poison => f64::NAN,
        }
    }
}

/// The bf16 nearest to a single, ties to even; not a number stays one.
#[inline]
pub fn to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return ((bits >> 16) | 0x40) as u16;
    }
    ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) as u16
}

/// The single that a bf16 is.
#[inline]
pub fn from_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_exact_in_bf16_and_centred() {
        let (mut sum, mut least, mut most) = (0.0_f64, f32::MAX, f32::MIN);
        for index in 0..100_000_u64 {
            let value = uniform(index, 7, 0.5);
            assert_eq!(from_bf16(to_bf16(value)), value);
            sum += f64::from(value);
            (least, most) = (least.min(value), most.max(value));
        }
        assert!(sum.abs() / 1e5 < 0.005, "mean {}", sum / 1e5);
        assert_eq!((least, most), (-0.5 * 255.0 / 256.0, 0.5 * 255.0 / 256.0));
    }

    #[test]
    fn fine_values_rarely_tie_and_stay_within_the_bound() {
        let mut bits: Vec<u32> =
            (0..100_000_u64).map(|index| fine(index, 5, 2.0)).inspect(|value| assert!(value.abs() < 2.0)).map(f32::to_bits).collect();
        bits.sort_unstable();
        bits.dedup();
        assert!(bits.len() > 98_000, "{} of 100000 values differ", bits.len());
    }

    #[test]
    fn neighbours_and_seeds_differ() {
        let row = |seed| (0..64).map(|i| mix(i, seed)).collect::<Vec<_>>();
        let mut all: Vec<u32> = [row(1), row(2), (0..64).map(|i| mix(i + (1 << 32), 1)).collect()].concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 3 * 64);
    }

    #[test]
    fn bf16_rounds_to_even_and_keeps_nan() {
        for (value, bits) in
            [(1.0, 0x3F80), (1.0 + 1.0 / 256.0, 0x3F80), (1.0 + 3.0 / 256.0, 0x3F82), (-2.0, 0xC000), (f32::INFINITY, 0x7F80)]
        {
            assert_eq!(to_bf16(value), bits, "{value}");
        }
        assert!(from_bf16(to_bf16(f32::NAN)).is_nan());
        assert!(from_bf16(0xFFFF).is_nan());
    }
}
