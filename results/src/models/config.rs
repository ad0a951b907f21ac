//! A configuration as transformers, and before it the code of Mamba, writes it: which layers a model has.
//!
//! Keys decide, not the names of models: a name says nothing of the layers of a model that was made after this version. Only where a
//! family leaves a pattern unwritten does its `model_type` stand for it.

use super::parameters;
use nomoat_core::footprint::{Indexer, Layer, Shape};
use serde_json::Value;

/// Kinds of layers that are read, for messages.
const KNOWN: &str = "attention (MHA, GQA, MQA, MLA, with index_topk, over a window), `layer_types`, `sliding_window_pattern`, \
    `compress_ratios`, `hybrid_override_pattern`, `attn_layer_period` (Jamba), `full_attention_interval` (Qwen3-Next), \
    mamba, mamba2 and `ssm_cfg`, and falcon_h1";

/// Keys of layers that are not read: a model that has one is not what its other keys seem to say.
const UNKNOWN: [&str; 11] = [
    "attention_chunk_size",
    "attention_types",
    "attn_layer_indices",
    "attn_type_list",
    "block_types",
    "layers_block_type",
    "linear_attn_config",
    "no_rope_layers",
    "nsa_config",
    "sparse_attention_config",
    "state_size",
];

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
    let width = keys.get("hidden_size").or_else(|| keys.get("d_model"));
    let mut shape = Shape { layers, width, ..Shape::default() };
    let uncounted = match parameters::count(keys, &shape) {
        Ok(counted) => {
            (shape.active, shape.total, shape.experts) = (Some(counted.active), Some(counted.total), counted.experts);
            None
        }
        Err(why) => Some(why),
    };
    let dtype = text("dtype").or_else(|| text("torch_dtype"));
    Ok(Read { shape, dtype, quantization, uncounted, speculative: keys.get("num_nextn_predict_layers").unwrap_or(0) })
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

/// Numbers, words and lists of a configuration by their keys.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a>(&'a Value);

impl<'a> Keys<'a> {
    /// A whole number that fits; `None` where it is absent, null or something else.
    pub(super) fn get(self, key: &str) -> Option<u32> {
        self.0.get(key).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok())
    }

    pub(super) fn need(self, key: &str) -> Result<u32, String> {
        match self.0.get(key) {
            None | Some(Value::Null) => Err(format!("lacks `{key}`")),
            Some(value) => self.get(key).ok_or_else(|| format!("has `{key}` = {value}, which is no whole number below 2³²")),
        }
    }

    pub(super) fn word(self, key: &str) -> Option<&'a str> {
        self.0.get(key).and_then(Value::as_str)
    }

    pub(super) fn flag(self, key: &str) -> Option<bool> {
        self.0.get(key).and_then(Value::as_bool)
    }

    pub(super) fn has(self, key: &str) -> bool {
        self.0.get(key).is_some_and(|value| !value.is_null())
    }

    pub(super) fn list(self, key: &str) -> Option<&'a Vec<Value>> {
        self.0.get(key).and_then(Value::as_array)
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
const MOST: u32 = 100_000;

fn count(keys: Keys<'_>, key: &str) -> Result<u32, String> {
    match keys.need(key)? {
        n if n > MOST => Err(format!("has `{key}` = {n}; more than {MOST} layers are no model")),
        n => Ok(n),
    }
}

fn layers(keys: Keys<'_>) -> Result<Vec<(u32, Layer)>, String> {
    let mut stack = Stack::default();
    let kind = keys.word("model_type").unwrap_or_default();
    if let Some(ratios) = keys.list("compress_ratios") {
        for ratio in ratios {
            let ratio = ratio.as_u64().and_then(|n| u32::try_from(n).ok());
            stack.add(compressed(keys, ratio.ok_or("has a `compress_ratios` that is no list of whole numbers")?)?);
        }
    } else if let Some(pattern) = keys.word("hybrid_override_pattern") {
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
    } else if let Some(kinds) = keys.list("layer_types") {
        for kind in kinds {
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
        if let Some(key) = UNKNOWN.iter().find(|key| keys.has(key)) {
            return Err(format!("has `{key}`, which is not read; known are {KNOWN}"));
        }
        plain(keys, kind, &mut stack)?;
    }
    Ok(stack.0)
}

/// Attention in every layer, perhaps over a window in some.
fn plain(keys: Keys<'_>, kind: &str, stack: &mut Stack) -> Result<(), String> {
    let layers = count(keys, "num_hidden_layers")?;
    if keys.has("kv_lora_rank") {
        stack.0.push((layers, latent(keys)?));
        return Ok(());
    }
    let window = keys.get("sliding_window").filter(|_| keys.flag("use_sliding_window").unwrap_or(true));
    // Every n-th layer sees all, the others a window. Gemma 2 and 3 may leave their n unwritten.
    let unwritten = match kind {
        "gemma2" => Some(2),
        "gemma3" | "gemma3_text" => Some(6),
        _ => None,
    };
    let pattern = keys.get("sliding_window_pattern").or_else(|| keys.get("_sliding_window_pattern")).or(unwritten);
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
            let full = keys.get("max_window_layers").filter(|_| keys.has("use_sliding_window")).unwrap_or(0).min(layers);
            stack.0.extend(
                [(full, attention(keys, None)?), (layers - full, attention(keys, Some(window))?)].into_iter().filter(|(n, _)| *n > 0),
            );
        }
    }
    Ok(())
}

fn of_type(keys: Keys<'_>, kind: &str) -> Result<Layer, String> {
    match kind {
        "full_attention" if keys.has("kv_lora_rank") => latent(keys),
        "full_attention" | "attention" => attention(keys, None),
        "sliding_attention" => attention(keys, Some(keys.need("sliding_window")?)),
        "linear_attention" => gated_delta(keys),
        "mamba" => mamba2(keys, HYBRID),
        other => Err(format!(
            "has layers of type `{other}`; known are full_attention, sliding_attention, linear_attention (gated delta), attention and mamba"
        )),
    }
}

fn attention(keys: Keys<'_>, window: Option<u32>) -> Result<Layer, String> {
    let heads = keys.need("num_attention_heads")?;
    let dim = match keys.get("head_dim") {
        Some(dim) => dim,
        None => keys.need("hidden_size")? / heads.max(1),
    };
    let value_dim = keys.get("v_head_dim").unwrap_or(dim);
    Ok(Layer::Attention { heads, kv_heads: keys.get("num_key_value_heads").unwrap_or(heads), key_dim: dim, value_dim, window })
}

fn latent(keys: Keys<'_>) -> Result<Layer, String> {
    let indexer = keys.get("index_topk").map(|top_k| indexer(keys, top_k)).transpose()?;
    let (rank, rope_dim) = (keys.need("kv_lora_rank")?, keys.need("qk_rope_head_dim")?);
    Ok(Layer::Latent { heads: keys.need("num_attention_heads")?, rank, rope_dim, indexer })
}

fn indexer(keys: Keys<'_>, top_k: u32) -> Result<Indexer, String> {
    Ok(Indexer { heads: keys.need("index_n_heads")?, dim: keys.need("index_head_dim")?, top_k })
}

fn compressed(keys: Keys<'_>, ratio: u32) -> Result<Layer, String> {
    let indexer = if ratio == 4 { Some(indexer(keys, keys.need("index_topk")?)?) } else { None };
    let (heads, dim) = (keys.need("num_attention_heads")?, keys.need("head_dim")?);
    let rope_dim = keys.need("qk_rope_head_dim")?;
    if rope_dim > dim {
        return Err(format!("has `qk_rope_head_dim` = {rope_dim}, which is more than `head_dim` = {dim}"));
    }
    Ok(Layer::Compressed { heads, dim, rope_dim, window: keys.need("sliding_window")?, ratio, indexer })
}

/// Keys of a Mamba-2 layer beside attention, as Falcon-H1, Bamba and Granite write them.
const HYBRID: [&str; 5] = ["mamba_n_heads", "mamba_d_head", "mamba_d_state", "mamba_n_groups", "mamba_d_conv"];

fn mamba2(keys: Keys<'_>, [heads, dim, state, groups, conv]: [&str; 5]) -> Result<Layer, String> {
    state_space(keys.need(heads)?, keys.need(dim)?, keys.need(state)?, keys.need(groups)?, keys.need(conv)?)
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
    let inner = match keys.get("intermediate_size") {
        Some(inner) => inner,
        None => product(keys.need("expand")?, keys.need("hidden_size")?)?,
    };
    Ok(channels(inner, keys.need("state_size")?, keys.need("conv_kernel")?))
}

fn jamba(keys: Keys<'_>) -> Result<Layer, String> {
    let inner = product(keys.need("mamba_expand")?, keys.need("hidden_size")?)?;
    Ok(channels(inner, keys.need("mamba_d_state")?, keys.need("mamba_d_conv")?))
}

fn product(a: u32, b: u32) -> Result<u32, String> {
    a.checked_mul(b).ok_or_else(|| "has more channels in a state space layer than any model".into())
}

/// The first code of Mamba: what `ssm_cfg` leaves out has that code's defaults, which are the published models'.
fn of_ssm_cfg(keys: Keys<'_>, stack: &mut Stack) -> Result<(), String> {
    if keys.list("attn_layer_idx").is_some_and(|list| !list.is_empty()) {
        return Err(format!("has `attn_layer_idx` with attention between its state space layers, which is not read; known are {KNOWN}"));
    }
    let inner = Keys(&keys.0["ssm_cfg"]);
    let width = keys.need("d_model")?;
    let or = |key: &str, usual: u32| inner.get(key).unwrap_or(usual);
    let channels_of = product(or("expand", 2), width)?;
    let layer = match inner.word("layer").unwrap_or("Mamba1") {
        "Mamba1" => channels(channels_of, or("d_state", 16), or("d_conv", 4)),
        "Mamba2" => {
            let dim = or("headdim", 64);
            let heads = channels_of.checked_div(dim).ok_or("has a `headdim` of 0 in `ssm_cfg`")?;
            state_space(heads, dim, or("d_state", 128), or("ngroups", 1), or("d_conv", 4))?
        }
        other => return Err(format!("has layers of type `{other}` in `ssm_cfg`; known are Mamba1 and Mamba2")),
    };
    stack.0.push((count(keys, "n_layer")?, layer));
    Ok(())
}

fn gated_delta(keys: Keys<'_>) -> Result<Layer, String> {
    let (heads, value_dim) = (keys.need("linear_num_value_heads")?, keys.need("linear_value_head_dim")?);
    let (key_heads, state_dim) = (keys.need("linear_num_key_heads")?, keys.need("linear_key_head_dim")?);
    let channels = 2 * u64::from(key_heads) * u64::from(state_dim) + u64::from(heads) * u64::from(value_dim);
    let conv_channels = u32::try_from(channels).map_err(|_| "has more channels in a linear layer than any model")?;
    Ok(Layer::State { heads, value_dim, state_dim, conv_channels, conv_width: keys.need("linear_conv_kernel_dim")?, operations: 8 })
}
