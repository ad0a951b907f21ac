//! Top-k: which tokens of the context have the largest scores.

use super::contexts::contexts;
use crate::device::{Api, DeviceInfo};
use crate::dims::{Dims, Dtype};
use crate::fill::Fill;
use crate::kernel::{Arg, Cost, Distance, How, Inputs, Kernel, Launch, Operand, Piece, Step, Tier, Variant, Written};
use crate::scaling::Scaling;

const TEXT: &str = include_str!("../text/top_k.cu");
/// Words of scratch of a sequence beside two for each score: as in the text.
const HEAD: usize = 2048 + 64;
/// Scores of a thread in a tile of 256 threads: as in the text.
const PER: usize = 16;

/// picks[b, 0..K] = positions of the K largest of scores[b, 0..L], in any order; of equal scores any; −1 past L.
#[derive(Debug)]
pub struct TopK;

impl Kernel for TopK {
    fn name(&self) -> &'static str {
        "top-k"
    }

    fn about(&self) -> &'static str {
        "positions of the K largest of L scores of each sequence, in any order"
    }

    fn shapes(&self, tier: Tier, device: &DeviceInfo) -> Vec<Dims> {
        let of = |b, l, k| Dims::new(Dtype::F32, &[("B", b), ("L", l), ("K", k)]);
        let model = |(b, l)| of(b, l, 2048);
        match tier {
            Tier::Check => vec![of(2, 1, 1), of(2, 5, 8), of(3, 501, 37), of(2, 5000, 64), of(1, 9003, 1)],
            Tier::Quick | Tier::Full if device.api == Api::Cpu => vec![model((8, 131_072))],
            Tier::Quick => vec![model((64, 131_072))],
            Tier::Full => [(256, 16_384), (64, 131_072), (16, 1_048_576)].map(model).to_vec(),
            Tier::Sweep => {
                let (b, mut lengths) = contexts(device, 12);
                // Cheap enough for one more.
                lengths.extend((device.api == Api::Cpu).then_some(131_072));
                lengths.into_iter().map(|l| model((b, l))).collect()
            }
        }
    }

    fn operands(&self, dims: &Dims) -> Vec<Operand> {
        let (b, l, k) = (dims.get("B"), dims.get("L"), dims.get("K"));
        vec![
            Operand::input("scores", Dtype::F32, b * l, Fill::Fine { scale: 1.0 }),
            Operand::scratch("scratch", Dtype::I32, b * (HEAD + 2 * l)),
            Operand::output("picks", Dtype::I32, b * k),
        ]
    }

    fn cost(&self, dims: &Dims) -> Cost {
        let (b, l, k) = (dims.get("B"), dims.get("L"), dims.get("K"));
        // One comparison of a score is the least; they are not operations of a matrix.
        Cost { vector_flops: (b * l) as f64, read: (b * l * 4) as f64, written: (b * k * 4) as f64, ..Cost::default() }
    }

    fn variants(&self) -> &'static [Variant] {
        &[
            Variant { name: "block", about: "radix select, a block for each sequence, every digit a pass", how: How::Text(block) },
            Variant {
                name: "split",
                about: "radix select, many blocks for each sequence, two passes over the scores",
                how: How::Text(split),
            },
            Variant {
                name: "native",
                about: "selection by halves, a sequence for each thread",
                how: How::Native(crate::native::top_k::native),
            },
        ]
    }

    fn scaling(&self) -> Option<Scaling> {
        Some(Scaling { over: "L", exponent: 1.0, claim: "every score is looked at: choosing grows with the context" })
    }

    fn units(&self, dims: &Dims) -> usize {
        dims.get("B")
    }

    /// The right scores, from the largest down: positions may come in any order, see [`Kernel::distance`].
    fn reference(&self, dims: &Dims, inputs: &Inputs<'_>, unit: usize) -> Vec<Piece> {
        let (l, k) = (dims.get("L"), dims.get("K"));
        vec![Piece { operand: 2, from: unit * k, values: largest(inputs.row(0, unit * l, l), k) }]
    }

    /// Scores are not computed with.
    fn tolerance(&self, _: &Dims) -> f64 {
        0.0
    }

    fn distance(&self, dims: &Dims, inputs: &Inputs<'_>, unit: usize, right: &[Piece], written: &Written<'_>) -> Distance {
        let (l, k) = (dims.get("L"), dims.get("K"));
        let right: Vec<f64> = right.iter().flat_map(|piece| piece.values.iter().copied()).collect();
        compare(&inputs.row(0, unit * l, l), &right, &written.row(2, unit * k, k))
    }
}

/// The k largest from the largest down; all of them where there are fewer.
fn largest(mut scores: Vec<f64>, k: usize) -> Vec<f64> {
    if k < scores.len() {
        scores.select_nth_unstable_by(k, |a, b| b.total_cmp(a));
        scores.truncate(k);
    }
    scores.sort_unstable_by(|a, b| b.total_cmp(a));
    scores
}

/// Picks that are no position, or one twice, are broken; the scores of the rest, sorted, are held against the right ones.
fn compare(scores: &[f64], right: &[f64], picks: &[f64]) -> Distance {
    let mut seen = vec![false; scores.len()];
    let mut broken = 0;
    let mut got = vec![];
    for pick in picks {
        let at = *pick as i64;
        match usize::try_from(at).ok().filter(|at| *at < scores.len() && !seen[*at]) {
            Some(at) => {
                seen[at] = true;
                got.push(scores[at]);
            }
            None if at == -1 => (),
            None => broken += 1,
        }
    }
    got.sort_unstable_by(|a, b| b.total_cmp(a));
    // A pick too few, or of nothing, is one that is wrong in kind.
    broken += right.len().abs_diff(got.len()) as u64;
    let error = right.iter().zip(&got).map(|(right, got)| (right - got) * (right - got)).sum();
    Distance { error, norm: right.iter().map(|score| score * score).sum(), broken }
}

fn step(entry: &'static str, defines: &[(&'static str, i64)], grid: [u32; 3], block: u32, args: Vec<Arg>) -> Step {
    Step::Launch(Launch { text: TEXT, entry, defines: defines.to_vec(), grid, block, shared: 0, args })
}

/// Threads of a block that has a sequence for itself: a power of two, at most 1024.
fn alone(device: &DeviceInfo) -> u32 {
    if device.api == Api::OpenCl { 256 } else { 1024 }
}

fn block(dims: &Dims, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    let (b, l, k) = (dims.get("B"), dims.get("L"), dims.get("K"));
    let args = vec![Arg::Operand(0), Arg::Operand(2), Arg::I32(l as i32), Arg::I32(k as i32)];
    Ok(vec![step("top_k_block", &[], [b as u32, 1, 1], alone(device), args)])
}

fn split(dims: &Dims, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    let (b, l, k) = (dims.get("B"), dims.get("L"), dims.get("K"));
    let (scores, scratch, picks) = (Arg::Operand(0), Arg::Operand(1), Arg::Operand(2));
    let (length, k) = (Arg::I32(l as i32), Arg::I32(k as i32));
    let vector = if l.is_multiple_of(4) && device.api != Api::OpenCl { 4 } else { 1 };
    let defines = [("VEC", vector), ("PER", PER as i64)];
    // As many blocks as run at once.
    let blocks = (device.units.max(1) as usize * 5).div_ceil(b).clamp(1, l.div_ceil(256 * PER)) as u32;
    let (each, many) = ([b as u32, 1, 1], [blocks, b as u32, 1]);
    Ok(vec![
        step("top_k_clear", &defines, each, 256, vec![scratch, length]),
        step("top_k_count", &defines, many, 256, vec![scores, scratch, length]),
        step("top_k_split", &defines, many, 256, vec![scores, scratch, picks, length, k]),
        step("top_k_finish", &defines, each, alone(device), vec![scratch, picks, length, k]),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_order_and_any_of_equal_scores_pass_and_all_else_does_not() {
        let scores = [0.5, 2.0, 1.0, 1.0, -3.0];
        for (k, picks, broken, right) in [
            (2, vec![1.0, 2.0], 0, true),
            (2, vec![3.0, 1.0], 0, true),
            (2, vec![2.0, 3.0], 0, false),
            (2, vec![1.0, 1.0], 2, false),
            (2, vec![1.0, -1.0], 1, false),
            (2, vec![1.0, 5.0], 2, false),
            (2, vec![1.0, -2.0], 2, false),
            (7, vec![0.0, 1.0, 2.0, 3.0, 4.0, -1.0, -1.0], 0, true),
            (7, vec![0.0, 1.0, 2.0, 3.0, -1.0, -1.0, -1.0], 1, false),
        ] {
            let distance = compare(&scores, &largest(scores.to_vec(), k), &picks);
            assert_eq!(distance.broken, broken, "{picks:?}");
            assert_eq!(distance.broken == 0 && distance.error == 0.0, right, "{picks:?}");
        }
    }
}
