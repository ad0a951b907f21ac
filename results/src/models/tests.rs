//! Configurations as their families write them, and what is refused.

use super::*;
use nomoat_core::footprint::{Chip, Packing, Precision, Prompt};
use serde_json::json;

#[test]
fn names_and_files() {
    assert_eq!(find("llama-3.1-8b").unwrap().shape.held(131_072, Packing::Bf16), 16 << 30);
    assert_eq!(find("DeepSeek-V3").unwrap().shape.held(131_072, Packing::Bf16), 70_272 * 131_072);
    let error = find("llama-3.1-8").err().unwrap();
    assert!(error.contains("`llama-3.1-8b` is the nearest"), "{error}");
    assert!(find("none.json").err().unwrap().contains("config.json"));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), "{\"num_attention_heads\": 8}").unwrap();
    let error = find(&folder.path().display().to_string()).err().unwrap();
    assert!(error.contains("config.json lacks `num_hidden_layers`"), "{error}");
}

/// Bytes of one more token at 1 Mi in bf16, and bytes at 4 Ki.
#[test]
fn layers_of_configurations() {
    let gemma = |kind: &str| {
        json!({"model_type": kind, "num_hidden_layers": 12, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
               "hidden_size": 2304, "sliding_window": 512})
    };
    let mut patterned = gemma("cohere2");
    patterned["sliding_window_pattern"] = json!(4);
    let row = 4 * 512 * 2;
    let mamba2 = 80 * 64 * 128 * 4 + 5_376 * 3 * 2;
    let mamba1 = 5_120 * 16 * 4 + 5_120 * 3 * 2;
    let hybrid = json!({"mamba_n_heads": 24, "mamba_d_head": 128, "mamba_d_state": 256, "mamba_n_groups": 1, "mamba_d_conv": 4,
        "num_attention_heads": 12, "num_key_value_heads": 2, "head_dim": 128, "hidden_size": 3072, "num_hidden_layers": 4});
    let hybrid_state = 24 * 128 * 256 * 4 + (24 * 128 + 2 * 256) * 3 * 2;
    let with = |mut base: Value, key: &str, value: Value| {
        base[key] = value;
        base
    };
    let gqa = json!({"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096});
    let windowed = with(gqa.clone(), "sliding_window", json!(4096));
    let mla = json!({"num_hidden_layers": 61, "num_attention_heads": 128, "kv_lora_rank": 512, "qk_rope_head_dim": 64});
    let indexed = with(with(with(mla.clone(), "index_topk", json!(2048)), "index_n_heads", json!(64)), "index_head_dim", json!(128));
    let qwen_next = json!({"full_attention_interval": 4, "num_hidden_layers": 48, "num_attention_heads": 16, "num_key_value_heads": 2,
        "head_dim": 256, "linear_num_value_heads": 32, "linear_value_head_dim": 128, "linear_num_key_heads": 16, "linear_key_head_dim": 128,
        "linear_conv_kernel_dim": 4});
    let jamba = json!({"attn_layer_period": 8, "attn_layer_offset": 4, "num_hidden_layers": 72, "num_attention_heads": 64,
        "num_key_value_heads": 8, "hidden_size": 8192, "mamba_d_state": 16, "mamba_d_conv": 4, "mamba_expand": 2});
    let cases: Vec<(&str, Value, u64, u64)> = vec![
        ("GQA", gqa.clone(), 131_072, 131_072 << 12),
        ("in a model for several media", json!({"text_config": gqa}), 131_072, 131_072 << 12),
        ("a window everywhere", windowed.clone(), 0, 131_072 << 12),
        ("a window that is off", with(windowed.clone(), "use_sliding_window", json!(false)), 131_072, 131_072 << 12),
        (
            "a window after 28 layers",
            with(with(windowed, "use_sliding_window", json!(true)), "max_window_layers", json!(28)),
            28 * 4_096,
            131_072 << 12,
        ),
        ("MLA", mla, 70_272, 70_272 << 12),
        ("MLA with an indexer", indexed.clone(), 85_888, 85_888 << 12),
        ("every sixth of Gemma 3", gemma("gemma3_text"), 2 * row, 2 * (row << 12) + 10 * (row << 9)),
        ("every second of Gemma 2", gemma("gemma2"), 6 * row, 6 * (row << 12) + 6 * (row << 9)),
        ("a written pattern", patterned, 3 * row, 3 * (row << 12) + 9 * (row << 9)),
        (
            "listed types",
            json!({"num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "sliding_window": 128,
                   "layer_types": ["full_attention", "sliding_attention"]}),
            2_048,
            (2_048 << 12) + (2_048 << 7),
        ),
        (
            "letters",
            json!({"hybrid_override_pattern": "M-*E", "mamba_num_heads": 64, "mamba_head_dim": 64, "ssm_state_size": 128, "n_groups": 8,
                   "conv_kernel": 4, "num_attention_heads": 32, "num_key_value_heads": 2, "head_dim": 128}),
            1_024,
            (1_024 << 12) + 64 * 64 * 128 * 4 + 6_144 * 3 * 2,
        ),
        (
            "Mamba-2 of transformers",
            json!({"model_type": "mamba2", "num_hidden_layers": 64, "num_heads": 80, "head_dim": 64, "state_size": 128, "n_groups": 1,
                   "conv_kernel": 4, "hidden_size": 2560}),
            0,
            64 * mamba2,
        ),
        (
            "Mamba-2 of its first code",
            json!({"d_model": 2560, "n_layer": 64, "ssm_cfg": {"layer": "Mamba2"}, "attn_layer_idx": []}),
            0,
            64 * mamba2,
        ),
        (
            "Mamba of transformers",
            json!({"model_type": "mamba", "num_hidden_layers": 64, "state_size": 16, "conv_kernel": 4, "expand": 2, "hidden_size": 2560}),
            0,
            64 * mamba1,
        ),
        ("Mamba of its first code", json!({"d_model": 2560, "n_layer": 64, "ssm_cfg": {}}), 0, 64 * mamba1),
        ("Jamba", jamba, 36_864, find("jamba-1.5-large").unwrap().shape.held(1 << 12, Packing::Bf16)),
        ("Qwen3-Next", qwen_next, 24_576, find("qwen3-next-80b-a3b").unwrap().shape.held(1 << 12, Packing::Bf16)),
        ("both in every layer", with(hybrid.clone(), "model_type", json!("falcon_h1")), 4 * 1_024, 4 * (1_024 << 12) + 4 * hybrid_state),
        (
            "listed types with a state",
            with(hybrid, "layer_types", json!(["mamba", "mamba", "attention", "mamba"])),
            1_024,
            (1_024 << 12) + 3 * hybrid_state,
        ),
        (
            "MLA of which every second layer reads what the indexer before it chose",
            with(with(indexed.clone(), "indexer_types", json!(["full", "shared", "full", "shared"])), "num_hidden_layers", json!(4)),
            4 * 1_152 + 2 * 256,
            (4 * 1_152 + 2 * 256) << 12,
        ),
        (
            "compressed",
            with(
                with(with(with(indexed, "compress_ratios", json!([0, 4, 128])), "head_dim", json!(512)), "sliding_window", json!(128)),
                "num_hidden_layers",
                json!(3),
            ),
            1_024 / 4 + 256 / 4 + 1_024 / 128,
            3 * 1_024 * 128 + 1_024 * (1_280 + 32),
        ),
    ];
    for (what, config, per_token, at_4k) in cases {
        let shape = of_config(&config).unwrap_or_else(|e| panic!("{what}: {e}")).shape;
        assert_eq!(shape.per_token(1 << 20, Packing::Bf16).to_bits(), (per_token as f64).to_bits(), "{what}");
        assert_eq!(shape.held(1 << 12, Packing::Bf16), at_4k, "{what}");
    }
}

/// Lists of layers as they are published, and of which length they are refused. DeepSeek-V4-Flash has 44 ratios for 43 layers and one for
/// speculative decoding, its version of July 46 with a drafting module that listens to three; Step-3.5-Flash has 48 types for 45 and three.
#[test]
fn lengths_of_lists() {
    let attention = json!({"num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 128, "sliding_window": 512});
    let flash = json!({"num_attention_heads": 64, "head_dim": 512, "qk_rope_head_dim": 64, "sliding_window": 128, "index_topk": 512,
        "index_n_heads": 64, "index_head_dim": 128});
    let ratios = |n: usize| Value::from((0..n).map(|i| if (2..=42).contains(&i) { [4, 128][i % 2] } else { 0 }).collect::<Vec<_>>());
    let types = |n: usize| Value::from(vec!["full_attention"; n]);
    let latent = json!({"num_attention_heads": 128, "kv_lora_rank": 512, "qk_rope_head_dim": 64, "index_topk": 2048, "index_n_heads": 64,
        "index_head_dim": 128});
    let nemotron = json!({"mamba_num_heads": 64, "mamba_head_dim": 64, "ssm_state_size": 128, "n_groups": 8, "conv_kernel": 4,
        "num_attention_heads": 32, "num_key_value_heads": 2, "head_dim": 128});
    let next = |n: u32| ("num_nextn_predict_layers", json!(n));
    let drafts = ("dspark_target_layer_ids", json!([40, 41, 42]));
    type Keys<'a> = Vec<(&'a str, Value)>;
    type Counted<'a> = Result<(u32, u32), &'a str>;
    // Layers that are counted and layers for speculative decoding, or what the error says.
    let cases: Vec<(&str, &Value, u32, Keys<'_>, Counted<'_>)> = vec![
        ("V4-Flash", &flash, 43, vec![("compress_ratios", ratios(44)), next(1)], Ok((43, 1))),
        ("its version of July", &flash, 43, vec![("compress_ratios", ratios(46)), next(1), drafts.clone()], Ok((43, 3))),
        ("without its layer for speculation", &flash, 43, vec![("compress_ratios", ratios(43)), next(1)], Ok((43, 1))),
        (
            "nobody says whose the 44th is",
            &flash,
            43,
            vec![("compress_ratios", ratios(44))],
            Err("44 entries in `compress_ratios`, but `num_hidden_layers` = 43: each layer needs one; give the config.json"),
        ),
        (
            "two too many",
            &flash,
            43,
            vec![("compress_ratios", ratios(45)), next(1), drafts],
            Err("45 entries in `compress_ratios`, but `num_hidden_layers` = 43 and `num_nextn_predict_layers` = 1 and 3 `dspark_target"),
        ),
        ("too short", &flash, 43, vec![("compress_ratios", ratios(42)), next(1)], Err("42 entries in `compress_ratios`")),
        ("Step-3.5-Flash", &attention, 45, vec![("layer_types", types(48)), next(3)], Ok((45, 3))),
        (
            "a layer was cut off",
            &attention,
            29,
            vec![("layer_types", types(30))],
            Err("30 entries in `layer_types`, but `num_hidden_layers` = 29"),
        ),
        ("a layer was put on", &attention, 31, vec![("layer_types", types(30))], Err("30 entries in `layer_types`")),
        ("Qwen3.5 and its like", &attention, 30, vec![("layer_types", types(30)), ("mtp_num_hidden_layers", json!(1))], Ok((30, 1))),
        ("letters", &nemotron, 4, vec![("hybrid_override_pattern", json!("M-*E"))], Ok((2, 0))),
        (
            "letters have none for speculation",
            &nemotron,
            3,
            vec![("hybrid_override_pattern", json!("M-*E")), next(1)],
            Err("4 entries in `hybrid_override_pattern`, but `num_hidden_layers` = 3: each"),
        ),
        ("indexers", &latent, 2, vec![("indexer_types", json!(["full", "shared"]))], Ok((2, 0))),
        ("indexers", &latent, 3, vec![("indexer_types", json!(["full", "shared"]))], Err("2 entries in `indexer_types`")),
        ("indexers", &latent, 1, vec![("indexer_types", json!(["half"]))], Err("\"half\" in `indexer_types`; known are full and shared")),
        ("sparse layers without their list", &latent, 2, vec![("index_topk_freq", json!(4))], Err("`index_topk_freq`, which is not read")),
        ("V4.1", &flash, 2, vec![("compress_ratios", json!([2, 1]))], Err("a ratio of 2 in `compress_ratios`")),
        (
            "V4.1",
            &flash,
            2,
            vec![("compress_ratios", json!([0, 4])), ("kv_source_layer_ids", json!([1]))],
            Err("`kv_source_layer_ids`, which is not read"),
        ),
    ];
    for (what, base, layers, keys, expect) in cases {
        let mut config = base.clone();
        config["num_hidden_layers"] = json!(layers);
        for (key, value) in keys {
            config[key] = value;
        }
        let counted = of_config(&config).map(|read| (read.shape.layers.iter().map(|(n, _)| n).sum::<u32>(), read.speculative));
        match (counted, expect) {
            (Err(error), Err(says)) => assert!(error.contains(says), "{what}: {error}"),
            (counted, expect) => assert_eq!(counted, expect.map_err(str::to_owned), "{what}"),
        }
    }
    // The published shape is that of its configuration.
    let mut config = flash;
    (config["num_hidden_layers"], config["compress_ratios"], config["num_nextn_predict_layers"]) = (json!(43), ratios(44), json!(1));
    for tokens in [1 << 12, 1 << 20] {
        let held = |shape: &Shape| shape.held(tokens, Packing::Fp8);
        assert_eq!(held(&of_config(&config).unwrap().shape), held(&find("deepseek-v4-flash").unwrap().shape));
    }
}

#[test]
fn what_is_not_known_is_named() {
    let cases = [
        (json!({"num_attention_heads": 8}), "lacks `num_hidden_layers`"),
        (json!({"num_hidden_layers": 4, "head_dim": 8}), "lacks `num_attention_heads`"),
        (json!({"num_hidden_layers": -4, "num_attention_heads": 8}), "`num_hidden_layers` = -4"),
        (json!({"num_hidden_layers": 4_000_000_000_u64, "num_attention_heads": 8, "head_dim": 8}), "no model"),
        (json!({"layer_types": ["chunked_attention"]}), "`chunked_attention`; known are full_attention"),
        (json!({"layer_types": [3]}), "no list of names"),
        (json!({"layer_types": []}), "no layer with a cache"),
        (
            json!({"num_hidden_layers": 4, "attention_chunk_size": 8192}),
            "has `attention_chunk_size`, which is not read; known are attention",
        ),
        (json!({"num_hidden_layers": 4, "block_types": ["recurrent"]}), "`block_types`"),
        (json!({"num_hidden_layers": 4, "attn_layer_period": 8}), "lacks `attn_layer_offset`"),
        (json!({"num_hidden_layers": 4, "attn_layer_period": 0, "attn_layer_offset": 0}), "of 0"),
        (json!({"ssm_cfg": {"layer": "Mamba3"}, "d_model": 8, "n_layer": 1}), "`Mamba3` in `ssm_cfg`"),
        (json!({"ssm_cfg": {"layer": "Mamba2", "headdim": 0}, "d_model": 8, "n_layer": 1}), "`headdim` = 0"),
        (json!({"ssm_cfg": {}, "d_model": 8, "n_layer": 2, "attn_layer_idx": [1]}), "`attn_layer_idx`"),
        (json!({"hybrid_override_pattern": "MX"}), "lacks `mamba_num_heads`"),
        (json!({"hybrid_override_pattern": "X"}), "`X` in `hybrid_override_pattern`"),
        (json!({"compress_ratios": [2.5]}), "no list of whole numbers"),
        (
            json!({"compress_ratios": [0], "num_attention_heads": 1, "head_dim": 8, "qk_rope_head_dim": 64, "sliding_window": 1}),
            "more than `head_dim`",
        ),
        (json!([]), "lacks `num_hidden_layers`"),
        // What is no whole number is not absent, for then the family's default would stand for it.
        (llama_with("num_key_value_heads", json!(-1)), "`num_key_value_heads` = -1"),
        (llama_with("num_key_value_heads", json!(8.0)), "`num_key_value_heads` = 8.0"),
        (llama_with("head_dim", json!("128")), "`head_dim` = \"128\""),
        (llama_with("sliding_window", json!([4096])), "`sliding_window` = [4096]"),
        (llama_with("sliding_window_pattern", json!("LLLG")), "`sliding_window_pattern` = \"LLLG\""),
        (llama_with("layer_types", json!("full_attention")), "which is no list"),
        (llama_with("hidden_size", json!(-1)), "`hidden_size` = -1"),
        // Families that would be read as plain attention.
        (llama_with("block_configs", json!([{}])), "`block_configs`, which is not read"),
        (llama_with("num_kv_shared_layers", json!(10)), "`num_kv_shared_layers`"),
        (llama_with("cross_attention_layers", json!([3, 8])), "`cross_attention_layers`"),
        (llama_with("num_query_groups", json!(8)), "`num_query_groups`"),
        (llama_with("global_head_dim", json!(512)), "`global_head_dim`"),
        (llama_with("multi_query", json!(true)), "`multi_query`"),
        (llama_with("num_kv_heads", json!(8)), "`num_kv_heads`"),
        (json!({"layer_types": ["full_attention"], "num_kv_shared_layers": 1, "num_attention_heads": 1, "head_dim": 1}), "num_kv_shared"),
        // Nothing, and more than there is.
        (llama_with("num_attention_heads", json!(0)), "`num_attention_heads` = 0"),
        (llama_with("num_key_value_heads", json!(0)), "`num_key_value_heads` = 0"),
        (llama_with("num_key_value_heads", json!(5)), "5 KV heads do not divide"),
        (llama_with("num_hidden_layers", json!(0)), "`num_hidden_layers` = 0"),
        (llama_with("sliding_window", json!(0)), "`sliding_window` = 0"),
        (llama_with("hidden_size", json!(16)), "more heads than `hidden_size`"),
        (json!({"num_hidden_layers": 1, "num_attention_heads": u32::MAX, "head_dim": u32::MAX}), "`num_attention_heads` = 4294967295"),
        (json!({"num_hidden_layers": 10_000, "num_attention_heads": 1_000_000, "head_dim": 100_000}), "product is that of no model"),
        (
            json!({"model_type": "mamba2", "num_hidden_layers": 1, "num_heads": u32::MAX, "head_dim": u32::MAX, "state_size": u32::MAX,
                   "n_groups": u32::MAX, "conv_kernel": u32::MAX}),
            "`num_heads` = 4294967295",
        ),
    ];
    for (config, expect) in cases {
        let error = of_config(&config).unwrap_err();
        assert!(error.contains(expect), "{config}: {error}");
    }
}

fn llama_with(key: &str, value: Value) -> Value {
    let mut config = llama();
    config[key] = value;
    config
}

/// Falcon-7B and 40B as their repositories write them, and the families' rule between.
#[test]
fn kv_heads_of_falcon() {
    let of = |multi_query: bool, new: bool, kv_heads: Option<u32>| {
        let config = json!({"model_type": "falcon", "num_hidden_layers": 1, "num_attention_heads": 64, "hidden_size": 4096,
            "multi_query": multi_query, "new_decoder_architecture": new, "num_kv_heads": kv_heads});
        of_config(&config).unwrap().shape.held(1, Packing::Bf16) / (2 * 64 * 2)
    };
    for (what, heads, expect) in [
        ("7B", of(true, false, None), 1),
        ("7B, which writes the heads that it does not use", of(true, false, Some(64)), 1),
        ("40B", of(true, true, Some(8)), 8),
        ("without multi-query", of(false, false, None), 64),
    ] {
        assert_eq!(heads, expect, "{what}");
    }
}

/// A pattern that is read stands for keys that say the same, and what is off is not there.
#[test]
fn keys_that_say_nothing_more() {
    let listed = json!(["full_attention", "full_attention"]);
    for (key, value) in [("no_rope_layers", json!([1, 0])), ("attention_chunk_size", json!(8192))] {
        let mut config = llama_with(key, value);
        (config["num_hidden_layers"], config["layer_types"]) = (json!(2), listed.clone());
        assert_eq!(of_config(&config).unwrap().shape.held(1, Packing::Bf16), 2 * 4_096, "{key}");
    }
    for (key, value) in [("multi_query", json!(false)), ("num_kv_shared_layers", json!(0)), ("cross_attention_layers", json!([]))] {
        assert!(of_config(&llama_with(key, value)).is_ok(), "{key}");
    }
}

/// Whatever numbers a configuration has, all its figures are computed or an error is told.
#[test]
fn no_number_panics() {
    let bases = [
        llama(),
        json!({"num_hidden_layers": 3, "num_attention_heads": 8, "kv_lora_rank": 64, "qk_rope_head_dim": 8, "index_topk": 4,
               "index_n_heads": 4, "index_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8, "hidden_size": 8, "vocab_size": 8,
               "hidden_act": "silu", "tie_word_embeddings": true, "intermediate_size": 8, "n_routed_experts": 4,
               "num_experts_per_tok": 2, "moe_intermediate_size": 2, "first_k_dense_replace": 1}),
        json!({"compress_ratios": [0, 4, 128], "num_attention_heads": 8, "head_dim": 64, "qk_rope_head_dim": 8, "sliding_window": 8,
               "index_topk": 4, "index_n_heads": 4, "index_head_dim": 8}),
        json!({"model_type": "mamba2", "num_hidden_layers": 2, "num_heads": 8, "head_dim": 8, "state_size": 8, "n_groups": 1,
               "conv_kernel": 4}),
        json!({"model_type": "mamba", "num_hidden_layers": 2, "state_size": 8, "conv_kernel": 4, "expand": 2, "hidden_size": 8}),
        json!({"d_model": 64, "n_layer": 2, "ssm_cfg": {"layer": "Mamba2"}}),
        json!({"full_attention_interval": 4, "num_hidden_layers": 8, "num_attention_heads": 16, "num_key_value_heads": 2,
               "head_dim": 256, "linear_num_value_heads": 32, "linear_value_head_dim": 128, "linear_num_key_heads": 16,
               "linear_key_head_dim": 128, "linear_conv_kernel_dim": 4}),
        json!({"attn_layer_period": 8, "attn_layer_offset": 4, "num_hidden_layers": 8, "num_attention_heads": 64,
               "num_key_value_heads": 8, "hidden_size": 8192, "mamba_d_state": 16, "mamba_d_conv": 4, "mamba_expand": 2,
               "expert_layer_period": 2, "expert_layer_offset": 1, "vocab_size": 8, "hidden_act": "silu", "num_experts": 2}),
    ];
    let numbers = [
        json!(0),
        json!(1),
        json!(2),
        json!(7),
        json!(1_000),
        json!(10_000),
        json!(1 << 20),
        json!((1 << 20) + 1),
        json!(u32::MAX),
        json!(u64::MAX),
        json!(-1),
        json!(1.5),
        json!(1e300),
        Value::Null,
        json!("8"),
        json!([1]),
    ];
    let mut answers = 0;
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for round in 0..20_000_usize {
        let mut config = bases[round % bases.len()].clone();
        let keys: Vec<String> = config.as_object().unwrap().keys().cloned().collect();
        for _ in 0..=round % 4 {
            let mut next = |below: usize| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                (random % below as u64) as usize
            };
            let (key, value) = (&keys[next(keys.len())], &numbers[next(numbers.len())]);
            config[key] = value.clone();
        }
        let Ok(read) = of_config(&config) else { continue };
        answers += 1;
        for packing in [Packing::Bf16, Packing::Fp8] {
            for tokens in [1, 1 << 20, 1 << 32] {
                let shape = &read.shape;
                assert!(shape.held(tokens, packing) > 0, "{config}");
                let sum = shape.moved(tokens, packing) as f64 + shape.work(tokens).total() as f64 + shape.per_token(tokens, packing);
                let prompt = Prompt::new(shape, tokens, Precision::Bf16, &Chip::default());
                let even = [shape.even_batch(tokens, packing, 2.0), prompt.total(), prompt.mixing.map(|mixing| mixing.total())];
                assert!(even.into_iter().flatten().all(|n| n.is_finite() && n >= 0.0), "{config}: {even:?}");
                assert!(shape.even_context(3.0, packing, 2.0).is_none_or(|n| n <= 1 << 32), "{config}");
                assert!(sum.is_finite() && shape.read(3.0).is_none_or(f64::is_finite) && shape.tail() < u64::MAX, "{config}");
            }
        }
        assert!(uniform(&read, 2.0).map_or(true, |geometry| geometry.bytes_per_token() > 0.0), "{config}");
    }
    assert!(answers > 1_000, "{answers}");
}

fn llama() -> Value {
    json!({"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096, "intermediate_size": 14336,
           "vocab_size": 128256, "hidden_act": "silu", "tie_word_embeddings": false, "torch_dtype": "bfloat16"})
}

#[test]
fn parameters_of_configurations() {
    let deepseek = json!({"num_hidden_layers": 61, "num_attention_heads": 128, "kv_lora_rank": 512, "qk_rope_head_dim": 64,
        "qk_nope_head_dim": 128, "v_head_dim": 128, "q_lora_rank": 1536, "hidden_size": 7168, "intermediate_size": 18432,
        "moe_intermediate_size": 2048, "n_routed_experts": 256, "num_experts_per_tok": 8, "n_shared_experts": 1,
        "first_k_dense_replace": 3, "moe_layer_freq": 1, "vocab_size": 129280, "hidden_act": "silu", "tie_word_embeddings": false,
        "num_nextn_predict_layers": 1, "torch_dtype": "bfloat16",
        "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}});
    let qwen = json!({"num_hidden_layers": 94, "num_attention_heads": 64, "num_key_value_heads": 4, "head_dim": 128, "hidden_size": 4096,
        "intermediate_size": 12288, "moe_intermediate_size": 1536, "num_experts": 128, "num_experts_per_tok": 8, "decoder_sparse_step": 1,
        "mlp_only_layers": [], "vocab_size": 151936, "hidden_act": "silu", "tie_word_embeddings": false});
    let oss = json!({"num_hidden_layers": 36, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "hidden_size": 2880,
        "intermediate_size": 2880, "num_local_experts": 128, "experts_per_token": 4, "vocab_size": 201088, "hidden_act": "silu",
        "tie_word_embeddings": false, "sliding_window": 128,
        "layer_types": (0..36).map(|i| if i % 2 == 0 { "sliding_attention" } else { "full_attention" }).collect::<Vec<_>>()});
    // The card of gpt-oss leaves the input embedding out of what is active: 0.58e9.
    for (what, config, total, active) in [
        ("Llama", llama(), 8.03e9, 8.03e9),
        ("DeepSeek-V3", deepseek.clone(), 671e9, 37.5e9),
        ("Qwen3-235B", qwen, 235.09e9, 22.19e9),
        ("gpt-oss", oss, 116.83e9, 5.13e9 + 0.58e9),
    ] {
        let read = of_config(&config).unwrap();
        assert_eq!(read.uncounted, None, "{what}");
        let (all, some) = (read.shape.total.unwrap(), read.shape.active.unwrap());
        assert!((all / total - 1.0).abs() < 0.01 && (some / active - 1.0).abs() < 0.01, "{what}: {all} {some}");
        // Of the untied input embedding one row is read, and nothing is multiplied with it.
        let rows = read.shape.embedding.unwrap();
        assert_eq!(read.shape.matrices().map(|n| (n / (some - rows.parameters) / 2.0 * 1e6).round()), Some(1e6), "{what}");
        assert_eq!(read.shape.read(1.0).map(|n| (n / (some - rows.parameters + rows.row) * 1e6).round()), Some(1e6), "{what}");
    }
    // The shipped figures are those of the configurations, V3.2's with its indexers.
    let mut sparse = deepseek.clone();
    (sparse["index_topk"], sparse["index_n_heads"], sparse["index_head_dim"]) = (json!(2048), json!(64), json!(128));
    for (name, config) in [("deepseek-v3", &deepseek), ("deepseek-v3.2", &sparse)] {
        let (own, shipped) = (of_config(config).unwrap().shape, find(name).unwrap().shape);
        assert_eq!(own.layers, shipped.layers, "{name}");
        for (own, shipped) in [(own.matrices(), shipped.matrices()), (own.read(8.0), shipped.read(8.0))] {
            assert!((own.unwrap() / shipped.unwrap() - 1.0).abs() < 0.001, "{name}: {own:?} {shipped:?}");
        }
    }
    let read = of_config(&deepseek).unwrap();
    let notes = read.notes().join("; ");
    assert!(notes.contains("quantised (fp8, e4m3), else bfloat16") && notes.contains("1 more layer(s) for speculative"), "{notes}");
    assert_eq!(of_config(&llama()).unwrap().notes(), ["its own type is bfloat16"]);
}

/// Which layers are dense may be written by layers, too.
#[test]
fn experts_by_layer() {
    let base = json!({"num_hidden_layers": 4, "num_attention_heads": 8, "hidden_size": 64, "intermediate_size": 256, "vocab_size": 512,
        "hidden_act": "silu", "tie_word_embeddings": false, "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32});
    let with = |key: &str, value: Value| {
        let mut config = base.clone();
        config[key] = value;
        of_config(&config).unwrap()
    };
    let first = with("first_k_dense_replace", json!(1));
    let listed = with("mlp_layer_types", json!(["dense", "sparse", "sparse", "sparse"]));
    assert_eq!((listed.shape.total, listed.shape.active), (first.shape.total, first.shape.active));
    assert_eq!(listed.shape.experts.map(|experts| experts.layers), Some(3));
    for (kinds, why) in [(json!(["dense"]), "1 entries in `mlp_layer_types`"), (json!(["a", "b", "c", "d"]), "known are dense")] {
        assert!(with("mlp_layer_types", kinds).uncounted.unwrap().contains(why));
    }
}

#[test]
fn parameters_that_are_not_counted_say_why() {
    for (key, value, why) in [
        ("vocab_size", Value::Null, "lacks `vocab_size`"),
        ("intermediate_size", Value::Null, "lacks `intermediate_size`"),
        ("tie_word_embeddings", Value::Null, "lacks `tie_word_embeddings`"),
        ("hidden_act", json!("gelu_new"), "`hidden_act`"),
        ("num_local_experts", json!(8), "lacks `num_experts_per_tok`"),
        ("layer_types", json!(["mamba"]), "state layers"),
        ("moe_num_experts", json!(288), "has `moe_num_experts`"),
    ] {
        let mut config = llama();
        for (key, value) in [("mamba_n_heads", 2), ("mamba_d_head", 2), ("mamba_d_state", 2), ("mamba_n_groups", 1), ("mamba_d_conv", 4)] {
            config[key] = json!(value);
        }
        if key == "layer_types" {
            config["num_hidden_layers"] = json!(1);
        }
        config[key] = value;
        let read = of_config(&config).unwrap();
        assert_eq!((read.shape.total, read.shape.active), (None, None));
        assert!(read.uncounted.as_ref().unwrap().contains(why), "{:?}", read.uncounted);
        assert!(read.notes().iter().any(|note| note.contains(why)));
        // A footprint needs no parameters.
        assert!(read.shape.held(1, Packing::Bf16) > 0);
    }
}

#[test]
fn uniform_caches_only() {
    let of = |config: &Value| of_config(config).and_then(|read| uniform(&read, 2.0));
    assert_eq!(of(&llama()).unwrap().bytes_per_token(), 131_072.0);
    let with = |key: &str, value: Value| {
        let mut config = llama();
        config[key] = value;
        of(&config).unwrap_err()
    };
    assert!(with("sliding_window", json!(4096)).contains("sliding window"));
    assert!(with("layer_types", json!(vec!["mamba"; 32])).contains("mamba_n_heads"));
    let mut mixed = llama();
    mixed["num_hidden_layers"] = json!(2);
    mixed["layer_types"] = json!(["sliding_attention", "full_attention"]);
    mixed["sliding_window"] = json!(128);
    assert!(of(&mixed).unwrap_err().contains("layer_types"));
}

#[test]
fn rows_of_fp8_caches_are_named() {
    let mla = json!({"num_hidden_layers": 61, "num_attention_heads": 128, "kv_lora_rank": 512, "qk_rope_head_dim": 64});
    for (config, bytes, expect) in [
        (&mla, 1.0, Some("plain fp8 rows, 576 B a layer; packed rows of engines have 656 B, see nomoat kv")),
        (&mla, 2.0, None),
        (&llama(), 1.0, Some("plain fp8 rows without scales")),
        (&llama(), 4.0, None),
    ] {
        let geometry = uniform(&of_config(config).unwrap(), bytes).unwrap();
        assert_eq!(layout(&geometry).as_deref(), expect);
    }
}
