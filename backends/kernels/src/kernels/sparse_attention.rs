//! Attention of one new token over the rows that were picked for it: what is left of attention when a context is sparse.

use super::contexts::contexts;
use super::latent::{self, Rows};
use super::split;
use crate::device::{Api, DeviceInfo};
use crate::dims::{Dims, Dtype};
use crate::fill::{Fill, mix};
use crate::kernel::{Cost, How, Inputs, Kernel, Operand, Piece, Step, Tier, Variant};
use crate::scaling::Scaling;

/// out[b, h] = Σ_i softmax_i(q[b, h] · c[picks[b, i]] / √192) c[picks[b, i]][..R] over the K rows of R + ROPE elements that a sequence's
/// list names, where −1 names none; zero without rows. The core of DeepSeek's sparse attention, after top-k.
#[derive(Debug)]
pub struct SparseAttention;

impl Kernel for SparseAttention {
    fn name(&self) -> &'static str {
        "sparse-attention"
    }

    fn about(&self) -> &'static str {
        "one new token against the K rows of the context that were picked for it: the same work at any length"
    }

    fn shapes(&self, tier: Tier, device: &DeviceInfo) -> Vec<Dims> {
        let of = |(b, l), k, h| Dims::new(Dtype::Bf16, &[&[("B", b), ("L", l), ("K", k), ("H", h)], &latent::SIZES[..]].concat());
        match tier {
            Tier::Check => vec![of((3, 130), 77, 16), of((1, 40), 65, 64), of((1, 500), 33, 128), of((2, 9), 1, 4), of((1, 600), 300, 20)],
            Tier::Quick | Tier::Full if device.api == Api::Cpu => vec![of((4, 32_768), 2048, 32)],
            Tier::Quick => vec![of((64, 32_768), 2048, 128)],
            Tier::Full => vec![of((64, 32_768), 2048, 16), of((64, 32_768), 2048, 128), of((1, 131_072), 2048, 128)],
            Tier::Sweep => {
                let (b, lengths) = contexts(device, latent::SIZES.iter().map(|(_, size)| size * 2).sum());
                let heads = if device.api == Api::Cpu { 32 } else { 128 };
                lengths.into_iter().map(|l| of((b, l), 2048, heads)).collect()
            }
        }
    }

    fn operands(&self, dims: &Dims) -> Vec<Operand> {
        let [b, l, k, h, rank] = ["B", "L", "K", "H", "R"].map(|name| dims.get(name));
        let row = latent::row(dims);
        let [part, sums] = split::scratch(b * h, rank, latent::most(dims, k));
        vec![
            // Large enough that some rows count more than others.
            Operand::input("q", dims.dtype, b * h * row, Fill::Uniform { scale: 4.0 }),
            Operand::input("cache", dims.dtype, b * l * row, Fill::Uniform { scale: 1.0 }),
            Operand::ints("picks", picks(b, l, k)),
            part,
            sums,
            Operand::output("out", dims.dtype, b * h * rank),
        ]
    }

    fn cost(&self, dims: &Dims) -> Cost {
        let [b, l, k, h, rank] = ["B", "L", "K", "H", "R"].map(|name| dims.get(name));
        let rows = picks(b, l, k).into_iter().filter(|pick| *pick >= 0).count();
        let (row, width) = (latent::row(dims), dims.dtype.bytes());
        Cost {
            matrix_flops: 2.0 * (h * (row + rank)) as f64 * rows as f64,
            // Largest, difference, power and sum of every score.
            vector_flops: 4.0 * h as f64 * rows as f64,
            read: (rows * row * width + b * h * row * width + b * k * 4) as f64,
            written: (b * h * rank * width) as f64,
        }
    }

    fn variants(&self) -> &'static [Variant] {
        &[
            Variant { name: "portable", about: "rows in shared memory, 16 at a time, for eight heads", how: How::Text(portable) },
            Variant {
                name: "mma",
                about: "tensor cores, a row fetched once as key and value of up to 64 heads (sm_80 and later)",
                how: How::Text(mma),
            },
            Variant {
                name: "native",
                about: "rows read once for all heads, by vectors of the host's processor",
                how: How::Native(crate::native::sparse_attention::native),
            },
        ]
    }

    fn scaling(&self) -> Option<Scaling> {
        Some(Scaling { over: "L", exponent: 0.0, claim: "as many rows are read at any length: this part does not grow with the context" })
    }

    fn units(&self, dims: &Dims) -> usize {
        dims.get("B") * dims.get("H")
    }

    fn reference(&self, dims: &Dims, inputs: &Inputs<'_>, unit: usize) -> Vec<Piece> {
        let [k, h, rank] = ["K", "H", "R"].map(|name| dims.get(name));
        let (b, row) = (unit / h, latent::row(dims));
        let rows = inputs.ints(2)[b * k..][..k].iter().filter_map(|pick| usize::try_from(*pick).ok());
        let rows = rows.map(|pick| inputs.row(1, pick * row, row));
        let values = split::attention(&inputs.row(0, unit * row, row), rows, latent::scale(), 0..rank);
        vec![Piece { operand: 5, from: unit * rank, values }]
    }
}

/// Rows of the cache that each of `b` sequences of `l` tokens picks: `k` of its own, strewn, none twice; −1 where there are no more. With
/// a short context every fifth, and all of the second sequence, are −1, too.
fn picks(b: usize, l: usize, k: usize) -> Vec<i32> {
    // A step that shares no factor with the length visits every token once; this fraction strews them evenly.
    let step = (l * 618 / 1000).max(1);
    let step = (step..=step + l).find(|step| gcd(*step, l) == 1).unwrap_or(1);
    let pick = move |sequence: usize, at: usize| {
        let none = at >= l || l < 1024 && (at % 5 == 4 || sequence == 1);
        if none { -1 } else { (sequence * l + (mix(sequence as u64, 0) as usize % l + at * step) % l) as i32 }
    };
    (0..b).flat_map(|sequence| (0..k).map(move |at| pick(sequence, at))).collect()
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn rows(dims: &Dims) -> Rows {
    Rows { inputs: 3, across: dims.get("K"), longest: dims.get("K") }
}

fn portable(dims: &Dims, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    latent::portable(dims, device, &rows(dims))
}

fn mma(dims: &Dims, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    latent::mma(dims, device, &rows(dims))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_are_a_sequences_own_and_none_twice() {
        for (b, l, k) in [(3, 5000, 2048), (2, 2048, 2048), (2, 1500, 2048)] {
            for (sequence, row) in picks(b, l, k).chunks(k).enumerate() {
                let mut some: Vec<usize> = row.iter().filter_map(|pick| usize::try_from(*pick).ok()).collect();
                some.sort_unstable();
                some.dedup();
                assert_eq!(some.len(), k.min(l));
                assert!(some.iter().all(|pick| pick / l == sequence));
            }
        }
        assert_eq!(picks(2, 9, 1), [picks(1, 9, 1)[0], -1]);
    }
}
