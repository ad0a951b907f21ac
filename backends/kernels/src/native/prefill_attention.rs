//! Causal attention over whole sequences of different lengths.

use super::attend::{Queries, STRETCH, Tokens};
use super::simd::{Isa, Simd, Work};
use super::split::{Combine, Part};
use super::tile::widen;
use crate::dims::Dims;
use crate::fill::from_bf16;
use crate::host::Host;
use rayon::ThreadPool;
use rayon::prelude::*;

/// Rows of queries of a task: positions by heads that share keys.
const ROWS: usize = 96;

/// `prefill-attention`: q\[T,HQ,D\], k\[T,HKV,D\], v\[T,HKV,D\], starts\[S+1\], out\[T,HQ,D\].
pub fn native(dims: &Dims, operands: &mut [Host], pool: &ThreadPool) {
    run(Isa::detect(), dims, operands, pool);
}

fn run(isa: Isa, dims: &Dims, operands: &mut [Host], pool: &ThreadPool) {
    let [q, k, v, starts, out] = operands else { unreachable!("five operands") };
    let (heads, kv, depth) = (dims.get("HQ"), dims.get("HKV"), dims.get("D"));
    let positions = (ROWS / (heads / kv)).max(1);
    let (q, k, v) = (q.bf16(), k.bf16(), v.bf16());
    let mut rest = out.bf16_mut();
    let mut tasks = vec![];
    for bounds in starts.i32().windows(2) {
        let (start, end) = (bounds[0] as usize, bounds[1] as usize);
        for first in (start..end).step_by(positions) {
            let count = positions.min(end - first);
            let (out, after) = std::mem::take(&mut rest).split_at_mut(count * heads * depth);
            rest = after;
            tasks.push(Task { heads, kv, depth, q, k, v, start, first, count, out });
        }
    }
    // The longest first, so that threads end together.
    tasks.sort_by_key(|task| std::cmp::Reverse(task.first - task.start));
    pool.install(|| tasks.into_par_iter().with_max_len(1).for_each(|task| isa.run(task)));
}

/// Some positions of a sequence with all their heads.
struct Task<'a> {
    heads: usize,
    kv: usize,
    depth: usize,
    q: &'a [u16],
    k: &'a [u16],
    v: &'a [u16],
    /// Where its sequence starts.
    start: usize,
    first: usize,
    count: usize,
    out: &'a mut [u16],
}

impl Work for Task<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let (group, depth) = (self.heads / self.kv, self.depth);
        // One vector beyond a power of two, so that rows do not meet in the same sets of the first cache.
        let stride = depth.next_multiple_of(2 * S::LANES) + 2 * S::LANES;
        let (mut keys, mut values) = (vec![0.0; STRETCH * stride], vec![0.0; STRETCH * stride]);
        for head in 0..self.kv {
            let part = self.head::<S>(head, stride, &mut keys, &mut values);
            for row in 0..self.count * group {
                let to = &mut self.out[(row / group * self.heads + head * group + row % group) * depth..][..depth];
                Combine { parts: std::slice::from_ref(&part), row, to }.run::<S>();
            }
        }
    }
}

impl Task<'_> {
    /// All queries that share one head of keys and values.
    #[inline(always)]
    fn head<S: Simd>(&self, head: usize, stride: usize, keys: &mut [f32], values: &mut [f32]) -> Part {
        let (group, depth) = (self.heads / self.kv, self.depth);
        let scale = 1.0 / (depth as f32).sqrt();
        let query = |row: usize, at: usize| {
            let place = (self.first + row / group) * self.heads + head * group + row % group;
            scale * from_bf16(self.q[place * depth + at])
        };
        let mut queries = Queries::new::<S>(self.count * group, depth, depth, query);
        let end = self.first + self.count;
        for from in (self.start..end).step_by(STRETCH) {
            let count = STRETCH.min(end - from);
            for token in 0..count {
                let place = ((from + token) * self.kv + head) * depth;
                widen::<S>(&self.k[place..][..depth], &mut keys[token * stride..][..depth]);
                widen::<S>(&self.v[place..][..depth], &mut values[token * stride..][..depth]);
            }
            let tokens = Tokens { keys, values, stride, count };
            let visible = |row: usize| (self.first + row / group + 1).saturating_sub(from);
            // Stretches before the first position are seen whole.
            queries.see::<S>(&tokens, if from + count > self.first { Some(&visible) } else { None });
        }
        queries.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dims::Dtype;
    use crate::native::testing::*;

    #[test]
    fn agrees_with_attention_in_f64() {
        everywhere(|isa, pool| {
            for (heads, kv, depth, lens) in [(1, 1, 5, [1, 0, 2]), (4, 2, 40, [50, 0, 3]), (3, 1, 64, [97, 48, 1]), (2, 2, 16, [0, 130, 7])]
            {
                let dims = Dims::new(Dtype::Bf16, &[("S", 3), ("L", 130), ("HQ", heads), ("HKV", kv), ("D", depth)]);
                let starts = [0, lens[0], lens[0] + lens[1], lens[0] + lens[1] + lens[2]];
                let tokens = starts[3] as usize;
                let mut operands = [
                    halves(tokens * heads * depth, 1),
                    halves(tokens * kv * depth, 2),
                    halves(tokens * kv * depth, 3),
                    ints(&starts),
                    poison(Dtype::Bf16, tokens * heads * depth),
                ];
                run(isa, &dims, &mut operands, pool);
                let (q, k, v) = (numbers(&operands[0]), numbers(&operands[1]), numbers(&operands[2]));
                let mut right = vec![];
                for row in 0..tokens * heads {
                    let (token, head) = (row / heads, row % heads / (heads / kv));
                    let start = *starts.iter().rfind(|start| **start as usize <= token).unwrap() as usize;
                    let dot = |at: usize| (0..depth).map(|i| q[row * depth + i] * k[(at * kv + head) * depth + i]).sum::<f64>();
                    let weights: Vec<f64> = (start..=token).map(|at| (dot(at) / (depth as f64).sqrt()).exp()).collect();
                    let sum: f64 = weights.iter().sum();
                    let value =
                        |i| weights.iter().enumerate().map(|(at, p)| p * v[((start + at) * kv + head) * depth + i]).sum::<f64>() / sum;
                    right.extend((0..depth).map(value));
                }
                close(&format!("{isa:?} {dims}"), &numbers(&operands[4]), &right, 4e-3);
            }
        });
    }
}
