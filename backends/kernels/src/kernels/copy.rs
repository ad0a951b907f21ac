//! Copy: one array onto another.

use super::memory::{self, UNIT};
use crate::device::DeviceInfo;
use crate::dims::Dims;
use crate::fill::Fill;
use crate::kernel::{Cost, How, Inputs, Kernel, Operand, Piece, Step, Tier, Variant};

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
        memory::shapes(tier, device)
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
            Variant { name: "tile", about: "the same without a loop, a block per stretch", how: How::Text(tile) },
            Variant { name: "driver", about: "the driver's own copy", how: How::Text(driver) },
            Variant {
                name: "native",
                about: "stores past the caches, a stretch of each thread",
                how: How::Native(crate::native::memory::copy),
            },
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

fn scalar(dims: &Dims, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    Ok(memory::looping(TEXT, "copy_scalar", 2, dims.get("N"), device))
}

fn vector(dims: &Dims, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    Ok(memory::looping(TEXT, "copy_vector", 2, memory::quads(dims.get("N"), device)?, device))
}

fn tile(dims: &Dims, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    memory::tiled(TEXT, "copy_tile", 2, dims.get("N"), device)
}

fn driver(_: &Dims, _: &DeviceInfo) -> Result<Vec<Step>, String> {
    Ok(vec![Step::Copy { from: 0, to: 1 }])
}
