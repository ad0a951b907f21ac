//! The matrix product: weights in panels of sixteen rows, a few tokens at a time.
//!
//! y\[t\]\[n\] = Σ w\[n\]\[k\] · x\[t\]\[k\], each element one chain of multiply-adds over k from first to last. Tiles only decide
//! which elements are computed side by side. Weights are read once per call and panel, tokens are the inner loop: a batch
//! costs little more than one token while the weights do not fit the first cache.

use super::lanes::{LANES, Lanes};
use super::{Arith, Work};
use std::ops::Range;

/// Weights of a linear map, packed for the product: panel by panel, in each the sixteen rows of one input side by side.
#[derive(Clone, PartialEq, Debug)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    panels: Vec<Lanes>,
}

impl Matrix {
    /// Packs `rows` × `columns` weights, given row by row. `rows` is a multiple of [`LANES`], and neither is zero.
    pub fn pack(rows: usize, columns: usize, weights: &[f32]) -> Self {
        assert_eq!(weights.len(), rows * columns, "one weight for each row and column");
        assert!(rows > 0 && rows.is_multiple_of(LANES) && columns > 0, "{rows} rows are whole panels");
        let mut panels = vec![Lanes::ZERO; rows / LANES * columns];
        for (row, values) in weights.chunks_exact(columns).enumerate() {
            let panel = &mut panels[row / LANES * columns..][..columns];
            for (lanes, value) in panel.iter_mut().zip(values) {
                lanes.0[row % LANES] = *value;
            }
        }
        Self { rows, columns, panels }
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Panels of [`LANES`] rows.
    pub fn panels(&self) -> usize {
        self.rows / LANES
    }

    /// One weight, for references and tests.
    pub fn get(&self, row: usize, column: usize) -> f32 {
        self.panels[row / LANES * self.columns + column].0[row % LANES]
    }

    #[inline(always)]
    fn panel(&self, panel: usize) -> &[Lanes] {
        &self.panels[panel * self.columns..(panel + 1) * self.columns]
    }
}

/// The product of some panels of a matrix with a batch of tokens.
pub struct Gemm<'a> {
    /// The weights.
    pub matrix: &'a Matrix,
    /// Which panels; `y` holds the rows of these only.
    pub panels: Range<usize>,
    /// Inputs, token by token, `matrix.columns()` each.
    pub x: &'a [f32],
    /// Outputs: token t writes `panels.len() · LANES` numbers from `y[t · stride]`.
    pub y: &'a mut [f32],
    /// Distance between the outputs of two tokens, at least what one writes.
    pub stride: usize,
}

impl Work for Gemm<'_> {
    #[inline(always)]
    fn run<A: Arith>(mut self) {
        let tokens = self.x.len() / self.matrix.columns;
        assert_eq!(self.x.len(), tokens * self.matrix.columns, "whole tokens go in");
        assert!(self.panels.len() * LANES <= self.stride && self.y.len() == tokens * self.stride, "whole tokens come out");
        let [one, few, many] = A::TILE_PANELS;
        let width = match tokens {
            0 => return,
            1 => one,
            2 | 3 => few,
            _ => many,
        };
        let whole = self.panels.len() / width * width;
        match width {
            8 => self.sweep::<A, 8>(0..whole),
            4 => self.sweep::<A, 4>(0..whole),
            2 => self.sweep::<A, 2>(0..whole),
            _ => self.sweep::<A, 1>(0..whole),
        }
        self.sweep::<A, 1>(whole..self.panels.len());
    }
}

impl Gemm<'_> {
    /// All tokens against `panels` (counted from the first of this product), `P` at a time.
    #[inline(always)]
    fn sweep<A: Arith, const P: usize>(&mut self, panels: Range<usize>) {
        let columns = self.matrix.columns;
        let tokens = self.x.len() / columns;
        for first in panels.step_by(P) {
            let mut token = 0;
            while token < tokens {
                let take = (tokens - token).min(A::TILE_TOKENS);
                match take {
                    8 => self.tile::<A, 8, P>(token, first),
                    7 => self.tile::<A, 7, P>(token, first),
                    6 => self.tile::<A, 6, P>(token, first),
                    5 => self.tile::<A, 5, P>(token, first),
                    4 => self.tile::<A, 4, P>(token, first),
                    3 => self.tile::<A, 3, P>(token, first),
                    2 => self.tile::<A, 2, P>(token, first),
                    _ => self.tile::<A, 1, P>(token, first),
                }
                token += take;
            }
        }
    }

    /// `T` tokens against `P` panels: the sums stay in registers from the first input to the last.
    #[inline(always)]
    fn tile<A: Arith, const T: usize, const P: usize>(&mut self, token: usize, first: usize) {
        let columns = self.matrix.columns;
        let w: [&[Lanes]; P] = std::array::from_fn(|p| &self.matrix.panel(self.panels.start + first + p)[..columns]);
        let x: [&[f32]; T] = std::array::from_fn(|t| &self.x[(token + t) * columns..][..columns]);
        let mut sums = [[Lanes::ZERO; P]; T];
        for k in 0..columns {
            for t in 0..T {
                let input = Lanes::splat(x[t][k]);
                for p in 0..P {
                    sums[t][p] = w[p][k].fma::<A>(input, sums[t][p]);
                }
            }
        }
        for (t, row) in sums.iter().enumerate() {
            for (p, sum) in row.iter().enumerate() {
                sum.store(&mut self.y[(token + t) * self.stride + (first + p) * LANES..]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Kernel;
    use super::*;
    use nomoat_core::rng::Stream;

    fn numbers(name: &str, count: usize) -> Vec<f32> {
        let mut stream = Stream::new(5, name);
        (0..count).map(|_| (stream.uniform() * 2.0 - 1.0) as f32).collect()
    }

    fn product(kernel: Kernel, matrix: &Matrix, x: &[f32]) -> Vec<f32> {
        let mut y = vec![f32::NAN; x.len() / matrix.columns() * matrix.rows()];
        kernel.run(Gemm { matrix, panels: 0..matrix.panels(), x, y: &mut y, stride: matrix.rows() });
        y
    }

    #[test]
    fn packing_keeps_every_weight() {
        let weights = numbers("w", 48 * 7);
        let matrix = Matrix::pack(48, 7, &weights);
        for row in 0..48 {
            for column in 0..7 {
                assert_eq!(matrix.get(row, column), weights[row * 7 + column]);
            }
        }
    }

    /// Every variant against the sum in f64, and every batch size and share of the panels against one token alone, bit for bit.
    #[test]
    fn right_and_batch_invariant() {
        for (rows, columns) in [(16, 1), (48, 33), (144, 32), (176, 64)] {
            let matrix = Matrix::pack(rows, columns, &numbers("w", rows * columns));
            let x = numbers("x", 19 * columns);
            for kernel in Kernel::available() {
                let alone: Vec<f32> = x.chunks(columns).flat_map(|token| product(kernel, &matrix, token)).collect();
                for (at, got) in alone.iter().enumerate() {
                    let (token, row) = (at / rows, at % rows);
                    let terms = (0..columns).map(|k| f64::from(matrix.get(row, k)) * f64::from(x[token * columns + k]));
                    let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
                    assert!((f64::from(*got) - sum).abs() <= 1e-6 * size, "{} {rows}×{columns}: {got} is not {sum}", kernel.name());
                }
                for tokens in 1..=19 {
                    let together = product(kernel, &matrix, &x[..tokens * columns]);
                    assert_eq!(together, alone[..tokens * rows], "{} {rows}×{columns}, {tokens} tokens", kernel.name());
                }
                for split in 0..=matrix.panels() {
                    for panels in [0..split, split..matrix.panels()] {
                        let (from, to) = (panels.start * LANES, panels.end * LANES);
                        let stride = to - from + 3;
                        let mut part = vec![7.0; 19 * stride];
                        kernel.run(Gemm { matrix: &matrix, panels: panels.clone(), x: &x, y: &mut part, stride });
                        let want: Vec<f32> = alone.chunks(rows).flat_map(|y| [&y[from..to], &[7.0; 3]].concat()).collect();
                        assert_eq!(part, want, "{} panels {panels:?}", kernel.name());
                    }
                }
            }
        }
    }

    #[test]
    fn variants_with_fused_arithmetic_agree_bit_for_bit() {
        let matrix = Matrix::pack(80, 96, &numbers("w", 80 * 96));
        let x = numbers("x", 5 * 96);
        let fused: Vec<_> = Kernel::available().into_iter().filter(|kernel| kernel.fused()).map(|k| product(k, &matrix, &x)).collect();
        assert!(fused.windows(2).all(|pair| pair[0] == pair[1]));
    }
}
