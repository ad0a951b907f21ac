//! Multi-head latent attention of one new token over a paged cache: DeepSeek's way to a small cache.

use super::contexts::contexts;
use super::latent::{self, Rows};
use super::split;
use crate::device::{Api, DeviceInfo};
use crate::dims::{Dims, Dtype};
use crate::fill::Fill;
use crate::kernel::{Cost, How, Inputs, Kernel, Operand, Piece, Step, Tier, Variant};
use crate::scaling::Scaling;

/// out[b, h] = Σ_t softmax_t(q[b, h] · c[t] / √192) c[t][..R] over the `lens[b]` tokens of sequence b, whose rows c of R + ROPE elements
/// lie in pages of PAGE tokens that a table gives, and are shared by all heads; zero without tokens.
#[derive(Debug)]
pub struct DecodeMla;

impl Kernel for DecodeMla {
    fn name(&self) -> &'static str {
        "decode-mla"
    }

    fn about(&self) -> &'static str {
        "one new token against a paged cache of latent rows: fewer bytes than heads of keys and values, far more operations for each"
    }

    fn shapes(&self, tier: Tier, device: &DeviceInfo) -> Vec<Dims> {
        let of = |(b, l), h| Dims::new(Dtype::Bf16, &[&[("B", b), ("L", l), ("H", h)], &latent::SIZES[..], &[("PAGE", 64)]].concat());
        match tier {
            Tier::Check => vec![of((5, 130), 16), of((1, 65), 64), of((1, 33), 128), of((3, 17), 4), of((1, 400), 20)],
            Tier::Quick | Tier::Full if device.api == Api::Cpu => vec![of((2, 8192), 32)],
            Tier::Quick => vec![of((64, 8192), 16), of((64, 8192), 128)],
            Tier::Full => vec![
                of((64, 8192), 16),
                of((64, 8192), 128),
                of((128, 4096), 16),
                of((128, 4096), 128),
                of((1, 131_072), 16),
                of((1, 131_072), 128),
            ],
            Tier::Sweep => {
                let (b, lengths) = contexts(device, latent::SIZES.iter().map(|(_, size)| size * 2).sum());
                let heads = if device.api == Api::Cpu { 32 } else { 128 };
                lengths.into_iter().map(|l| of((b, l), heads)).collect()
            }
        }
    }

    fn operands(&self, dims: &Dims) -> Vec<Operand> {
        let [b, l, h, rank, page] = ["B", "L", "H", "R", "PAGE"].map(|name| dims.get(name));
        let (row, across) = (latent::row(dims), l.div_ceil(page));
        let [part, sums] = split::scratch(b * h, rank, latent::most(dims, l));
        vec![
            // Large enough that some tokens count more than others.
            Operand::input("q", dims.dtype, b * h * row, Fill::Uniform { scale: 4.0 }),
            Operand::input("cache", dims.dtype, b * across * page * row, Fill::Uniform { scale: 1.0 }),
            Operand::ints("table", split::table(b, across)),
            Operand::ints("lens", split::lengths(dims)),
            part,
            sums,
            Operand::output("out", dims.dtype, b * h * rank),
        ]
    }

    fn cost(&self, dims: &Dims) -> Cost {
        let [b, h, rank, page] = ["B", "H", "R", "PAGE"].map(|name| dims.get(name));
        let tokens: usize = split::lengths(dims).into_iter().map(|length| length as usize).sum();
        let (row, width) = (latent::row(dims), dims.dtype.bytes());
        Cost {
            matrix_flops: 2.0 * (h * (row + rank)) as f64 * tokens as f64,
            // Largest, difference, power and sum of every score.
            vector_flops: 4.0 * h as f64 * tokens as f64,
            read: (tokens * row * width + b * h * row * width + (tokens.div_ceil(page) + b) * 4) as f64,
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
                how: How::Native(crate::native::decode_mla::native),
            },
        ]
    }

    fn scaling(&self) -> Option<Scaling> {
        Some(Scaling { over: "L", exponent: 1.0, claim: "latent rows are fewer bytes, and all are read: a step grows with the context" })
    }

    fn units(&self, dims: &Dims) -> usize {
        dims.get("B") * dims.get("H")
    }

    fn reference(&self, dims: &Dims, inputs: &Inputs<'_>, unit: usize) -> Vec<Piece> {
        let [l, h, rank, page] = ["L", "H", "R", "PAGE"].map(|name| dims.get(name));
        let (b, row) = (unit / h, latent::row(dims));
        let list = &inputs.ints(2)[b * l.div_ceil(page)..];
        let rows =
            (0..inputs.ints(3)[b] as usize).map(|token| inputs.row(1, (list[token / page] as usize * page + token % page) * row, row));
        let values = split::attention(&inputs.row(0, unit * row, row), rows, latent::scale(), 0..rank);
        vec![Piece { operand: 6, from: unit * rank, values }]
    }
}

fn rows(dims: &Dims) -> Rows {
    let l = dims.get("L");
    Rows { inputs: 4, across: l.div_ceil(dims.get("PAGE")), longest: l }
}

fn portable(dims: &Dims, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    latent::portable(dims, device, &rows(dims))
}

fn mma(dims: &Dims, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    latent::mma(dims, device, &rows(dims))
}
