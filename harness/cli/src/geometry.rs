//! The shape of a KV cache from a model's own `config.json`, for a run: one reader of configurations serves `nomoat kv` and this, and a
//! cache that is not the same in all layers is an error here, never a guess.

use crate::config::choose;
use crate::exit::Failure;
use nomoat_core::kv::KvGeometry;
use nomoat_results::models::{of_config, uniform};
use serde_json::Value;
use std::path::Path;

/// Reads the geometry; `dtype` replaces the model's own type for the cache.
pub fn read(path: &Path, dtype: Option<&str>) -> Result<KvGeometry, Failure> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|e| Failure::usage(format!("reading --model-config {shown}: {e}")))?;
    let config: Value = serde_json::from_str(&text).map_err(|e| Failure::usage(format!("reading --model-config {shown}: {e}")))?;
    from_config(&config, dtype).map_err(|e| Failure::usage(format!("--model-config {shown} {e}")))
}

fn from_config(config: &Value, dtype: Option<&str>) -> Result<KvGeometry, String> {
    let read = of_config(config)?;
    let word = dtype.or(read.dtype.as_deref()).ok_or("does not tell its type; give --kv-dtype bf16|fp16|fp8|f32")?;
    let bytes_per_element = match word {
        "float32" => 4.0,
        "bfloat16" | "float16" => 2.0,
        word => match choose("--kv-dtype", word, &["bf16", "fp16", "fp8", "f32"]).map_err(|e| e.message)? {
            "f32" => 4.0,
            "fp8" => 1.0,
            _ => 2.0,
        },
    };
    uniform(&read, bytes_per_element)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn configs() {
        let llama = json!({"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096, "torch_dtype": "bfloat16"});
        let mla = json!({"num_hidden_layers": 61, "num_attention_heads": 128, "kv_lora_rank": 512, "qk_rope_head_dim": 64, "torch_dtype": "bfloat16"});
        for (config, dtype, bytes) in [(&llama, None, 131_072.0), (&llama, Some("fp8"), 65_536.0), (&mla, None, 70_272.0)] {
            assert_eq!(from_config(config, dtype).unwrap().bytes_per_token(), bytes);
        }
        for (config, says) in [
            (json!({"num_attention_heads": 8}), "lacks `num_hidden_layers`"),
            (json!({"num_hidden_layers": 1, "num_attention_heads": 8, "head_dim": 4}), "does not tell its type"),
            (json!({"num_hidden_layers": 1, "layer_types": ["chunked_attention"]}), "of type `chunked_attention`"),
            (
                json!({"num_attention_heads": 8, "head_dim": 4, "sliding_window": 9, "dtype": "bfloat16",
                       "layer_types": ["sliding_attention", "full_attention"]}),
                "layer_types",
            ),
            (
                json!({"num_hidden_layers": 1, "num_attention_heads": 8, "head_dim": 4, "sliding_window": 9, "dtype": "bfloat16"}),
                "sliding window",
            ),
            (
                json!({"model_type": "mamba", "num_hidden_layers": 1, "hidden_size": 4, "expand": 2, "state_size": 4, "conv_kernel": 4, "dtype": "bfloat16"}),
                "a state",
            ),
        ] {
            let error = from_config(&config, None).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
