//! KV memory from a model's geometry: the theoretical figure, never mixed with what an engine allocated or occupied.
//!
//! Formulas: per layer and token, MHA/GQA/MQA hold g·(d + dv) elements and MLA holds r + dr (DeepSeek-V2, arXiv 2405.04434,
//! §2.1), each element in the cache's type. Packed rows with scales, as some engines keep an MLA cache in fp8 (656 bytes where these formulas
//! have 576), are a [`Packing`](crate::footprint::Packing). Allocation is whole blocks.

/// Shape of a model's KV cache.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct KvGeometry {
    /// Layers that keep a cache.
    pub layers: u32,
    /// How a layer keeps it.
    pub mixer: Mixer,
    /// Bytes per element of the cache (2 for bf16, 4 for f32, 1 for fp8).
    pub bytes_per_element: f64,
}

/// How one layer keeps keys and values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mixer {
    /// Keys and values per KV head: MHA, GQA and MQA.
    Grouped {
        /// KV heads.
        kv_heads: u32,
        /// Dimensions of a key.
        key_dim: u32,
        /// Dimensions of a value.
        value_dim: u32,
    },
    /// One latent and one rotary key for all heads.
    Latent {
        /// Rank of the latent.
        rank: u32,
        /// Rotary dimensions.
        rope_dim: u32,
    },
}

impl KvGeometry {
    /// Bytes per cached token over all layers.
    pub fn bytes_per_token(&self) -> f64 {
        let elements = match self.mixer {
            Mixer::Grouped { kv_heads, key_dim, value_dim } => u64::from(kv_heads) * (u64::from(key_dim) + u64::from(value_dim)),
            Mixer::Latent { rank, rope_dim } => u64::from(rank) + u64::from(rope_dim),
        };
        (u64::from(self.layers) * elements) as f64 * self.bytes_per_element
    }

    /// Bytes of a sequence of `tokens` kept in whole blocks of `block_tokens`.
    pub fn bytes_in_blocks(&self, tokens: u64, block_tokens: u64) -> f64 {
        (tokens.div_ceil(block_tokens.max(1)) * block_tokens.max(1)) as f64 * self.bytes_per_token()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_models() {
        let grouped = |layers, kv_heads, dim| KvGeometry {
            layers,
            mixer: Mixer::Grouped { kv_heads, key_dim: dim, value_dim: dim },
            bytes_per_element: 2.0,
        };
        for (geometry, bytes) in [
            (grouped(32, 8, 128), 131_072.0),  // Llama-3.1-8B
            (grouped(80, 8, 128), 327_680.0),  // Llama-3.1-70B
            (grouped(126, 8, 128), 516_096.0), // Llama-3.1-405B
            (KvGeometry { layers: 61, mixer: Mixer::Latent { rank: 512, rope_dim: 64 }, bytes_per_element: 2.0 }, 70_272.0), // DeepSeek-V3
        ] {
            assert_eq!(geometry.bytes_per_token(), bytes);
        }
        assert_eq!(grouped(32, 8, 128).bytes_in_blocks(17, 16), 32.0 * 131_072.0);
    }
}
