//! Skinny matrix product: one to sixteen tokens through a weight matrix, what every step of decoding is made of.

use crate::device::{Api, DeviceInfo};
use crate::dims::{Dims, Dtype};
use crate::fill::Fill;
use crate::kernel::{Arg, Cost, How, Inputs, Kernel, Launch, Operand, Piece, Step, Tier, Variant};
use crate::scaling::Scaling;

const PORTABLE: &str = include_str!("../text/gemv.cu");
const VECTOR: &str = include_str!("../text/gemv_vector.cu");
const MMA: &str = include_str!("../text/gemv_mma.cu");
/// Columns of one row of y that are checked together.
const UNIT: usize = 64;
/// The most rows of x: beyond, it is a [`super::gemm`].
const MOST: usize = 16;

/// See the module.
#[derive(Debug)]
pub struct Gemv;

impl Kernel for Gemv {
    fn name(&self) -> &'static str {
        "gemv"
    }

    fn about(&self) -> &'static str {
        "y = x·Wᵀ for a few tokens: bound by the bytes of W"
    }

    fn shapes(&self, tier: Tier, device: &DeviceInfo) -> Vec<Dims> {
        let of = |b, n, k| Dims::new(Dtype::Bf16, &[("B", b), ("N", n), ("K", k)]);
        // Five caches' worth of weights of 8192 columns, at least the largest matrix of a model of seventy billion.
        let beyond = (device.cache * 5).div_ceil(8192 * Dtype::Bf16.bytes()).next_multiple_of(1024);
        let large = if device.api == Api::Cpu || device.units < 16 { beyond.clamp(8192, 65536) } else { beyond.max(28672) };
        let many = [1, 2, 4, 8, 12, 16];
        match tier {
            Tier::Check => {
                vec![
                    of(1, 1, 8),
                    of(1, 5, 64),
                    of(2, 40, 256),
                    of(3, 33, 72),
                    of(5, 257, 2080),
                    of(8, 48, 4096),
                    of(9, 31, 544),
                    of(16, 70, 1056),
                ]
            }
            Tier::Quick => vec![of(1, large, 8192), of(8, large, 8192)],
            Tier::Full => [many.map(|b| of(b, large, 8192)).as_slice(), &[of(1, 8192, large), of(8, 8192, large)]].concat(),
            Tier::Sweep => many.map(|b| of(b, large, 8192)).to_vec(),
        }
    }

    fn operands(&self, dims: &Dims) -> Vec<Operand> {
        let (b, n, k) = sizes(dims);
        let fill = Fill::Uniform { scale: 1.0 };
        vec![
            Operand::input("x", dims.dtype, b * k, fill.clone()),
            Operand::input("w", dims.dtype, n * k, fill),
            Operand::output("y", Dtype::F32, b * n),
        ]
    }

    fn cost(&self, dims: &Dims) -> Cost {
        let (b, n, k) = sizes(dims);
        Cost {
            matrix_flops: 2.0 * b as f64 * n as f64 * k as f64,
            read: ((b * k + n * k) * dims.dtype.bytes()) as f64,
            written: (b * n * Dtype::F32.bytes()) as f64,
            ..Cost::default()
        }
    }

    fn variants(&self) -> &'static [Variant] {
        &[
            Variant { name: "portable", about: "a block of each row of W, sums added in shared memory", how: How::Text(portable) },
            Variant {
                name: "vector",
                about: "a warp of every few rows of W, sixteen bytes of a lane, x in shared memory",
                how: How::Text(vector),
            },
            Variant { name: "mma", about: "W from memory straight into fragments of mma.sync (sm_80 and later)", how: How::Text(mma) },
            Variant {
                name: "native",
                about: "vectors of the host's processor, rows of W spread over threads",
                how: How::Native(crate::native::gemv::native),
            },
        ]
    }

    fn scaling(&self) -> Option<Scaling> {
        Some(Scaling {
            over: "B",
            exponent: 0.0,
            claim: "one to sixteen tokens take the time of the weights' bytes, whatever their number",
        })
    }

    fn units(&self, dims: &Dims) -> usize {
        let (b, n, _) = sizes(dims);
        b * n.div_ceil(UNIT)
    }

    fn reference(&self, dims: &Dims, inputs: &Inputs<'_>, unit: usize) -> Vec<Piece> {
        let (_, n, k) = sizes(dims);
        let (row, first) = (unit / n.div_ceil(UNIT), unit % n.div_ceil(UNIT) * UNIT);
        let x = inputs.row(0, row * k, k);
        let dot = |column: usize| x.iter().enumerate().map(|(at, x)| x * inputs.at(1, column * k + at)).sum();
        vec![Piece { operand: 2, from: row * n + first, values: (first..n.min(first + UNIT)).map(dot).collect() }]
    }

    /// Only the order and the rounding of sums differ: inputs are exact, and y is not rounded to bf16.
    fn tolerance(&self, _: &Dims) -> f64 {
        1e-3
    }
}

fn sizes(dims: &Dims) -> (usize, usize, usize) {
    (dims.get("B"), dims.get("N"), dims.get("K"))
}

/// Operands and sizes as arguments, or why the shape does not fit: rows of x are counted at compile time, and K in pieces.
fn arguments(dims: &Dims, columns: usize) -> Result<Vec<Arg>, String> {
    let (b, n, k) = sizes(dims);
    if !(1..=MOST).contains(&b) {
        return Err(format!("one to {MOST} rows of x, not {b}; more are a `gemm`"));
    }
    if !k.is_multiple_of(columns) {
        return Err(format!("K is read {columns} columns at a time, {k} is no multiple"));
    }
    // Tiles reach past the ends.
    let int =
        |size: usize| i32::try_from(size + 1024).map(|_| Arg::I32(size as i32)).map_err(|_| format!("{size} is more than an int counts"));
    Ok(vec![Arg::Operand(0), Arg::Operand(1), Arg::Operand(2), int(n)?, int(k)?])
}

fn portable(dims: &Dims, _: &DeviceInfo) -> Result<Vec<Step>, String> {
    let (b, n, _) = sizes(dims);
    let (args, defines) = (arguments(dims, 2)?, vec![("TOKENS", b as i64)]);
    Ok(vec![Step::Launch(Launch { text: PORTABLE, entry: "gemv_portable", defines, grid: [n as u32, 1, 1], block: 256, shared: 0, args })])
}

fn vector(dims: &Dims, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    const THREADS: usize = 256;
    if device.warp < 32 || device.api == Api::OpenCl {
        return Err("lanes of a warp exchange sums; OpenCL runs the portable variant".into());
    }
    let (b, n, k) = sizes(dims);
    let args = arguments(dims, 8)?;
    // Half of the shared memory, so that two blocks fit. In parts of equal length, each whole pieces of all lanes.
    let parts = (b * k * 2).div_ceil((device.shared / 2).max(16 << 10));
    let chunk = k.div_ceil(parts).next_multiple_of(8 * device.warp as usize);
    let shared = b * chunk * 2;
    // As many rows as sums fit into registers, as many blocks as registers fit into a multiprocessor.
    let (rows, blocks) = match b {
        1 => (4, 4),
        2..=3 => (4, 3),
        4..=8 => (4, 2),
        _ => (2, 2),
    };
    // Blocks that run at once go round equally often, so that none is left with a last round of its own.
    let at_once = device.units.max(1) as usize * (device.shared / shared).clamp(1, blocks);
    let work = n.div_ceil(rows * THREADS / device.warp as usize);
    let grid = [work.div_ceil(work.div_ceil(at_once)) as u32, 1, 1];
    let sizes = [("TOKENS", b), ("ROWS", rows), ("CHUNK", chunk), ("THREADS", THREADS), ("BLOCKS", blocks)];
    let defines = sizes.map(|(name, size)| (name, size as i64)).to_vec();
    Ok(vec![Step::Launch(Launch { text: VECTOR, entry: "gemv_vector", defines, grid, block: THREADS as u32, shared: shared as u32, args })])
}

fn mma(dims: &Dims, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    if device.api != Api::Cuda || device.compute < 80 {
        return Err(format!("mma.sync on bf16 needs sm_80 or later, not {}", device.arch));
    }
    let (b, n, k) = sizes(dims);
    let args = arguments(dims, 32)?;
    // Two fragments of W share what is fetched of x where x is as wide as they are.
    let tiles = if b > 8 { 2 } else { 1 };
    // As many warps on a block's rows as leave each eight turns of 64 columns: blocks are short then, and the last ones end together.
    let split = (k / 512).clamp(1, 16);
    let grid = [n.div_ceil(16 * tiles) as u32, 1, 1];
    let defines = vec![("TOKENS", b as i64), ("TILES", tiles as i64), ("SPLIT", split as i64)];
    Ok(vec![Step::Launch(Launch { text: MMA, entry: "gemv_mma", defines, grid, block: split as u32 * 32, shared: 0, args })])
}
