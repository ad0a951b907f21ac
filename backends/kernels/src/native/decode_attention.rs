//! Decoding against a paged cache of keys and values: every page read once, for all heads that share it.

use super::simd::{Isa, MOST, Simd, Work};
use super::skinny::tile;
use super::split::{Combine, NOTHING, Part};
use crate::dims::Dims;
use crate::fill::from_bf16;
use crate::host::Host;
use rayon::ThreadPool;
use rayon::prelude::*;

/// Tasks that a problem is cut into, about.
const TASKS: usize = 64;
/// Tokens of a task at least: below, putting parts together shows.
const LEAST: usize = 256;
/// Bytes of keys and values that are asked for ahead.
const NEAR: usize = 128 << 10;

/// `decode-attention`: q\[B,HQ,D\], keys and values \[pages,PAGE,HKV,D\], table\[B,pages of one\], lens\[B\], two that are not used,
/// out\[B,HQ,D\].
pub fn native(dims: &Dims, operands: &mut [Host], pool: &ThreadPool) {
    run(Isa::detect(), dims, operands, pool);
}

fn run(isa: Isa, dims: &Dims, operands: &mut [Host], pool: &ThreadPool) {
    let [q, keys, values, table, lens, .., out] = operands else { unreachable!("eight operands") };
    let cache = Cache { heads: dims.get("HKV"), depth: dims.get("D"), page: dims.get("PAGE"), keys: keys.bf16(), values: values.bf16() };
    let heads = dims.get("HQ");
    let (q, table, lens) = (q.bf16(), table.i32(), lens.i32());
    let across = table.len() / lens.len().max(1);
    let total: usize = lens.iter().map(|len| *len as usize).sum();
    let split = (total / TASKS).max(LEAST).next_multiple_of(cache.page);
    let mut tasks = vec![];
    for (sequence, len) in lens.iter().enumerate() {
        let q = &q[sequence * heads * cache.depth..][..heads * cache.depth];
        for first in (0..*len as usize).step_by(split) {
            let tokens = split.min(*len as usize - first);
            let pages = &table[sequence * across + first / cache.page..][..tokens.div_ceil(cache.page)];
            tasks.push((sequence, Task { cache, q, pages, tokens }));
        }
    }
    pool.install(|| {
        let parts: Vec<(usize, Part)> = tasks.into_par_iter().with_max_len(1).map(|(sequence, task)| (sequence, isa.run(task))).collect();
        let mut grouped: Vec<Vec<Part>> = lens.iter().map(|_| vec![]).collect();
        parts.into_iter().for_each(|(sequence, part)| grouped[sequence].push(part));
        out.bf16_mut().par_chunks_mut(cache.depth).enumerate().for_each(|(row, to)| {
            isa.run(Combine { parts: &grouped[row / heads], row: row % heads, to });
        });
    });
}

#[derive(Clone, Copy)]
struct Cache<'a> {
    /// Heads of keys and values.
    heads: usize,
    /// Elements of a head.
    depth: usize,
    /// Tokens of a page.
    page: usize,
    keys: &'a [u16],
    values: &'a [u16],
}

impl Cache<'_> {
    /// Equal parts of a page of [`NEAR`] bytes at most, of eight tokens at least.
    fn parts(self) -> usize {
        let mut parts = 1;
        while self.page / parts * self.heads * self.depth * 4 > NEAR && (self.page / parts).is_multiple_of(16) {
            parts *= 2;
        }
        parts
    }
}

/// All heads of a sequence against some of its pages.
struct Task<'a> {
    cache: Cache<'a>,
    q: &'a [u16],
    pages: &'a [i32],
    tokens: usize,
}

impl Work for Task<'_> {
    type Out = Part;

    #[inline(always)]
    fn run<S: Simd>(self) -> Part {
        let Cache { heads: kv, depth, keys, values, .. } = self.cache;
        let heads = self.q.len() / depth;
        let (group, scale) = (heads / kv, 1.0 / (depth as f32).sqrt());
        // A page of many heads goes in parts, so that what is read and what comes next stay in the second cache together.
        let parts = self.cache.parts();
        let page = self.cache.page / parts;
        let places: Vec<usize> = self.pages.iter().flat_map(|number| (0..parts).map(move |part| *number as usize * parts + part)).collect();
        let places = &places[..self.tokens.div_ceil(page)];
        let q: Vec<f32> = self.q.iter().map(|bits| scale * from_bf16(*bits)).collect();
        let mut state = State {
            part: Part::new(heads, depth.next_multiple_of(S::LANES)),
            lanes: vec![Lanes { max: [NOTHING; MOST], sum: [0.0; MOST] }; heads],
            scores: vec![NOTHING; (4 * page).next_multiple_of(2 * MOST)],
            decay: [0.0; 4],
        };
        let whole = page * kv * depth;
        for (at, place) in places.iter().enumerate() {
            let first = place * whole;
            let next = places.get(at + 1).map(|place| place * whole);
            for head in 0..kv {
                // What the next page holds is asked for now, in its own order, a share with each head.
                let soon = |from: &'_ [u16]| {
                    next.map(|next| next + head * page * depth).map_or(0..0, |at| at..(at + page * depth).min(from.len()))
                };
                let view = View {
                    keys: &keys[first + head * depth..first + whole],
                    values: &values[first + head * depth..first + whole],
                    soon: [&keys[soon(keys)], &values[soon(values)]],
                    stride: kv * depth,
                    depth,
                    page,
                    count: page.min(self.tokens - at * page),
                };
                let mut done = 0;
                while done < group {
                    let row = head * group + done;
                    let q = &q[row * depth..];
                    done += match group - done {
                        1 => state.see::<S, 1, 8>(&view, q, row, done == 0),
                        2 | 3 => state.see::<S, 2, 4>(&view, q, row, done == 0),
                        _ => state.see::<S, 4, 2>(&view, q, row, done == 0),
                    };
                }
            }
        }
        // The heads of a group went four, two and one at a time.
        for head in 0..kv {
            let mut done = 0;
            while done < group {
                let row = head * group + done;
                done += match group - done {
                    1 => state.finish(row, 1),
                    2 | 3 => state.finish(row, 2),
                    _ => state.finish(row, 4),
                };
            }
        }
        state.part
    }
}

/// One head of keys and values in one page.
struct View<'a> {
    keys: &'a [u16],
    values: &'a [u16],
    /// Keys and values to ask memory for meanwhile.
    soon: [&'a [u16]; 2],
    /// Elements from a token to the next.
    stride: usize,
    depth: usize,
    /// Tokens of a page, of which the first `count` are there.
    page: usize,
    count: usize,
}

impl View<'_> {
    /// Asks for some elements of what comes next, of keys (0) or of values (1).
    #[inline(always)]
    fn ask<S: Simd>(&self, which: usize, share: std::ops::Range<usize>) {
        // Cache lines of 64 bytes, the shortest there are.
        const LINE: usize = 32;
        let soon = self.soon[which];
        let (mut at, end) = (share.start, share.end.min(soon.len()));
        while at < end {
            S::prefetch_second(&soon[at..]);
            at += LINE;
        }
    }
}

/// Maximum and sum of some rows at once: lane i is of row i modulo their number, so that no score has to leave its lane.
#[derive(Clone, Copy)]
struct Lanes {
    /// The same in all lanes of a row.
    max: [f32; MOST],
    /// Parts of the sum.
    sum: [f32; MOST],
}

struct State {
    part: Part,
    /// At the first of the rows that go together.
    lanes: Vec<Lanes>,
    /// Scores of a page, a token after the other, the rows that go together side by side; then [`NOTHING`].
    scores: Vec<f32>,
    decay: [f32; 4],
}

impl State {
    /// Lets `Q` rows from `row` on see a head of a page, `T` tokens at a time; T · Q = 8. The first of them asks for what comes next.
    /// Gives back `Q`.
    #[inline(always)]
    fn see<S: Simd, const Q: usize, const T: usize>(&mut self, view: &View<'_>, q: &[f32], row: usize, first: bool) -> usize {
        let queries: [&[f32]; Q] = each(|at| &q[at * view.depth..(at + 1) * view.depth]);
        let mut token = 0;
        while token < view.count {
            if first {
                view.ask::<S>(0, token * view.depth..(token + T) * view.depth);
            }
            // Past the end the last token is computed again, and dropped.
            let keys: [&[u16]; T] = each(|at| &view.keys[(token + at).min(view.count - 1) * view.stride..][..view.depth]);
            self.scores[token * Q..token * Q + 8].copy_from_slice(&tile::<S, u16, T, Q, 1>(keys, queries, None));
            token += T;
        }
        let whole = (view.count * Q).next_multiple_of(S::LANES);
        self.scores[view.count * Q..whole].fill(NOTHING);
        self.softmax::<S, Q>(whole, row);
        let mut at = 0;
        while at + T * S::LANES <= view.depth {
            if first {
                view.ask::<S>(1, at * view.page..(at + T * S::LANES) * view.page);
            }
            self.add::<S, Q, T, false>(view, row, at);
            at += T * S::LANES;
        }
        while at < view.depth {
            if first {
                view.ask::<S>(1, at * view.page..(at + S::LANES) * view.page);
            }
            if at + S::LANES <= view.depth {
                self.add::<S, Q, 1, false>(view, row, at);
            } else {
                self.add::<S, Q, 1, true>(view, row, at);
            }
            at += S::LANES;
        }
        Q
    }

    /// Scores become probabilities beside the largest so far.
    #[inline(always)]
    fn softmax<S: Simd, const Q: usize>(&mut self, len: usize, row: usize) {
        let (scores, lanes) = (&mut self.scores[..len], &mut self.lanes[row]);
        let mut most = S::load(&lanes.max);
        let mut at = 0;
        while at + S::LANES <= len {
            most = S::max(most, S::load(&scores[at..at + S::LANES]));
            at += S::LANES;
        }
        self.decay = [1.0; 4];
        // Rare after the first pages: nothing has to be scaled.
        if S::exceeds(most, S::load(&lanes.max)) {
            let mut largest = [NOTHING; MOST];
            S::store(most, &mut largest);
            for query in 0..Q {
                let before = lanes.max[query];
                let max = largest[..S::LANES].iter().skip(query).step_by(Q).copied().fold(before, f32::max);
                self.decay[query] = (before - max).exp();
                for lane in (query..MOST).step_by(Q) {
                    lanes.max[lane] = max;
                    lanes.sum[lane] *= self.decay[query];
                }
            }
        }
        let (max, mut sum) = (S::load(&lanes.max), S::load(&lanes.sum));
        let mut at = 0;
        while at + S::LANES <= len {
            let to = &mut scores[at..at + S::LANES];
            let probability = S::exp(S::sub(S::load(to), max));
            S::store(probability, to);
            sum = S::add(sum, probability);
            at += S::LANES;
        }
        S::store(sum, &mut lanes.sum);
    }

    /// Brings maximum and sum of `count` rows that went together to their places. Gives back `count`.
    fn finish(&mut self, row: usize, count: usize) -> usize {
        for query in 0..count {
            self.part.max[row + query] = self.lanes[row].max[query];
            self.part.sum[row + query] = self.lanes[row].sum.iter().skip(query).step_by(count).sum();
        }
        count
    }

    /// Adds values by probabilities to `Q` rows from `row` on, `W` vectors from element `at` on, of which the last may be a `PART`.
    #[inline(always)]
    fn add<S: Simd, const Q: usize, const W: usize, const PART: bool>(&mut self, view: &View<'_>, row: usize, at: usize) {
        let stride = self.part.stride;
        let mut sums = [[S::splat(0.0); W]; Q];
        for (query, sums) in sums.iter_mut().enumerate() {
            let (from, decay) = (&self.part.out[(row + query) * stride + at..], S::splat(self.decay[query]));
            for w in 0..W {
                sums[w] = S::mul(S::load(&from[w * S::LANES..]), decay);
            }
        }
        let wide = if PART { view.depth - at } else { W * S::LANES };
        let probabilities = self.scores[..view.count * Q].as_chunks::<Q>().0;
        let rows = &view.values[at..];
        assert!((probabilities.len().max(1) - 1) * view.stride + wide <= rows.len(), "all tokens of a page lie within it");
        for (token, probabilities) in probabilities.iter().enumerate() {
            // SAFETY: below what was asserted, since no token comes after the last: a check of each row would cost as much as its sums.
            let from = unsafe { rows.get_unchecked(token * view.stride..token * view.stride + wide) };
            let mut values = [S::splat(0.0); W];
            for w in 0..W {
                values[w] = if PART { S::widen_part(from) } else { S::widen(&from[w * S::LANES..(w + 1) * S::LANES]) };
            }
            for (query, sums) in sums.iter_mut().enumerate() {
                let probability = S::splat(probabilities[query]);
                for w in 0..W {
                    sums[w] = S::fma(values[w], probability, sums[w]);
                }
            }
        }
        for (query, sums) in sums.iter().enumerate() {
            let to = &mut self.part.out[(row + query) * stride + at..];
            for w in 0..W {
                S::store(sums[w], &mut to[w * S::LANES..]);
            }
        }
    }
}

/// An array of slices by place.
#[inline(always)]
fn each<'a, T, const N: usize>(of: impl Fn(usize) -> &'a [T]) -> [&'a [T]; N] {
    let mut all = [of(0); N];
    all.iter_mut().enumerate().for_each(|(at, slice)| *slice = of(at));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dims::Dtype;
    use crate::native::testing::*;

    #[test]
    fn agrees_with_attention_in_f64() {
        everywhere(|isa, pool| {
            for (heads, kv, depth, page, lens) in [
                (1, 1, 3, 4, [1, 0, 9]),
                (16, 16, 256, 32, [41, 8, 65]),
                (4, 4, 40, 16, [17, 300, 0]),
                (7, 1, 64, 16, [0, 0, 0]),
                (8, 2, 128, 16, [700, 16, 1]),
                (14, 2, 72, 5, [33, 2, 64]),
            ] {
                let sizes = [("B", 3), ("L", 700), ("HQ", heads), ("HKV", kv), ("D", depth), ("PAGE", page)];
                let dims = Dims::new(Dtype::Bf16, &sizes);
                let across = 700_usize.div_ceil(page);
                let table: Vec<i32> = (0..3 * across as i32).rev().collect();
                let cache = 3 * across * page * kv * depth;
                let mut operands = [
                    halves(3 * heads * depth, 1),
                    halves(cache, 2),
                    halves(cache, 3),
                    ints(&table),
                    ints(&lens),
                    poison(Dtype::F32, 1),
                    poison(Dtype::F32, 1),
                    poison(Dtype::Bf16, 3 * heads * depth),
                ];
                run(isa, &dims, &mut operands, pool);
                let (q, k, v) = (numbers(&operands[0]), numbers(&operands[1]), numbers(&operands[2]));
                let mut right = vec![];
                for row in 0..3 * heads {
                    let (sequence, head) = (row / heads, row % heads / (heads / kv));
                    let place =
                        |token: usize| (table[sequence * across + token / page] as usize * page + token % page) * kv * depth + head * depth;
                    let dot = |token: usize| (0..depth).map(|i| q[row * depth + i] * k[place(token) + i]).sum::<f64>();
                    let weights: Vec<f64> = (0..lens[sequence] as usize).map(|token| (dot(token) / (depth as f64).sqrt()).exp()).collect();
                    let sum: f64 = weights.iter().sum();
                    let value = |i| weights.iter().enumerate().map(|(token, p)| p * v[place(token) + i]).sum::<f64>() / sum.max(1e-300);
                    right.extend((0..depth).map(value));
                }
                close(&format!("{isa:?} {dims} {lens:?}"), &numbers(&operands[7]), &right, 4e-3);
            }
        });
    }
}
