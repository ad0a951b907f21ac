//! The lightning indexer: how much each token matters, by many small heads over one key each.

use super::simd::{Isa, Simd, Work};
use super::tile::{Strides, tile, widen};
use crate::dims::Dims;
use crate::fill::from_bf16;
use crate::host::Host;
use rayon::ThreadPool;
use rayon::prelude::*;

/// Tokens of a task.
const TASK: usize = 240;
/// Tokens whose keys stay in the first cache: a multiple of the rows of every register tile.
const STRETCH: usize = 24;

/// `indexer`: q\[B,HI,DI\], k\[B,L,DI\], w\[B,HI\], logits\[B,L\].
pub fn native(dims: &Dims, operands: &mut [Host], pool: &ThreadPool) {
    run(Isa::detect(), dims, operands, pool);
}

fn run(isa: Isa, dims: &Dims, operands: &mut [Host], pool: &ThreadPool) {
    let [q, k, w, logits] = operands else { unreachable!("four operands") };
    let (heads, depth, tokens) = (dims.get("HI"), dims.get("DI"), dims.get("L"));
    let (q, k, w, logits) = (q.bf16(), k.bf16(), w.f32(), logits.f32_mut());
    let rows = logits.par_chunks_mut(tokens).zip(k.par_chunks(tokens * depth)).zip(q.par_chunks(heads * depth)).zip(w.par_chunks(heads));
    pool.install(|| {
        rows.for_each(|(((logits, k), q), w)| {
            let queries = isa.run(Pack { q, w, depth });
            let tasks = logits.par_chunks_mut(TASK).zip(k.par_chunks(TASK * depth));
            tasks.for_each(|(logits, keys)| isa.run(Score { queries: &queries, depth, keys, logits }));
        });
    });
}

/// Queries with lanes along the heads: strips of two vectors, in each the elements of the depth one after the other, then the weights.
struct Pack<'a> {
    q: &'a [u16],
    w: &'a [f32],
    depth: usize,
}

impl Work for Pack<'_> {
    type Out = Vec<f32>;

    #[inline(always)]
    fn run<S: Simd>(self) -> Vec<f32> {
        let (heads, strip, each) = (self.w.len(), 2 * S::LANES, self.depth + 1);
        let mut packed = vec![0.0; heads.next_multiple_of(strip) * each];
        for head in 0..heads {
            let to = &mut packed[head / strip * each * strip + head % strip..];
            let q = &self.q[head * self.depth..][..self.depth];
            q.iter().enumerate().for_each(|(at, bits)| to[at * strip] = from_bf16(*bits));
            to[self.depth * strip] = self.w[head];
        }
        packed
    }
}

/// The logits of some tokens.
struct Score<'a> {
    queries: &'a [f32],
    depth: usize,
    keys: &'a [u16],
    logits: &'a mut [f32],
}

impl Work for Score<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        match S::ROWS {
            12 => self.tiles::<S, 12>(),
            _ => self.tiles::<S, 6>(),
        }
    }
}

impl Score<'_> {
    #[inline(always)]
    fn tiles<S: Simd, const R: usize>(self) {
        let (depth, strip) = (self.depth, 2 * S::LANES);
        // A vector beyond a power of two, so that rows do not meet in the same sets of the first cache.
        let stride = depth + 16;
        let mut keys = vec![0.0; STRETCH * stride];
        let mut sums = [[0.0; super::simd::MOST]; STRETCH];
        for (logits, from) in self.logits.chunks_mut(STRETCH).zip(self.keys.chunks(STRETCH * depth)) {
            for (to, from) in keys.chunks_exact_mut(stride).zip(from.chunks_exact(depth)) {
                widen::<S>(from, &mut to[..depth]);
            }
            sums.fill([0.0; super::simd::MOST]);
            for queries in self.queries.chunks_exact((depth + 1) * strip) {
                let (queries, weights) = queries.split_at(depth * strip);
                let (low, high, zero) = (S::load(weights), S::load(&weights[S::LANES..]), S::splat(0.0));
                for first in (0..logits.len()).step_by(R) {
                    let products = tile::<S, R>(depth, &keys[first * stride..], Strides { row: stride, step: 1 }, queries, strip);
                    for r in 0..R {
                        let sum = &mut sums[first + r];
                        let part = S::fma(S::max(products[r][0], zero), low, S::load(sum));
                        S::store(S::fma(S::max(products[r][1], zero), high, part), sum);
                    }
                }
            }
            for (logits, sums) in logits.chunks_mut(8).zip(sums.as_chunks::<8>().0) {
                let mut lanes = [S::splat(0.0); 8];
                for at in 0..8 {
                    lanes[at] = S::load(&sums[at]);
                }
                logits.copy_from_slice(&S::sums(lanes)[..logits.len()]);
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
            for (b, tokens, heads, depth) in [(1, 1, 1, 1), (2, 37, 5, 9), (1, 500, 64, 128), (3, 25, 33, 40)] {
                let dims = Dims::new(Dtype::Bf16, &[("B", b), ("L", tokens), ("HI", heads), ("DI", depth)]);
                let mut operands =
                    [halves(b * heads * depth, 1), halves(b * tokens * depth, 2), singles(b * heads, 3), poison(Dtype::F32, b * tokens)];
                run(isa, &dims, &mut operands, pool);
                let (q, k, w) = (numbers(&operands[0]), numbers(&operands[1]), numbers(&operands[2]));
                let logit = |at: usize| {
                    let head = |h: usize| {
                        let row = at / tokens * heads + h;
                        let dot: f64 = (0..depth).map(|i| q[row * depth + i] * k[at * depth + i]).sum();
                        w[row] * dot.max(0.0)
                    };
                    (0..heads).map(head).sum()
                };
                let right: Vec<f64> = (0..b * tokens).map(logit).collect();
                close(&format!("{isa:?} {dims}"), &numbers(&operands[3]), &right, 1e-5);
            }
        });
    }
}
