//! Softmax attention in parts: each part of the tokens leaves a maximum, a sum and an unnormalised output, and parts are put together.

use super::simd::{Simd, Work};
use crate::fill::to_bf16;

/// The logarithm of nothing, finite so that differences of two of them are numbers.
pub(super) const NOTHING: f32 = -1e30;

/// What some tokens give to some rows of queries.
pub(super) struct Part {
    /// The largest score of each row; [`NOTHING`] before the first.
    pub max: Vec<f32>,
    /// The sum of eˢ⁻ᵐᵃˣ of each row.
    pub sum: Vec<f32>,
    /// The sums of values, `stride` apart.
    pub out: Vec<f32>,
    /// Elements from one row of `out` to the next.
    pub stride: usize,
}

impl Part {
    /// Of no tokens yet.
    pub(super) fn new(rows: usize, stride: usize) -> Self {
        Self { max: vec![NOTHING; rows], sum: vec![0.0; rows], out: vec![0.0; rows * stride], stride }
    }
}

/// Puts the parts of one row together.
pub(super) struct Combine<'a> {
    pub parts: &'a [Part],
    pub row: usize,
    /// The row of the result; zeros where there were no tokens.
    pub to: &'a mut [u16],
}

impl Work for Combine<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { parts, row, to } = self;
        let max = parts.iter().map(|part| part.max[row]).fold(NOTHING, f32::max);
        let weight = |part: &Part| if part.sum[row] > 0.0 { (part.max[row] - max).exp() } else { 0.0 };
        let sum: f32 = parts.iter().map(|part| weight(part) * part.sum[row]).sum();
        let mut total = vec![0.0_f32; to.len()];
        for part in parts {
            let weight = if sum > 0.0 { weight(part) / sum } else { 0.0 };
            let out = &part.out[row * part.stride..][..to.len()];
            total.iter_mut().zip(out).for_each(|(total, out)| *total += weight * out);
        }
        to.iter_mut().zip(total).for_each(|(to, value)| *to = to_bf16(value));
    }
}
