//! Attention of one new token over a paged cache of keys and values: what every step of decoding reads.

use super::contexts::contexts;
use super::split;
use crate::device::{Api, DeviceInfo};
use crate::dims::{Dims, Dtype};
use crate::fill::Fill;
use crate::kernel::{Arg, Cost, How, Inputs, Kernel, Launch, Operand, Piece, Step, Tier, Variant};
use crate::scaling::Scaling;

/// out[b, h] = Σ_t softmax_t(q[b, h] · k[t] / √D) v[t] over the `lens[b]` tokens of sequence b, whose keys and values of head h / (HQ /
/// HKV) lie in pages of PAGE tokens that a table gives; zero without tokens.
#[derive(Debug)]
pub struct DecodeAttention;

impl Kernel for DecodeAttention {
    fn name(&self) -> &'static str {
        "decode-attention"
    }

    fn about(&self) -> &'static str {
        "one new token against a paged cache of keys and values: all of it is read for every token"
    }

    fn shapes(&self, tier: Tier, device: &DeviceInfo) -> Vec<Dims> {
        let of = |(b, l), (hq, hkv), d| Dims::new(Dtype::Bf16, &[("B", b), ("L", l), ("HQ", hq), ("HKV", hkv), ("D", d), ("PAGE", 16)]);
        let (grouped, all) = ((32, 8), (32, 32));
        match tier {
            Tier::Check => vec![
                of((5, 130), (4, 1), 64),
                of((2, 15), (2, 2), 128),
                of((1, 700), (8, 1), 128),
                of((3, 1), (3, 1), 64),
                of((1, 290), (32, 2), 64),
            ],
            Tier::Quick | Tier::Full if device.api == Api::Cpu => vec![of((4, 8192), grouped, 128)],
            Tier::Quick => vec![of((64, 8192), grouped, 128)],
            Tier::Full => {
                vec![
                    of((64, 8192), grouped, 128),
                    of((16, 8192), all, 128),
                    of((256, 2048), grouped, 128),
                    of((64, 8192), (64, 8), 128),
                    of((1, 131_072), grouped, 128),
                ]
            }
            Tier::Sweep => {
                let (b, lengths) = contexts(device, 8 * 128 * 2 * 2);
                lengths.into_iter().map(|l| of((b, l), grouped, 128)).collect()
            }
        }
    }

    fn operands(&self, dims: &Dims) -> Vec<Operand> {
        let Size { b, l, hq, hkv, d, page } = Size::of(dims);
        let (across, lens) = (l.div_ceil(page), split::lengths(dims));
        let cache = b * across * page * hkv * d;
        let [part, sums] = split::scratch(b * hq, d, Size::of(dims).most());
        vec![
            // Large enough that some tokens count more than others.
            Operand::input("q", dims.dtype, b * hq * d, Fill::Uniform { scale: 4.0 }),
            Operand::input("keys", dims.dtype, cache, Fill::Uniform { scale: 1.0 }),
            Operand::input("values", dims.dtype, cache, Fill::Uniform { scale: 1.0 }),
            Operand::ints("table", split::table(b, across)),
            Operand::ints("lens", lens),
            part,
            sums,
            Operand::output("out", dims.dtype, b * hq * d),
        ]
    }

    fn cost(&self, dims: &Dims) -> Cost {
        let Size { b, hq, hkv, d, page, .. } = Size::of(dims);
        let tokens: usize = split::lengths(dims).into_iter().map(|length| length as usize).sum();
        let width = dims.dtype.bytes();
        Cost {
            matrix_flops: 4.0 * (hq * d) as f64 * tokens as f64,
            // Largest, difference, power and sum of every score.
            vector_flops: 4.0 * hq as f64 * tokens as f64,
            read: (2 * tokens * hkv * d * width + b * hq * d * width + (tokens.div_ceil(page) + b) * 4) as f64,
            written: (b * hq * d * width) as f64,
        }
    }

    fn variants(&self) -> &'static [Variant] {
        &[
            Variant {
                name: "portable",
                about: "tokens in shared memory, 32 at a time, for all heads that share them",
                how: How::Text(portable),
            },
            Variant { name: "mma", about: "tensor cores, a warp copies its own tokens several steps ahead", how: How::Text(mma) },
            Variant {
                name: "native",
                about: "every page read once for all heads that share it, by vectors of the host's processor",
                how: How::Native(crate::native::decode_attention::native),
            },
        ]
    }

    fn scaling(&self) -> Option<Scaling> {
        Some(Scaling { over: "L", exponent: 1.0, claim: "all keys and values are read for every new token: a step grows with the context" })
    }

    fn units(&self, dims: &Dims) -> usize {
        dims.get("B") * dims.get("HQ")
    }

    fn reference(&self, dims: &Dims, inputs: &Inputs<'_>, unit: usize) -> Vec<Piece> {
        let Size { l, hq, hkv, d, page, .. } = Size::of(dims);
        let (b, head) = (unit / hq, unit % hq / (hq / hkv));
        let list = &inputs.ints(3)[b * l.div_ceil(page)..];
        let place = |token: usize| ((list[token / page] as usize * page + token % page) * hkv + head) * d;
        let row = |token| [inputs.row(1, place(token), d), inputs.row(2, place(token), d)].concat();
        let rows = (0..inputs.ints(4)[b] as usize).map(row);
        let values = split::attention(&inputs.row(0, unit * d, d), rows, 1.0 / (d as f64).sqrt(), d..2 * d);
        vec![Piece { operand: 7, from: unit * d, values }]
    }
}

#[derive(Clone, Copy)]
struct Size {
    b: usize,
    l: usize,
    hq: usize,
    hkv: usize,
    d: usize,
    page: usize,
}

impl Size {
    fn of(dims: &Dims) -> Self {
        let [b, l, hq, hkv, d, page] = ["B", "L", "HQ", "HKV", "D", "PAGE"].map(|name| dims.get(name));
        Self { b, l, hq, hkv, d, page }
    }

    /// Heads of queries that share a head of keys.
    fn group(&self) -> usize {
        self.hq / self.hkv
    }

    /// Splits that there is room for.
    fn most(&self) -> usize {
        split::most(self.b * self.hkv, self.l)
    }

    fn splits(&self, at_once: usize) -> usize {
        split::splits(self.b * self.hkv, self.l, at_once, self.most())
    }
}

/// The two steps of a variant.
fn steps(dims: &Dims, launch: Launch, splits: usize) -> Vec<Step> {
    let size = Size::of(dims);
    let mut defines = launch.defines;
    defines.extend([("GROUP", size.group() as i64), ("DEPTH", size.d as i64), ("PAGE", size.page as i64)]);
    let numbers = [size.hkv, size.l.div_ceil(size.page), splits].map(|number| Arg::I32(number as i32));
    let args = (0..7).map(Arg::Operand).chain(numbers).chain([Arg::F32(split::LOG2_E / (size.d as f32).sqrt())]).collect();
    let grid = [size.hkv as u32, splits as u32, size.b as u32];
    vec![Step::Launch(Launch { defines, grid, args, ..launch }), split::combine([5, 6, 7], size.b * size.hq, size.d, splits)]
}

fn portable(dims: &Dims, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    let size = Size::of(dims);
    if !size.hq.is_multiple_of(size.hkv) || size.group() > 32 || !size.d.is_multiple_of(2) || size.d > 128 {
        return Err("needs HQ divisible by HKV, at most 32 heads of queries for a head of keys, D even and at most 128".into());
    }
    let shared = (32 * (size.d + 1) + size.group() * (size.d / 2 + 33)) * 4;
    let splits = size.splits(split::at_once(device, shared, 8));
    let launch = Launch {
        text: include_str!("../text/decode_attention.cu"),
        entry: "decode_attention_portable",
        defines: vec![],
        grid: [1; 3],
        block: 128,
        shared: 0,
        args: vec![],
    };
    Ok(steps(dims, launch, splits))
}

fn mma(dims: &Dims, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    let size = Size::of(dims);
    if device.api != Api::Cuda || device.compute < 80 {
        return Err(format!("mma.sync on bf16 needs sm_80 or later, not {}", device.arch));
    }
    if !size.hq.is_multiple_of(size.hkv) || size.group() > 16 || ![64, 128].contains(&size.d) || !size.page.is_multiple_of(16) {
        return Err(
            "needs HQ divisible by HKV, at most 16 heads of queries for a head of keys, D of 64 or 128, PAGE divisible by 16".into()
        );
    }
    // Sixteen tokens of keys and of values for each of four warps.
    let stage = 4 * 2 * 16 * size.d * 2;
    // Two in flight in each of two blocks keep more bytes under way than one in each of three.
    let stages = if size.d == 128 && 2 * 3 * stage <= device.shared { 3 } else { 2 };
    if stages * stage > device.shared {
        return Err(format!("two steps in flight need {} bytes of shared memory, a block has {}", 2 * stage, device.shared));
    }
    let splits = size.splits(split::at_once(device, stages * stage, 3));
    let launch = Launch {
        text: include_str!("../text/decode_attention_mma.cu"),
        entry: "decode_attention_mma",
        defines: vec![("STAGES", stages as i64)],
        grid: [1; 3],
        block: 128,
        shared: (stages * stage) as u32,
        args: vec![],
    };
    Ok(steps(dims, launch, splits))
}
