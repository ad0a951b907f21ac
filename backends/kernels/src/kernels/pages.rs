//! Gather and scatter of pages: a cache in pages, packed to be sent elsewhere or spread over a pool when it comes.

use super::memory::{blocks, quads};
use crate::device::{Api, DeviceInfo};
use crate::dims::{Dims, Dtype};
use crate::fill::{Fill, mix};
use crate::kernel::{Arg, Cost, How, Inputs, Kernel, Launch, Operand, Piece, Step, Tier, Variant};

const TEXT: &str = include_str!("../text/pages.cu");
/// Threads of a block.
const BLOCK: usize = 256;
/// Sixteens that a thread has under way.
const PER: usize = 4;

/// Numbers from zero in an order without order, the same one every time: where pages lie that were handed out as they came free.
pub fn permutation(count: usize) -> Vec<i32> {
    let mut order: Vec<i32> = (0..count as i32).collect();
    for last in (1..count).rev() {
        let other = (u64::from(mix(last as u64, 11)) * (last as u64 + 1)) >> 32;
        order.swap(last, other as usize);
    }
    order
}

/// PAGES pages of ROW bytes (a multiple of 16).
fn shapes(tier: Tier, device: &DeviceInfo) -> Vec<Dims> {
    let of = |pages: usize, row: usize| Dims::new(Dtype::F32, &[("PAGES", pages), ("ROW", row)]);
    let total = if device.api == Api::Cpu { (device.cache * 3).max(64 << 20) } else { (device.cache * 16).clamp(64 << 20, 2 << 30) };
    match tier {
        Tier::Check => vec![of(1, 16), of(7, 48), of(5, 4112), of(33, 1152)],
        Tier::Quick => vec![of(total >> 16, 1 << 16)],
        // A token of MLA, a page of 16 tokens of 8 heads × 128, and two larger.
        Tier::Full => [1152, 16 << 10, 64 << 10, 1 << 20].into_iter().map(|row| of(total / row, row)).collect(),
        Tier::Sweep => vec![],
    }
}

fn operands(dims: &Dims, gather: bool) -> Vec<Operand> {
    let (pages, words) = (dims.get("PAGES"), dims.get("ROW") / 4);
    let side = |name, read| {
        if read {
            Operand::input(name, dims.dtype, pages * words, Fill::Uniform { scale: 1.0 })
        } else {
            Operand::output(name, dims.dtype, pages * words)
        }
    };
    vec![side("pool", gather), Operand::ints("table", permutation(pages)), side("packed", !gather)]
}

fn cost(dims: &Dims) -> Cost {
    let bytes = (dims.get("PAGES") * dims.get("ROW")) as f64;
    Cost { read: bytes + 4.0 * dims.get("PAGES") as f64, written: bytes, ..Cost::default() }
}

/// A unit is a page of the packed side: where it is from, or where it goes.
fn reference(dims: &Dims, inputs: &Inputs<'_>, unit: usize, gather: bool) -> Vec<Piece> {
    let words = dims.get("ROW") / 4;
    let (packed, pool) = (unit * words, inputs.ints(1)[unit] as usize * words);
    vec![if gather {
        Piece { operand: 2, from: packed, values: inputs.row(0, pool, words) }
    } else {
        Piece { operand: 0, from: pool, values: inputs.row(2, packed, words) }
    }]
}

fn launch(entry: &'static str, items: usize, long: usize, grid: [u32; 3]) -> Vec<Step> {
    let args = (0..3).map(Arg::Operand).chain([Arg::I32(items as i32)]).collect();
    let defines = vec![("LONG", long as i64), ("PER", PER as i64)];
    vec![Step::Launch(Launch { text: TEXT, entry, defines, grid, block: BLOCK as u32, shared: 0, args })]
}

fn scalar(entry: &'static str, dims: &Dims, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    let words = dims.get("ROW") / 4;
    Ok(launch(entry, dims.get("PAGES") * words, words, blocks(dims.get("PAGES") * words, device)))
}

fn tile(entry: &'static str, dims: &Dims, device: &DeviceInfo) -> Result<Vec<Step>, String> {
    let row = quads(dims.get("ROW") / 4, device)?;
    let all = dims.get("PAGES") * row;
    Ok(launch(entry, all, row, [all.div_ceil(BLOCK * PER) as u32, 1, 1]))
}

/// packed[i] = pool[table[i]].
#[derive(Debug)]
pub struct Gather;

/// pool[table[i]] = packed[i].
#[derive(Debug)]
pub struct Scatter;

macro_rules! family {
    ($type:ident, $name:literal, $about:literal, $gather:literal, $scalar:literal, $tile:literal, $native:expr) => {
        impl Kernel for $type {
            fn name(&self) -> &'static str {
                $name
            }

            fn about(&self) -> &'static str {
                $about
            }

            fn shapes(&self, tier: Tier, device: &DeviceInfo) -> Vec<Dims> {
                shapes(tier, device)
            }

            fn operands(&self, dims: &Dims) -> Vec<Operand> {
                operands(dims, $gather)
            }

            fn cost(&self, dims: &Dims) -> Cost {
                cost(dims)
            }

            fn variants(&self) -> &'static [Variant] {
                &[
                    Variant {
                        name: "scalar",
                        about: "four bytes of each thread at a time",
                        how: How::Text(|dims, device| scalar($scalar, dims, device)),
                    },
                    Variant {
                        name: "tile",
                        about: "sixteen bytes of each thread, four under way, a block per stretch",
                        how: How::Text(|dims, device| tile($tile, dims, device)),
                    },
                    Variant { name: "native", about: "stores past the caches, pages spread over threads", how: How::Native($native) },
                ]
            }

            fn units(&self, dims: &Dims) -> usize {
                dims.get("PAGES")
            }

            fn reference(&self, dims: &Dims, inputs: &Inputs<'_>, unit: usize) -> Vec<Piece> {
                reference(dims, inputs, unit, $gather)
            }

            /// Bytes are moved, not computed with.
            fn tolerance(&self, _: &Dims) -> f64 {
                0.0
            }
        }
    };
}

family!(
    Gather,
    "page-gather",
    "scattered pages of a pool, packed: a cache on its way out",
    true,
    "gather_scalar",
    "gather_tile",
    crate::native::pages::gather
);
family!(
    Scatter,
    "page-scatter",
    "packed pages, spread over a pool: a cache on its way in",
    false,
    "scatter_scalar",
    "scatter_tile",
    crate::native::pages::scatter
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permutation_has_every_number_once_and_no_order() {
        let order = permutation(1000);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<_>>());
        let neighbours = order.windows(2).filter(|pair| pair[1] == pair[0] + 1).count();
        assert!(neighbours < 10, "{neighbours} of 999 pairs in order");
        assert_eq!(permutation(0), [0; 0]);
    }
}
