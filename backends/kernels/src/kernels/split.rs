//! Splits of a context: blocks that each see a part of it, and the kernel that puts parts together.
//!
//! A part is a row of f32 that is not divided by its sum yet, beside the largest exponent (of two) and the sum.

use crate::device::DeviceInfo;
use crate::dims::{Dims, Dtype};
use crate::kernel::{Arg, Launch, Operand, Step};
use std::ops::Range;

/// Exponents of two are cheaper than those of e.
pub const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// Splits that are ever put together: as in the text.
const MOST: usize = 256;
/// Parts of all sequences up to which there is room in any case.
const PARTS: usize = 8192;
/// What a block costs beside its tokens, in tokens.
const START: f64 = 48.0;

/// Splits that there is room for: `pairs` are blocks of a split, `length` the tokens of the longest context.
pub fn most(pairs: usize, length: usize) -> usize {
    PARTS.div_ceil(pairs.max(1)).min(length.div_ceil(128)).clamp(1, MOST)
}

/// Room for the parts of `rows` rows of `width` elements, and for their maxima and sums.
pub fn scratch(rows: usize, width: usize, most: usize) -> [Operand; 2] {
    [Operand::scratch("part", Dtype::F32, rows * width * most), Operand::scratch("sums", Dtype::F32, rows * most * 2)]
}

/// How many splits are quickest, where `at_once` blocks run on the device at a time and there is room for `most`: as few as fill it, such
/// that the last round of blocks is nearly full.
pub fn splits(pairs: usize, length: usize, at_once: usize, most: usize) -> usize {
    let time = |splits: &usize| (pairs * splits).div_ceil(at_once.max(1)) as f64 * (length as f64 / *splits as f64 + START);
    (1..=most).min_by(|a, b| time(a).total_cmp(&time(b))).unwrap_or(1)
}

/// Blocks that run at a time, when each takes `bytes` of shared memory and registers allow `most` on a multiprocessor.
pub fn at_once(device: &DeviceInfo, bytes: usize, most: usize) -> usize {
    device.units.max(1) as usize * (device.shared / bytes.max(1)).clamp(1, most)
}

/// The step that puts parts together: `operands` are parts, sums and the output of `rows` rows of `width` elements.
pub fn combine(operands: [usize; 3], rows: usize, width: usize, splits: usize) -> Step {
    Step::Launch(Launch {
        text: include_str!("../text/combine.cu"),
        entry: "attention_combine",
        defines: vec![("WIDTH", width as i64)],
        grid: [rows as u32, 1, 1],
        block: 64,
        shared: 0,
        args: operands.into_iter().map(Arg::Operand).chain([Arg::I32(splits as i32)]).collect(),
    })
}

/// How many tokens each sequence has. Long contexts are all of length `L`; those of a check end anywhere, also before they begin.
pub fn lengths(dims: &Dims) -> Vec<i32> {
    let longest = dims.get("L") as i32;
    let at = |b: usize| if longest < 1024 { [longest, 0, 1, 15, 17][b % 5].min(longest) } else { longest };
    (0..dims.get("B")).map(at).collect()
}

/// Pages of each sequence, none of which follow each other: `across` numbers for each of `sequences`.
pub fn table(sequences: usize, across: usize) -> Vec<i32> {
    let pages = sequences * across;
    let mut table: Vec<i32> = (0..pages as i32).collect();
    for last in (1..pages).rev() {
        table.swap(last, crate::fill::mix(last as u64, 0) as usize % (last + 1));
    }
    table
}

/// Attention of one query in f64: of each row the first elements are the key, those of `values` the value; zeros without rows. One pass,
/// so that rows need not be kept.
pub fn attention(query: &[f64], rows: impl Iterator<Item = Vec<f64>>, scale: f64, values: Range<usize>) -> Vec<f64> {
    let (mut out, mut most, mut sum) = (vec![0.0; values.len()], f64::NEG_INFINITY, 0.0);
    for row in rows {
        let score = scale * query.iter().zip(&row).map(|(q, k)| q * k).sum::<f64>();
        if score > most {
            let decay = (most - score).exp();
            out.iter_mut().for_each(|out| *out *= decay);
            sum *= decay;
            most = score;
        }
        let weight = (score - most).exp();
        sum += weight;
        out.iter_mut().zip(&row[values.clone()]).for_each(|(out, value)| *out += weight * value);
    }
    if sum > 0.0 {
        out.iter_mut().for_each(|out| *out /= sum);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_filled_and_a_long_context_is_not_cut_to_shreds() {
        // (pairs, tokens, blocks at once) -> rounds of blocks are few and full.
        for (pairs, length, at_once) in [(512, 8192, 396), (2048, 8192, 396), (8, 8192, 396), (8, 1 << 20, 264), (64, 2048, 132)] {
            let splits = splits(pairs, length, at_once, most(pairs, length));
            let rounds = (pairs * splits) as f64 / at_once as f64;
            let full = rounds / rounds.ceil();
            assert!(full > 0.8 || length / splits <= 256, "{pairs} {length} {at_once}: {splits} splits, {rounds} rounds");
            assert!(pairs * splits < PARTS + pairs);
        }
        assert_eq!(splits(1, 1, 396, most(1, 1)), 1);
        assert_eq!(most(100_000, 8192), 1);
    }

    #[test]
    fn every_page_is_somebodys_and_hardly_two_follow_each_other() {
        let mut pages = table(7, 30);
        assert!(pages.windows(2).filter(|two| two[1] == two[0] + 1).count() < 10);
        pages.sort_unstable();
        assert_eq!(pages, (0..210).collect::<Vec<_>>());
        assert!(table(0, 5).is_empty() && table(3, 0).is_empty());
    }

    #[test]
    fn attention_weighs_values_by_powers_of_scores() {
        let rows = || [vec![0.0, 5.0], vec![2.0, 7.0]].into_iter();
        let weight = 3.0_f64.exp();
        let right = weight.mul_add(7.0, 5.0) / (1.0 + weight);
        assert!((attention(&[3.0], rows(), 0.5, 1..2)[0] - right).abs() < 1e-12);
        assert!((attention(&[3.0], rows().rev(), 0.5, 1..2)[0] - right).abs() < 1e-12);
        assert_eq!(attention(&[3.0], rows().take(0), 0.5, 0..2), [0.0, 0.0]);
    }
}
