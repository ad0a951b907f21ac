//! Vectors of AVX2 and AVX-512, and the functions that carry their features.
//!
//! Every `unsafe` here stands on the same two facts. The features are there: the types are named only by [`avx2`] and [`avx512`],
//! which [`super::Isa`] enters only where the CPU has them. And memory is in bounds: each access first takes a slice of the length it
//! touches.

use super::{Simd, Work};
#[allow(clippy::wildcard_imports, reason = "half a hundred names with prefixes of their own")]
use std::arch::x86_64::*;

/// Enters a loop with AVX2 and fused multiply-add.
#[target_feature(enable = "avx2,fma")]
pub(super) fn avx2<W: Work>(work: W) -> W::Out {
    work.run::<Eight>()
}

/// Enters a loop with AVX-512.
#[target_feature(enable = "avx512f,avx2,fma")]
pub(super) fn avx512<W: Work>(work: W) -> W::Out {
    work.run::<Sixteen>()
}

/// Eight singles of AVX2.
#[derive(Clone, Copy, Debug)]
pub(in crate::native) struct Eight;

/// Sixteen singles of AVX-512.
#[derive(Clone, Copy, Debug)]
pub(in crate::native) struct Sixteen;

impl Simd for Eight {
    type V = __m256;
    const LANES: usize = 8;
    const ROWS: usize = 6;

    #[inline(always)]
    fn splat(value: f32) -> __m256 {
        // SAFETY: see the module.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    fn load(from: &[f32]) -> __m256 {
        // SAFETY: see the module.
        unsafe { _mm256_loadu_ps(from[..8].as_ptr()) }
    }

    #[inline(always)]
    fn store(value: __m256, to: &mut [f32]) {
        // SAFETY: see the module.
        unsafe { _mm256_storeu_ps(to[..8].as_mut_ptr(), value) }
    }

    #[inline(always)]
    fn stream(value: __m256, to: &mut [f32]) {
        let at = to[..8].as_mut_ptr();
        // SAFETY: see the module; the address of the second is aligned.
        unsafe { if at.addr().is_multiple_of(32) { _mm256_stream_ps(at, value) } else { _mm256_storeu_ps(at, value) } }
    }

    #[inline(always)]
    fn fence() {
        // SAFETY: has no operands.
        unsafe { _mm_sfence() }
    }

    #[inline(always)]
    fn widen(from: &[u16]) -> __m256 {
        // SAFETY: see the module.
        unsafe {
            let bits = _mm_loadu_si128(from[..8].as_ptr().cast());
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits)))
        }
    }

    #[inline(always)]
    fn prefetch_second<T>(from: &[T]) {
        // SAFETY: a hint, for any address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn prefetch_ahead<T>(from: &[T], bytes: usize) {
        // SAFETY: a hint, for any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.as_ptr().cast::<i8>().wrapping_add(bytes)) }
    }

    #[inline(always)]
    fn add(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see the module.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see the module.
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see the module.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: see the module.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn max(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see the module.
        unsafe { _mm256_max_ps(a, b) }
    }

    #[inline(always)]
    fn reaches(value: __m256, bound: f32) -> bool {
        // SAFETY: see the module.
        unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(value, _mm256_set1_ps(bound))) != 0 }
    }

    #[inline(always)]
    fn exceeds(a: __m256, b: __m256) -> bool {
        // SAFETY: see the module.
        unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(a, b)) != 0 }
    }

    #[inline(always)]
    fn scale(value: __m256, shifted: __m256) -> __m256 {
        // SAFETY: see the module.
        unsafe {
            let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(shifted));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(value), exponent))
        }
    }

    #[inline(always)]
    fn sums(v: [__m256; 8]) -> [f32; 8] {
        let mut sums = [0.0; 8];
        // SAFETY: see the module.
        unsafe {
            let (low, high) = (
                _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3])),
                _mm256_hadd_ps(_mm256_hadd_ps(v[4], v[5]), _mm256_hadd_ps(v[6], v[7])),
            );
            // Each half holds sums of halves: the lower halves of both beside the upper halves of both.
            let (lower, upper) = (_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high));
            _mm256_storeu_ps(sums.as_mut_ptr(), _mm256_add_ps(lower, upper));
        }
        sums
    }
}

impl Simd for Sixteen {
    type V = __m512;
    const LANES: usize = 16;
    const ROWS: usize = 12;

    #[inline(always)]
    fn splat(value: f32) -> __m512 {
        // SAFETY: see the module.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn load(from: &[f32]) -> __m512 {
        // SAFETY: see the module.
        unsafe { _mm512_loadu_ps(from[..16].as_ptr()) }
    }

    #[inline(always)]
    fn store(value: __m512, to: &mut [f32]) {
        // SAFETY: see the module.
        unsafe { _mm512_storeu_ps(to[..16].as_mut_ptr(), value) }
    }

    #[inline(always)]
    fn stream(value: __m512, to: &mut [f32]) {
        let at = to[..16].as_mut_ptr();
        // SAFETY: see the module; the address of the second is aligned.
        unsafe { if at.addr().is_multiple_of(64) { _mm512_stream_ps(at, value) } else { _mm512_storeu_ps(at, value) } }
    }

    #[inline(always)]
    fn fence() {
        Eight::fence();
    }

    #[inline(always)]
    fn widen(from: &[u16]) -> __m512 {
        // SAFETY: see the module.
        unsafe {
            let bits = _mm256_loadu_si256(from[..16].as_ptr().cast());
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits)))
        }
    }

    #[inline(always)]
    fn prefetch_second<T>(from: &[T]) {
        Eight::prefetch_second(from);
    }

    #[inline(always)]
    fn prefetch_ahead<T>(from: &[T], bytes: usize) {
        Eight::prefetch_ahead(from, bytes);
    }

    #[inline(always)]
    fn add(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the module.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the module.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the module.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see the module.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn max(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the module.
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    fn reaches(value: __m512, bound: f32) -> bool {
        // SAFETY: see the module.
        unsafe { _mm512_cmp_ps_mask::<_CMP_GE_OQ>(value, _mm512_set1_ps(bound)) != 0 }
    }

    #[inline(always)]
    fn exceeds(a: __m512, b: __m512) -> bool {
        // SAFETY: see the module.
        unsafe { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b) != 0 }
    }

    #[inline(always)]
    fn scale(value: __m512, shifted: __m512) -> __m512 {
        // SAFETY: see the module.
        unsafe {
            let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(shifted));
            _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(value), exponent))
        }
    }

    #[inline(always)]
    fn sums(v: [__m512; 8]) -> [f32; 8] {
        #[inline(always)]
        fn half(v: __m512) -> __m256 {
            // SAFETY: see the module. The upper half comes as doubles because that form needs no more than AVX-512F.
            unsafe {
                let upper = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(v)));
                _mm256_add_ps(_mm512_castps512_ps256(v), upper)
            }
        }
        Eight::sums([half(v[0]), half(v[1]), half(v[2]), half(v[3]), half(v[4]), half(v[5]), half(v[6]), half(v[7])])
    }
}
