//! Triad and read: what memory gives while next to nothing is computed, beside [`super::copy`].

use crate::device::{Api, DeviceInfo};
use crate::dims::{Dims, Dtype};
use crate::fill::Fill;
use crate::kernel::{Arg, Cost, How, Inputs, Kernel, Launch, Operand, Piece, Step, Tier, Variant};

/// Elements of a unit of checking.
pub(super) const UNIT: usize = 4096;
/// Elements of which [`Read`] writes one sum. Sums of so many values of the fill are exact in f32 in any order: multiples of 1/256
/// below 2¹⁶.
pub const STRETCH: usize = 1 << 16;
/// Threads of a block.
const BLOCK: u32 = 256;
/// Sixteens that a thread has under way in kernels without a loop.
const PER: usize = 4;

/// Blocks that keep every multiprocessor busy in a kernel that loops.
pub(super) fn blocks(work: usize, device: &DeviceInfo) -> [u32; 3] {
    [(work.div_ceil(BLOCK as usize) as u32).clamp(1, device.units.max(1) * 8), 1, 1]
}

/// A kernel over `items` that loops: operands in order, then the number of items.
pub(super) fn looping(text: &'static str, entry: &'static str, operands: usize, items: usize, device: &DeviceInfo) -> Vec<Step> {
    start(text, entry, operands, items, blocks(items, device), vec![])
}

/// A kernel over sixteens, a block for each stretch.
pub(super) fn tiled(
    text: &'static str,
    entry: &'static str,
    operands: usize,
    elements: usize,
    device: &DeviceInfo,
) -> Result<Vec<Step>, String> {
    let quads = quads(elements, device)?;
    let grid = [quads.div_ceil(BLOCK as usize * PER) as u32, 1, 1];
    Ok(start(text, entry, operands, quads, grid, vec![("PER", PER as i64)]))
}

/// Sixteens of so many elements of four bytes, where a variant may use them.
pub(super) fn quads(elements: usize, device: &DeviceInfo) -> Result<usize, String> {
    if device.api == Api::OpenCl {
        return Err("OpenCL runs the portable variants".into());
    }
    if !elements.is_multiple_of(4) {
        return Err("sixteen bytes at a time need N divisible by 4".into());
    }
    Ok(elements / 4)
}

fn start(
    text: &'static str,
    entry: &'static str,
    operands: usize,
    items: usize,
    grid: [u32; 3],
    defines: Vec<(&'static str, i64)>,
) -> Vec<Step> {
    let args = (0..operands).map(Arg::Operand).chain([Arg::I32(items as i32)]).collect();
    vec![Step::Launch(Launch { text, entry, defines, grid, block: BLOCK, shared: 0, args })]
}

/// Shapes of a family that streams `arrays` arrays: beyond the cache by far, and within a share of memory.
pub(super) fn shapes(tier: Tier, device: &DeviceInfo) -> Vec<Dims> {
    let of = |elements: usize| Dims::new(Dtype::F32, &[("N", elements)]);
    match tier {
        Tier::Check => vec![of(4), of(4096 * 3 + 20)],
        // Six caches' worth on a CPU, 4 GiB on a GPU: five times the cache, and long past the launch.
        Tier::Quick | Tier::Full if device.api == Api::Cpu => vec![of((device.cache * 3).max(64 << 20).next_multiple_of(4096) / 4)],
        Tier::Quick | Tier::Full => vec![of((device.cache * 16).clamp(64 << 20, 2 << 30).next_multiple_of(4096) / 4)],
        Tier::Sweep => vec![],
    }
}

/// c = a + b/2.
#[derive(Debug)]
pub struct Triad;

const TRIAD: &str = include_str!("../text/triad.cu");

impl Kernel for Triad {
    fn name(&self) -> &'static str {
        "triad"
    }

    fn about(&self) -> &'static str {
        "c = a + b/2: two arrays read for one written"
    }

    fn shapes(&self, tier: Tier, device: &DeviceInfo) -> Vec<Dims> {
        shapes(tier, device)
    }

    fn operands(&self, dims: &Dims) -> Vec<Operand> {
        let n = dims.get("N");
        let input = |name| Operand::input(name, dims.dtype, n, Fill::Uniform { scale: 1.0 });
        vec![input("a"), input("b"), Operand::output("c", dims.dtype, n)]
    }

    fn cost(&self, dims: &Dims) -> Cost {
        let bytes = (dims.get("N") * dims.dtype.bytes()) as f64;
        Cost { vector_flops: 2.0 * dims.get("N") as f64, read: 2.0 * bytes, written: bytes, ..Cost::default() }
    }

    fn variants(&self) -> &'static [Variant] {
        &[
            Variant { name: "scalar", about: "four bytes of each thread at a time", how: How::Text(triad_scalar) },
            Variant {
                name: "tile",
                about: "sixteen bytes of each thread, eight loads under way, a block per stretch",
                how: How::Text(triad),
            },
            Variant {
                name: "native",
                about: "vectors of the host's processor, a stretch per thread",
                how: How::Native(crate::native::memory::triad),
            },
        ]
    }

    fn units(&self, dims: &Dims) -> usize {
        dims.get("N").div_ceil(UNIT)
    }

    fn reference(&self, dims: &Dims, inputs: &Inputs<'_>, unit: usize) -> Vec<Piece> {
        let from = unit * UNIT;
        let len = UNIT.min(dims.get("N") - from);
        let values = (from..from + len).map(|i| inputs.at(0, i) + 0.5 * inputs.at(1, i)).collect();
        vec![Piece { operand: 2, from, values }]
    }

    /// Values of the fill and their halves are exact, so the sum is.
    fn tolerance(&self, _: &Dims) -> f64 {
        0.0
    }
}

fn triad_scalar(dims: &Dims, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    Ok(looping(TRIAD, "triad_scalar", 3, dims.get("N"), device))
}

fn triad(dims: &Dims, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    tiled(TRIAD, "triad_tile", 3, dims.get("N"), device)
}

/// The sum of each stretch of [`STRETCH`] elements.
#[derive(Debug)]
pub struct Read;

const READ: &str = include_str!("../text/read.cu");

impl Kernel for Read {
    fn name(&self) -> &'static str {
        "read"
    }

    fn about(&self) -> &'static str {
        "sums of stretches of an array: the ceiling of what reads and hardly writes"
    }

    fn shapes(&self, tier: Tier, device: &DeviceInfo) -> Vec<Dims> {
        match tier {
            Tier::Check => [4, STRETCH * 2 + 20].map(|elements| Dims::new(Dtype::F32, &[("N", elements)])).to_vec(),
            _ => shapes(tier, device),
        }
    }

    fn operands(&self, dims: &Dims) -> Vec<Operand> {
        let n = dims.get("N");
        let a = Operand::input("a", dims.dtype, n, Fill::Uniform { scale: 1.0 });
        vec![a, Operand::output("sums", dims.dtype, n.div_ceil(STRETCH))]
    }

    fn cost(&self, dims: &Dims) -> Cost {
        let (n, width) = (dims.get("N"), dims.dtype.bytes() as f64);
        Cost { vector_flops: n as f64, read: n as f64 * width, written: n.div_ceil(STRETCH) as f64 * width, ..Cost::default() }
    }

    fn variants(&self) -> &'static [Variant] {
        &[
            Variant { name: "scalar", about: "four bytes of each thread at a time", how: How::Text(read_scalar) },
            Variant { name: "vector", about: "sixteen bytes of each thread, eight loads under way", how: How::Text(read_vector) },
            Variant {
                name: "native",
                about: "vectors of the host's processor, a stretch per thread",
                how: How::Native(crate::native::memory::read),
            },
        ]
    }

    fn units(&self, dims: &Dims) -> usize {
        dims.get("N").div_ceil(STRETCH)
    }

    fn reference(&self, dims: &Dims, inputs: &Inputs<'_>, unit: usize) -> Vec<Piece> {
        let from = unit * STRETCH;
        let end = (from + STRETCH).min(dims.get("N"));
        vec![Piece { operand: 1, from: unit, values: vec![(from..end).map(|i| inputs.at(0, i)).sum()] }]
    }

    /// See [`STRETCH`].
    fn tolerance(&self, _: &Dims) -> f64 {
        0.0
    }
}

/// A block for each sum.
fn sums(entry: &'static str, items: usize, dims: &Dims) -> Vec<Step> {
    let grid = [dims.get("N").div_ceil(STRETCH) as u32, 1, 1];
    start(READ, entry, 2, items, grid, vec![("STRETCH", STRETCH as i64)])
}

fn read_scalar(dims: &Dims, _: &DeviceInfo) -> Result<Vec<Step>, String> {
    Ok(sums("read_scalar", dims.get("N"), dims))
}

fn read_vector(dims: &Dims, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    Ok(sums("read_vector", quads(dims.get("N"), device)?, dims))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_a_stretch_is_exact_in_a_single() {
        let operands = Read.operands(&Dims::new(Dtype::F32, &[("N", STRETCH)]));
        let inputs = Inputs::new(&operands, 9);
        let (mut single, mut double) = (0.0_f32, 0.0_f64);
        for i in 0..STRETCH {
            single += inputs.at(0, i) as f32;
            double += inputs.at(0, i);
        }
        assert_eq!(f64::from(single), double);
    }
}
