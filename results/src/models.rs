//! Shapes of models: published ones by name, anybody's from a `config.json`. A kind of layer nobody here knows is an error, never a guess.

use nomoat_core::footprint::{Indexer, Layer, Shape};
use nomoat_core::suggest::nearest;
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

const PUBLISHED: &str = include_str!("../models/models.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    model: Vec<Model>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    name: String,
    source: String,
    total: f64,
    active: f64,
    layers: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    count: u32,
    #[serde(flatten)]
    layer: Kind,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Kind {
    Attention { heads: u32, kv_heads: u32, key_dim: u32, value_dim: u32, window: Option<u32> },
    Latent { heads: u32, rank: u32, rope_dim: u32, indexer: Option<Chooser> },
    Compressed { heads: u32, dim: u32, rope_dim: u32, window: u32, ratio: u32, indexer: Option<Chooser> },
    State { heads: u32, value_dim: u32, state_dim: u32, conv_channels: u32, conv_width: u32, operations: u32 },
}

#[derive(Deserialize)]
struct Chooser {
    heads: u32,
    dim: u32,
    top_k: u32,
}

impl From<Chooser> for Indexer {
    fn from(Chooser { heads, dim, top_k }: Chooser) -> Self {
        Self { heads, dim, top_k }
    }
}

impl From<Kind> for Layer {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Attention { heads, kv_heads, key_dim, value_dim, window } => {
                Self::Attention { heads, kv_heads, key_dim, value_dim, window }
            }
            Kind::Latent { heads, rank, rope_dim, indexer } => Self::Latent { heads, rank, rope_dim, indexer: indexer.map(Indexer::from) },
            Kind::Compressed { heads, dim, rope_dim, window, ratio, indexer } => {
                Self::Compressed { heads, dim, rope_dim, window, ratio, indexer: indexer.map(Indexer::from) }
            }
            Kind::State { heads, value_dim, state_dim, conv_channels, conv_width, operations } => {
                Self::State { heads, value_dim, state_dim, conv_channels, conv_width, operations }
            }
        }
    }
}

/// A model: its name, its shape, and where that is from.
#[derive(Clone, PartialEq, Debug)]
pub struct Named {
    /// Its name, or the path of its configuration.
    pub name: String,
    /// Its layers that mix tokens, and its parameters.
    pub shape: Shape,
    /// Where the shape is from.
    pub source: String,
}

/// All published ones.
///
/// # Panics
/// The shipped file does not read, which a test excludes.
pub fn published() -> Vec<Named> {
    let file: File = toml::from_str(PUBLISHED).expect("a test reads the shipped file");
    let named = |model: Model| Named {
        name: model.name,
        source: model.source,
        shape: Shape {
            layers: model.layers.into_iter().map(|row| (row.count, row.layer.into())).collect(),
            active: Some(model.active),
            total: Some(model.total),
        },
    };
    file.model.into_iter().map(named).collect()
}

/// A published model by its name, or the model of a `config.json`.
///
/// # Errors
/// No model is called so, or its file lacks something, with what to give.
pub fn find(what: &str) -> Result<Named, String> {
    let path = Path::new(what);
    if path.extension().is_some_and(|ending| ending == "json") || path.exists() {
        let path = if path.is_dir() { path.join("config.json") } else { path.to_owned() };
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(&path).map_err(|e| format!("reading {shown}: {e}; give a model's config.json"))?;
        let config: Value = serde_json::from_str(&text).map_err(|e| format!("reading {shown}: {e}; give a model's config.json"))?;
        let shape = of_config(&config).map_err(|e| format!("{shown} {e}"))?;
        return Ok(Named { name: shown, shape, source: "its config.json".into() });
    }
    let mut all = published();
    match all.iter().position(|model| model.name == what.to_lowercase()) {
        Some(index) => Ok(all.swap_remove(index)),
        None => {
            let near = nearest(what, all.iter().map(|model| model.name.as_str())).unwrap_or_default().to_owned();
            Err(format!("no model is called `{what}` (`{near}` is the nearest); give a config.json, or one of `nomoat kv`"))
        }
    }
}

/// Reads a configuration as transformers writes it.
///
/// # Errors
/// What it lacks, or which kind of layer is not known.
pub fn of_config(config: &Value) -> Result<Shape, String> {
    let config = config.get("text_config").unwrap_or(config);
    let get = |key: &str| config.get(key).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let need = |key: &str| get(key).ok_or_else(|| format!("lacks `{key}`"));
    let words = |key: &str| config.get(key).and_then(Value::as_array).map(|list| list.iter().filter_map(Value::as_str).collect::<Vec<_>>());
    let indexer = |top_k: u32| Ok::<_, String>(Indexer { heads: need("index_n_heads")?, dim: need("index_head_dim")?, top_k });
    let attention = |window: Option<u32>| {
        let heads = need("num_attention_heads")?;
        let dim = match get("head_dim") {
            Some(dim) => dim,
            None => need("hidden_size")? / heads.max(1),
        };
        Ok::<_, String>(Layer::Attention {
            heads,
            kv_heads: get("num_key_value_heads").unwrap_or(heads),
            key_dim: dim,
            value_dim: get("v_head_dim").unwrap_or(dim),
            window,
        })
    };
    let mut layers: Vec<(u32, Layer)> = vec![];
    let mut add = |layer: Layer| match layers.last_mut() {
        Some((n, last)) if *last == layer => *n += 1,
        _ => layers.push((1, layer)),
    };
    if let Some(ratios) = config.get("compress_ratios").and_then(Value::as_array) {
        for ratio in ratios {
            let ratio =
                ratio.as_u64().and_then(|n| u32::try_from(n).ok()).ok_or("has a `compress_ratios` that is no list of whole numbers")?;
            let indexer = if ratio == 4 { Some(indexer(need("index_topk")?)?) } else { None };
            let (heads, dim) = (need("num_attention_heads")?, need("head_dim")?);
            add(Layer::Compressed { heads, dim, rope_dim: need("qk_rope_head_dim")?, window: need("sliding_window")?, ratio, indexer });
        }
    } else if let Some(pattern) = config.get("hybrid_override_pattern").and_then(Value::as_str) {
        for letter in pattern.chars() {
            match letter {
                'M' => {
                    let (heads, head_dim, state_dim) = (need("mamba_num_heads")?, need("mamba_head_dim")?, need("ssm_state_size")?);
                    let conv_channels = heads * head_dim + 2 * need("n_groups")? * state_dim;
                    add(Layer::State {
                        heads,
                        value_dim: head_dim,
                        state_dim,
                        conv_channels,
                        conv_width: need("conv_kernel")?,
                        operations: 5,
                    });
                }
                '*' => add(attention(None)?),
                // Layers that mix channels and no tokens.
                '-' | 'E' => {}
                other => {
                    return Err(format!(
                        "has `{other}` in `hybrid_override_pattern`; known are M (Mamba-2), * (attention), - and E (no cache)"
                    ));
                }
            }
        }
    } else if let Some(kinds) = words("layer_types") {
        for kind in kinds {
            match kind {
                "full_attention" => add(match get("kv_lora_rank") {
                    Some(rank) => {
                        Layer::Latent { heads: need("num_attention_heads")?, rank, rope_dim: need("qk_rope_head_dim")?, indexer: None }
                    }
                    None => attention(None)?,
                }),
                "sliding_attention" => add(attention(Some(need("sliding_window")?))?),
                "linear_attention" => {
                    let (heads, value_dim) = (need("linear_num_value_heads")?, need("linear_value_head_dim")?);
                    let (key_heads, state_dim) = (need("linear_num_key_heads")?, need("linear_key_head_dim")?);
                    let conv_channels = 2 * key_heads * state_dim + heads * value_dim;
                    add(Layer::State {
                        heads,
                        value_dim,
                        state_dim,
                        conv_channels,
                        conv_width: need("linear_conv_kernel_dim")?,
                        operations: 8,
                    });
                }
                other => {
                    return Err(format!("has layers of type `{other}`; known are full_attention, sliding_attention and linear_attention"));
                }
            }
        }
    } else {
        let unknown = ["sliding_window_pattern", "ssm_cfg", "attn_layer_period", "full_attention_interval", "state_size"];
        if let Some(key) = unknown.iter().find(|key| config.get(**key).is_some_and(|value| !value.is_null())) {
            return Err(format!(
                "has `{key}`, which is not read; known are attention (MHA, GQA, MQA, MLA, with index_topk), `layer_types`, `compress_ratios` and `hybrid_override_pattern`"
            ));
        }
        let count = need("num_hidden_layers")?;
        let layer = match get("kv_lora_rank") {
            Some(rank) => {
                let indexer = get("index_topk").map(indexer).transpose()?;
                Layer::Latent { heads: need("num_attention_heads")?, rank, rope_dim: need("qk_rope_head_dim")?, indexer }
            }
            None => {
                let windowed = config.get("use_sliding_window").and_then(Value::as_bool).unwrap_or(true);
                attention(get("sliding_window").filter(|_| windowed))?
            }
        };
        layers.push((count, layer));
    }
    if layers.is_empty() {
        return Err("has no layer with a cache or a state".into());
    }
    Ok(Shape { layers, active: None, total: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nomoat_core::footprint::Packing;
    use serde_json::json;

    #[test]
    fn the_shipped_models_read() {
        let all = published();
        let held = |name: &str| find(name).unwrap().shape.held(131_072, Packing::Bf16);
        assert!(all.len() >= 14 && all.iter().all(|m| !m.source.is_empty() && m.shape.total >= m.shape.active));
        assert_eq!(held("llama-3.1-8b"), 16 << 30);
        assert_eq!(held("DeepSeek-V3"), 70_272 * 131_072);
        let error = find("llama-3.1-8").err().unwrap();
        assert!(error.contains("`llama-3.1-8b` is the nearest"), "{error}");
        assert!(find("none.json").err().unwrap().contains("config.json"));
    }

    #[test]
    fn configurations() {
        let types = |kinds: &[&str]| json!(kinds);
        let cases = [
            (json!({"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096}), Some(131_072)),
            (json!({"num_hidden_layers": 61, "num_attention_heads": 128, "kv_lora_rank": 512, "qk_rope_head_dim": 64}), Some(70_272)),
            (
                json!({"num_hidden_layers": 61, "num_attention_heads": 128, "kv_lora_rank": 512, "qk_rope_head_dim": 64,
                       "index_topk": 2048, "index_n_heads": 64, "index_head_dim": 128}),
                Some(85_888),
            ),
            (
                json!({"num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "sliding_window": 128,
                       "layer_types": types(&["full_attention", "sliding_attention"])}),
                Some(2_048),
            ),
            (
                json!({"hybrid_override_pattern": "M-*E", "mamba_num_heads": 64, "mamba_head_dim": 64, "ssm_state_size": 128, "n_groups": 8,
                    "conv_kernel": 4, "num_attention_heads": 32, "num_key_value_heads": 2, "head_dim": 128}),
                Some(1_024),
            ),
            (json!({"layer_types": types(&["chunked_attention"])}), None),
            (json!({"num_hidden_layers": 4, "attn_layer_period": 8}), None),
            (json!({"num_attention_heads": 8}), None),
        ];
        for (config, expect) in cases {
            let shape = of_config(&config);
            match expect {
                Some(bytes) => assert_eq!(shape.unwrap().per_token(1 << 20, Packing::Bf16) as u64, bytes, "{config}"),
                None => assert!(shape.unwrap_err().contains('`'), "{config}"),
            }
        }
    }
}
