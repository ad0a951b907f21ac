//! Named model shapes. A preset fixes every dimension; a seed fixes every weight.
//!
//! Not here: weights, or reading shapes from files. The engine exists to be measured, so its shapes are few and known.

use nomoat_core::kv::{KvGeometry, Mixer};
use nomoat_core::suggest::distance;

/// Every preset, in the order they are listed to users. A new shape is one more entry.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "tiny",
        hidden: 256,
        layers: 4,
        heads: 8,
        kv_heads: 4,
        head_dim: 32,
        ffn: 704,
        vocab: 2048,
        context: 4096,
        tied: false,
        rope_base: 10_000.0,
    },
    Preset {
        name: "micro",
        hidden: 32,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 16,
        ffn: 48,
        vocab: 144,
        context: 256,
        tied: true,
        rope_base: 10_000.0,
    },
];

/// The shape of a decoder-only transformer.
///
/// All dimensions that meet a kernel are multiples of [`crate::kernels::LANES`]; a test holds that for every preset.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Preset {
    /// Its name, as the user gives it.
    pub name: &'static str,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Dimensions of one head: 16, 32, 64 or 128.
    pub head_dim: usize,
    /// Width of the feed-forward part.
    pub ffn: usize,
    /// Token ids are below this.
    pub vocab: usize,
    /// Longest prompt plus answer in tokens.
    pub context: usize,
    /// Whether the output projection is the embedding table.
    pub tied: bool,
    /// Base of the rotary frequencies.
    pub rope_base: f64,
}

impl Preset {
    /// The preset called `name`.
    ///
    /// # Errors
    /// A message that lists the presets and suggests the nearest.
    pub fn find(name: &str) -> Result<&'static Self, String> {
        if let Some(preset) = PRESETS.iter().find(|preset| preset.name == name) {
            return Ok(preset);
        }
        let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
        let nearest = names.iter().min_by_key(|known| distance(name, known)).expect("PRESETS is a constant and not empty");
        Err(format!("no built-in model is called `{name}`; did you mean `{nearest}`? (there are: {})", names.join(", ")))
    }

    /// Dimensions of all queries of a token.
    pub fn query_dim(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Dimensions of all keys (or all values) of a token in one layer.
    pub fn kv_dim(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Parameters, norms and embeddings included; a tied table counts once.
    pub fn parameters(&self) -> usize {
        let attention = self.hidden * (self.query_dim() + 2 * self.kv_dim()) + self.query_dim() * self.hidden;
        let layer = attention + 3 * self.hidden * self.ffn + 2 * self.hidden;
        let tables = if self.tied { 1 } else { 2 };
        self.layers * layer + tables * self.vocab * self.hidden + self.hidden
    }

    /// The shape of its KV cache, which is kept in f32.
    pub fn geometry(&self) -> KvGeometry {
        KvGeometry {
            layers: self.layers as u32,
            mixer: Mixer::Grouped { kv_heads: self.kv_heads as u32, key_dim: self.head_dim as u32, value_dim: self.head_dim as u32 },
            bytes_per_element: 4.0,
        }
    }

    /// Bytes of cache per token: 2 · layers · KV heads · head dimensions · 4. The same as [`Self::geometry`] says, in integers.
    pub fn kv_bytes_per_token(&self) -> u64 {
        (2 * self.layers * self.kv_dim() * size_of::<f32>()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::LANES;

    #[test]
    fn dimensions_fit_the_kernels() {
        for preset in PRESETS {
            for dimension in [preset.hidden, preset.query_dim(), preset.kv_dim(), preset.ffn, preset.vocab] {
                assert_eq!(dimension % LANES, 0, "{}", preset.name);
            }
            assert!([16, 32, 64, 128].contains(&preset.head_dim), "{}", preset.name);
            assert_eq!(preset.heads % preset.kv_heads, 0, "{}", preset.name);
            assert_eq!(preset.kv_bytes_per_token() as f64, preset.geometry().bytes_per_token(), "{}", preset.name);
        }
    }

    #[test]
    fn tiny_is_a_few_million_parameters() {
        assert_eq!(Preset::find("tiny").map(Preset::parameters), Ok(4_000_000));
        assert_eq!(Preset::find("tiny").map(Preset::kv_bytes_per_token), Ok(4096));
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        for (name, nearest) in [("tinny", "tiny"), ("", "tiny"), ("mico", "micro"), ("Micro", "micro")] {
            let message = Preset::find(name).unwrap_err();
            assert!(message.contains(&format!("did you mean `{nearest}`")), "{message}");
            assert!(message.contains("tiny, micro"), "{message}");
        }
    }
}
