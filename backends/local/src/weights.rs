//! Seeded random weights of a preset.
//!
//! Uniform with variance gain² / inputs, so that activations keep their size from layer to layer. Queries and keys get a gain
//! that makes attention choose instead of average, the two maps back into the residual stream one that lets what the layers
//! computed outweigh the embedding: else greedy answers would repeat their last token.

use crate::kernels::gemm::Matrix;
use crate::kernels::pointwise::Rotary;
use crate::preset::Preset;
use nomoat_core::rng::Stream;
use std::sync::Arc;

/// Gain of the maps to queries, keys and values.
const QKV_GAIN: f64 = 1.7;
/// Gain of the maps back into the residual stream.
const BACK_GAIN: f64 = 2.5;

/// Weights of one layer.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Norm before attention.
    pub attention_norm: Vec<f32>,
    /// To queries, then keys, then values.
    pub qkv: Arc<Matrix>,
    /// From attention back.
    pub attention_back: Arc<Matrix>,
    /// Norm before the feed-forward part.
    pub ffn_norm: Vec<f32>,
    /// To gates, then ups.
    pub gate_up: Arc<Matrix>,
    /// From the feed-forward part back.
    pub ffn_back: Arc<Matrix>,
}

/// Weights of a model, packed for the kernels.
#[derive(Clone, Debug)]
pub struct Weights {
    /// Token by token, `hidden` each.
    pub embedding: Vec<f32>,
    /// The layers.
    pub layers: Vec<Layer>,
    /// Norm before the output.
    pub final_norm: Vec<f32>,
    /// To logits. For a tied preset the embedding table, packed.
    pub head: Arc<Matrix>,
    /// Rotary positions.
    pub rotary: Rotary,
}

impl Weights {
    /// The weights of `preset` under `seed`: the same everywhere, each matrix from a stream of its own.
    pub fn seeded(preset: &Preset, seed: u64) -> Self {
        let matrix = |name: String, rows: usize, columns: usize, gain: f64| {
            let bound = gain * libm::sqrt(3.0 / columns as f64);
            Arc::new(Matrix::pack(rows, columns, &uniform(seed, &name, rows * columns, bound)))
        };
        let norm = |name: String| uniform(seed, &name, preset.hidden, 0.2).iter().map(|x| 1.0 + x).collect::<Vec<f32>>();
        let (q, kv, hidden, ffn) = (preset.query_dim(), preset.kv_dim(), preset.hidden, preset.ffn);
        let embedding = uniform(seed, "embedding", preset.vocab * hidden, libm::sqrt(3.0));
        let layers = (0..preset.layers)
            .map(|layer| Layer {
                attention_norm: norm(format!("layer {layer} attention norm")),
                qkv: matrix(format!("layer {layer} qkv"), q + 2 * kv, hidden, QKV_GAIN),
                attention_back: matrix(format!("layer {layer} attention back"), hidden, q, BACK_GAIN),
                ffn_norm: norm(format!("layer {layer} ffn norm")),
                gate_up: matrix(format!("layer {layer} gate up"), 2 * ffn, hidden, 1.0),
                ffn_back: matrix(format!("layer {layer} ffn back"), hidden, ffn, BACK_GAIN),
            })
            .collect();
        let head = if preset.tied {
            Arc::new(Matrix::pack(preset.vocab, hidden, &embedding))
        } else {
            matrix("head".into(), preset.vocab, hidden, 1.0)
        };
        let rotary = Rotary::new(preset.head_dim, preset.context, preset.rope_base);
        Self { embedding, layers, final_norm: norm("final norm".into()), head, rotary }
    }
}

/// `count` numbers between −`bound` and `bound` from the stream of a name.
fn uniform(seed: u64, name: &str, count: usize, bound: f64) -> Vec<f32> {
    let mut stream = Stream::new(seed, &format!("weights: {name}"));
    (0..count).map(|_| ((2.0 * stream.uniform() - 1.0) * bound) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preset::PRESETS;

    #[test]
    fn a_seed_fixes_every_weight_and_ties_hold() {
        let micro = PRESETS.iter().find(|preset| preset.tied).unwrap();
        let (a, b, c) = (Weights::seeded(micro, 1), Weights::seeded(micro, 1), Weights::seeded(micro, 2));
        assert_eq!(a.layers[1].gate_up, b.layers[1].gate_up);
        assert_ne!(a.layers[1].gate_up, c.layers[1].gate_up);
        assert_ne!(a.layers[0].gate_up, a.layers[1].gate_up);
        assert_eq!(a.head.get(7, 3), a.embedding[7 * micro.hidden + 3]);
    }
}
