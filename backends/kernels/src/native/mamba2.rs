//! One step of Mamba-2: every element of the state read, decayed, updated and written.

use super::simd::{Isa, Simd, Work};
use crate::dims::Dims;
use crate::fill::{from_bf16, to_bf16};
use crate::host::Host;
use rayon::ThreadPool;
use rayon::prelude::*;

/// Bytes between what is updated and what is asked for.
const AHEAD: usize = 2048;

/// `mamba2-step`: state\[B,H,P,N\] in place, x\[B,H,P\], dt\[B,H\], a\[H\], bm\[B,G,N\], cm\[B,G,N\], d\[H\], y\[B,H,P\].
pub fn native(dims: &Dims, operands: &mut [Host], pool: &ThreadPool) {
    run(Isa::detect(), dims, operands, pool);
}

fn run(isa: Isa, dims: &Dims, operands: &mut [Host], pool: &ThreadPool) {
    let [state, x, dt, a, bm, cm, d, y] = operands else { unreachable!("eight operands") };
    let (heads, rows, columns, groups) = (dims.get("H"), dims.get("P"), dims.get("N"), dims.get("G"));
    let wide = |host: &Host| -> Vec<f32> { host.bf16().iter().map(|bits| from_bf16(*bits)).collect() };
    let (x, bm, cm) = (wide(x), wide(bm), wide(cm));
    let (dt, a, d) = (dt.f32(), a.f32(), d.f32());
    let tasks = state.f32_mut().par_chunks_mut(rows * columns).zip(y.bf16_mut().par_chunks_mut(rows)).enumerate();
    pool.install(|| {
        tasks.for_each(|(task, (state, y))| {
            let (batch, head) = (task / heads, task % heads);
            let group = (batch * groups + head / (heads / groups)) * columns;
            isa.run(Step {
                state,
                x: &x[task * rows..][..rows],
                b: &bm[group..][..columns],
                c: &cm[group..][..columns],
                decay: (dt[task] * a[head]).exp(),
                dt: dt[task],
                d: d[head],
                y,
            });
        });
    });
}

/// The step of one head of one sequence.
struct Step<'a> {
    state: &'a mut [f32],
    x: &'a [f32],
    b: &'a [f32],
    c: &'a [f32],
    decay: f32,
    dt: f32,
    d: f32,
    y: &'a mut [u16],
}

impl Work for Step<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { state, x, b, c, decay, dt, d, y } = self;
        let (columns, rows) = (b.len(), x.len());
        let mut first = 0;
        while first < rows {
            // Lanes of eight rows are added at once: that is as dear as those of one.
            let count = (rows - first).min(8);
            let (mut sums, mut rest) = ([S::splat(0.0); 8], [0.0_f32; 8]);
            for at in 0..count {
                let row = first + at;
                (sums[at], rest[at]) = update::<S>(&mut state[row * columns..(row + 1) * columns], b, c, decay, dt * x[row]);
            }
            let sums = S::sums(sums);
            for at in 0..count {
                y[first + at] = to_bf16(d * x[first + at] + (sums[at] + rest[at]));
            }
            first += count;
        }
    }
}

/// Updates one row; gives its product with `c` in lanes, and that of the elements that fill no vector.
#[inline(always)]
fn update<S: Simd>(state: &mut [f32], b: &[f32], c: &[f32], decay: f32, input: f32) -> (S::V, f32) {
    let (decays, inputs) = (S::splat(decay), S::splat(input));
    let mut sum = S::splat(0.0);
    let len = state.len();
    let (b, c) = (&b[..len], &c[..len]);
    let mut at = 0;
    while at + S::LANES <= len {
        let to = &mut state[at..at + S::LANES];
        S::prefetch_ahead(to, AHEAD);
        let new = S::fma(inputs, S::load(&b[at..at + S::LANES]), S::mul(S::load(to), decays));
        S::store(new, to);
        sum = S::fma(new, S::load(&c[at..at + S::LANES]), sum);
        at += S::LANES;
    }
    let mut rest = 0.0;
    for at in at..len {
        state[at] = state[at] * decay + input * b[at];
        rest += state[at] * c[at];
    }
    (sum, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dims::Dtype;
    use crate::native::testing::*;

    #[test]
    fn agrees_with_the_recurrence_in_f64() {
        everywhere(|isa, pool| {
            for (b, h, p, n, g) in [(1, 1, 1, 1, 1), (2, 3, 9, 37, 1), (1, 4, 16, 128, 2), (3, 2, 7, 5, 2)] {
                let sizes = [("B", b), ("H", h), ("P", p), ("N", n), ("G", g)];
                let dims = Dims::new(Dtype::F32, &sizes);
                let mut operands = [
                    singles(b * h * p * n, 1),
                    halves(b * h * p, 2),
                    singles(b * h, 3),
                    singles(h, 4),
                    halves(b * g * n, 5),
                    halves(b * g * n, 6),
                    singles(h, 7),
                    poison(Dtype::Bf16, b * h * p),
                ];
                operands[2].f32_mut().iter_mut().for_each(|dt| *dt = dt.abs());
                operands[3].f32_mut().iter_mut().for_each(|a| *a = -a.abs());
                let before: Vec<Vec<f64>> = operands.iter().map(numbers).collect();
                run(isa, &dims, &mut operands, pool);
                let [state, x, dt, a, bm, cm, d, _] = &before[..] else { unreachable!() };
                let (mut states, mut ys) = (vec![], vec![]);
                for row in 0..b * h * p {
                    let (task, head) = (row / p, row / p % h);
                    let group = (task / h * g + head / (h / g)) * n;
                    let new: Vec<f64> =
                        (0..n).map(|i| state[row * n + i] * (dt[task] * a[head]).exp() + dt[task] * x[row] * bm[group + i]).collect();
                    ys.push(new.iter().enumerate().map(|(i, s)| s * cm[group + i]).sum::<f64>() + d[head] * x[row]);
                    states.extend(new);
                }
                close(&format!("state {isa:?} {dims}"), &numbers(&operands[0]), &states, 1e-6);
                close(&format!("y {isa:?} {dims}"), &numbers(&operands[7]), &ys, 4e-3);
            }
        });
    }
}
