//! One layer: what it holds, moves and computes.

use super::{Expanded, Packing};

/// One kind of layer that mixes tokens.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Layer {
    /// MHA, GQA and MQA, perhaps over a window only.
    Attention {
        /// Query heads.
        heads: u32,
        /// KV heads.
        kv_heads: u32,
        /// Dimensions of a key.
        key_dim: u32,
        /// Dimensions of a value.
        value_dim: u32,
        /// Tokens that are kept; all of them without.
        window: Option<u32>,
    },
    /// MLA, perhaps with a sparse indexer.
    Latent {
        /// Query heads.
        heads: u32,
        /// Rank of the latent.
        rank: u32,
        /// Rotary dimensions.
        rope_dim: u32,
        /// The indexer, where there is one.
        indexer: Option<Indexer>,
        /// Its heads as a prompt is computed without an indexer; `None` where nobody says.
        expanded: Option<Expanded>,
    },
    /// One shared row of keys and values over a window, and a compressed entry for every few tokens.
    Compressed {
        /// Query heads.
        heads: u32,
        /// Dimensions of a row.
        dim: u32,
        /// Rotary dimensions of it.
        rope_dim: u32,
        /// Tokens in the window.
        window: u32,
        /// Tokens for each compressed entry; 0 for a window alone.
        ratio: u32,
        /// The indexer over compressed entries, where there is one.
        indexer: Option<Indexer>,
    },
    /// Mamba, gated delta networks and linear attention: a matrix a head.
    State {
        /// Heads.
        heads: u32,
        /// Dimensions of a value.
        value_dim: u32,
        /// Dimensions of a key, or of the state.
        state_dim: u32,
        /// Channels of the convolution before it.
        conv_channels: u32,
        /// Its width.
        conv_width: u32,
        /// Operations for each element of the matrix and token: about 5 for Mamba-2 and linear attention, 8 for gated delta.
        operations: u32,
    },
    /// H3: a shift of the keys, then keys times values through a diagonal state of their own.
    Shift {
        /// Width of the model.
        width: u32,
        /// Heads; each has `width / heads` dimensions.
        heads: u32,
        /// Reals of the diagonal state, for every pair of dimensions of a head; half as many complex numbers.
        state_dim: u32,
        /// Tokens that the shift holds; the released code gives it `state_dim`.
        shift: u32,
    },
}

/// Operations of one decoded token in layers that mix tokens, by the precision that deployed models compute them in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Work {
    /// Attention over keys and values, in bf16.
    pub attention: u64,
    /// Choosing entries of a latent cache, in fp8.
    pub index_fp8: u64,
    /// Choosing entries of a compressed cache, in four bits.
    pub index_fp4: u64,
    /// Updating a state and reading it, in bf16 or wider.
    pub state: u64,
}

impl Work {
    /// All of it, each operation counted once.
    pub fn total(&self) -> u64 {
        self.attention + self.index_fp8 + self.index_fp4 + self.state
    }

    /// In operations of an fp8 unit: bf16 counts twice and four bits half. DeepSeek-V4's card seems to count so; it does not say.
    pub fn fp8_equivalent(&self) -> f64 {
        2.0 * (self.attention + self.state) as f64 + self.index_fp8 as f64 + 0.5 * self.index_fp4 as f64
    }

    /// The sum with `other`, `times` over.
    #[must_use]
    pub fn plus(self, other: Self, times: u64) -> Self {
        Self {
            attention: self.attention + times * other.attention,
            index_fp8: self.index_fp8 + times * other.index_fp8,
            index_fp4: self.index_fp4 + times * other.index_fp4,
            state: self.state + times * other.state,
        }
    }
}

/// What chooses the tokens that sparse attention reads. A layer that reads what the indexer of a layer before it chose has one of no heads
/// and no dimensions: it keeps no key and computes nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Indexer {
    /// Its heads.
    pub heads: u32,
    /// Dimensions of its key.
    pub dim: u32,
    /// Entries it chooses.
    pub top_k: u32,
}

impl Layer {
    /// Bytes that `tokens` of one sequence hold.
    pub fn held(&self, tokens: u64, packing: Packing) -> u64 {
        match *self {
            Self::Attention { kv_heads, key_dim, value_dim, window, .. } => {
                let row = u64::from(kv_heads) * (u64::from(key_dim) + u64::from(value_dim)) * element(packing);
                row * visible(tokens, window)
            }
            Self::Latent { rank, rope_dim, indexer, .. } => (latent_row(rank, rope_dim, packing) + index_row(indexer, packing)) * tokens,
            Self::Compressed { dim, rope_dim, window, ratio, indexer, .. } => {
                let entries = compressed(tokens, ratio);
                compressed_row(dim, rope_dim, packing) * (tokens.min(window.into()) + entries)
                    + compressed_index(indexer, packing) * entries
            }
            Self::State { heads, value_dim, state_dim, conv_channels, conv_width, .. } => {
                let matrix = u64::from(heads) * u64::from(value_dim) * u64::from(state_dim) * 2 * element(packing);
                matrix + u64::from(conv_channels) * u64::from(conv_width.saturating_sub(1)) * 2
            }
            Self::Shift { width, heads, state_dim, shift } => {
                (u64::from(width) * u64::from(shift) + pairs(width, heads) * u64::from(state_dim)) * 2 * element(packing)
            }
        }
    }

    /// Bytes that a sequence holds besides, whatever its length and packing: the f32 keys and gates of the compressors' unfinished entries.
    /// An engine may keep them with the cache or not, so they are in no total.
    pub fn tail(&self) -> u64 {
        match *self {
            // Entries that an indexer chooses from overlap: two of them are unfinished at a time, with two rows each.
            Self::Compressed { dim, ratio, indexer, .. } if ratio > 0 => {
                let overlap: u64 = if indexer.is_some() { 2 } else { 1 };
                let one = |dim: u32| 2 * (overlap * u64::from(ratio)) * (overlap * u64::from(dim)) * 4;
                one(dim) + indexer.map_or(0, |indexer| one(indexer.dim))
            }
            _ => 0,
        }
    }

    /// Bytes of it that one decoded token reads, and for a state writes.
    pub fn moved(&self, tokens: u64, packing: Packing) -> u64 {
        match *self {
            Self::Attention { .. } => self.held(tokens, packing),
            Self::Latent { rank, rope_dim, indexer, .. } => {
                let read = indexer.map_or(tokens, |indexer| tokens.min(indexer.top_k.into()));
                latent_row(rank, rope_dim, packing) * read + index_row(indexer, packing) * tokens
            }
            Self::Compressed { dim, rope_dim, window, ratio, indexer, .. } => {
                let entries = compressed(tokens, ratio);
                let read = indexer.map_or(entries, |indexer| entries.min(indexer.top_k.into()));
                compressed_row(dim, rope_dim, packing) * (tokens.min(window.into()) + read) + compressed_index(indexer, packing) * entries
            }
            Self::State { .. } | Self::Shift { .. } => 2 * self.held(tokens, packing),
        }
    }

    /// Floating point operations of one decoded token.
    pub fn work(&self, tokens: u64) -> Work {
        let choosing = |indexer: Option<Indexer>, entries: u64| indexer.map_or(0, |i| 2 * u64::from(i.heads) * u64::from(i.dim) * entries);
        match *self {
            Self::Attention { heads, key_dim, value_dim, window, .. } => {
                let attention = 2 * u64::from(heads) * (u64::from(key_dim) + u64::from(value_dim)) * visible(tokens, window);
                Work { attention, ..Work::default() }
            }
            Self::Latent { heads, rank, rope_dim, indexer, .. } => {
                let read = indexer.map_or(tokens, |indexer| tokens.min(indexer.top_k.into()));
                let attention = 2 * u64::from(heads) * (2 * u64::from(rank) + u64::from(rope_dim)) * read;
                Work { attention, index_fp8: choosing(indexer, tokens), ..Work::default() }
            }
            Self::Compressed { heads, dim, window, ratio, indexer, .. } => {
                let entries = compressed(tokens, ratio);
                let read = indexer.map_or(entries, |indexer| entries.min(indexer.top_k.into()));
                let attention = 4 * u64::from(heads) * u64::from(dim) * (tokens.min(window.into()) + read);
                Work { attention, index_fp4: choosing(indexer, entries), ..Work::default() }
            }
            Self::State { heads, value_dim, state_dim, conv_channels, conv_width, operations } => {
                let state = u64::from(operations) * u64::from(heads) * u64::from(value_dim) * u64::from(state_dim)
                    + 2 * u64::from(conv_channels) * u64::from(conv_width);
                Work { state, ..Work::default() }
            }
            // Of each pair of dimensions: a complex number is turned (6), the input is scaled and added (4) and what comes out is read (4)
            // for every two reals; the product of key and value (1), its bypass (2) and the product with the query (2).
            Self::Shift { width, heads, state_dim, shift } => {
                let state = 2 * u64::from(width) * u64::from(shift) + pairs(width, heads) * (7 * u64::from(state_dim) + 5);
                Work { state, ..Work::default() }
            }
        }
    }
}

/// Pairs of dimensions of a head, over all heads.
fn pairs(width: u32, heads: u32) -> u64 {
    let dim = u64::from(width / heads.max(1));
    u64::from(heads) * dim * dim
}

fn element(packing: Packing) -> u64 {
    match packing {
        Packing::Bf16 => 2,
        Packing::Fp8 => 1,
    }
}

fn visible(tokens: u64, window: Option<u32>) -> u64 {
    window.map_or(tokens, |window| tokens.min(window.into()))
}

/// In fp8: one byte for each of the latent, a scale of four for each 128 of them, and the rotary part in two.
fn latent_row(rank: u32, rope_dim: u32, packing: Packing) -> u64 {
    let (rank, rope_dim) = (u64::from(rank), u64::from(rope_dim));
    match packing {
        Packing::Bf16 => 2 * (rank + rope_dim),
        Packing::Fp8 => rank + 4 * (rank / 128) + 2 * rope_dim,
    }
}

fn index_row(indexer: Option<Indexer>, packing: Packing) -> u64 {
    indexer.map_or(0, |indexer| match packing {
        Packing::Bf16 => 2 * u64::from(indexer.dim),
        // A scale of four bytes for each key, where there is one.
        Packing::Fp8 => u64::from(indexer.dim) + if indexer.dim > 0 { 4 } else { 0 },
    })
}

fn compressed(tokens: u64, ratio: u32) -> u64 {
    tokens.checked_div(ratio.into()).unwrap_or(0)
}

/// In fp8: one byte for each of the row, two for the rotary part, and eight of scales and padding.
fn compressed_row(dim: u32, rope_dim: u32, packing: Packing) -> u64 {
    let (dim, rope_dim) = (u64::from(dim), u64::from(rope_dim));
    match packing {
        Packing::Bf16 => 2 * dim,
        Packing::Fp8 => dim - rope_dim + 2 * rope_dim + 8,
    }
}

/// In fp8 mode the indexer's keys are in four bits, with a scale for each 32 of them.
fn compressed_index(indexer: Option<Indexer>, packing: Packing) -> u64 {
    indexer.map_or(0, |indexer| match packing {
        Packing::Bf16 => 2 * u64::from(indexer.dim),
        Packing::Fp8 => u64::from(indexer.dim) / 2 + u64::from(indexer.dim) / 32,
    })
}
