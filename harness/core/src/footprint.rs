//! What a sequence costs in a model's cache or state, and what one decoded token reads and computes: from shapes alone, for every kind of
//! layer that mixes tokens. Theoretical figures: never mixed with what an engine allocated or occupied.
//!
//! Formulas, per layer, for L cached tokens, h query heads, g KV heads, key and value dimensions d and dv:
//! attention holds g·(d + dv) elements a token and computes 2h·(d + dv)·L; latent attention (MLA, DeepSeek-V2, arXiv 2405.04434 §2.1) holds
//! r + dr and computes, absorbed, 2h·(2r + dr)·L; a sparse indexer (DSA, DeepSeek-V3.2) adds a key of its own for every token and bounds
//! what is read to k; a compressed cache (DeepSeek-V4) holds a window and one entry for every m tokens; a state space or gated delta
//! layer holds one matrix a head, whatever L is, and reads and writes all of it.

/// How densely a cache is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packing {
    /// Two bytes an element; matrix states in four.
    Bf16,
    /// One byte an element, and the packed rows that engines deploy for latent and compressed caches (656 and 584 bytes); states in two.
    Fp8,
}

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
}

/// What chooses the tokens that sparse attention reads.
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
            Self::State { .. } => 2 * self.held(tokens, packing),
        }
    }

    /// Floating point operations of one decoded token.
    pub fn operations(&self, tokens: u64) -> u64 {
        let index = |indexer: Option<Indexer>, entries: u64| indexer.map_or(0, |i| 2 * u64::from(i.heads) * u64::from(i.dim) * entries);
        match *self {
            Self::Attention { heads, key_dim, value_dim, window, .. } => {
                2 * u64::from(heads) * (u64::from(key_dim) + u64::from(value_dim)) * visible(tokens, window)
            }
            Self::Latent { heads, rank, rope_dim, indexer } => {
                let read = indexer.map_or(tokens, |indexer| tokens.min(indexer.top_k.into()));
                2 * u64::from(heads) * (2 * u64::from(rank) + u64::from(rope_dim)) * read + index(indexer, tokens)
            }
            Self::Compressed { heads, dim, window, ratio, indexer, .. } => {
                let entries = compressed(tokens, ratio);
                let read = indexer.map_or(entries, |indexer| entries.min(indexer.top_k.into()));
                4 * u64::from(heads) * u64::from(dim) * (tokens.min(window.into()) + read) + index(indexer, entries)
            }
            Self::State { heads, value_dim, state_dim, conv_channels, conv_width, operations } => {
                u64::from(operations) * u64::from(heads) * u64::from(value_dim) * u64::from(state_dim)
                    + 2 * u64::from(conv_channels) * u64::from(conv_width)
            }
        }
    }
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
        Packing::Fp8 => u64::from(indexer.dim) + 4,
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

/// A model's layers that mix tokens, and its parameters.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Shape {
    /// How many layers of each kind.
    pub layers: Vec<(u32, Layer)>,
    /// Parameters that one token uses; `None` where they are not known.
    pub active: Option<f64>,
    /// Parameters in all.
    pub total: Option<f64>,
}

impl Shape {
    /// Bytes that one sequence of `tokens` holds.
    pub fn held(&self, tokens: u64, packing: Packing) -> u64 {
        self.layers.iter().map(|(n, layer)| u64::from(*n) * layer.held(tokens, packing)).sum()
    }

    /// Bytes of cache and state that one decoded token moves.
    pub fn moved(&self, tokens: u64, packing: Packing) -> u64 {
        self.layers.iter().map(|(n, layer)| u64::from(*n) * layer.moved(tokens, packing)).sum()
    }

    /// Operations of one decoded token in these layers; the matrices of the model are 2 for each active parameter.
    pub fn operations(&self, tokens: u64) -> u64 {
        self.layers.iter().map(|(n, layer)| u64::from(*n) * layer.operations(tokens)).sum()
    }

    /// Bytes that one more token takes, at `tokens`: the mean over the next 128, because compressed layers grow in steps.
    pub fn per_token(&self, tokens: u64, packing: Packing) -> f64 {
        (self.held(tokens + 128, packing) - self.held(tokens, packing)) as f64 / 128.0
    }

    /// Sequences of `tokens` that fit into `memory` bytes beside weights of `weight_bytes` a parameter; `None` where the parameters are not
    /// known.
    pub fn users(&self, memory: f64, weight_bytes: f64, tokens: u64, packing: Packing) -> Option<u64> {
        let left = memory - self.total? * weight_bytes;
        Some(if left <= 0.0 { 0 } else { (left / self.held(tokens, packing).max(1) as f64) as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: f64 = (1_u64 << 30) as f64;

    fn attention(heads: u32, kv_heads: u32, dim: u32) -> Layer {
        Layer::Attention { heads, kv_heads, key_dim: dim, value_dim: dim, window: None }
    }

    fn latent(indexer: Option<Indexer>) -> Layer {
        Layer::Latent { heads: 128, rank: 512, rope_dim: 64, indexer }
    }

    fn v4(heads: u32, ratio: u32, top_k: u32) -> Layer {
        let indexer = (ratio == 4).then_some(Indexer { heads: 64, dim: 128, top_k });
        Layer::Compressed { heads, dim: 512, rope_dim: 64, window: 128, ratio, indexer }
    }

    fn state(heads: u32, value_dim: u32, state_dim: u32, conv_channels: u32) -> Layer {
        Layer::State { heads, value_dim, state_dim, conv_channels, conv_width: 4, operations: 5 }
    }

    fn shape(layers: &[(u32, Layer)]) -> Shape {
        Shape { layers: layers.to_vec(), ..Shape::default() }
    }

    #[test]
    fn published_and_derived_models() {
        let dsa = Some(Indexer { heads: 64, dim: 128, top_k: 2_048 });
        let half_window = Layer::Attention { heads: 64, kv_heads: 8, key_dim: 64, value_dim: 64, window: Some(128) };
        let wide = Layer::Attention { heads: 128, kv_heads: 128, key_dim: 192, value_dim: 128, window: None };
        // Bytes a token in bf16 and fp8 at 1 Mi tokens, then GiB: 4 Ki, 128 Ki and 1 Mi in bf16, 128 Ki and 1 Mi in fp8.
        let table: [(&str, Shape, [f64; 2], [f64; 5]); 16] = [
            ("Llama-3.1-8B", shape(&[(32, attention(32, 8, 128))]), [131_072.0, 65_536.0], [0.5, 16.0, 128.0, 8.0, 64.0]),
            ("Llama-3.1-70B", shape(&[(80, attention(64, 8, 128))]), [327_680.0, 163_840.0], [1.25, 40.0, 320.0, 20.0, 160.0]),
            ("Llama-3.1-405B", shape(&[(126, attention(128, 8, 128))]), [516_096.0, 258_048.0], [1.969, 63.0, 504.0, 31.5, 252.0]),
            (
                "405B as MHA",
                shape(&[(126, attention(128, 128, 128))]),
                [8_257_536.0, 4_128_768.0],
                [31.5, 1_008.0, 8_064.0, 504.0, 4_032.0],
            ),
            ("Qwen3-32B", shape(&[(64, attention(64, 8, 128))]), [262_144.0, 131_072.0], [1.0, 32.0, 256.0, 16.0, 128.0]),
            ("Qwen3-235B-A22B", shape(&[(94, attention(64, 4, 128))]), [192_512.0, 96_256.0], [0.734, 23.5, 188.0, 11.75, 94.0]),
            (
                "gpt-oss-120b",
                shape(&[(18, attention(64, 8, 64)), (18, half_window)]),
                [36_864.0, 18_432.0],
                [0.145, 4.504, 36.004, 2.252, 18.002],
            ),
            ("DeepSeek-V3", shape(&[(61, latent(None))]), [70_272.0, 40_016.0], [0.268, 8.578, 68.625, 4.885, 39.078]),
            ("V3 as MHA", shape(&[(61, wide)]), [4_997_120.0, 2_498_560.0], [19.062, 610.0, 4_880.0, 305.0, 2_440.0]),
            ("DeepSeek-V3.2", shape(&[(61, latent(dsa))]), [85_888.0, 48_068.0], [0.328, 10.484, 83.875, 5.868, 46.941]),
            (
                "DeepSeek-V4-Pro",
                shape(&[(31, v4(128, 128, 0)), (30, v4(128, 4, 1_024))]),
                [9_848.0, 5_031.0],
                [46.09 / 1024.0, 1.21, 9.625, 0.618, 4.918],
            ),
            (
                "DeepSeek-V4-Flash",
                shape(&[(2, v4(64, 0, 0)), (21, v4(64, 4, 512)), (20, v4(64, 128, 0))]),
                [6_880.0, 3_514.0],
                [32.25 / 1024.0, 0.845, 6.724, 0.432, 3.435],
            ),
            ("Mamba2-2.7B", shape(&[(64, state(80, 64, 128, 5_376))]), [0.0, 0.0], [0.158, 0.158, 0.158, 81.97 / 1024.0, 81.97 / 1024.0]),
            (
                "Qwen3-Next-80B-A3B",
                shape(&[(36, state(32, 128, 128, 8_192)), (12, attention(16, 2, 256))]),
                [24_576.0, 12_288.0],
                [0.166, 3.072, 24.072, 1.537, 12.037],
            ),
            (
                "Nemotron-3-Nano-30B",
                shape(&[(23, state(64, 64, 128, 6_144)), (6, attention(32, 2, 128))]),
                [6_144.0, 3_072.0],
                [70.81 / 1024.0, 0.796, 6.046, 0.398, 3.023],
            ),
            (
                "Jamba-1.5-Large",
                shape(&[(63, state(16_384, 1, 16, 16_384)), (9, attention(64, 8, 128))]),
                [36_864.0, 18_432.0],
                [0.208, 4.567, 36.067, 2.287, 18.037],
            ),
        ];
        let near = |value: f64, expect: f64| (value - expect).abs() <= 0.004 * expect + 1e-9;
        for (name, shape, slopes, sizes) in &table {
            for (packing, slope) in [Packing::Bf16, Packing::Fp8].into_iter().zip(slopes) {
                assert!((shape.per_token(1 << 20, packing) - slope).abs() <= 0.5, "{name}: {}", shape.per_token(1 << 20, packing));
            }
            let cases = [
                (4_096, Packing::Bf16),
                (131_072, Packing::Bf16),
                (1 << 20, Packing::Bf16),
                (131_072, Packing::Fp8),
                (1 << 20, Packing::Fp8),
            ];
            for ((tokens, packing), size) in cases.into_iter().zip(sizes) {
                let held = shape.held(tokens, packing) as f64 / GIB;
                assert!(near(held, *size), "{name} at {tokens}: {held} GiB, not {size}");
            }
        }
        // The claim of a tenth of the memory holds for long contexts only.
        let of = |name: &str| table.iter().find(|row| row.0 == name).map(|row| row.1.clone()).unwrap();
        let share =
            |tokens| of("DeepSeek-V4-Pro").held(tokens, Packing::Fp8) as f64 / of("DeepSeek-V3.2").held(tokens, Packing::Fp8) as f64;
        assert!((share(1 << 20) - 0.105).abs() < 0.0005, "{}", share(1 << 20));
        assert!((share(1 << 10) - 0.197).abs() < 0.0005, "{}", share(1 << 10));
        assert_eq!(of("Llama-3.1-8B").held(1, Packing::Bf16), 131_072);
    }

    #[test]
    fn what_a_decoded_token_moves_and_computes() {
        // Absorbed latent attention: about 2h operations for each byte of a bf16 cache.
        let mla = latent(None);
        let intensity = mla.operations(4_096) as f64 / mla.moved(4_096, Packing::Bf16) as f64;
        assert!((intensity / 256.0 - 1.0).abs() < 0.06, "{intensity}");
        // Sparse attention by loops: five of nine tokens are read, all nine are indexed.
        let small = Layer::Latent { heads: 4, rank: 8, rope_dim: 4, indexer: Some(Indexer { heads: 2, dim: 3, top_k: 5 }) };
        let read: u64 = (0..5).map(|_| 4 * (2 * (8 + 4) + 2 * 8)).sum();
        let indexed: u64 = (0..9).map(|_| 2 * 2 * 3).sum();
        assert_eq!(small.operations(9), read + indexed);
        assert_eq!(latent(None).held(1, Packing::Fp8), 656);
        assert_eq!(v4(64, 0, 0).held(1, Packing::Fp8), 584);
        // A state is read and written, and does not grow.
        let ssm = state(80, 64, 128, 5_376);
        assert_eq!(ssm.held(1, Packing::Bf16), ssm.held(1 << 20, Packing::Bf16));
        assert_eq!(ssm.moved(9, Packing::Bf16), 2 * ssm.held(9, Packing::Bf16));
        let llama = Shape { total: Some(8e9), ..shape(&[(32, attention(32, 8, 128))]) };
        assert_eq!(llama.users(80e9, 2.0, 8_192, Packing::Bf16), Some(59));
        assert_eq!(llama.users(8e9, 2.0, 8_192, Packing::Bf16), Some(0));
    }
}
