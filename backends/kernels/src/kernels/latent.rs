//! Attention over latent rows that all heads share, for the families that differ in which rows a sequence sees.

use super::split;
use crate::device::{Api, DeviceInfo};
use crate::dims::Dims;
use crate::kernel::{Arg, Launch, Step};

/// DeepSeek's sizes of a latent row: what all heads share of keys and values, and what of keys carries positions.
pub const SIZES: [(&str, usize); 2] = [("R", 512), ("ROPE", 64)];
/// A head's own queries and keys had 128 elements beside the positions before they were absorbed.
const SCALE: f64 = 192.0;

/// What the scores are multiplied by.
pub fn scale() -> f64 {
    1.0 / SCALE.sqrt()
}

/// Elements of a row.
pub fn row(dims: &Dims) -> usize {
    dims.get("R") + dims.get("ROPE")
}

/// Splits that there is room for, where a sequence sees `longest` rows.
pub fn most(dims: &Dims, longest: usize) -> usize {
    split::most(dims.get("B") * dims.get("H").div_ceil(16), longest)
}

/// What a sequence sees, and which operands say so.
pub struct Rows {
    /// Operands before the parts: queries, cache, and what names the rows.
    pub inputs: usize,
    /// Entries of the table, or of the list, of a sequence.
    pub across: usize,
    /// Rows of the longest sequence.
    pub longest: usize,
}

/// How the kernel with a matrix unit is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Form {
    /// Heads of a block.
    rows: usize,
    /// Rows of the cache at a time.
    tile: usize,
    warps: usize,
    /// Tiles in flight at most, two at least.
    stages: usize,
    /// Whether queries stay in registers.
    kept: bool,
    /// Blocks that the registers of a multiprocessor have room for.
    at_once: usize,
}

/// For many heads first: the more heads of a block, the more products for each byte from memory or the last cache.
const FORMS: [Form; 4] = [
    Form { rows: 64, tile: 64, warps: 8, stages: 2, kept: false, at_once: 1 },
    Form { rows: 32, tile: 32, warps: 8, stages: 4, kept: false, at_once: 1 },
    Form { rows: 16, tile: 64, warps: 8, stages: 3, kept: true, at_once: 1 },
    Form { rows: 16, tile: 32, warps: 4, stages: 2, kept: false, at_once: 2 },
];
/// Shared memory for maxima, sums and what does not count, at most.
const BESIDES: usize = 2048;

impl Form {
    /// Bytes of shared memory with so many tiles in flight of rows of `row` elements.
    fn bytes(&self, row: usize, stages: usize) -> usize {
        let queries = if self.kept { 0 } else { self.rows * row * 2 };
        queries + stages * self.tile * row * 2 + self.rows * self.tile * 2
    }

    /// Tiles in flight that fit into `shared` bytes; fewer than two are no pipeline.
    fn fitting(&self, row: usize, shared: usize) -> Option<usize> {
        (2..=self.stages).rev().find(|stages| self.bytes(row, *stages) + BESIDES <= shared)
    }
}

/// The largest form that is not larger than the heads and fits.
fn form(heads: usize, row: usize, shared: usize) -> Option<(Form, usize)> {
    let enough = heads.next_multiple_of(16).next_power_of_two();
    FORMS.iter().filter(|form| form.rows <= enough).find_map(|form| Some((*form, form.fitting(row, shared)?)))
}

/// The two steps of a variant.
fn steps(dims: &Dims, rows: &Rows, launch: Launch, blocks: usize, splits: usize) -> Vec<Step> {
    let [b, heads, rank, rope] = ["B", "H", "R", "ROPE"].map(|name| dims.get(name));
    let mut defines = launch.defines;
    defines.extend([("HEADS", heads as i64), ("RANK", rank as i64), ("ROPE", rope as i64)]);
    defines.extend(dims.find("PAGE").map(|page| ("PAGE", page as i64)));
    let numbers = [rows.across, splits].map(|number| Arg::I32(number as i32));
    let factor = Arg::F32(split::LOG2_E * scale() as f32);
    let args = (0..rows.inputs + 2).map(Arg::Operand).chain(numbers).chain([factor]).collect();
    let grid = [blocks as u32, splits as u32, b as u32];
    let combined = [rows.inputs, rows.inputs + 1, rows.inputs + 2];
    vec![Step::Launch(Launch { defines, grid, args, ..launch }), split::combine(combined, b * heads, rank, splits)]
}

/// Without a matrix unit.
pub fn portable(dims: &Dims, device: &DeviceInfo, rows: &Rows) -> Result<Vec<Step>, String> {
    let [b, heads, rank, rope] = ["B", "H", "R", "ROPE"].map(|name| dims.get(name));
    if !rank.is_multiple_of(2) || !rope.is_multiple_of(2) || rank + rope > 576 {
        return Err("needs R and ROPE even, and at most 576 together".into());
    }
    let group = [8, 4, 2, 1].into_iter().find(|group| heads.is_multiple_of(*group)).unwrap_or(1);
    let blocks = heads / group;
    let shared = (16 * (rank + rope + 2) + group * (rank + rope + 34)) * 2;
    let splits = split::splits(b * blocks, rows.longest, split::at_once(device, shared, 6), most(dims, rows.longest));
    let launch = Launch {
        text: include_str!("../text/latent.cu"),
        entry: "latent_portable",
        defines: vec![("GROUP", group as i64)],
        grid: [1; 3],
        block: 128,
        shared: 0,
        args: vec![],
    };
    Ok(steps(dims, rows, launch, blocks, splits))
}

/// By NVIDIA's tensor cores.
pub fn mma(dims: &Dims, device: &DeviceInfo, rows: &Rows) -> Result<Vec<Step>, String> {
    let [b, heads, rank, rope] = ["B", "H", "R", "ROPE"].map(|name| dims.get(name));
    if device.api != Api::Cuda || device.compute < 80 {
        return Err(format!("mma.sync on bf16 needs sm_80 or later, not {}", device.arch));
    }
    if rank != 512 || rope != 64 {
        return Err(format!("is made for rows of 512 + 64 elements, not of {rank} + {rope}"));
    }
    let row = rank + rope;
    let (form, stages) = form(heads, row, device.shared).ok_or_else(|| {
        format!("two tiles in flight need {} bytes of shared memory, a block has {}", FORMS[3].bytes(row, 2) + BESIDES, device.shared)
    })?;
    let bytes = form.bytes(row, stages);
    let blocks = heads.div_ceil(form.rows);
    let at_once = split::at_once(device, bytes + BESIDES, form.at_once);
    let splits = split::splits(b * blocks, rows.longest, at_once, most(dims, rows.longest));
    let defines = [("ROWS", form.rows), ("TILE", form.tile), ("WARPS", form.warps), ("STAGES", stages), ("KEPT", usize::from(form.kept))];
    let launch = Launch {
        text: include_str!("../text/latent_mma.cu"),
        entry: "latent_mma",
        defines: defines.map(|(name, value)| (name, value as i64)).to_vec(),
        grid: [1; 3],
        block: (form.warps * 32) as u32,
        shared: bytes as u32,
        args: vec![],
    };
    Ok(steps(dims, rows, launch, blocks, splits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_follow_heads_and_shared_memory() {
        for (heads, shared, rows, stages) in [
            (128, 232_448, 64, 2),
            (64, 232_448, 64, 2),
            (32, 232_448, 32, 4),
            (16, 232_448, 16, 3),
            (4, 232_448, 16, 3),
            (128, 166_912, 32, 3),
            (16, 166_912, 16, 2),
            (128, 101_376, 16, 2),
        ] {
            let (form, fitting) = form(heads, 576, shared).unwrap();
            assert_eq!((form.rows, fitting), (rows, stages), "{heads} heads, {shared} bytes");
        }
        assert_eq!(form(16, 576, 65_536), None);
    }
}
