//! A configuration as transformers, and before it the code of Mamba, writes it: which layers a model has.
//!
//! Keys decide, not the names of models: a name says nothing of the layers of a model that was made after this version. Only where a
//! family leaves a pattern unwritten does its `model_type` stand for it.

use super::keys::{Keys, brief};
use super::{listed, parameters};
use nomoat_core::footprint::{Expanded, Indexer, Layer, Shape};
use serde_json::Value;

/// Kinds of layers that are read, for messages.
const KNOWN: &str = "attention (MHA, GQA, MQA, MLA, with index_topk, over a window), `layer_types`, `sliding_window_pattern`, \
    `compress_ratios`, `hybrid_override_pattern`, `attn_layer_period` (Jamba), `full_attention_interval` (Qwen3-Next), \
    mamba, mamba2 and `ssm_cfg`, and falcon_h1";

/// Keys of layers or heads that are not read: a model that has one is not what its other keys seem to say. Beside each key, the keys of
/// patterns that say the same and are read instead.
const UNKNOWN: [(&str, &[&str]); 38] = [
    ("attention_chunk_size", &["layer_types"]),
    ("attention_k_eq_v", &[]),
    ("attention_types", &[]),
    ("attn_layer_indices", &["layer_types"]),
    ("attn_type_list", &[]),
    ("block_configs", &[]),
    ("block_types", &[]),
    ("candidate_source_layer", &[]),
    ("candidate_source_layer_id", &[]),
    ("cross_attention_layers", &[]),
    ("global_head_dim", &[]),
    ("hybrid_layer_pattern", &[]),
    ("index_source_layer_ids", &[]),
    ("index_source_layers", &[]),
    ("index_topk_freq", &["indexer_types"]),
    ("index_topk_pattern", &["indexer_types"]),
    ("kv_n_heads", &[]),
    ("kv_source_layer_ids", &[]),
    ("kv_source_layers", &[]),
    ("layers_block_type", &["layer_types", "hybrid_override_pattern", "attn_layer_period"]),
    ("linear_attn_config", &[]),
    ("multi_query_attention", &[]),
    ("multi_query_group_num", &[]),
    ("n_head_kv", &[]),
    ("n_kv_heads", &[]),
    ("no_rope_layers", &["layer_types"]),
    ("nsa_config", &[]),
    ("num_attention_groups", &[]),
    ("num_global_key_value_heads", &[]),
    ("num_key_value_heads_per_layer", &[]),
    ("num_kv_groups", &[]),
    ("num_kv_shared_layers", &[]),
    ("num_query_groups", &[]),
    ("sparse_attention_config", &[]),
    ("state_size", &["ssm_cfg"]),
    ("swa_head_dim", &[]),
    ("swa_num_key_value_heads", &[]),
    ("use_cla", &[]),
];

/// Families whose `multi_query` and `num_kv_heads` are read as their code reads them.
const FALCON: [&str; 3] = ["falcon", "RefinedWeb", "RefinedWebModel"];

/// What a configuration says.
#[derive(Clone, PartialEq, Debug)]
pub struct Read {
    /// Its layers and, where the keys are there, its parameters.
    pub shape: Shape,
    /// The type of its weights, and of its cache unless an engine is told otherwise: `dtype`, or `torch_dtype` before it.
    pub dtype: Option<String>,
    /// How its weights are quantised: the method, and the format or the bits.
    pub quantization: Option<String>,
    /// Why its parameters are not counted.
    pub uncounted: Option<String>,
    /// Layers for speculative decoding, whose cache is not counted.
    pub speculative: u32,
}

impl Read {
    /// What a reader of its figures should know.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = vec![match (&self.dtype, &self.quantization) {
            (Some(dtype), None) => format!("its own type is {dtype}"),
            (None, None) => "it tells no type".into(),
            (dtype, Some(how)) => {
                format!("its weights are quantised ({how}){}", dtype.as_ref().map_or_else(String::new, |dtype| format!(", else {dtype}")))
            }
        }];
        notes.extend(self.uncounted.as_ref().map(|why| format!("its parameters are not counted, for it {why}")));
        if self.speculative > 0 {
            notes.push(format!("{} more layer(s) for speculative decoding are not counted", self.speculative));
        }
        notes
    }
}

/// Reads a configuration.
///
/// # Errors
/// What it lacks, or which kind of layer is not known.
pub fn of_config(config: &Value) -> Result<Read, String> {
    let whole = config;
    let keys = Keys(config.get("text_config").unwrap_or(config));
    let layers = layers(keys)?;
    if layers.is_empty() {
        return Err("has no layer with a cache or a state".into());
    }
    // The outer level of a model for several media may hold what the inner one does not.
    let text = |key: &str| [keys.0, whole].iter().find_map(|level| level.get(key)).and_then(Value::as_str).map(str::to_owned);
    let quantization =
        [keys.0, whole].iter().find_map(|level| level.get("quantization_config").filter(|q| q.is_object())).map(quantization);
    let width = match keys.get("hidden_size")? {
        Some(width) => Some(width),
        None => keys.get("d_model")?,
    };
    let mut shape = Shape { layers, width, ..Shape::default() };
    let uncounted = match parameters::count(keys, &shape) {
        Ok(counted) => {
            (shape.active, shape.total) = (Some(counted.active), Some(counted.total));
            (shape.embedding, shape.experts) = (counted.embedding, counted.experts);
            None
        }
        Err(why) => Some(why),
    };
    let dtype = text("dtype").or_else(|| text("torch_dtype"));
    let speculative = listed::speculative(keys)?.iter().map(|(_, n)| *n).max().unwrap_or(0);
    Ok(Read { shape, dtype, quantization, uncounted, speculative })
}

fn quantization(how: &Value) -> String {
    let text = |key: &str| how.get(key).and_then(Value::as_str);
    let method = text("quant_method").or_else(|| text("quant_algo")).unwrap_or("by a method it does not name");
    let bits = how.get("bits").and_then(Value::as_u64).map(|bits| format!("{bits} bits"));
    match text("fmt").map(str::to_owned).or(bits) {
        // `fp8` with `e4m3` says more than either.
        Some(format) => format!("{method}, {format}"),
        None => method.to_owned(),
    }
}

/// The layers in their order, equal neighbours together.
#[derive(Default)]
struct Stack(Vec<(u32, Layer)>);

impl Stack {
    fn add(&mut self, layer: Layer) {
        match self.0.last_mut() {
            Some((n, last)) if *last == layer => *n += 1,
            _ => self.0.push((1, layer)),
        }
    }
}

/// More layers than any model has, so that a wrong number does not become a loop of billions.
const MOST: u32 = 10_000;

/// A bound of the bytes and operations of one cached token over all layers: times 2³² tokens it is below 2⁶⁴. The widest published model has
/// 2²⁷.
const HEAVIEST: u128 = 1 << 31;

pub(super) fn count(keys: Keys<'_>, key: &str) -> Result<u32, String> {
    match keys.need(key)? {
        0 => Err(format!("has `{key}` = 0, but a model has a layer")),
        n if n > MOST => Err(format!("has `{key}` = {n}; more than {MOST} layers are no model")),
        n => Ok(n),
    }
}

/// Whether the layers, whose numbers are each those of a model, are those of one together, so that no sum over them overflows.
fn possible(layers: &[(u32, Layer)]) -> Result<(), String> {
    let (mut number, mut weight) = (0_u128, 0_u128);
    for (n, layer) in layers {
        let product = |numbers: &[u32]| numbers.iter().map(|n| u128::from(*n)).product::<u128>();
        let of_indexer = |indexer: Option<Indexer>| indexer.map_or(0, |i| product(&[i.heads, i.dim]));
        let one = match *layer {
            Layer::Attention { heads, kv_heads, key_dim, value_dim, .. } => {
                if !heads.is_multiple_of(kv_heads) {
                    return Err(format!("has {heads} heads (`num_attention_heads`), which {kv_heads} KV heads do not divide"));
                }
                product(&[heads, key_dim]) + product(&[heads, value_dim])
            }
            Layer::Latent { heads, rank, rope_dim, indexer, .. } => {
                product(&[2, heads, rank]) + product(&[heads, rope_dim]) + of_indexer(indexer)
            }
            Layer::Compressed { heads, dim, indexer, .. } => product(&[2, heads, dim]) + of_indexer(indexer),
            // Does not grow with the tokens, but is a matrix for each head.
            Layer::State { heads, value_dim, state_dim, conv_channels, conv_width, .. } => {
                (product(&[heads, value_dim, state_dim]) + product(&[conv_channels, conv_width])) >> 16
            }
            Layer::Shift { width, shift, state_dim, .. } => product(&[width, shift]) + (product(&[width, width, state_dim]) >> 16),
        };
        number += u128::from(*n);
        weight += u128::from(*n) * 16 * one;
    }
    if number > 2 * u128::from(MOST) {
        return Err(format!("has {number} layers, which are no model"));
    }
    if weight > HEAVIEST {
        return Err("has heads (`num_attention_heads`), dimensions (`head_dim` and its like) and layers (`num_hidden_layers`) \
             whose product is that of no model"
            .into());
    }
    Ok(())
}

fn layers(keys: Keys<'_>) -> Result<Vec<(u32, Layer)>, String> {
    let mut stack = Stack::default();
    let kind = keys.word("model_type")?.unwrap_or_default();
    refuse_unknown(keys, kind)?;
    if let Some(ratios) = keys.list("compress_ratios")? {
        for ratio in listed::own(keys, "compress_ratios", ratios)? {
            let ratio = ratio.as_u64().and_then(|n| u32::try_from(n).ok());
            stack.add(compressed(keys, ratio.ok_or("has a `compress_ratios` that is no list of whole numbers")?)?);
        }
    } else if let Some(pattern) = keys.word("hybrid_override_pattern")? {
        listed::exactly(keys, "hybrid_override_pattern", pattern.chars().count())?;
        for letter in pattern.chars() {
            match letter {
                'M' => stack.add(mamba2(keys, ["mamba_num_heads", "mamba_head_dim", "ssm_state_size", "n_groups", "conv_kernel"])?),
                '*' => stack.add(attention(keys, None)?),
                // Layers that mix channels and no tokens.
                '-' | 'E' => {}
                other => {
                    return Err(format!(
                        "has `{other}` in `hybrid_override_pattern`; known are M (Mamba-2), * (attention), - and E (no cache)"
                    ));
                }
            }
        }
    } else if let Some(kinds) = keys.list("layer_types")? {
        for kind in listed::own(keys, "layer_types", kinds)? {
            stack.add(of_type(keys, kind.as_str().ok_or("has a `layer_types` that is no list of names")?)?);
        }
    } else if keys.has("ssm_cfg") {
        of_ssm_cfg(keys, &mut stack)?;
    } else if kind == "mamba" || kind == "mamba2" {
        let layer = if kind == "mamba2" { plain_mamba2(keys)? } else { plain_mamba(keys)? };
        stack.0.push((count(keys, "num_hidden_layers")?, layer));
    } else if keys.has("attn_layer_period") {
        let (period, offset) = (keys.need("attn_layer_period")?, keys.need("attn_layer_offset")?);
        for index in 0..count(keys, "num_hidden_layers")? {
            let attends = index.checked_rem(period).ok_or("has an `attn_layer_period` of 0")? == offset;
            stack.add(if attends { attention(keys, None)? } else { jamba(keys)? });
        }
    } else if keys.has("full_attention_interval") {
        let interval = keys.need("full_attention_interval")?;
        for index in 1..=count(keys, "num_hidden_layers")? {
            let full = index.checked_rem(interval).ok_or("has a `full_attention_interval` of 0")? == 0;
            stack.add(if full { attention(keys, None)? } else { gated_delta(keys)? });
        }
    } else if kind == "falcon_h1" {
        // Both in every layer, side by side.
        let (state, attends) = (mamba2(keys, HYBRID)?, attention(keys, None)?);
        let layers = count(keys, "num_hidden_layers")?;
        stack.0 = vec![(layers, attends), (layers, state)];
    } else {
        plain(keys, kind, &mut stack)?;
    }
    possible(&stack.0)?;
    Ok(stack.0)
}

/// # Errors
/// A key that no branch reads, or that the branch of this configuration does not.
fn refuse_unknown(keys: Keys<'_>, kind: &str) -> Result<(), String> {
    let states = kind == "mamba" || kind == "mamba2";
    let replaced = |key: &str, by: &[&str]| by.iter().any(|by| keys.has(by)) || (key == "state_size" && states);
    let heads = ["multi_query", "num_kv_heads"].iter().filter(|_| !FALCON.contains(&kind));
    let unknown = UNKNOWN.iter().filter(|(key, by)| !replaced(key, by)).map(|(key, _)| key).chain(heads).find(|key| keys.on(key));
    unknown.map_or(Ok(()), |key| Err(format!("has `{key}`, which is not read; known are {KNOWN}")))
}

/// Attention in every layer, perhaps over a window in some.
fn plain(keys: Keys<'_>, kind: &str, stack: &mut Stack) -> Result<(), String> {
    let layers = count(keys, "num_hidden_layers")?;
    if keys.has("kv_lora_rank") {
        match keys.list("indexer_types")? {
            Some(kinds) => {
                for kind in listed::own(keys, "indexer_types", kinds)? {
                    stack.add(chooses(keys, kind)?);
                }
            }
            None => stack.0.push((layers, latent(keys)?)),
        }
        return Ok(());
    }
    let used = keys.flag("use_sliding_window")?.unwrap_or(true);
    let window = if used { window_or_none(keys)? } else { None };
    // Every n-th layer sees all, the others a window. Gemma 2 and 3 may leave their n unwritten.
    let unwritten = match kind {
        "gemma2" => Some(2),
        "gemma3" | "gemma3_text" => Some(6),
        _ => None,
    };
    let pattern = keys.get("sliding_window_pattern")?.or(keys.get("_sliding_window_pattern")?).or(unwritten);
    match (window, pattern) {
        (None, _) => stack.0.push((layers, attention(keys, None)?)),
        (Some(window), Some(pattern)) => {
            for index in 1..=layers {
                let full = index.checked_rem(pattern).ok_or("has a `sliding_window_pattern` of 0")? == 0;
                stack.add(attention(keys, (!full).then_some(window))?);
            }
        }
        // Qwen: the first ones see all, those after them a window.
        (Some(window), None) => {
            let full = keys.get("max_window_layers")?.filter(|_| keys.has("use_sliding_window")).unwrap_or(0).min(layers);
            stack.0.extend(
                [(full, attention(keys, None)?), (layers - full, attention(keys, Some(window))?)].into_iter().filter(|(n, _)| *n > 0),
            );
        }
    }
    Ok(())
}

fn window_or_none(keys: Keys<'_>) -> Result<Option<u32>, String> {
    match keys.get("sliding_window")? {
        Some(0) => Err("has `sliding_window` = 0, over which nothing is seen".into()),
        window => Ok(window),
    }
}

fn window_of(keys: Keys<'_>) -> Result<u32, String> {
    window_or_none(keys)?.ok_or_else(|| "lacks `sliding_window`".into())
}

fn of_type(keys: Keys<'_>, kind: &str) -> Result<Layer, String> {
    match kind {
        "full_attention" if keys.has("kv_lora_rank") => latent(keys),
        "full_attention" | "attention" => attention(keys, None),
        "sliding_attention" => attention(keys, Some(window_of(keys)?)),
        "linear_attention" => gated_delta(keys),
        "mamba" => mamba2(keys, HYBRID),
        other => Err(format!(
            "has layers of type `{other}`; known are full_attention, sliding_attention, linear_attention (gated delta), attention and mamba"
        )),
    }
}

fn attention(keys: Keys<'_>, window: Option<u32>) -> Result<Layer, String> {
    let heads = keys.size("num_attention_heads")?;
    let dim = match keys.size_or_none("head_dim")? {
        Some(dim) => dim,
        None => match keys.size("hidden_size")? / heads {
            0 => return Err(format!("has more heads than `hidden_size`: `num_attention_heads` = {heads}")),
            dim => dim,
        },
    };
    let value_dim = keys.size_or_none("v_head_dim")?.unwrap_or(dim);
    Ok(Layer::Attention { heads, kv_heads: kv_heads(keys, heads)?, key_dim: dim, value_dim, window })
}

/// Falcon's code reads `num_kv_heads` in its new decoder and without `multi_query`, else it has one; everybody else writes
/// `num_key_value_heads`, which absent means one for each head.
fn kv_heads(keys: Keys<'_>, heads: u32) -> Result<u32, String> {
    if let Some(written) = keys.size_or_none("num_key_value_heads")? {
        return Ok(written);
    }
    let falcon = FALCON.contains(&keys.word("model_type")?.unwrap_or_default());
    if !falcon {
        return Ok(heads);
    }
    // The family's default of an unwritten `multi_query` is true.
    let (new, one) = (keys.flag("new_decoder_architecture")?.unwrap_or(false), keys.flag("multi_query")?.unwrap_or(true));
    Ok(if new || !one { keys.size_or_none("num_kv_heads")?.unwrap_or(heads) } else { 1 })
}

fn latent(keys: Keys<'_>) -> Result<Layer, String> {
    let indexer = keys.size_or_none("index_topk")?.map(|top_k| indexer(keys, top_k)).transpose()?;
    let (rank, rope_dim) = (keys.size("kv_lora_rank")?, keys.size("qk_rope_head_dim")?);
    let expanded = match (keys.size_or_none("qk_nope_head_dim")?, keys.size_or_none("v_head_dim")?) {
        (Some(plain), Some(value_dim)) => Some(Expanded { key_dim: plain + rope_dim, value_dim }),
        _ => None,
    };
    Ok(Layer::Latent { heads: keys.size("num_attention_heads")?, rank, rope_dim, indexer, expanded })
}

/// A latent layer of GLM-5.2 and its like: with an indexer of its own, or reading what that of a layer before it chose.
fn chooses(keys: Keys<'_>, kind: &Value) -> Result<Layer, String> {
    let Layer::Latent { heads, rank, rope_dim, indexer: Some(own), expanded } = latent(keys)? else {
        return Err("has `indexer_types` but lacks `index_topk`".into());
    };
    let indexer = match kind.as_str() {
        Some("full") => own,
        Some("shared") => Indexer { heads: 0, dim: 0, ..own },
        _ => return Err(format!("has {} in `indexer_types`; known are full and shared", brief(kind))),
    };
    Ok(Layer::Latent { heads, rank, rope_dim, indexer: Some(indexer), expanded })
}

fn indexer(keys: Keys<'_>, top_k: u32) -> Result<Indexer, String> {
    Ok(Indexer { heads: keys.size("index_n_heads")?, dim: keys.size("index_head_dim")?, top_k })
}

fn compressed(keys: Keys<'_>, ratio: u32) -> Result<Layer, String> {
    if (1..4).contains(&ratio) {
        return Err(format!(
            "has a ratio of {ratio} in `compress_ratios`, whose layers are not read; known are 0 (a window alone), 4 (with an indexer) and more"
        ));
    }
    let indexer = if ratio == 4 { Some(indexer(keys, keys.size("index_topk")?)?) } else { None };
    let (heads, dim) = (keys.size("num_attention_heads")?, keys.size("head_dim")?);
    let rope_dim = keys.size("qk_rope_head_dim")?;
    if rope_dim > dim {
        return Err(format!("has `qk_rope_head_dim` = {rope_dim}, which is more than `head_dim` = {dim}"));
    }
    Ok(Layer::Compressed { heads, dim, rope_dim, window: window_of(keys)?, ratio, indexer })
}

/// Keys of a Mamba-2 layer beside attention, as Falcon-H1, Bamba and Granite write them.
const HYBRID: [&str; 5] = ["mamba_n_heads", "mamba_d_head", "mamba_d_state", "mamba_n_groups", "mamba_d_conv"];

fn mamba2(keys: Keys<'_>, [heads, dim, state, groups, conv]: [&str; 5]) -> Result<Layer, String> {
    state_space(keys.size(heads)?, keys.size(dim)?, keys.size(state)?, keys.size(groups)?, keys.size(conv)?)
}

fn plain_mamba2(keys: Keys<'_>) -> Result<Layer, String> {
    mamba2(keys, ["num_heads", "head_dim", "state_size", "n_groups", "conv_kernel"])
}

fn state_space(heads: u32, value_dim: u32, state_dim: u32, groups: u32, conv_width: u32) -> Result<Layer, String> {
    let channels = u64::from(heads) * u64::from(value_dim) + 2 * u64::from(groups) * u64::from(state_dim);
    let conv_channels = u32::try_from(channels).map_err(|_| "has more channels in a state space layer than any model")?;
    Ok(Layer::State { heads, value_dim, state_dim, conv_channels, conv_width, operations: 5 })
}

/// Mamba-1: every channel has a state of its own.
fn channels(inner: u32, state_dim: u32, conv_width: u32) -> Layer {
    Layer::State { heads: inner, value_dim: 1, state_dim, conv_channels: inner, conv_width, operations: 5 }
}

fn plain_mamba(keys: Keys<'_>) -> Result<Layer, String> {
    let inner = match keys.size_or_none("intermediate_size")? {
        Some(inner) => inner,
        None => product(keys.size("expand")?, keys.size("hidden_size")?)?,
    };
    Ok(channels(inner, keys.size("state_size")?, keys.size("conv_kernel")?))
}

fn jamba(keys: Keys<'_>) -> Result<Layer, String> {
    let inner = product(keys.size("mamba_expand")?, keys.size("hidden_size")?)?;
    Ok(channels(inner, keys.size("mamba_d_state")?, keys.size("mamba_d_conv")?))
}

fn product(a: u32, b: u32) -> Result<u32, String> {
    a.checked_mul(b).ok_or_else(|| "has more channels in a state space layer than any model".into())
}

/// The first code of Mamba: what `ssm_cfg` leaves out has that code's defaults, which are the published models'.
fn of_ssm_cfg(keys: Keys<'_>, stack: &mut Stack) -> Result<(), String> {
    if keys.list("attn_layer_idx")?.is_some_and(|list| !list.is_empty()) {
        return Err(format!("has `attn_layer_idx` with attention between its state space layers, which is not read; known are {KNOWN}"));
    }
    let inner = &keys.0["ssm_cfg"];
    if !inner.is_object() {
        return Err(format!("has `ssm_cfg` = {}, which is no group of keys", brief(inner)));
    }
    let inner = Keys(inner);
    let width = keys.size("d_model")?;
    let or = |key: &str, usual: u32| inner.size_or_none(key).map(|n| n.unwrap_or(usual));
    let channels_of = product(or("expand", 2)?, width)?;
    let layer = match inner.word("layer")?.unwrap_or("Mamba1") {
        "Mamba1" => channels(channels_of, or("d_state", 16)?, or("d_conv", 4)?),
        "Mamba2" => {
            let dim = or("headdim", 64)?;
            let heads = match channels_of / dim {
                0 => return Err(format!("has fewer channels than `headdim` = {dim} in `ssm_cfg`")),
                heads => heads,
            };
            state_space(heads, dim, or("d_state", 128)?, or("ngroups", 1)?, or("d_conv", 4)?)?
        }
        other => return Err(format!("has layers of type `{other}` in `ssm_cfg`; known are Mamba1 and Mamba2")),
    };
    stack.0.push((count(keys, "n_layer")?, layer));
    Ok(())
}

fn gated_delta(keys: Keys<'_>) -> Result<Layer, String> {
    let (heads, value_dim) = (keys.size("linear_num_value_heads")?, keys.size("linear_value_head_dim")?);
    let (key_heads, state_dim) = (keys.size("linear_num_key_heads")?, keys.size("linear_key_head_dim")?);
    let channels = 2 * u64::from(key_heads) * u64::from(state_dim) + u64::from(heads) * u64::from(value_dim);
    let conv_channels = u32::try_from(channels).map_err(|_| "has more channels in a linear layer than any model")?;
    Ok(Layer::State { heads, value_dim, state_dim, conv_channels, conv_width: keys.size("linear_conv_kernel_dim")?, operations: 8 })
}
