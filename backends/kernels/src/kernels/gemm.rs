//! Matrix product: C = A·Bᵀ, what prefill and large batches are made of.

use crate::device::{Api, DeviceInfo};
use crate::dims::{Dims, Dtype};
use crate::fill::Fill;
use crate::kernel::{Arg, Cost, How, Inputs, Kernel, Launch, Operand, Piece, Step, Tier, Variant};

const TEXT: &str = include_str!("../text/gemm.cu");
const MMA: &str = include_str!("../text/gemm_mma.cu");
const WGMMA: &str = include_str!("../text/gemm_wgmma.cu");
const MFMA: &str = include_str!("../text/gemm_mfma.cu");
/// Columns of one row of C that are checked together: short, so that what is sampled of a large C lies in many tiles.
const UNIT: usize = 64;

/// See the module.
#[derive(Debug)]
pub struct Gemm;

impl Kernel for Gemm {
    fn name(&self) -> &'static str {
        "gemm"
    }

    fn about(&self) -> &'static str {
        "C = A·Bᵀ with f32 sums: the ceiling of everything bound by arithmetic"
    }

    fn shapes(&self, tier: Tier, device: &DeviceInfo) -> Vec<Dims> {
        let dtype = if device.api == Api::Cpu { Dtype::F32 } else { Dtype::Bf16 };
        let of = |m, n, k| Dims::new(dtype, &[("M", m), ("N", n), ("K", k)]);
        let cubes = |sides: &[usize]| sides.iter().map(|side| of(*side, *side, *side)).collect::<Vec<_>>();
        // A processor, or OpenCL on one.
        let small = device.api == Api::Cpu || device.units < 16;
        match tier {
            Tier::Check => vec![of(1, 1, 8), of(33, 65, 40), of(130, 257, 136), of(70, 66, 520), of(256, 256, 256)],
            Tier::Quick if small => cubes(&[1024]),
            Tier::Full if small => cubes(&[512, 1024, 2048]),
            Tier::Quick => cubes(&[4096]),
            Tier::Full => {
                // Through the feed-forward matrices of a model of eight billion weights: a chunk of prefill, and a long one.
                let model = [of(512, 14336, 4096), of(2048, 14336, 4096), of(512, 4096, 14336), of(2048, 4096, 14336)];
                // From a batch that decodes, bound by the bytes of the weights, to one that is bound by arithmetic.
                let batches = [16, 64, 256, 1024].map(|m| of(m, 8192, 8192));
                [cubes(&[4096, 8192]).as_slice(), &model, &batches].concat()
            }
            Tier::Sweep => {
                let side = if small { 2048 } else { 8192 };
                (0..7).map(|power| 4_usize.pow(power)).chain([8192]).filter(|m| *m <= side).map(|m| of(m, side, side)).collect()
            }
        }
    }

    fn operands(&self, dims: &Dims) -> Vec<Operand> {
        let (m, n, k) = sizes(dims);
        let fill = Fill::Uniform { scale: 1.0 };
        vec![
            Operand::input("a", dims.dtype, m * k, fill.clone()),
            Operand::input("b", dims.dtype, n * k, fill),
            Operand::output("c", Dtype::F32, m * n),
        ]
    }

    fn cost(&self, dims: &Dims) -> Cost {
        let (m, n, k) = sizes(dims);
        Cost {
            matrix_flops: 2.0 * m as f64 * n as f64 * k as f64,
            read: ((m * k + n * k) * dims.dtype.bytes()) as f64,
            written: (m * n * Dtype::F32.bytes()) as f64,
            ..Cost::default()
        }
    }

    fn variants(&self) -> &'static [Variant] {
        &[
            Variant { name: "naive", about: "one thread of each element", how: How::Text(naive) },
            Variant {
                name: "tiled",
                about: "tiles in shared memory, 8x8 elements of a thread in registers, no matrix unit",
                how: How::Text(tiled),
            },
            Variant {
                name: "mma",
                about: "mma.sync, fed by ldmatrix and cp.async, several tiles in flight (sm_80 and later)",
                how: How::Text(mma),
            },
            Variant { name: "wgmma", about: "wgmma of four warps, which other warps copy ahead of (sm_90a only)", how: How::Text(wgmma) },
            Variant {
                name: "mfma",
                about: "AMD's matrix unit (gfx90a, gfx942); unverified: never run on the hardware",
                how: How::Text(mfma),
            },
            Variant { name: "vendor", about: "the vendor's library, found at run time", how: How::Text(vendor) },
            Variant {
                name: "native",
                about: "packed panels and vectors of the host's processor",
                how: How::Native(crate::native::gemm::native),
            },
        ]
    }

    fn units(&self, dims: &Dims) -> usize {
        let (m, n, _) = sizes(dims);
        m * n.div_ceil(UNIT)
    }

    fn reference(&self, dims: &Dims, inputs: &Inputs<'_>, unit: usize) -> Vec<Piece> {
        let (_, n, k) = sizes(dims);
        let (row, first) = (unit / n.div_ceil(UNIT), unit % n.div_ceil(UNIT) * UNIT);
        let a = inputs.row(0, row * k, k);
        let dot = |column: usize| a.iter().enumerate().map(|(at, a)| a * inputs.at(1, column * k + at)).sum();
        vec![Piece { operand: 2, from: row * n + first, values: (first..n.min(first + UNIT)).map(dot).collect() }]
    }

    /// Only the order and the rounding of sums differ: inputs are exact, and C is not rounded to bf16.
    fn tolerance(&self, dims: &Dims) -> f64 {
        if dims.dtype == Dtype::Bf16 { 1e-3 } else { 1e-5 }
    }
}

fn sizes(dims: &Dims) -> (usize, usize, usize) {
    (dims.get("M"), dims.get("N"), dims.get("K"))
}

/// Sizes as arguments, or why they are none: kernels count rows and columns in `int`.
fn arguments(dims: &Dims) -> Result<Vec<Arg>, String> {
    if dims.dtype != Dtype::Bf16 {
        return Err(format!("kernels of this family take bf16, not {}", dims.dtype.name()));
    }
    let (m, n, k) = sizes(dims);
    // Tiles reach past the ends.
    let int =
        |size: usize| i32::try_from(size + 1024).map(|_| Arg::I32(size as i32)).map_err(|_| format!("{size} is more than an int counts"));
    Ok(vec![Arg::Operand(0), Arg::Operand(1), Arg::Operand(2), int(m)?, int(n)?, int(k)?])
}

/// Rows must be whole pieces of sixteen bytes.
fn sixteen_bytes(dims: &Dims) -> Result<(), String> {
    if dims.get("K").is_multiple_of(8) { Ok(()) } else { Err("rows of sixteen bytes need K divisible by 8".into()) }
}

fn grid(blocks: usize) -> Result<[u32; 3], String> {
    let blocks = i32::try_from(blocks).map_err(|_| format!("{blocks} blocks are more than a grid has"))?;
    Ok([blocks as u32, 1, 1])
}

fn naive(dims: &Dims, _: &DeviceInfo) -> Result<Vec<Step>, String> {
    let (m, n, k) = sizes(dims);
    if m as f64 * n as f64 * k as f64 > 1e11 {
        return Err("one thread of each element takes seconds for a product of this size".into());
    }
    let (grid, args) = (grid((m * n).div_ceil(256))?, arguments(dims)?);
    Ok(vec![Step::Launch(Launch { text: TEXT, entry: "gemm_naive", defines: vec![], grid, block: 256, shared: 0, args })])
}

fn tiled(dims: &Dims, _: &DeviceInfo) -> Result<Vec<Step>, String> {
    let (m, n, _) = sizes(dims);
    let across = n.div_ceil(128);
    let mut args = arguments(dims)?;
    args.push(Arg::I32(across as i32));
    let grid = grid(m.div_ceil(128) * across)?;
    Ok(vec![Step::Launch(Launch { text: TEXT, entry: "gemm_tiled", defines: vec![], grid, block: 256, shared: 0, args })])
}

/// A tile of a block, that of a warp, and how well such tiles feed the matrix unit beside the largest.
struct Tile {
    block: [usize; 2],
    warp: [usize; 2],
    stages: usize,
    worth: f64,
}

/// From the largest. Worth is the rate of a large product with such tiles beside the best, as an H200 ran 4096³ and 8192³.
const TILES: [Tile; 3] = [
    Tile { block: [128, 256], warp: [64, 64], stages: 4, worth: 1.0 },
    Tile { block: [128, 128], warp: [64, 64], stages: 4, worth: 0.97 },
    Tile { block: [64, 64], warp: [32, 32], stages: 6, worth: 0.66 },
];

impl Tile {
    fn blocks(&self, m: usize, n: usize) -> [usize; 2] {
        [m.div_ceil(self.block[0]), n.div_ceil(self.block[1])]
    }

    /// Bytes of shared memory for one tile of A and of B, 64 deep.
    fn stage(&self) -> usize {
        (self.block[0] + self.block[1]) * 128
    }

    /// Tiles in flight that fit; fewer than two are no pipeline.
    fn fitting(&self, shared: usize) -> Option<usize> {
        Some(self.stages.min(shared / self.stage())).filter(|stages| *stages >= 3)
    }

    /// Time beside that of other tiles: rounds over the multiprocessors, times the work of a block.
    fn time(&self, m: usize, n: usize, units: usize) -> f64 {
        let [down, across] = self.blocks(m, n);
        (down * across).div_ceil(units.max(1)) as f64 * (self.block[0] * self.block[1]) as f64 / self.worth
    }
}

fn mma(dims: &Dims, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    if device.api != Api::Cuda || device.compute < 80 {
        return Err(format!("mma.sync on bf16 needs sm_80 or later, not {}", device.arch));
    }
    sixteen_bytes(dims)?;
    let (m, n, _) = sizes(dims);
    let fitting = TILES.iter().filter_map(|tile| Some((tile, tile.fitting(device.shared)?)));
    let time = |tile: &Tile| tile.time(m, n, device.units as usize);
    let (tile, stages) = fitting.min_by(|a, b| time(a.0).total_cmp(&time(b.0))).ok_or_else(|| {
        format!("three tiles in flight need {} bytes of shared memory, a block has {}", TILES[2].stage() * 3, device.shared)
    })?;
    let ([bm, bn], [wm, wn], [down, across]) = (tile.block, tile.warp, tile.blocks(m, n));
    let defines = vec![("BM", bm as i64), ("BN", bn as i64), ("WM", wm as i64), ("WN", wn as i64), ("STAGES", stages as i64)];
    let mut args = arguments(dims)?;
    args.extend([Arg::I32(down as i32), Arg::I32(across as i32)]);
    let (grid, block, shared) = (grid(down * across)?, (bm / wm * (bn / wn) * 32) as u32, (stages * tile.stage()) as u32);
    Ok(vec![Step::Launch(Launch { text: MMA, entry: "gemm_mma", defines, grid, block, shared, args })])
}

fn wgmma(dims: &Dims, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    if device.api != Api::Cuda || device.compute != 90 {
        return Err(format!("wgmma is an instruction of sm_90a alone, not of {}", device.arch));
    }
    sixteen_bytes(dims)?;
    let (m, n, _) = sizes(dims);
    // One kilobyte holds the barriers and what aligns the tiles.
    let stages =
        TILES[0].fitting(device.shared.saturating_sub(1024)).ok_or("a block has too little shared memory for three tiles in flight")?;
    let [down, across] = TILES[0].blocks(m, n);
    let mut args = arguments(dims)?;
    args.extend([Arg::I32(down as i32), Arg::I32(across as i32)]);
    // One block on each multiprocessor, for as many tiles as there are.
    let (grid, shared) = (grid((down * across).min(device.units.max(1) as usize))?, (stages * TILES[0].stage()) as u32);
    let defines = vec![("STAGES", stages as i64)];
    Ok(vec![Step::Launch(Launch { text: WGMMA, entry: "gemm_wgmma", defines, grid, block: 384, shared, args })])
}

fn mfma(dims: &Dims, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    let known = ["gfx90a", "gfx940", "gfx941", "gfx942"];
    if device.api != Api::Hip || !known.iter().any(|arch| device.arch.starts_with(arch)) {
        return Err(format!("bf16 MFMA of this form is for gfx90a and gfx942, not {}", device.arch));
    }
    sixteen_bytes(dims)?;
    let (m, n, _) = sizes(dims);
    let across = n.div_ceil(128);
    let mut args = arguments(dims)?;
    args.push(Arg::I32(across as i32));
    let grid = grid(m.div_ceil(128) * across)?;
    Ok(vec![Step::Launch(Launch { text: MFMA, entry: "gemm_mfma", defines: vec![], grid, block: 256, shared: 0, args })])
}

fn vendor(dims: &Dims, _: &DeviceInfo) -> Result<Vec<Step>, String> {
    let (m, n, k) = sizes(dims);
    Ok(vec![Step::VendorGemm { m, n, k, operands: [0, 1, 2] }])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(compute: u32, units: u32, shared: usize) -> DeviceInfo {
        DeviceInfo { api: Api::Cuda, arch: format!("sm_{compute}"), compute, units, warp: 32, shared, ..crate::device::cpu::info(1) }
    }

    fn only(steps: Result<Vec<Step>, String>) -> Launch {
        match steps.unwrap().remove(0) {
            Step::Launch(launch) => launch,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn tiles_are_large_for_large_products_small_for_few_rows_and_fit_into_shared_memory() {
        let of = |m| Dims::new(Dtype::Bf16, &[("M", m), ("N", 8192), ("K", 8192)]);
        for (device, m, block, stages) in [
            (gpu(90, 132, 232_448), 8192, 128, 4),
            (gpu(90, 132, 232_448), 16, 64, 6),
            (gpu(80, 108, 166_912), 8192, 128, 3),
            (gpu(86, 84, 101_376), 8192, 128, 3),
        ] {
            let launch = only(mma(&of(m), &device));
            let define = |name| launch.defines.iter().find(|(known, _)| *known == name).unwrap().1;
            assert_eq!((define("BM"), define("STAGES")), (block, stages), "{} M={m}", device.arch);
            assert!(launch.shared as usize <= device.shared);
            let [down, across] = [m.div_ceil(define("BM") as usize), 8192 / define("BN") as usize];
            assert_eq!(launch.grid, [(down * across) as u32, 1, 1]);
        }
        let launch = only(wgmma(&of(8192), &gpu(90, 132, 232_448)));
        assert_eq!((launch.grid[0], launch.block, launch.defines[0]), (132, 384, ("STAGES", 4)));
    }

    #[test]
    fn what_does_not_fit_says_why() {
        let of = |m, k| Dims::new(Dtype::Bf16, &[("M", m), ("N", 8), ("K", k)]);
        let h200 = gpu(90, 132, 232_448);
        for (steps, why) in [
            (mma(&of(8, 12), &h200), "K divisible by 8"),
            (mma(&of(8, 8), &gpu(75, 40, 65_536)), "sm_80"),
            (wgmma(&of(8, 8), &gpu(100, 148, 232_448)), "sm_90a"),
            (mfma(&of(8, 8), &h200), "gfx90a"),
            (mma(&of(1 << 31, 8), &h200), "int"),
            (mma(&of(8, 8), &gpu(80, 108, 40_000)), "shared memory"),
        ] {
            let said = steps.unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
