//! Grouped-query attention over a paged cache.
//!
//! Two passes per query head: scores of all keys, then softmax and the weighted sum of values. Scores are computed key by key,
//! the exponentials are summed in sixteen running sums by position modulo 16, values are added in order of position. All of
//! it follows positions alone, so which block holds a key, and how many queries share the call, cannot change a bit. The scores of
//! one query are kept (4 bytes a key): an online softmax would save that and rescale at points that are easy to tie to pages.

use super::lanes::{LANES, Lanes};
use super::{Arith, Work};
use crate::cache::KvCache;
use crate::pool::Block;

/// Attention of consecutive tokens of one sequence, in one layer.
pub struct Attention<'a> {
    /// Keys and values, those of the queries' own tokens included.
    pub cache: &'a KvCache,
    /// Which layer.
    pub layer: usize,
    /// The sequence's blocks, in order.
    pub table: &'a [Block],
    /// Position of the first query. A query sees all positions up to its own.
    pub start: usize,
    /// Rotated and scaled queries: token t has `query_dim` numbers from `queries[t · stride]`, head by head.
    pub queries: &'a [f32],
    /// Distance between the queries of two tokens.
    pub stride: usize,
    /// Outputs, token by token, `query_dim` each.
    pub out: &'a mut [f32],
    /// Dimensions of all query heads of a token.
    pub query_dim: usize,
    /// Room for scores; its content does not matter.
    pub scores: &'a mut Vec<Lanes>,
}

impl Work for Attention<'_> {
    #[inline(always)]
    fn run<A: Arith>(self) {
        let Self { cache, layer, table, start, queries, stride, out, query_dim, scores } = self;
        let head_dim = cache.head_dim();
        let group = query_dim / head_dim / cache.kv_heads();
        for (token, out) in out.chunks_exact_mut(query_dim).enumerate() {
            let seen = start + token + 1;
            let blocks = &table[..seen.div_ceil(LANES)];
            scores.clear();
            scores.resize(blocks.len(), Lanes::ZERO);
            let query = &queries[token * stride..][..query_dim];
            for (head, (query, out)) in query.chunks_exact(head_dim).zip(out.chunks_exact_mut(head_dim)).enumerate() {
                let view = View { cache, layer, kv_head: head / group, blocks, seen };
                let weight = view.softmax::<A>(query, scores);
                match head_dim / LANES {
                    1 => view.weigh::<A, 1>(scores, weight, out),
                    2 => view.weigh::<A, 2>(scores, weight, out),
                    4 => view.weigh::<A, 4>(scores, weight, out),
                    8 => view.weigh::<A, 8>(scores, weight, out),
                    sets => unreachable!("a head of {sets} sets is not in any preset"),
                }
            }
        }
    }
}

/// One KV head as one query sees it.
struct View<'a> {
    cache: &'a KvCache,
    layer: usize,
    kv_head: usize,
    blocks: &'a [Block],
    seen: usize,
}

impl View<'_> {
    /// Fills `scores` with e^(score − largest), zero beyond the last key, and returns one over their sum.
    #[inline(always)]
    fn softmax<A: Arith>(&self, query: &[f32], scores: &mut [Lanes]) -> f32 {
        let mut largest = Lanes::splat(f32::NEG_INFINITY);
        for (index, (block, scores)) in self.blocks.iter().zip(scores.iter_mut()).enumerate() {
            let mut sum = Lanes::ZERO;
            for (key, query) in self.cache.keys(block, self.layer, self.kv_head).iter().zip(query) {
                sum = Lanes(*key).fma::<A>(Lanes::splat(*query), sum);
            }
            // What lies beyond the last key belongs to an earlier owner of the block.
            *scores = sum.head(self.seen - index * LANES, f32::NEG_INFINITY);
            largest = largest.max(*scores);
        }
        let largest = Lanes::splat(-largest.largest());
        let mut total = Lanes::ZERO;
        for (index, scores) in scores.iter_mut().enumerate() {
            *scores = scores.plus(largest).exp::<A>().head(self.seen - index * LANES, 0.0);
            total = total.plus(*scores);
        }
        1.0 / total.sum()
    }

    /// Adds up the values of all keys, each times its score, and scales by `weight`. `S` sets of lanes hold one head.
    #[inline(always)]
    fn weigh<A: Arith, const S: usize>(&self, scores: &[Lanes], weight: f32, out: &mut [f32]) {
        let mut sums = [Lanes::ZERO; S];
        for (index, (block, scores)) in self.blocks.iter().zip(scores).enumerate() {
            let values = self.cache.values(block, self.layer, self.kv_head);
            let keys = (self.seen - index * LANES).min(LANES);
            for (score, value) in scores.0[..keys].iter().zip(values.chunks_exact(S)) {
                let score = Lanes::splat(*score);
                for s in 0..S {
                    sums[s] = Lanes(value[s]).fma::<A>(score, sums[s]);
                }
            }
        }
        for (sum, out) in sums.iter().zip(out.chunks_exact_mut(LANES)) {
            sum.times(Lanes::splat(weight)).store(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Kernel;
    use super::*;
    use crate::pool::BlockPool;
    use crate::preset::{PRESETS, Preset};
    use nomoat_core::rng::Stream;

    /// Exponentials through the kernel's own function, so that the reference differs in layout only.
    struct Exp<'a>(&'a mut [f32]);

    impl Work for Exp<'_> {
        #[inline(always)]
        fn run<A: Arith>(self) {
            for x in self.0 {
                *x = Lanes::splat(*x).exp::<A>().0[0];
            }
        }
    }

    fn rows(name: &str, tokens: usize, width: usize) -> Vec<Vec<f32>> {
        let mut stream = Stream::new(11, name);
        (0..tokens).map(|_| (0..width).map(|_| (stream.uniform() * 4.0 - 2.0) as f32).collect()).collect()
    }

    /// Attention of the last token over keys and values that lie one after the other, number by number.
    fn contiguous(kernel: Kernel, preset: &Preset, query: &[f32], keys: &[Vec<f32>], values: &[Vec<f32>]) -> Vec<f32> {
        let fma = |a: f32, b: f32, c: f32| if kernel.fused() { a.mul_add(b, c) } else { a * b + c };
        let dim = preset.head_dim;
        let mut out = vec![];
        for (head, query) in query.chunks(dim).enumerate() {
            let from = head / (preset.heads / preset.kv_heads) * dim;
            let score = |key: &Vec<f32>| key[from..from + dim].iter().zip(query).fold(0.0, |sum, (k, q)| fma(*k, *q, sum));
            let mut scores: Vec<f32> = keys.iter().map(score).collect();
            let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            for score in &mut scores {
                *score -= largest;
            }
            kernel.run(Exp(&mut scores));
            let mut total = Lanes::ZERO;
            scores.iter().enumerate().for_each(|(position, score)| total.0[position % LANES] += score);
            let weight = 1.0 / total.sum();
            for d in from..from + dim {
                let sum = scores.iter().zip(values).fold(0.0, |sum, (score, value)| fma(value[d], *score, sum));
                out.push(sum * weight);
            }
        }
        out
    }

    /// Pages in any order, and calls of any size, give the bits of contiguous keys and values.
    #[test]
    fn paged_equals_contiguous() {
        for preset in PRESETS {
            let tokens = 53;
            let (keys, values) = (rows("k", tokens, preset.kv_dim()), rows("v", tokens, preset.kv_dim()));
            let queries = rows("q", tokens, preset.query_dim());
            for kernel in Kernel::available() {
                let want: Vec<Vec<f32>> =
                    (0..tokens).map(|t| contiguous(kernel, preset, &queries[t], &keys[..=t], &values[..=t])).collect();
                for order in [[0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]] {
                    let mut pool = BlockPool::new(4, 1);
                    let mut blocks: Vec<Option<Block>> = (0..4).map(|_| pool.take()).collect();
                    let table: Vec<Block> = order.iter().map(|i| blocks[*i].take().unwrap()).collect();
                    let mut cache = KvCache::new(preset, 4);
                    let junk = vec![f32::MAX; preset.kv_dim()];
                    for slot in 0..LANES {
                        cache.write(&table[3], 1, slot, &junk, &junk); // an earlier owner's
                    }
                    for t in 0..tokens {
                        cache.write(&table[t / LANES], 1, t % LANES, &keys[t], &values[t]);
                    }
                    for chunk in [1, 7, 16, 53] {
                        let mut got = vec![];
                        for start in (0..tokens).step_by(chunk) {
                            let part = queries[start..tokens.min(start + chunk)].concat();
                            let mut out = vec![0.0; part.len()];
                            kernel.run(Attention {
                                cache: &cache,
                                layer: 1,
                                table: &table,
                                start,
                                queries: &part,
                                stride: preset.query_dim(),
                                out: &mut out,
                                query_dim: preset.query_dim(),
                                scores: &mut vec![],
                            });
                            got.extend(out);
                        }
                        assert_eq!(got, want.concat(), "{} {} {order:?} by {chunk}", preset.name, kernel.name());
                    }
                }
            }
        }
    }
}
