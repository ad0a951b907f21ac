//! Vectors of four in plain Rust: registers on every processor that has any of that width.

use super::Simd;

/// Four singles, by whatever the crate was compiled for.
#[derive(Clone, Copy, Debug)]
pub(in crate::native) struct Four;

type V = [f32; 4];

#[inline(always)]
fn each(a: V, b: V, of: impl Fn(f32, f32) -> f32) -> V {
    [of(a[0], b[0]), of(a[1], b[1]), of(a[2], b[2]), of(a[3], b[3])]
}

impl Simd for Four {
    type V = V;
    const LANES: usize = 4;
    const ROWS: usize = 6;

    #[inline(always)]
    fn splat(value: f32) -> V {
        [value; 4]
    }

    #[inline(always)]
    fn load(from: &[f32]) -> V {
        let from = &from[..4];
        [from[0], from[1], from[2], from[3]]
    }

    #[inline(always)]
    fn store(value: V, to: &mut [f32]) {
        to[..4].copy_from_slice(&value);
    }

    #[inline(always)]
    fn stream(value: V, to: &mut [f32]) {
        Self::store(value, to);
    }

    #[inline(always)]
    fn fence() {}

    #[inline(always)]
    fn widen(from: &[u16]) -> V {
        let from = &from[..4];
        [from[0], from[1], from[2], from[3]].map(|bits| f32::from_bits(u32::from(bits) << 16))
    }

    #[inline(always)]
    fn prefetch_second<T>(_: &[T]) {}

    #[inline(always)]
    fn prefetch_ahead<T>(_: &[T], _: usize) {}

    #[inline(always)]
    fn add(a: V, b: V) -> V {
        each(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(a: V, b: V) -> V {
        each(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(a: V, b: V) -> V {
        each(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn fma(a: V, b: V, c: V) -> V {
        // Without the feature at compile time `mul_add` is a call into a library: correct, and a hundred times too slow.
        if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
            [a[0].mul_add(b[0], c[0]), a[1].mul_add(b[1], c[1]), a[2].mul_add(b[2], c[2]), a[3].mul_add(b[3], c[3])]
        } else {
            Self::add(Self::mul(a, b), c)
        }
    }

    #[inline(always)]
    fn max(a: V, b: V) -> V {
        each(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn reaches(value: V, bound: f32) -> bool {
        value[0] >= bound || value[1] >= bound || value[2] >= bound || value[3] >= bound
    }

    #[inline(always)]
    fn exceeds(a: V, b: V) -> bool {
        a[0] > b[0] || a[1] > b[1] || a[2] > b[2] || a[3] > b[3]
    }

    #[inline(always)]
    fn scale(value: V, shifted: V) -> V {
        each(value, shifted, |value, shifted| f32::from_bits(value.to_bits().wrapping_add(shifted.to_bits() << 23)))
    }

    #[inline(always)]
    fn sums(vectors: [V; 8]) -> [f32; 8] {
        let mut sums = [0.0; 8];
        let mut i = 0;
        while i < 8 {
            let v = vectors[i];
            sums[i] = (v[0] + v[2]) + (v[1] + v[3]);
            i += 1;
        }
        sums
    }
}
