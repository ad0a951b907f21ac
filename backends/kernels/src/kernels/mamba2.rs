//! One step of a state-space layer (Mamba-2's selective state update): what takes the place of attention over a cache.

use super::contexts::contexts;
use crate::device::{Api, DeviceInfo};
use crate::dims::{Dims, Dtype};
use crate::fill::Fill;
use crate::kernel::{Arg, Cost, How, Inputs, Kernel, Launch, Operand, Piece, Role, Step, Tier, Variant};
use crate::scaling::Scaling;

const TEXT: &str = include_str!("../text/mamba2.cu");
/// Threads of a block.
const BLOCK: u32 = 256;

/// For each of B sequences and H heads, a state of P × N in f32: s = s · exp(dt · a) + dt · x · bm, y = Σ_n s · cm + d · x. Heads
/// share bm and cm in G groups. A size L, where a shape has it, is the context so far: nothing depends on it, which is the claim.
#[derive(Debug)]
pub struct Mamba2Step;

impl Kernel for Mamba2Step {
    fn name(&self) -> &'static str {
        "mamba2-step"
    }

    fn about(&self) -> &'static str {
        "one token through a state-space layer: the state is read, decayed, added to and written, whatever the context"
    }

    fn shapes(&self, tier: Tier, device: &DeviceInfo) -> Vec<Dims> {
        let of = |b, h, p, n, g| Dims::new(Dtype::Bf16, &[("B", b), ("H", h), ("P", p), ("N", n), ("G", g)]);
        // Of Mamba2-2.7B: 2.6 MB of state for a sequence and layer.
        let model = |b| of(b, 80, 64, 128, 1);
        match tier {
            Tier::Check => vec![of(2, 3, 5, 16, 1), of(1, 4, 64, 128, 2), of(3, 2, 67, 24, 2), of(2, 2, 9, 256, 1)],
            Tier::Quick | Tier::Full if device.api == Api::Cpu => vec![model(32)],
            Tier::Quick => vec![model(256)],
            Tier::Full => vec![model(256), model(32), of(256, 128, 64, 128, 8)],
            Tier::Sweep => {
                let (_, lengths) = contexts(device, 1);
                lengths.into_iter().map(|l| model(if device.api == Api::Cpu { 1 } else { 32 }).with("L", l)).collect()
            }
        }
    }

    fn operands(&self, dims: &Dims) -> Vec<Operand> {
        let Size { b, h, p, n, g } = Size::of(dims);
        let even = Fill::Uniform { scale: 1.0 };
        vec![
            Operand { name: "state", role: Role::InOut, dtype: Dtype::F32, len: b * h * p * n, fill: even.clone() },
            Operand::input("x", dims.dtype, b * h * p, even.clone()),
            // dt in (0, 1/8), a in (−16, 0): decays between e⁻² and 1, as trained models have them.
            Operand::input("dt", Dtype::F32, b * h, Fill::Shifted { low: 0.0, scale: 0.0625 }),
            Operand::input("a", Dtype::F32, h, Fill::Shifted { low: -16.0, scale: 8.0 }),
            Operand::input("bm", dims.dtype, b * g * n, even.clone()),
            Operand::input("cm", dims.dtype, b * g * n, even.clone()),
            Operand::input("d", Dtype::F32, h, even),
            Operand::output("y", dims.dtype, b * h * p),
        ]
    }

    fn cost(&self, dims: &Dims) -> Cost {
        let Size { b, h, p, n, g } = Size::of(dims);
        let (state, tokens, width) = (b * h * p * n, b * h * p, dims.dtype.bytes());
        Cost {
            // A decay, a product added, a product summed for each element of the state.
            vector_flops: 5.0 * state as f64 + 3.0 * tokens as f64,
            read: (state * 4 + tokens * width + b * h * 4 + h * 8 + 2 * b * g * n * width) as f64,
            written: (state * 4 + tokens * width) as f64,
            ..Cost::default()
        }
    }

    fn variants(&self) -> &'static [Variant] {
        &[
            Variant {
                name: "portable",
                about: "32 threads share a row of the state, sums through shared memory",
                how: How::Text(portable),
            },
            Variant {
                name: "vector",
                about: "sixteen bytes of each thread, four rows under way, sums through shuffles",
                how: How::Text(vector),
            },
            Variant {
                name: "native",
                about: "vectors of the host's processor, heads spread over threads",
                how: How::Native(crate::native::mamba2::native),
            },
        ]
    }

    fn scaling(&self) -> Option<Scaling> {
        Some(Scaling { over: "L", exponent: 0.0, claim: "a token costs the same whatever the context: only the state is touched" })
    }

    fn units(&self, dims: &Dims) -> usize {
        dims.get("B") * dims.get("H")
    }

    fn reference(&self, dims: &Dims, inputs: &Inputs<'_>, unit: usize) -> Vec<Piece> {
        let Size { h, p, n, g, .. } = Size::of(dims);
        let (b, head) = (unit / h, unit % h);
        let dt = inputs.at(2, unit);
        let (decay, skip) = ((dt * inputs.at(3, head)).exp(), inputs.at(6, head));
        let group = b * g + head / (h / g);
        let (bm, cm) = (inputs.row(4, group * n, n), inputs.row(5, group * n, n));
        let (mut state, mut y) = (Vec::with_capacity(p * n), Vec::with_capacity(p));
        for row in 0..p {
            let x = inputs.at(1, unit * p + row);
            let before = inputs.row(0, (unit * p + row) * n, n);
            let after: Vec<f64> = before.iter().zip(&bm).map(|(s, b)| s * decay + dt * x * b).collect();
            y.push(after.iter().zip(&cm).map(|(s, c)| s * c).sum::<f64>() + skip * x);
            state.extend(after);
        }
        vec![Piece { operand: 0, from: unit * p * n, values: state }, Piece { operand: 7, from: unit * p, values: y }]
    }
}

struct Size {
    b: usize,
    h: usize,
    p: usize,
    n: usize,
    g: usize,
}

impl Size {
    fn of(dims: &Dims) -> Self {
        Self { b: dims.get("B"), h: dims.get("H"), p: dims.get("P"), n: dims.get("N"), g: dims.get("G") }
    }
}

fn launch(entry: &'static str, dims: &Dims, defines: Vec<(&'static str, i64)>) -> Vec<Step> {
    let Size { b, h, p, n, g } = Size::of(dims);
    let args = (0..8).map(Arg::Operand).chain([h, p, g].map(|size| Arg::I32(size as i32))).collect();
    let defines = [vec![("STATE", n as i64)], defines].concat();
    vec![Step::Launch(Launch { text: TEXT, entry, defines, grid: [h as u32, b as u32, 1], block: BLOCK, shared: 0, args })]
}

fn portable(dims: &Dims, _: &DeviceInfo) -> Result<Vec<Step>, String> {
    Ok(launch("mamba2_portable", dims, vec![]))
}

fn vector(dims: &Dims, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    if device.api == Api::OpenCl {
        return Err("OpenCL runs the portable variants".into());
    }
    let n = dims.get("N");
    let lanes = (n / 4).min(32);
    if !n.is_multiple_of(4) || !lanes.is_power_of_two() || !n.is_multiple_of(4 * lanes) {
        return Err("sixteen bytes of each lane at a time need N to be 4 times a power of two, or a multiple of 128".into());
    }
    let deep = (4 * 4 * lanes / n).max(1);
    Ok(launch("mamba2_vector", dims, vec![("LANES", lanes as i64), ("DEEP", deep as i64)]))
}
