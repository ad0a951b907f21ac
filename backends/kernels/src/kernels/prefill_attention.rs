//! Causal attention over whole sequences of different lengths: what a model does with a prompt.

use crate::device::{Api, DeviceInfo};
use crate::dims::{Dims, Dtype};
use crate::fill::Fill;
use crate::kernel::{Arg, Cost, How, Inputs, Kernel, Launch, Operand, Piece, Step, Tier, Variant};
use crate::scaling::Scaling;

/// out\[t, h\] = Σ_u softmax_u(q\[t, h\] · k\[u\] / √D) v\[u\] over the tokens u of t's sequence up to t itself, with keys and values of head
/// h / (HQ / HKV): S sequences one after the other, the longest of L tokens, HQ heads of D numbers.
#[derive(Debug)]
pub struct PrefillAttention;

impl Kernel for PrefillAttention {
    fn name(&self) -> &'static str {
        "prefill-attention"
    }

    fn about(&self) -> &'static str {
        "every token of a prompt against all before it: bound by arithmetic, and the part of a prompt that grows with its square"
    }

    fn shapes(&self, tier: Tier, device: &DeviceInfo) -> Vec<Dims> {
        let of = |(s, l), (hq, hkv), d| Dims::new(Dtype::Bf16, &[("S", s), ("L", l), ("HQ", hq), ("HKV", hkv), ("D", d)]);
        // A processor, or OpenCL on one.
        let small = device.api == Api::Cpu || device.units < 16;
        let grouped = if small { (8, 2) } else { (32, 8) };
        match tier {
            Tier::Check => vec![
                of((1, 1), (1, 1), 64),
                of((3, 17), (4, 1), 128),
                of((1, 65), (4, 4), 64),
                of((3, 130), (4, 1), 64),
                of((2, 130), (2, 2), 128),
            ],
            Tier::Quick | Tier::Full if small => vec![of((1, 512), grouped, 128)],
            Tier::Quick => vec![of((1, 2048), grouped, 128)],
            Tier::Full => {
                vec![of((1, 2048), grouped, 128), of((1, 8192), grouped, 128), of((1, 8192), (16, 16), 128), of((8, 4096), grouped, 128)]
            }
            Tier::Sweep => {
                let lengths: &[usize] = if small { &[256, 512, 1024, 2048] } else { &[1024, 2048, 4096, 8192, 16_384] };
                lengths.iter().map(|l| of((1, *l), grouped, 128)).collect()
            }
        }
    }

    fn operands(&self, dims: &Dims) -> Vec<Operand> {
        let Size { hq, hkv, d, .. } = Size::of(dims);
        let starts = starts(dims);
        let tokens = starts.last().map_or(0, |end| *end as usize);
        vec![
            // Large enough that some tokens count more than others.
            Operand::input("q", dims.dtype, tokens * hq * d, Fill::Uniform { scale: 4.0 }),
            Operand::input("k", dims.dtype, tokens * hkv * d, Fill::Uniform { scale: 1.0 }),
            Operand::input("v", dims.dtype, tokens * hkv * d, Fill::Uniform { scale: 1.0 }),
            Operand::ints("starts", starts),
            Operand::output("out", dims.dtype, tokens * hq * d),
        ]
    }

    fn cost(&self, dims: &Dims) -> Cost {
        let Size { s, hq, hkv, d, .. } = Size::of(dims);
        let lengths = || lengths(dims).map(|length| length as f64);
        let pairs: f64 = lengths().map(|length| length * (length + 1.0) / 2.0).sum();
        let row = lengths().sum::<f64>() * (d * dims.dtype.bytes()) as f64;
        Cost {
            matrix_flops: 4.0 * (hq * d) as f64 * pairs,
            // Largest, difference, power and sum of every score.
            vector_flops: 4.0 * hq as f64 * pairs,
            read: row * (hq + 2 * hkv) as f64 + ((s + 1) * 4) as f64,
            written: row * hq as f64,
        }
    }

    fn variants(&self) -> &'static [Variant] {
        &[
            Variant {
                name: "portable",
                about: "keys and values in shared memory, a running softmax, no matrix unit",
                how: How::Text(portable),
            },
            Variant {
                name: "mma",
                about: "mma.sync for both products, scores in registers, keys and values one tile ahead (sm_80 and later)",
                how: How::Text(mma),
            },
            Variant {
                name: "wgmma",
                about: "wgmma, one tile's scores weighed while another's values are summed; other warps copy ahead (sm_90a only)",
                how: How::Text(wgmma),
            },
            Variant {
                name: "native",
                about: "vectors of the host's processor over stretches of keys",
                how: How::Native(crate::native::prefill_attention::native),
            },
        ]
    }

    fn scaling(&self) -> Option<Scaling> {
        Some(Scaling {
            over: "L",
            exponent: 2.0,
            claim: "every token attends to all before it: a prompt twice as long costs four times as much",
        })
    }

    fn units(&self, dims: &Dims) -> usize {
        lengths(dims).sum::<usize>() * dims.get("HQ")
    }

    fn reference(&self, dims: &Dims, inputs: &Inputs<'_>, unit: usize) -> Vec<Piece> {
        let Size { hq, hkv, d, .. } = Size::of(dims);
        let (token, head) = (unit / hq, unit % hq / (hq / hkv));
        let start = inputs.ints(3).iter().map(|start| *start as usize).filter(|start| *start <= token).max().unwrap_or(0);
        let query = inputs.row(0, unit * d, d);
        let row = |operand, at| inputs.row(operand, (at * hkv + head) * d, d);
        let dot = |key: Vec<f64>| query.iter().zip(&key).map(|(q, k)| q * k).sum::<f64>() / (d as f64).sqrt();
        let scores: Vec<f64> = (start..=token).map(|at| dot(row(1, at))).collect();
        let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (mut values, mut sum) = (vec![0.0; d], 0.0);
        for (at, score) in (start..).zip(&scores) {
            let weight = (score - most).exp();
            sum += weight;
            values.iter_mut().zip(row(2, at)).for_each(|(value, v)| *value += weight * v);
        }
        values.iter_mut().for_each(|value| *value /= sum);
        vec![Piece { operand: 4, from: unit * d, values }]
    }
}

#[derive(Clone, Copy)]
struct Size {
    s: usize,
    l: usize,
    hq: usize,
    hkv: usize,
    d: usize,
}

impl Size {
    fn of(dims: &Dims) -> Self {
        Self { s: dims.get("S"), l: dims.get("L"), hq: dims.get("HQ"), hkv: dims.get("HKV"), d: dims.get("D") }
    }
}

/// Tokens of each sequence: the first is the longest, the others are shorter and odd. Short ones, which are for checking, have empty ones
/// among them.
fn lengths(dims: &Dims) -> impl Iterator<Item = usize> + use<> {
    let Size { s, l, .. } = Size::of(dims);
    (0..s).map(move |at| match at {
        0 => l,
        _ if l < 1024 && at % 3 == 1 => 0,
        _ => ((l * (s - at) / s) | 1).min(l),
    })
}

/// The first token of each sequence, and their number at the end.
fn starts(dims: &Dims) -> Vec<i32> {
    let mut end = 0;
    std::iter::once(0)
        .chain(lengths(dims).map(|length| {
            end += length as i32;
            end
        }))
        .collect()
}

/// One launch with a block for `rows` rows of each head of each sequence.
fn launch(text: &'static str, entry: &'static str, dims: &Dims, rows: usize) -> Result<Launch, String> {
    let Size { s, l, hq, hkv, d } = Size::of(dims);
    if !hq.is_multiple_of(hkv) {
        return Err(format!("{hq} heads of queries do not divide among {hkv} heads of keys"));
    }
    let blocks = l.div_ceil(rows);
    // What a grid may have in its second and third dimension.
    if blocks.max(s) > 65_535 {
        return Err(format!("{s} sequences of {blocks} blocks are more than a grid has; the most is 65535 of either"));
    }
    // The kernels work with powers of two.
    let scale = std::f64::consts::LOG2_E / (d as f64).sqrt();
    let args =
        (0..5).map(Arg::Operand).chain([hq, hkv, blocks].map(|size| Arg::I32(size as i32))).chain([Arg::F32(scale as f32)]).collect();
    let defines = vec![("DEPTH", d as i64)];
    Ok(Launch { text, entry, defines, grid: [hq as u32, blocks as u32, s as u32], block: 128, shared: 0, args })
}

fn portable(dims: &Dims, _: &DeviceInfo) -> Result<Vec<Step>, String> {
    let d = dims.get("D");
    if !d.is_multiple_of(16) || d > 128 {
        return Err(format!("needs D divisible by 16 and at most 128, not {d}"));
    }
    Ok(vec![Step::Launch(launch(include_str!("../text/prefill.cu"), "prefill_portable", dims, 16)?)])
}

fn mma(dims: &Dims, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    let d = dims.get("D");
    if device.api != Api::Cuda || device.compute < 80 {
        return Err(format!("mma.sync on bf16 needs sm_80 or later, not {}", device.arch));
    }
    if d != 64 && d != 128 {
        return Err(format!("needs D of 64 or 128, not {d}"));
    }
    // Rows of a warp, warps of a block, blocks of a multiprocessor.
    let (rows, warps, blocks) = (32, 4, 2);
    // Queries, and two tiles of 64 keys and values.
    let shared = (rows * warps + 4 * 64) * d * 2;
    if shared > device.shared {
        return Err(format!("two tiles in flight need {shared} bytes of shared memory, a block has {}", device.shared));
    }
    let launch = launch(include_str!("../text/prefill_mma.cu"), "prefill_mma", dims, rows * warps)?;
    let defines = [launch.defines, vec![("ROWS", rows as i64), ("WARPS", warps as i64), ("BLOCKS", blocks)]].concat();
    Ok(vec![Step::Launch(Launch { defines, block: warps as u32 * 32, shared: shared as u32, ..launch })])
}

fn wgmma(dims: &Dims, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    let d = dims.get("D");
    if device.api != Api::Cuda || device.compute != 90 {
        return Err(format!("wgmma is an instruction of sm_90a alone, not of {}", device.arch));
    }
    if d != 64 && d != 128 {
        return Err(format!("needs D of 64 or 128, not {d}"));
    }
    // Queries, and two tiles of 128 keys and values.
    let shared = 5 * 128 * d * 2;
    // One kilobyte holds the barriers and what aligns the tiles.
    if shared + 1024 > device.shared {
        return Err(format!("two tiles in flight need {} bytes of shared memory, a block has {}", shared + 1024, device.shared));
    }
    let launch = launch(include_str!("../text/prefill_wgmma.cu"), "prefill_wgmma", dims, 128)?;
    Ok(vec![Step::Launch(Launch { block: 384, shared: shared as u32, ..launch })])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dims(s: usize, l: usize, d: usize) -> Dims {
        Dims::new(Dtype::Bf16, &[("S", s), ("L", l), ("HQ", 4), ("HKV", 2), ("D", d)])
    }

    fn gpu(compute: u32, shared: usize) -> DeviceInfo {
        DeviceInfo { api: Api::Cuda, arch: format!("sm_{compute}"), compute, units: 132, warp: 32, shared, ..crate::device::cpu::info(1) }
    }

    #[test]
    fn sequences_have_different_lengths_and_the_first_is_the_longest() {
        assert_eq!(starts(&dims(1, 1, 64)), [0, 1]);
        assert_eq!(starts(&dims(3, 130, 64)), [0, 130, 130, 173]);
        assert_eq!(lengths(&dims(8, 4096, 64)).collect::<Vec<_>>(), [4096, 3585, 3073, 2561, 2049, 1537, 1025, 513]);
    }

    #[test]
    fn the_cost_counts_the_pairs_that_causality_leaves() {
        let cost = PrefillAttention.cost(&dims(1, 100, 64));
        assert_eq!(cost.matrix_flops, 4.0 * 4.0 * 64.0 * 5050.0);
        assert_eq!((cost.read, cost.written), (100.0 * 64.0 * 2.0 * 8.0 + 8.0, 100.0 * 64.0 * 2.0 * 4.0));
    }

    #[test]
    fn what_does_not_fit_says_why() {
        let h200 = gpu(90, 232_448);
        assert!(mma(&dims(1, 8192, 128), &h200).is_ok() && wgmma(&dims(1, 8192, 128), &h200).is_ok());
        for (steps, why) in [
            (mma(&dims(1, 8, 96), &h200), "D of 64 or 128"),
            (mma(&dims(1, 8, 64), &gpu(75, 65_536)), "sm_80"),
            (mma(&dims(1, 8, 128), &gpu(80, 40_000)), "shared memory"),
            (mma(&dims(70_000, 8, 128), &h200), "65535"),
            (wgmma(&dims(1, 8, 128), &gpu(100, 232_448)), "sm_90a"),
            (portable(&dims(1, 8, 256), &h200), "at most 128"),
        ] {
            let said = steps.unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
