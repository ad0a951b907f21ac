//! The matrix product in single precision: packed panels, blocked for the caches, sums in registers.
//!
//! The order of loops is that of BLIS (F. Van Zee, R. van de Geijn, 2015): a panel of B stays in the first cache, a block of A in the
//! second, a stretch of B in the last. Both operands have k last, so both are turned while they are packed.

use super::simd::{Isa, Simd, Work};
use super::skinny;
use super::tile::{Strides, pack, tile};
use crate::dims::Dims;
use crate::host::Host;
use rayon::ThreadPool;
use rayon::prelude::*;
use std::ops::Range;

/// Steps of k of a panel.
const DEPTH: usize = 256;
/// Rows of A of a task: few enough that threads end together, and enough for the second cache to hide the last.
const TALL: usize = 48;
/// Rows of A from which on rows are shared out, not columns.
const MANY: usize = 4 * TALL;
/// Columns of C that are gone through for one packed B.
const WIDE: usize = 4096;
/// Rows of A up to which packing costs more than it brings.
const SKINNY: usize = 8;
/// Columns of a task where there are too few rows to share out.
const COLUMNS: usize = 256;

/// `gemm`: a\[M,K\], b\[N,K\], c\[M,N\], all in single precision.
pub fn native(dims: &Dims, operands: &mut [Host], pool: &ThreadPool) {
    run(Isa::detect(), dims, operands, pool);
}

fn run(isa: Isa, dims: &Dims, operands: &mut [Host], pool: &ThreadPool) {
    let [a, b, c] = operands else { unreachable!("three operands") };
    let (m, n, k) = (dims.get("M"), dims.get("N"), dims.get("K"));
    let (a, b, c) = (a.f32(), b.f32(), c.f32_mut());
    let product = Product { a, b, n, k };
    if m <= SKINNY {
        skinny::product(isa, k, a, b, c, pool);
    } else if m < MANY {
        pool.install(|| product.by_columns(isa, c));
    } else {
        pool.install(|| product.by_rows(isa, c));
    }
}

#[derive(Clone, Copy)]
struct Product<'a> {
    a: &'a [f32],
    b: &'a [f32],
    n: usize,
    k: usize,
}

impl Product<'_> {
    /// Threads share out the rows of C; B is packed once for all.
    fn by_rows(self, isa: Isa, c: &mut [f32]) {
        let n = self.n;
        for first in (0..n).step_by(WIDE) {
            let columns = first..n.min(first + WIDE);
            for from in (0..self.k).step_by(DEPTH) {
                let depth = from..self.k.min(from + DEPTH);
                let b = isa.run(PackB { product: self, columns: columns.clone(), depth: depth.clone() });
                c.par_chunks_mut(TALL * n).enumerate().for_each(|(task, c)| {
                    let rows = task * TALL..task * TALL + c.len() / n;
                    isa.run(Block { product: self, rows, columns: columns.clone(), depth: depth.clone(), b: &b, c, stride: n });
                });
            }
        }
    }

    /// Threads share out the columns of C, which lie in strips: each has room of its own first.
    fn by_columns(self, isa: Isa, c: &mut [f32]) {
        let (n, m) = (self.n, c.len() / self.n);
        let strips: Vec<Vec<f32>> = (0..n.div_ceil(COLUMNS))
            .into_par_iter()
            .map(|task| {
                let columns = task * COLUMNS..n.min((task + 1) * COLUMNS);
                let mut strip = vec![0.0; m * columns.len()];
                for from in (0..self.k).step_by(DEPTH) {
                    let depth = from..self.k.min(from + DEPTH);
                    let b = isa.run(PackB { product: self, columns: columns.clone(), depth: depth.clone() });
                    let c = &mut strip;
                    isa.run(Block { product: self, rows: 0..m, columns: 0..columns.len(), depth, b: &b, c, stride: columns.len() });
                }
                strip
            })
            .collect();
        c.par_chunks_mut(n).enumerate().for_each(|(row, c)| {
            for (c, strip) in c.chunks_mut(COLUMNS).zip(&strips) {
                c.copy_from_slice(&strip[row * c.len()..][..c.len()]);
            }
        });
    }
}

#[allow(clippy::struct_field_names, reason = "what it packs is what it is called")]
/// Packs a stretch of B: panels of as many rows of B as two vectors hold.
struct PackB<'a> {
    product: Product<'a>,
    columns: Range<usize>,
    depth: Range<usize>,
}

impl Work for PackB<'_> {
    type Out = Vec<f32>;

    #[inline(always)]
    fn run<S: Simd>(self) -> Vec<f32> {
        let (width, depth) = (2 * S::LANES, self.depth.len());
        let mut packed = vec![0.0; self.columns.len().next_multiple_of(width) * depth];
        packed.par_chunks_mut(width * depth).enumerate().for_each(|(panel, to)| {
            let first = self.columns.start + panel * width;
            let row = |r| (first + r < self.columns.end).then(|| &self.product.b[(first + r) * self.product.k..][self.depth.clone()]);
            // Nothing here computes, so the caller's features are not missed in this thread.
            pack(width, row, depth, to);
        });
        packed
    }
}

/// Some rows of C, some columns, some of the sum.
struct Block<'a> {
    product: Product<'a>,
    rows: Range<usize>,
    /// Where they lie in `c`.
    columns: Range<usize>,
    depth: Range<usize>,
    b: &'a [f32],
    c: &'a mut [f32],
    stride: usize,
}

impl Work for Block<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        match S::ROWS {
            12 => self.tiles::<S, 12>(),
            _ => self.tiles::<S, 6>(),
        }
    }
}

impl Block<'_> {
    #[inline(always)]
    fn tiles<S: Simd, const R: usize>(self) {
        let (depth, width, k) = (self.depth.len(), 2 * S::LANES, self.product.k);
        let mut a = vec![0.0; self.rows.len().next_multiple_of(R) * depth];
        for (panel, to) in a.chunks_exact_mut(R * depth).enumerate() {
            let first = self.rows.start + panel * R;
            let row = |r| (first + r < self.rows.end).then(|| &self.product.a[(first + r) * k..][self.depth.clone()]);
            pack(R, row, depth, to);
        }
        let begin = self.depth.start == 0;
        for (panel, b) in self.b.chunks_exact(width * depth).enumerate() {
            let column = self.columns.start + panel * width;
            let across = width.min(self.columns.end - column);
            for (group, a) in a.chunks_exact(R * depth).enumerate() {
                let down = R.min(self.rows.len() - group * R);
                if !begin {
                    // What is added to has long left the caches: it comes while the tile is computed.
                    for r in 0..down {
                        S::prefetch(&self.c[(group * R + r) * self.stride + column..]);
                    }
                }
                let sums = tile::<S, R>(depth, a, Strides { row: 1, step: R }, b, width);
                for (r, sums) in sums.iter().enumerate().take(down) {
                    let c = &mut self.c[(group * R + r) * self.stride + column..][..across];
                    if across == width {
                        let (low, high) = c.split_at_mut(S::LANES);
                        for (c, sum) in [(low, sums[0]), (high, sums[1])] {
                            S::store(if begin { sum } else { S::add(S::load(c), sum) }, c);
                        }
                    } else {
                        let mut whole = [0.0; 2 * super::simd::MOST];
                        S::store(sums[0], &mut whole);
                        S::store(sums[1], &mut whole[S::LANES..]);
                        c.iter_mut().zip(whole).for_each(|(c, sum)| *c = if begin { sum } else { *c + sum });
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dims::Dtype;
    use crate::native::testing::*;

    #[test]
    fn agrees_with_sums_in_f64() {
        everywhere(|isa, pool| {
            let shapes = [(1, 1, 1), (3, 17, 40), (9, 5, 3), (33, 65, 300), (70, 513, 7), (192, 16, 256), (211, 33, 13), (400, 270, 517)];
            for (m, n, k) in shapes {
                let dims = Dims::new(Dtype::F32, &[("M", m), ("N", n), ("K", k)]);
                let mut operands = [singles(m * k, 1), singles(n * k, 2), poison(Dtype::F32, m * n)];
                run(isa, &dims, &mut operands, pool);
                let (a, b) = (numbers(&operands[0]), numbers(&operands[1]));
                let dot = |i: usize| a[i / n * k..][..k].iter().zip(&b[i % n * k..][..k]).map(|(a, b)| a * b).sum();
                let right: Vec<f64> = (0..m * n).map(dot).collect();
                close(&format!("{isa:?} {dims}"), &numbers(&operands[2]), &right, 1e-6);
            }
        });
    }
}
