//! The shape of a KV cache from a model's own `config.json`. A layer kind this version does not know is an error, never a guess.

use crate::config::choose;
use crate::exit::Failure;
use nomoat_core::kv::{KvGeometry, Mixer};
use serde_json::Value;
use std::path::Path;

/// Keys whose presence means a cache that is not one of the two kinds known here.
const UNKNOWN: [&str; 8] = [
    "sliding_window_pattern",
    "layer_types",
    "hybrid_override_pattern",
    "ssm_cfg",
    "state_size",
    "index_topk",
    "compress_ratios",
    "attn_layer_period",
];

/// Reads the geometry; `dtype` replaces the model's own type for the cache.
pub fn read(path: &Path, dtype: Option<&str>) -> Result<KvGeometry, Failure> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|e| Failure::usage(format!("reading --model-config {shown}: {e}")))?;
    let config: Value = serde_json::from_str(&text).map_err(|e| Failure::usage(format!("reading --model-config {shown}: {e}")))?;
    from_config(&config, dtype).map_err(|e| Failure::usage(format!("--model-config {shown} {e}")))
}

fn from_config(config: &Value, dtype: Option<&str>) -> Result<KvGeometry, String> {
    let config = config.get("text_config").unwrap_or(config);
    let get = |key: &str| config.get(key).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let need = |key: &str| get(key).ok_or_else(|| format!("lacks `{key}`"));
    let uniform = |key: &str| match config.get(key) {
        // All layers alike is what the formula means.
        Some(Value::Array(kinds)) => kinds.iter().all(|k| k == "full_attention"),
        Some(Value::Null) | None => true,
        Some(_) => false,
    };
    if let Some(key) = UNKNOWN.iter().find(|k| !uniform(k)) {
        return Err(format!(
            "has `{key}`: this version knows caches of grouped-query (MHA, GQA, MQA) and latent (MLA) attention over full context only"
        ));
    }
    if config.get("use_sliding_window").and_then(Value::as_bool).unwrap_or(get("sliding_window").is_some()) {
        return Err("has a sliding window: this version knows caches over full context only".into());
    }
    let layers = need("num_hidden_layers")?;
    let mixer = if let Some(rank) = get("kv_lora_rank") {
        Mixer::Latent { rank, rope_dim: need("qk_rope_head_dim")? }
    } else {
        let heads = need("num_attention_heads")?;
        let dim = match get("head_dim") {
            Some(dim) => dim,
            None => need("hidden_size")? / heads.max(1),
        };
        Mixer::Grouped { kv_heads: get("num_key_value_heads").unwrap_or(heads), key_dim: dim, value_dim: dim }
    };
    let own = ["dtype", "torch_dtype"].iter().find_map(|k| config.get(*k).and_then(Value::as_str));
    let word = dtype.or(own).ok_or("does not tell its type; give --kv-dtype bf16|fp16|fp8|f32")?;
    let bytes_per_element = match word {
        "float32" => 4.0,
        "bfloat16" | "float16" => 2.0,
        word => match choose("--kv-dtype", word, &["bf16", "fp16", "fp8", "f32"]).map_err(|e| e.message)? {
            "f32" => 4.0,
            "fp8" => 1.0,
            _ => 2.0,
        },
    };
    Ok(KvGeometry { layers, mixer, bytes_per_element })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn configs() {
        let llama = json!({"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096, "torch_dtype": "bfloat16"});
        let mla = json!({"num_hidden_layers": 61, "kv_lora_rank": 512, "qk_rope_head_dim": 64, "torch_dtype": "bfloat16"});
        for (config, dtype, bytes) in [(&llama, None, 131_072.0), (&llama, Some("fp8"), 65_536.0), (&mla, None, 70_272.0)] {
            assert_eq!(from_config(config, dtype).unwrap().bytes_per_token(), bytes);
        }
        for (config, says) in [
            (json!({"num_attention_heads": 8}), "lacks `num_hidden_layers`"),
            (json!({"num_hidden_layers": 1, "num_attention_heads": 8, "head_dim": 4}), "does not tell its type"),
            (json!({"num_hidden_layers": 1, "layer_types": ["sliding_attention"]}), "layer_types"),
            (json!({"num_hidden_layers": 1, "sliding_window": 4096}), "sliding window"),
        ] {
            let error = from_config(&config, None).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
