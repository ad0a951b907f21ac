//! How many parameters a configuration means, in all and for one token: without biases, norms and what speculates, which are below a
//! hundredth. The input embedding counts as active, as in most cards.

use super::config::count as count_of;
use super::keys::Keys;
use super::listed;
use nomoat_core::footprint::{Embedding, Experts, Layer, Shape};

/// What was counted.
pub(super) struct Counted {
    pub total: f64,
    pub active: f64,
    pub embedding: Option<Embedding>,
    pub experts: Option<Experts>,
}

/// Counts them.
///
/// # Errors
/// Which key is missing, or which part nobody counts here: the figure is then unknown.
pub(super) fn count(keys: Keys<'_>, shape: &Shape) -> Result<Counted, String> {
    let width = f64::from(keys.need("hidden_size")?);
    let vocabulary = f64::from(keys.need("vocab_size")?);
    let layers = count_of(keys, "num_hidden_layers")?;
    if !gated(keys)? {
        return Err("has no `hidden_act` (`silu`) of a gated feed-forward, the only one that is counted".into());
    }
    let tied = keys.flag("tie_word_embeddings")?.ok_or("lacks `tie_word_embeddings`")?;
    let mut mixing = 0.0;
    for (n, layer) in &shape.layers {
        mixing += f64::from(*n) * mixer(keys, layer, width)?;
    }
    let rows = vocabulary * width;
    let own = (!tied).then_some(Embedding { parameters: rows, row: width, counted_active: true });
    let embedding = if tied { 1.0 } else { 2.0 } * rows;
    let feed = feed_forward(keys, layers, width)?;
    let rest = mixing + embedding + feed.shared;
    let experts = feed.experts;
    let (total, chosen) = experts.map_or((0.0, 0.0), |e| (e.total(), f64::from(e.layers) * f64::from(e.chosen) * e.parameters));
    Ok(Counted { total: rest + total, active: rest + chosen, embedding: own, experts })
}

/// SiLU stands in gated feed-forwards only; Gemma's are gated with another function, other families' with that function are not.
fn gated(keys: Keys<'_>) -> Result<bool, String> {
    let gemma = keys.word("model_type")?.is_some_and(|kind| kind.starts_with("gemma"));
    Ok(gemma || keys.word("hidden_act")?.is_some_and(|act| act == "silu" || act == "swiglu"))
}

/// Parameters of one layer's mixing of tokens.
fn mixer(keys: Keys<'_>, layer: &Layer, width: f64) -> Result<f64, String> {
    match *layer {
        Layer::Attention { heads, kv_heads, key_dim, value_dim, .. } => {
            let (heads, kv_heads, key, value) = (f64::from(heads), f64::from(kv_heads), f64::from(key_dim), f64::from(value_dim));
            Ok(width * (heads * key + kv_heads * (key + value)) + heads * value * width)
        }
        Layer::Latent { heads, rank, rope_dim, indexer, .. } => {
            let (heads, rank, rope) = (f64::from(heads), f64::from(rank), f64::from(rope_dim));
            let (plain, value) = (f64::from(keys.need("qk_nope_head_dim")?), f64::from(keys.need("v_head_dim")?));
            let query = heads * (plain + rope);
            // A null rank is a query without a latent; a key that is absent is not known.
            let latent = if keys.has("q_lora_rank") { Some(f64::from(keys.need("q_lora_rank")?)) } else { None };
            let queries = latent.map_or(width * query, |latent| width * latent + latent * query);
            let chooser = indexer.map_or(0.0, |i| {
                latent.unwrap_or(width) * f64::from(i.heads) * f64::from(i.dim) + width * (f64::from(i.dim) + f64::from(i.heads))
            });
            Ok(queries + width * (rank + rope) + rank * heads * (plain + value) + heads * value * width + chooser)
        }
        Layer::Compressed { .. } => Err("has compressed layers (`compress_ratios`), whose parameters are not counted".into()),
        Layer::State { .. } | Layer::Shift { .. } => Err("has state layers, whose parameters are not counted".into()),
    }
}

struct Feed {
    /// Of dense layers, shared experts and routers.
    shared: f64,
    experts: Option<Experts>,
}

/// The feed-forward parts of all layers.
fn feed_forward(keys: Keys<'_>, layers: u32, width: f64) -> Result<Feed, String> {
    let of = |inner: u32| 3.0 * width * f64::from(inner);
    let mut number = None;
    for key in ["n_routed_experts", "num_local_experts", "num_experts"] {
        number = number.or(keys.get(key)?);
    }
    if number.is_none()
        && let Some(key) = keys.other_experts()
    {
        return Err(format!("has `{key}`, but its experts by none of `n_routed_experts`, `num_local_experts` and `num_experts`"));
    }
    let number = number.filter(|n| *n > 1);
    let Some(number) = number else {
        return Ok(Feed { shared: f64::from(layers) * of(keys.need("intermediate_size")?), experts: None });
    };
    let chosen = match keys.get("num_experts_per_tok")? {
        Some(chosen) => chosen,
        None => keys.get("experts_per_token")?.ok_or("lacks `num_experts_per_tok`")?,
    };
    // Where all layers have experts there may be one width, under the name of the dense ones.
    let inner = match keys.get("moe_intermediate_size")? {
        Some(inner) => inner,
        None if keys.has("num_local_experts") => keys.need("intermediate_size")?,
        None => return Err("lacks `moe_intermediate_size`".into()),
    };
    let sparse = sparse(keys, layers)?;
    let dense = match layers - sparse {
        0 => 0.0,
        dense => f64::from(dense) * of(keys.need("intermediate_size")?),
    };
    let shared_inner = match (keys.get("n_shared_experts")?, keys.get("shared_expert_intermediate_size")?) {
        (Some(shared), _) => f64::from(shared) * of(inner),
        (None, Some(shared)) => of(shared) + width,
        (None, None) => 0.0,
    };
    let router = width * f64::from(number);
    Ok(Feed {
        shared: dense + f64::from(sparse) * (shared_inner + router),
        experts: Some(Experts { layers: sparse, count: number, chosen: chosen.min(number), parameters: of(inner), rest: None }),
    })
}

/// Layers that have experts.
fn sparse(keys: Keys<'_>, layers: u32) -> Result<u32, String> {
    if let Some(kinds) = keys.list("mlp_layer_types")? {
        return listed::own(keys, "mlp_layer_types", kinds)?.iter().try_fold(0, |n, kind| match kind.as_str() {
            Some("dense") => Ok(n),
            Some("sparse" | "moe" | "hash_moe") => Ok(n + 1),
            _ => Err(format!("has {kind} in `mlp_layer_types`; known are dense, sparse, moe and hash_moe")),
        });
    }
    if keys.has("expert_layer_period") {
        let (period, offset) = (keys.need("expert_layer_period")?, keys.need("expert_layer_offset")?);
        let of = |index: u32| index.checked_rem(period).map(|rest| rest == offset);
        return (0..layers).try_fold(0, |n, index| Some(n + u32::from(of(index)?))).ok_or("has an `expert_layer_period` of 0".into());
    }
    let first = keys.get("first_k_dense_replace")?.unwrap_or(0).min(layers);
    let listed = keys.list("mlp_only_layers")?.map_or(0, Vec::len);
    let step = keys.get("decoder_sparse_step")?.or(keys.get("moe_layer_freq")?).unwrap_or(1);
    if step != 1 || listed > 0 {
        return Err(
            "has experts in some layers by `decoder_sparse_step`, `moe_layer_freq` or `mlp_only_layers`, which is not counted".into()
        );
    }
    Ok(layers - first)
}
