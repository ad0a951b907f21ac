//! The cache of a model whose layers are all alike, which is what an engine's blocks of one size hold: the view of a configuration that a
//! run needs.

use super::config::Read;
use nomoat_core::footprint::{Layer, Packing};
use nomoat_core::kv::{KvGeometry, Mixer};

/// The geometry of `read` with `bytes_per_element` bytes an element.
///
/// # Errors
/// Its layers are not alike, or keep something else than keys and values of the whole context.
pub fn uniform(read: &Read, bytes_per_element: f64) -> Result<KvGeometry, String> {
    const ONLY: &str = "this version knows caches of grouped-query (MHA, GQA, MQA) and latent (MLA) attention over full context only";
    let [(layers, layer)] = read.shape.layers[..] else {
        return Err(format!("has layers of several kinds (`layer_types` or another pattern): {ONLY}"));
    };
    let mixer = match layer {
        Layer::Attention { kv_heads, key_dim, value_dim, window: None, .. } => Mixer::Grouped { kv_heads, key_dim, value_dim },
        Layer::Attention { .. } => return Err(format!("has a sliding window: {ONLY}")),
        Layer::Latent { rank, rope_dim, indexer: None, .. } => Mixer::Latent { rank, rope_dim },
        Layer::Latent { .. } => return Err(format!("has `index_topk`: {ONLY}")),
        Layer::Compressed { .. } => return Err(format!("has `compress_ratios`: {ONLY}")),
        Layer::State { .. } | Layer::Shift { .. } => return Err(format!("has layers with a state: {ONLY}")),
    };
    Ok(KvGeometry { layers, mixer, bytes_per_element })
}

/// How the rows of a cache of one byte an element lie, which theoretical bytes do not say: plain, or packed with scales as engines keep
/// latent ones. `None` for other caches, which have one way.
pub fn layout(geometry: &KvGeometry) -> Option<String> {
    if geometry.bytes_per_element.to_bits() != 1.0_f64.to_bits() {
        return None;
    }
    Some(match geometry.mixer {
        Mixer::Latent { rank, rope_dim } => {
            let packed = Layer::Latent { heads: 1, rank, rope_dim, indexer: None, expanded: None }.held(1, Packing::Fp8);
            let plain = u64::from(rank) + u64::from(rope_dim);
            format!("plain fp8 rows, {plain} B a layer; packed rows of engines have {packed} B, see nomoat kv")
        }
        Mixer::Grouped { .. } => "plain fp8 rows without scales".into(),
    })
}
