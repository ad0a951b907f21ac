//! The forward pass of a batch: consecutive tokens of any number of sequences, through all layers, into the cache.
//!
//! Pre-norm decoder: x += W_back · attention(norm(x)), x += W_back · swiglu(norm(x)), logits = head · norm(x). Not here: which tokens
//! are computed when ([`crate::scheduler`]), or blocks being handed out.

use crate::cache::KvCache;
use crate::crew::Crew;
use crate::kernels::attention::Attention;
use crate::kernels::lanes::Lanes;
use crate::kernels::pointwise::{Add, RmsNorm, SwiGlu};
use crate::pool::{BLOCK_TOKENS, Block};
use crate::preset::Preset;
use crate::weights::{Layer, Weights};

/// Consecutive tokens of one sequence, to be computed together.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// The sequence's blocks; they cover every position of the span.
    pub table: &'a [Block],
    /// Position of the first token. Everything before it is in the cache.
    pub start: usize,
    /// The tokens, each below the vocabulary's size.
    pub tokens: &'a [u32],
    /// Whether the logits after the last token are wanted.
    pub logits: bool,
}

/// Buffers of the forward pass, kept from step to step. All are token by token.
#[derive(Debug, Default)]
struct Buffers {
    x: Vec<f32>,
    normed: Vec<f32>,
    qkv: Vec<f32>,
    attended: Vec<f32>,
    back: Vec<f32>,
    gate_up: Vec<f32>,
    gated: Vec<f32>,
    picked: Vec<f32>,
    logits: Vec<f32>,
    scores: Vec<Lanes>,
}

/// A model with its weights and the room to run it.
#[derive(Debug)]
pub struct Model {
    preset: Preset,
    weights: Weights,
    crew: Crew,
    buffers: Buffers,
}

impl Model {
    /// The model of `preset` with the weights of `seed`.
    pub fn new(preset: &Preset, seed: u64, crew: Crew) -> Self {
        Self { preset: *preset, weights: Weights::seeded(preset, seed), crew, buffers: Buffers::default() }
    }

    /// Its shape.
    pub fn preset(&self) -> &Preset {
        &self.preset
    }

    /// Its weights, for references and tests.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Computes all spans: their keys and values are in the cache afterwards, and [`Self::logits`] holds the logits that were wanted.
    pub fn forward(&mut self, cache: &mut KvCache, spans: &[Span<'_>]) {
        let Self { preset, weights, crew, buffers: b } = self;
        let (hidden, kernel) = (preset.hidden, crew.kernel());
        b.x.clear();
        for token in spans.iter().flat_map(|span| span.tokens) {
            b.x.extend_from_slice(&weights.embedding[*token as usize * hidden..][..hidden]);
        }
        for (number, layer) in weights.layers.iter().enumerate() {
            b.normed.resize(b.x.len(), 0.0);
            kernel.run(RmsNorm { x: &b.x, weight: &layer.attention_norm, out: &mut b.normed });
            attend(preset, weights, crew, b, cache, spans, (number, layer));
            kernel.run(Add { x: &mut b.x, y: &b.back });
            kernel.run(RmsNorm { x: &b.x, weight: &layer.ffn_norm, out: &mut b.normed });
            crew.product(&layer.gate_up, &mut b.normed, &mut b.gate_up);
            b.gated.resize(b.gate_up.len() / 2, 0.0);
            kernel.run(SwiGlu { gate_up: &b.gate_up, width: preset.ffn, out: &mut b.gated });
            crew.product(&layer.ffn_back, &mut b.gated, &mut b.back);
            kernel.run(Add { x: &mut b.x, y: &b.back });
        }
        b.picked.clear();
        let mut end = 0;
        for span in spans {
            end += span.tokens.len() * hidden;
            if span.logits {
                b.picked.extend_from_slice(&b.x[end - hidden..end]);
            }
        }
        b.normed.resize(b.picked.len(), 0.0);
        kernel.run(RmsNorm { x: &b.picked, weight: &weights.final_norm, out: &mut b.normed });
        crew.product(&weights.head, &mut b.normed, &mut b.logits);
    }

    /// The logits of the last forward pass, in the order of the spans that wanted them, `vocab` each.
    pub fn logits(&self) -> std::slice::ChunksExact<'_, f32> {
        self.buffers.logits.chunks_exact(self.preset.vocab)
    }
}

/// The attention half of a layer: from the normed stream in `b.normed` to what is added to it in `b.back`.
fn attend(
    preset: &Preset,
    weights: &Weights,
    crew: &mut Crew,
    b: &mut Buffers,
    cache: &mut KvCache,
    spans: &[Span<'_>],
    (number, layer): (usize, &Layer),
) {
    let (query_dim, kv_dim) = (preset.query_dim(), preset.kv_dim());
    let stride = query_dim + 2 * kv_dim;
    let scale = 1.0 / (preset.head_dim as f32).sqrt();
    crew.product(&layer.qkv, &mut b.normed, &mut b.qkv);
    let positions = spans.iter().flat_map(|span| (0..span.tokens.len()).map(move |offset| (span.table, span.start + offset)));
    for ((table, position), row) in positions.zip(b.qkv.chunks_exact_mut(stride)) {
        let (turned, values) = row.split_at_mut(query_dim + kv_dim);
        weights.rotary.turn(turned, position);
        let (queries, keys) = turned.split_at_mut(query_dim);
        for query in queries {
            *query *= scale;
        }
        cache.write(&table[position / BLOCK_TOKENS], number, position % BLOCK_TOKENS, keys, values);
    }
    b.attended.resize(b.qkv.len() / stride * query_dim, 0.0);
    let (mut queries, mut out) = (b.qkv.as_slice(), b.attended.as_mut_slice());
    for span in spans {
        let (own_queries, other_queries) = queries.split_at(span.tokens.len() * stride);
        let (own_out, other_out) = out.split_at_mut(span.tokens.len() * query_dim);
        crew.kernel().run(Attention {
            cache,
            layer: number,
            table: span.table,
            start: span.start,
            queries: own_queries,
            stride,
            out: own_out,
            query_dim,
            scores: &mut b.scores,
        });
        (queries, out) = (other_queries, other_out);
    }
    crew.product(&layer.attention_back, &mut b.attended, &mut b.back);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Kernel;
    use crate::pool::BlockPool;
    use crate::preset::PRESETS;
    use crate::reference;

    fn model(kernel: Kernel, threads: usize) -> Model {
        let mut crew = Crew::new(kernel, threads, || ()).unwrap();
        crew.share_everything();
        Model::new(&PRESETS[1], 3, crew)
    }

    fn tokens(seed: usize, count: usize) -> Vec<u32> {
        (0..count).map(|i| ((i + seed) * 37 % 144) as u32).collect()
    }

    /// Logits after every token of a sequence computed alone, in spans of `chunk`, as bits.
    fn by_chunks(model: &mut Model, tokens: &[u32], chunk: usize) -> Vec<Vec<f32>> {
        let mut pool = BlockPool::new(20, 1);
        let table: Vec<Block> = (0..tokens.len().div_ceil(16)).map(|_| pool.take().unwrap()).collect();
        let mut cache = KvCache::new(model.preset(), 20);
        let mut all = vec![];
        for start in (0..tokens.len()).step_by(chunk) {
            let end = tokens.len().min(start + chunk);
            model.forward(&mut cache, &[Span { table: &table, start, tokens: &tokens[start..end], logits: true }]);
            all.extend(model.logits().map(<[f32]>::to_vec));
        }
        all
    }

    /// The guard of all the arithmetic: rotary positions, grouped heads, norms and gates against a plain forward pass in f64.
    #[test]
    fn agrees_with_the_reference() {
        let tokens = tokens(5, 40);
        for kernel in Kernel::available() {
            let mut model = model(kernel, 1);
            let want = reference::logits(model.preset(), model.weights(), &tokens);
            let got = by_chunks(&mut model, &tokens, 1);
            for (position, (got, want)) in got.iter().zip(&want).enumerate() {
                let size = want.iter().map(|x| x.abs()).fold(0.0, f64::max);
                assert!(size > 0.1 && size < 1e3, "logits have a sensible size, not {size}");
                for (got, want) in got.iter().zip(want) {
                    assert!((f64::from(*got) - want).abs() < 2e-4 * size, "{} at {position}: {got} is not {want}", kernel.name());
                }
            }
        }
    }

    #[test]
    fn chunks_of_any_size_and_threads_of_any_number_give_the_same_bits() {
        let tokens = tokens(9, 67);
        for kernel in Kernel::available() {
            let one_by_one = by_chunks(&mut model(kernel, 1), &tokens, 1);
            for (chunk, threads) in [(2, 1), (3, 2), (5, 1), (16, 3), (17, 1), (64, 1), (67, 1), (67, 2)] {
                let ends = (0..tokens.len()).step_by(chunk).map(|start| tokens.len().min(start + chunk) - 1);
                let want: Vec<_> = ends.map(|end| one_by_one[end].clone()).collect();
                assert_eq!(by_chunks(&mut model(kernel, threads), &tokens, chunk), want, "{} by {chunk}", kernel.name());
            }
        }
    }

    #[test]
    fn a_batch_gives_each_sequence_the_bits_it_has_alone() {
        let sequences: Vec<Vec<u32>> = [1, 15, 16, 33, 70].iter().enumerate().map(|(seed, n)| tokens(seed * 11, *n)).collect();
        for kernel in Kernel::available() {
            let mut model = model(kernel, 1);
            let alone: Vec<Vec<f32>> = sequences.iter().map(|s| by_chunks(&mut model, s, s.len()).remove(0)).collect();
            let (mut pool, mut cache) = (BlockPool::new(20, 1), KvCache::new(model.preset(), 20));
            // Blocks are dealt in turn, so that the tables are interleaved.
            let mut tables: Vec<Vec<Block>> = sequences.iter().map(|_| vec![]).collect();
            for _ in 0..5 {
                for (table, sequence) in tables.iter_mut().zip(&sequences) {
                    if table.len() < sequence.len().div_ceil(16) {
                        table.push(pool.take().unwrap());
                    }
                }
            }
            let spans: Vec<Span<'_>> =
                sequences.iter().zip(&tables).map(|(tokens, table)| Span { table, start: 0, tokens, logits: true }).collect();
            model.forward(&mut cache, &spans);
            assert!(model.logits().eq(alone.iter().map(Vec::as_slice)), "{}", kernel.name());
        }
    }
}
