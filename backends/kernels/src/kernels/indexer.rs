//! The lightning indexer of DeepSeek's sparse attention: which tokens of the context a query should look at.

use super::contexts::contexts;
use crate::device::{Api, DeviceInfo};
use crate::dims::{Dims, Dtype};
use crate::fill::Fill;
use crate::kernel::{Arg, Cost, How, Inputs, Kernel, Launch, Operand, Piece, Step, Tier, Variant};
use crate::scaling::Scaling;

/// Keys of a unit of checking.
const UNIT: usize = 32;

/// logits[b, l] = Σ_h w[b, h] · relu(q[b, h] · k[b, l]): one query of HI heads for each of B sequences of L keys of DI numbers.
#[derive(Debug)]
pub struct Indexer;

impl Kernel for Indexer {
    fn name(&self) -> &'static str {
        "indexer"
    }

    fn about(&self) -> &'static str {
        "one query's score for every token of the context: the part of sparse attention that still grows with it"
    }

    fn shapes(&self, tier: Tier, device: &DeviceInfo) -> Vec<Dims> {
        let of = |b, l, hi, di| Dims::new(Dtype::Bf16, &[("B", b), ("L", l), ("HI", hi), ("DI", di)]);
        let model = |(b, l)| of(b, l, 64, 128);
        match tier {
            Tier::Check => vec![of(2, 1, 16, 32), of(3, 77, 16, 64), of(1, 161, 64, 128), of(2, 33, 8, 32)],
            Tier::Quick | Tier::Full if device.api == Api::Cpu => vec![model((1, 32_768))],
            Tier::Quick => vec![model((16, 65_536))],
            Tier::Full => [(128, 8192), (16, 65_536), (1, 1_048_576)].map(model).to_vec(),
            Tier::Sweep => {
                let (b, lengths) = contexts(device, 128 * 2 + 4);
                lengths.into_iter().map(|l| model((b, l))).collect()
            }
        }
    }

    fn operands(&self, dims: &Dims) -> Vec<Operand> {
        let Size { b, l, hi, di } = Size::of(dims);
        vec![
            Operand::input("q", dims.dtype, b * hi * di, Fill::Uniform { scale: 1.0 }),
            Operand::input("k", dims.dtype, b * l * di, Fill::Uniform { scale: 1.0 }),
            Operand::input("w", Dtype::F32, b * hi, Fill::Uniform { scale: 1.0 }),
            Operand::output("logits", Dtype::F32, b * l),
        ]
    }

    fn cost(&self, dims: &Dims) -> Cost {
        let Size { b, l, hi, di } = Size::of(dims);
        let width = dims.dtype.bytes();
        Cost {
            matrix_flops: 2.0 * (b * l * hi * di) as f64,
            vector_flops: 3.0 * (b * l * hi) as f64,
            read: (b * l * di * width + b * hi * di * width + b * hi * 4) as f64,
            written: (b * l * 4) as f64,
        }
    }

    fn variants(&self) -> &'static [Variant] {
        &[
            Variant {
                name: "portable",
                about: "keys and queries in shared memory, a thread for a key and an eighth of the heads",
                how: How::Text(portable),
            },
            Variant { name: "mma", about: "tensor cores, keys from memory straight into fragments", how: How::Text(mma) },
            Variant { name: "native", about: "vectors of the host's processor", how: How::Native(crate::native::indexer::native) },
        ]
    }

    fn scaling(&self) -> Option<Scaling> {
        Some(Scaling {
            over: "L",
            exponent: 1.0,
            claim: "every token of the context is scored for every new token: the indexer grows with it",
        })
    }

    fn units(&self, dims: &Dims) -> usize {
        dims.get("B") * dims.get("L").div_ceil(UNIT)
    }

    fn reference(&self, dims: &Dims, inputs: &Inputs<'_>, unit: usize) -> Vec<Piece> {
        let Size { b: _, l, hi, di } = Size::of(dims);
        let (b, first) = (unit / l.div_ceil(UNIT), unit % l.div_ceil(UNIT) * UNIT);
        let (queries, weights) = (inputs.row(0, b * hi * di, hi * di), inputs.row(2, b * hi, hi));
        let values = (first..l.min(first + UNIT)).map(|at| {
            let key = inputs.row(1, (b * l + at) * di, di);
            let dot = |query: &[f64]| query.iter().zip(&key).map(|(q, k)| q * k).sum::<f64>();
            queries.chunks(di).zip(&weights).map(|(query, weight)| weight * dot(query).max(0.0)).sum()
        });
        vec![Piece { operand: 3, from: b * l + first, values: values.collect() }]
    }

    /// Products of the fill are exact in f32 and logits are written as f32: only the order of sums differs.
    fn tolerance(&self, _: &Dims) -> f64 {
        1e-5
    }
}

#[derive(Clone, Copy)]
struct Size {
    b: usize,
    l: usize,
    hi: usize,
    di: usize,
}

impl Size {
    fn of(dims: &Dims) -> Self {
        Self { b: dims.get("B"), l: dims.get("L"), hi: dims.get("HI"), di: dims.get("DI") }
    }
}

fn launch(text: &'static str, entry: &'static str, dims: &Dims, blocks: usize, block: u32) -> Vec<Step> {
    let Size { b, l, hi, di } = Size::of(dims);
    let args = (0..4).map(Arg::Operand).chain([Arg::I32(l as i32)]).collect();
    let defines = vec![("HEADS", hi as i64), ("DI", di as i64)];
    vec![Step::Launch(Launch { text, entry, defines, grid: [blocks as u32, b as u32, 1], block, shared: 0, args })]
}

fn portable(dims: &Dims, _: &DeviceInfo) -> Result<Vec<Step>, String> {
    let Size { l, hi, di, .. } = Size::of(dims);
    if !hi.is_multiple_of(8) || !di.is_multiple_of(2) || hi * di > 64 * 128 {
        return Err("needs HI divisible by 8, DI by 2, and queries of at most 64 × 128 numbers".into());
    }
    Ok(launch(include_str!("../text/indexer.cu"), "indexer_portable", dims, l.div_ceil(32), 256))
}

fn mma(dims: &Dims, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    let Size { b, l, hi, di } = Size::of(dims);
    if device.api != Api::Cuda || device.compute < 80 {
        return Err("needs NVIDIA's tensor cores with bf16 (compute capability 8.0 or later)".into());
    }
    if !hi.is_multiple_of(16) || !di.is_multiple_of(32) || hi > 64 || di > 128 {
        return Err("needs HI divisible by 16 and at most 64, DI divisible by 32 and at most 128".into());
    }
    // As many blocks as run at once, so that queries are fetched once for many keys.
    let blocks = (device.units.max(1) as usize * 4).div_ceil(b).clamp(1, l.div_ceil(128));
    Ok(launch(include_str!("../text/indexer_mma.cu"), "indexer_mma", dims, blocks, 128))
}
