//! Copy: one array onto another.

use crate::device::{Api, DeviceInfo};
use crate::dims::{Dims, Dtype};
use crate::fill::Fill;
use crate::host::Host;
use crate::kernel::{Arg, Cost, How, Inputs, Kernel, Launch, Operand, Piece, Step, Tier, Variant};
use rayon::ThreadPool;
use rayon::prelude::*;

/// Elements of a unit of checking.
const UNIT: usize = 4096;
const TEXT: &str = include_str!("../text/copy.cu");

/// See the module.
#[derive(Debug)]
pub struct Copy;

impl Kernel for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn about(&self) -> &'static str {
        "b = a, bytes read and written: the ceiling of everything bound by memory"
    }

    fn shapes(&self, tier: Tier, device: &DeviceInfo) -> Vec<Dims> {
        let of = |elements: usize| Dims::new(Dtype::F32, &[("N", elements)]);
        match tier {
            Tier::Check => vec![of(4), of(4096 * 3 + 20)],
            // Six caches' worth on a CPU, 4 GiB on a GPU: five times the cache, and long past the launch.
            Tier::Quick | Tier::Full if device.api == Api::Cpu => vec![of((device.cache * 3).max(64 << 20).next_multiple_of(4096) / 4)],
            Tier::Quick | Tier::Full => vec![of((device.cache * 16).clamp(64 << 20, 2 << 30).next_multiple_of(4096) / 4)],
            Tier::Sweep => vec![],
        }
    }

    fn operands(&self, dims: &Dims) -> Vec<Operand> {
        let n = dims.get("N");
        vec![Operand::input("a", dims.dtype, n, Fill::Uniform { scale: 1.0 }), Operand::output("b", dims.dtype, n)]
    }

    fn cost(&self, dims: &Dims) -> Cost {
        let bytes = (dims.get("N") * dims.dtype.bytes()) as f64;
        Cost { read: bytes, written: bytes, ..Cost::default() }
    }

    fn variants(&self) -> &'static [Variant] {
        &[
            Variant { name: "scalar", about: "four bytes of each thread at a time", how: How::Text(scalar) },
            Variant { name: "vector", about: "sixteen bytes of each thread, four loads under way", how: How::Text(vector) },
            Variant { name: "driver", about: "the driver's own copy", how: How::Text(driver) },
            Variant { name: "native", about: "the C library's copy, a stretch per thread", how: How::Native(native) },
        ]
    }

    fn units(&self, dims: &Dims) -> usize {
        dims.get("N").div_ceil(UNIT)
    }

    fn reference(&self, dims: &Dims, inputs: &Inputs<'_>, unit: usize) -> Vec<Piece> {
        let from = unit * UNIT;
        let len = UNIT.min(dims.get("N") - from);
        vec![Piece { operand: 1, from, values: inputs.row(0, from, len) }]
    }

    fn tolerance(&self, _: &Dims) -> f64 {
        0.0
    }
}

/// Blocks that keep every multiprocessor busy.
fn blocks(work: usize, block: u32, device: &DeviceInfo) -> [u32; 3] {
    [(work.div_ceil(block as usize) as u32).clamp(1, device.units.max(1) * 8), 1, 1]
}

fn launch(entry: &'static str, items: usize, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    let args = vec![Arg::Operand(0), Arg::Operand(1), Arg::I32(items as i32)];
    Ok(vec![Step::Launch(Launch { text: TEXT, entry, defines: vec![], grid: blocks(items, 256, device), block: 256, shared: 0, args })])
}

fn scalar(dims: &Dims, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    launch("copy_scalar", dims.get("N"), device)
}

fn vector(dims: &Dims, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    if device.api == Api::OpenCl {
        return Err("OpenCL runs the portable variants".into());
    }
    if !dims.get("N").is_multiple_of(4) {
        return Err("sixteen bytes at a time need N divisible by 4".into());
    }
    launch("copy_vector", dims.get("N") / 4, device)
}

fn driver(_: &Dims, _: &DeviceInfo) -> Result<Vec<Step>, String> {
    Ok(vec![Step::Copy { from: 0, to: 1 }])
}

fn native(_: &Dims, operands: &mut [Host], pool: &ThreadPool) {
    let [a, b] = operands else { unreachable!("two operands") };
    let stretch = a.f32().len().div_ceil(pool.current_num_threads()).max(1024);
    let (a, b) = (a.f32(), b.f32_mut());
    pool.install(|| b.par_chunks_mut(stretch).zip(a.par_chunks(stretch)).for_each(|(b, a)| b.copy_from_slice(a)));
}
