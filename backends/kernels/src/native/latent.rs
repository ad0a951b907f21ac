//! Attention over latent rows (MLA, absorbed): one row for each token, shared by all heads, whose first part is the value.

use super::attend::{Queries, STRETCH, Tokens};
use super::simd::{Isa, Simd, Work};
use super::split::{Combine, Part};
use super::tile::widen;
use crate::fill::from_bf16;
use rayon::ThreadPool;
use rayon::prelude::*;

/// Heads of a task: their queries and outputs fit into the second cache.
const HEADS: usize = 64;
/// Tasks that a problem is cut into, about.
const TASKS: usize = 32;

/// Heads, elements of the value, elements that only keys have.
#[derive(Clone, Copy)]
pub(super) struct Latent {
    pub heads: usize,
    pub rank: usize,
    pub rope: usize,
}

impl Latent {
    /// Elements of a row of the cache, and of a query.
    fn row(self) -> usize {
        self.rank + self.rope
    }

    /// Each sequence attends to its list of rows of the cache.
    pub(super) fn attend(self, isa: Isa, q: &[u16], cache: &[u16], lists: &[Vec<u32>], out: &mut [u16], pool: &ThreadPool) {
        let blocks = self.heads.div_ceil(HEADS);
        let total: usize = lists.iter().map(|list| list.len() * blocks).sum();
        let split = (total / TASKS).next_multiple_of(STRETCH).max(4 * STRETCH);
        let mut tasks = vec![];
        for (sequence, list) in lists.iter().enumerate() {
            for first in (0..self.heads).step_by(HEADS) {
                let heads = HEADS.min(self.heads - first);
                let q = &q[(sequence * self.heads + first) * self.row()..][..heads * self.row()];
                tasks.extend(list.chunks(split).map(|list| (sequence * blocks + first / HEADS, Task { latent: self, q, cache, list })));
            }
        }
        pool.install(|| {
            let parts: Vec<(usize, Part)> = tasks.into_par_iter().map(|(block, task)| (block, isa.run(task))).collect();
            let mut grouped: Vec<Vec<Part>> = (0..lists.len() * blocks).map(|_| vec![]).collect();
            parts.into_iter().for_each(|(block, part)| grouped[block].push(part));
            out.par_chunks_mut(self.rank).enumerate().for_each(|(row, to)| {
                let (sequence, head) = (row / self.heads, row % self.heads);
                isa.run(Combine { parts: &grouped[sequence * blocks + head / HEADS], row: head % HEADS, to });
            });
        });
    }
}

/// Some heads of one sequence against some of its rows.
struct Task<'a> {
    latent: Latent,
    q: &'a [u16],
    cache: &'a [u16],
    list: &'a [u32],
}

/// 1/√192: scores are scaled by the size of a head before absorption, 128 elements and 64 of position.
const SCALE: f32 = 0.072_168_78;

impl Work for Task<'_> {
    type Out = Part;

    #[inline(always)]
    fn run<S: Simd>(self) -> Part {
        let (row, rank) = (self.latent.row(), self.latent.rank);
        let mut queries = Queries::new::<S>(self.q.len() / row, row, rank, |head, at| SCALE * from_bf16(self.q[head * row + at]));
        let stride = row.next_multiple_of(2 * S::LANES);
        let mut keys = vec![0.0; STRETCH * stride];
        for list in self.list.chunks(STRETCH) {
            for (to, from) in keys.chunks_exact_mut(stride).zip(list) {
                widen::<S>(&self.cache[*from as usize * row..][..row], &mut to[..row]);
            }
            queries.see::<S>(&Tokens { keys: &keys, values: &keys, stride, count: list.len() }, None);
        }
        queries.finish()
    }
}

#[cfg(test)]
pub(super) fn right(latent: Latent, q: &[f64], cache: &[f64], lists: &[Vec<u32>]) -> Vec<f64> {
    let (row, mut out) = (latent.row(), vec![]);
    for (query, q) in q.chunks(row).enumerate() {
        let list = &lists[query / latent.heads];
        let dot = |at: &u32| q.iter().zip(&cache[*at as usize * row..]).map(|(q, k)| q * k).sum::<f64>() / 192_f64.sqrt();
        let scores: Vec<f64> = list.iter().map(dot).collect();
        let max = scores.iter().copied().fold(f64::MIN, f64::max);
        let sum: f64 = scores.iter().map(|score| (score - max).exp()).sum();
        let value = |at: usize| {
            let terms = list.iter().zip(&scores).map(|(row_of, score)| (score - max).exp() * cache[*row_of as usize * row + at]);
            if list.is_empty() { 0.0 } else { terms.sum::<f64>() / sum }
        };
        out.extend((0..latent.rank).map(value));
    }
    out
}
