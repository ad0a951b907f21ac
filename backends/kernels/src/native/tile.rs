//! A small piece of a matrix product whose sums stay in registers, and the packing that feeds it.

use super::simd::Simd;

/// Where an element lies: row r, step k at `r · row + k · step`.
#[derive(Clone, Copy)]
pub(super) struct Strides {
    pub row: usize,
    pub step: usize,
}

/// Σ over `depth` steps of `R` rows of `a` times two vectors of `b`, whose steps lie `stride` apart.
#[inline(always)]
pub(super) fn tile<S: Simd, const R: usize>(depth: usize, a: &[f32], at: Strides, b: &[f32], stride: usize) -> [[S::V; 2]; R] {
    let mut sums = [[S::splat(0.0); 2]; R];
    if depth == 0 {
        return sums;
    }
    let last = depth - 1;
    assert!(last * at.step + (R - 1) * at.row < a.len() && last * stride + 2 * S::LANES <= b.len(), "a tile lies within its operands");
    for k in 0..depth {
        // SAFETY: k ≤ last, so both lie below what was asserted: a check of each element would cost more than its product.
        let (a, b) = unsafe { (a.get_unchecked(k * at.step..), b.get_unchecked(k * stride..k * stride + 2 * S::LANES)) };
        let (low, high) = (S::load(b), S::load(&b[S::LANES..]));
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: as above, r < R.
            let a = S::splat(unsafe { *a.get_unchecked(r * at.row) });
            sums[0] = S::fma(a, low, sums[0]);
            sums[1] = S::fma(a, high, sums[1]);
        }
    }
    sums
}

/// Turns rows into panels: `panel[k][r]` is element k of row r, for `rows` rows of which the ones that are missing are zero.
#[inline(always)]
pub(super) fn pack<'a>(rows: usize, row: impl Fn(usize) -> Option<&'a [f32]>, depth: usize, panel: &mut [f32]) {
    // A few cache lines of a row at a time: rows are often a power of two apart, and more of them than ways of the first cache.
    const STRETCH: usize = 64;
    let panel = &mut panel[..rows * depth];
    let mut from = 0;
    while from < depth {
        let len = STRETCH.min(depth - from);
        let to = &mut panel[from * rows..(from + len) * rows];
        for r in 0..rows {
            match row(r) {
                Some(row) => {
                    let line = &row[from..from + len];
                    for at in 0..len {
                        to[at * rows + r] = line[at];
                    }
                }
                None => (0..len).for_each(|at| to[at * rows + r] = 0.0),
            }
        }
        from += len;
    }
}

/// bf16 as singles, as many as there are on both sides.
#[inline(always)]
pub(super) fn widen<S: Simd>(from: &[u16], to: &mut [f32]) {
    let len = from.len().min(to.len());
    let mut at = 0;
    while at + S::LANES <= len {
        S::store(S::widen(&from[at..at + S::LANES]), &mut to[at..at + S::LANES]);
        at += S::LANES;
    }
    for at in at..len {
        to[at] = crate::fill::from_bf16(from[at]);
    }
}
