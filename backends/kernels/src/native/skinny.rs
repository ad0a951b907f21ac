//! Few rows of x times many rows of W: sums of products along contiguous rows, W read once.

use super::simd::{Isa, Simd, Work};
use rayon::ThreadPool;
use rayon::prelude::*;

/// Columns that are gone through for all rows of a task before the next ones: so much of sixteen rows of x stays in the second cache,
/// and a row of W is read by the page.
const BLOCK: usize = 2048;
/// Bytes of W of one task.
const TASK: usize = 512 << 10;

/// How an element of W is stored.
pub(super) trait Element: Copy + Sync {
    /// The first elements of a slice as singles; zeros follow where it ends early.
    fn widen<S: Simd>(from: &[Self]) -> S::V;
}

impl Element for u16 {
    #[inline(always)]
    fn widen<S: Simd>(from: &[u16]) -> S::V {
        S::widen_part(from)
    }
}

impl Element for f32 {
    #[inline(always)]
    fn widen<S: Simd>(from: &[f32]) -> S::V {
        S::load_part(from)
    }
}

/// y\[b\]\[n\] = Σ x\[b\]\[k\] · w\[n\]\[k\] with rows of `columns` elements.
pub(super) fn product<E: Element>(isa: Isa, columns: usize, x: &[f32], w: &[E], y: &mut [f32], pool: &ThreadPool) {
    let (batch, rows) = (x.len() / columns, w.len() / columns);
    let task = (TASK / (columns * size_of::<E>())).clamp(8, 256);
    let tasks = |transposed: &mut [f32]| {
        let rows = transposed.par_chunks_mut(task * batch).zip(w.par_chunks(task * columns));
        rows.for_each(|(y, w)| isa.run(Rows { columns, x, w, y }));
    };
    pool.install(|| {
        if batch == 1 {
            return tasks(y);
        }
        // Tasks write stretches; y has the other order.
        let mut transposed = vec![0.0; rows * batch];
        tasks(&mut transposed);
        y.par_chunks_mut(rows).enumerate().for_each(|(b, y)| {
            y.iter_mut().zip(transposed.iter().skip(b).step_by(batch)).for_each(|(to, from)| *to = *from);
        });
    });
}

/// Some rows of W against all of x: y\[n\]\[b\].
struct Rows<'a, E> {
    columns: usize,
    x: &'a [f32],
    w: &'a [E],
    y: &'a mut [f32],
}

impl<E: Element> Work for Rows<'_, E> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(mut self) {
        let batch = self.x.len() / self.columns;
        self.y.fill(0.0);
        for from in (0..self.columns).step_by(BLOCK) {
            let block = from..self.columns.min(from + BLOCK);
            let mut first = 0;
            while first < batch {
                // Eight sums at a time hide the latency of one.
                first += match batch - first {
                    1 => self.block::<S, 4, 1, 2>(&block, first),
                    2 | 3 => self.block::<S, 4, 2, 1>(&block, first),
                    _ => self.block::<S, 2, 4, 1>(&block, first),
                };
            }
        }
    }
}

impl<E: Element> Rows<'_, E> {
    /// All rows against `C` rows of x from `first` on, `R` rows and `U` vectors at a time; R · C · U = 8. Gives
    /// back `C`.
    #[inline(always)]
    fn block<S: Simd, const R: usize, const C: usize, const U: usize>(&mut self, block: &std::ops::Range<usize>, first: usize) -> usize {
        let (rows, batch) = (self.w.len() / self.columns, self.x.len() / self.columns);
        let mut x = [&self.x[..0]; C];
        for (c, x) in x.iter_mut().enumerate() {
            *x = &self.x[(first + c) * self.columns..][block.clone()];
        }
        let mut row = 0;
        while row < rows {
            let mut w = [&self.w[..0]; R];
            for (r, w) in w.iter_mut().enumerate() {
                // Past the end the last row is computed again, and dropped.
                *w = &self.w[(row + r).min(rows - 1) * self.columns..][block.clone()];
            }
            let sums = if first == 0 {
                // W comes from memory: the next rows are asked for while these are computed, since each is pages away from the last.
                let mut ahead = [&self.w[..0]; R];
                for (r, ahead) in ahead.iter_mut().enumerate() {
                    *ahead = &self.w[(row + R + r).min(rows - 1) * self.columns..][block.clone()];
                }
                tile::<S, E, R, C, U>(w, x, Some(ahead))
            } else {
                tile::<S, E, R, C, U>(w, x, None)
            };
            for r in 0..R.min(rows - row) {
                for c in 0..C {
                    let to = &mut self.y[(row + r) * batch + first + c];
                    for u in 0..U {
                        *to += sums[(r * C + c) * U + u];
                    }
                }
            }
            row += R;
        }
        C
    }
}

/// The products of `R` rows with `C`, each in `U` sums; meanwhile memory is asked for `ahead`. R · C · U ≤ 8.
#[inline(always)]
pub(super) fn tile<S: Simd, E: Element, const R: usize, const C: usize, const U: usize>(
    w: [&[E]; R],
    x: [&[f32]; C],
    ahead: Option<[&[E]; R]>,
) -> [f32; 8] {
    let mut sums = [S::splat(0.0); 8];
    let columns = x[0].len();
    let step = U * S::LANES;
    let whole = columns / step * step;
    let mut at = 0;
    while at < whole {
        if let Some(ahead) = ahead {
            for row in ahead {
                S::prefetch(&row[at..]);
            }
        }
        for u in 0..U {
            let from = at + u * S::LANES;
            let mut inputs = [S::splat(0.0); C];
            for c in 0..C {
                inputs[c] = S::load(&x[c][from..from + S::LANES]);
            }
            for r in 0..R {
                let weights = E::widen::<S>(&w[r][from..from + S::LANES]);
                for c in 0..C {
                    let sum = &mut sums[(r * C + c) * U + u];
                    *sum = S::fma(weights, inputs[c], *sum);
                }
            }
        }
        at += step;
    }
    while at < columns {
        for r in 0..R {
            let weights = E::widen::<S>(&w[r][at..]);
            for c in 0..C {
                let sum = &mut sums[(r * C + c) * U];
                *sum = S::fma(weights, S::load_part(&x[c][at..]), *sum);
            }
        }
        at += S::LANES;
    }
    S::sums(sums)
}
