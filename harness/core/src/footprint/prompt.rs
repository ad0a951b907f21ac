//! What a whole prompt computes.
//!
//! Token t of a prompt sees t tokens, itself included, so that a layer that sees all of them computes over N·(N + 1)/2 pairs. Each kind in the
//! form that engines prefill it in: latent attention with its keys and values expanded for every head, 2h·(d + dv) a pair (DeepSeek-V2, arXiv
//! 2405.04434 §2.1: 81,920 where the absorbed form of decoding has 278,528); with an indexer in the absorbed form over what was chosen, and
//! the indexer over everything, as DeepSeek-V3.2 does; compressed caches over the window and the entries that are finished; states in chunks
//! of Q tokens (Mamba-2, arXiv 2405.21060 §6), 2Q·N for each group and 2Q·P + 4N·P for each head and token. Gated delta networks go by the same
//! formula: their own chunks are shorter and have more products, which is about as many operations. Where every channel has a state of its
//! own (Mamba-1), and in H3, it is the step of decoding for every token.

use super::{Chip, Layer, Precision, Shape};

/// Tokens of a chunk in which a state is computed; a shorter prompt is one chunk.
const CHUNK: u64 = 256;

/// Dimensions of a head where a latent is expanded, as a prompt is computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expanded {
    /// Dimensions of a key, the rotary ones included.
    pub key_dim: u32,
    /// Dimensions of a value.
    pub value_dim: u32,
}

/// Operations of a prompt in layers that mix tokens, by the precision that deployed models compute them in.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Mixing {
    /// Attention and states, in bf16.
    pub bf16: f64,
    /// Indexers of latent and compressed caches, in fp8 or four bits.
    pub index: f64,
}

impl Mixing {
    /// All of it, each operation counted once.
    pub fn total(&self) -> f64 {
        self.bf16 + self.index
    }
}

/// A prompt of one sequence, computed at once and from nothing: no prefix of it is cached.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Prompt {
    /// Operations of the model's matrices for all tokens, of the output's matrix for the last one, where that is a matrix of its own; `None`
    /// where the parameters are not known.
    pub matrices: Option<f64>,
    /// Operations of the layers that mix tokens; `None` where a latent's expanded form is not known.
    pub mixing: Option<Mixing>,
    /// Seconds of computing at the peaks of a device; `None` where it or the model does not say.
    pub compute_s: Option<f64>,
}

impl Prompt {
    /// Of `tokens` of `shape`: matrices run at the peak of the weights' precision, attention and states at that of bf16, indexers at that of fp8.
    pub fn new(shape: &Shape, tokens: u64, weights: Precision, chip: &Chip) -> Self {
        let count = tokens as f64;
        // An input embedding that is not the output's matrix has its size. Engines ask for the last token's logits alone.
        let output = shape.embedding.map_or(0.0, |rows| 2.0 * rows.parameters);
        let matrices = shape.matrices().map(|flop| (flop * count - output * (count - 1.0)).max(0.0));
        let mixing = shape.layers.iter().try_fold(Mixing::default(), |sum, (n, layer)| {
            let (times, of) = (f64::from(*n), layer.prompt(tokens)?);
            Some(Mixing { bf16: sum.bf16 + times * of.bf16, index: sum.index + times * of.index })
        });
        let compute_s = (|| {
            let mixing = mixing?;
            Some(
                Chip::seconds(matrices?, chip.peak(weights))?
                    + Chip::seconds(mixing.bf16, chip.bf16)?
                    + Chip::seconds(mixing.index, chip.fp8)?,
            )
        })();
        Self { matrices, mixing, compute_s }
    }

    /// All operations; `None` where a part is not known.
    pub fn total(&self) -> Option<f64> {
        Some(self.matrices? + self.mixing?.total())
    }

    /// Share of the layers that mix tokens in all operations.
    pub fn mixing_share(&self) -> Option<f64> {
        Some(self.mixing?.total() / self.total()?.max(1.0))
    }
}

impl Layer {
    /// Operations of a prompt of `tokens`; `None` where the expanded form of a latent is not known.
    pub fn prompt(&self, tokens: u64) -> Option<Mixing> {
        let real = |n: u32| f64::from(n);
        Some(match *self {
            Self::Attention { heads, key_dim, value_dim, window, .. } => {
                Mixing { bf16: 2.0 * real(heads) * (real(key_dim) + real(value_dim)) * seen(tokens, window), index: 0.0 }
            }
            Self::Latent { heads, indexer: None, expanded, .. } => {
                let Expanded { key_dim, value_dim } = expanded?;
                Mixing { bf16: 2.0 * real(heads) * (real(key_dim) + real(value_dim)) * seen(tokens, None), index: 0.0 }
            }
            Self::Latent { heads, rank, rope_dim, indexer: Some(of), .. } => Mixing {
                bf16: 2.0 * real(heads) * (2.0 * real(rank) + real(rope_dim)) * seen(tokens, Some(of.top_k)),
                index: 2.0 * real(of.heads) * real(of.dim) * seen(tokens, None),
            },
            Self::Compressed { heads, dim, window, ratio, indexer, .. } => {
                let entries = finished(tokens, ratio, None);
                let read = indexer.map_or(entries, |of| finished(tokens, ratio, Some(of.top_k)));
                Mixing {
                    bf16: 4.0 * real(heads) * real(dim) * (seen(tokens, Some(window)) + read),
                    index: indexer.map_or(0.0, |of| 2.0 * real(of.heads) * real(of.dim) * entries),
                }
            }
            // Without a dimension to multiply over there is nothing to put into chunks.
            Self::State { value_dim: ..=1, .. } | Self::Shift { .. } => {
                Mixing { bf16: self.work(tokens).total() as f64 * tokens as f64, index: 0.0 }
            }
            Self::State { heads, value_dim, state_dim, conv_channels, conv_width, .. } => {
                let chunk = tokens.min(CHUNK) as f64;
                let (heads, value, state) = (real(heads), real(value_dim), real(state_dim));
                // The convolution goes over values and, for each group, a key and a query.
                let groups = match conv_channels {
                    0 => heads,
                    channels => ((real(channels) - heads * value) / (2.0 * state).max(1.0)).max(0.0),
                };
                let token = 2.0 * chunk * state * groups
                    + heads * (2.0 * chunk * value + 4.0 * state * value)
                    + 2.0 * real(conv_channels) * real(conv_width);
                Mixing { bf16: token * tokens as f64, index: 0.0 }
            }
        })
    }
}

/// Pairs of a token and one that it sees: the sum of min(t, `most`) for t of 1 to `tokens`.
fn seen(tokens: u64, most: Option<u32>) -> f64 {
    let all = most.map_or(tokens, |most| tokens.min(most.into())) as f64;
    all * (all + 1.0) / 2.0 + (tokens as f64 - all) * all
}

/// Pairs of a token and an entry that is finished before it: the sum of min(⌊t/`ratio`⌋, `most`) for t of 1 to `tokens`.
fn finished(tokens: u64, ratio: u32, most: Option<u32>) -> f64 {
    let Some(rest) = tokens.checked_rem(ratio.into()) else { return 0.0 };
    let full = most.map_or(tokens, |most| tokens.min(u64::from(most) * u64::from(ratio)));
    let rest = if full == tokens { rest } else { 0 };
    let entries = (full / u64::from(ratio)) as f64;
    let growing = f64::from(ratio) * entries * (entries - 1.0) / 2.0 + entries * (rest as f64 + 1.0);
    growing + (tokens - full) as f64 * entries
}
