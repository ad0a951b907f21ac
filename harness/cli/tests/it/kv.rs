//! `nomoat kv` by the command line: published claims, a configuration of one's own, what is refused.

use crate::common::Place;
use serde_json::Value;

fn rows(place: &Place, line: &str) -> Vec<Value> {
    let ended = place.say(&format!("kv {line} --format json"));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{line}");
    let page: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(page["schema"], "nomoat.kv/1");
    page["rows"].as_array().unwrap().clone()
}

#[test]
fn shares_of_another_model() {
    let place = Place::new();
    let line = "deepseek-v4-pro deepseek-v4-flash deepseek-v3.2 --context 1k,1M --dtype fp8 --against deepseek-v3.2";
    let shares: Vec<[f64; 3]> = rows(&place, line)
        .iter()
        .map(|row| ["bytes_against", "flop_against_fp8_equivalent", "flop_against_plain"].map(|key| row[key].as_f64().unwrap() * 100.0))
        .collect();
    let near = |row: usize, column: usize, expect: f64| assert!((shares[row][column] - expect).abs() < 0.06, "{row} {column}: {shares:?}");
    for (row, column, expect) in
        [(0, 0, 19.7), (1, 0, 10.5), (1, 1, 26.5), (1, 2, 26.2), (3, 0, 7.3), (3, 1, 9.9), (3, 2, 12.1), (4, 0, 100.0), (5, 1, 100.0)]
    {
        near(row, column, expect);
    }
    let table = place.say(&format!("kv {line}")).stdout;
    for says in ["19.7", "10.5", "26.5", "17.84 MiB", "FP4 indexers half"] {
        assert!(table.contains(says), "{says}: {table}");
    }
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
}

#[test]
fn a_prompt_over_a_radio_link() {
    let place = Place::new();
    let seconds = |line: &str| rows(&place, line)[0]["hand_over_s"].as_f64().unwrap().round();
    assert_eq!(seconds("llama-3.1-8b --context 8k --dtype bf16 --link 5g-up"), 172.0);
    assert_eq!(seconds("deepseek-v3.2 --context 8k --dtype fp8 --link 5g-up"), 63.0);
    assert_eq!(seconds("deepseek-v4-pro --context 8k --dtype fp8 --link 5g-up"), 7.0);
}

#[test]
fn a_step_on_a_device() {
    let place = Place::new();
    let row = |line: &str| rows(&place, line)[0].clone();
    let floor = row("llama-3.1-8b --context 4k --dtype bf16 --device h200 --batch 32");
    // (16.06 GB of weights less 1.05 of an input embedding, of which 32 rows are read, + 32 × 0.5 GiB) at 4.8 TB/s.
    assert!((floor["step_floor_s"].as_f64().unwrap() - 6.706e-3).abs() < 1e-5, "{floor}");
    assert_eq!((&floor["step_limit"], &floor["users"]), (&Value::from("memory"), &Value::from(249)));
    // A device that states no peak has a floor by bytes, and no limit.
    let floor = row("llama-3.1-8b --context 4k --dtype fp8 --device h200-measured");
    assert_eq!((&floor["step_limit"], &floor["step_compute_s"]), (&Value::Null, &Value::Null));
    assert!(floor["step_floor_s"].as_f64().is_some());
    let mine = "[[device]]\nname = \"mine\"\ntitle = \"Mine\"\nmemory_gib = 8\nbandwidth_gb_s = 100\nevidence = \"measured\"\nsource = \"me\"\n\
                date = \"2026-11-28\"\n";
    place.file("mine.toml", mine);
    assert_eq!(row("llama-3.1-8b --context 4k --dtype bf16 --device mine.toml")["users"], 0);
}

#[test]
fn a_prompt_and_where_caches_are_as_much_as_weights() {
    let place = Place::new();
    let row = |line: &str| rows(&place, line)[0].clone();
    let near = |row: &Value, key: &str, expect: f64| assert!((row[key].as_f64().unwrap() / expect - 1.0).abs() < 0.001, "{key}: {row}");
    // 2 operations for each of 8.03e9 parameters less both embeddings, the output's once, and 32 layers of 4 × 4096 for each of the pairs.
    let llama = row("llama-3.1-8b --context 4k --dtype bf16 --device h200 --batch 32");
    let (tokens, output) = (4_096.0, 525_336_576.0);
    let mixing = 32.0 * 4.0 * 4_096.0 * tokens * (tokens + 1.0) / 2.0;
    let matrices = 2.0 * (tokens * (8.03e9 - 2.0 * output) + output);
    near(&llama, "prompt_mixing_flop", mixing);
    near(&llama, "prompt_flop", mixing + matrices);
    near(&llama, "prompt_compute_s", (mixing + matrices) / 989.5e12);
    // 15.0 GB of weights by 0.5 GiB a sequence, and by 128 KiB of each of 32 a token.
    near(&llama, "even_batch", 27.96);
    near(&llama, "even_context_tokens", 3_579.0);
    // A state does not grow, and nobody knows the heads of a latent that only says its rank.
    assert_eq!(row("mamba2-2.7b --context 4k")["even_context_tokens"], Value::Null);
    place.file("mla.json", r#"{"num_hidden_layers": 61, "num_attention_heads": 128, "kv_lora_rank": 512, "qk_rope_head_dim": 64}"#);
    let unknown = row("mla.json --context 4k");
    for key in ["prompt_flop", "prompt_mixing_flop", "prompt_compute_s", "even_batch"] {
        assert_eq!(unknown[key], Value::Null, "{key}");
    }
    // Where there is room it stands beside the sequences, else in a table of its own; both fit into a line.
    for (line, alone) in [("", false), ("--link 400g", true), ("--memory 80 --link 50 --against deepseek-v3", true), ("--batch 3", true)] {
        let table = place.say(&format!("kv {line}")).stdout;
        assert_eq!(table.contains("One prompt of that length"), alone, "{table}");
        assert!(
            table.replace("\n  ", " ").contains("even batch: how many sequences") && table.lines().all(|line| line.chars().count() <= 100),
            "{table}"
        );
    }
}

#[test]
fn whose_memory_it_is() {
    let place = Place::new();
    for (device, by, says) in [
        ("b200", "programs", "178.3 GiB of b200 (what programs may allocate on it)"),
        ("mi300x", "maker_gib", "192 GiB of mi300x (what its maker states; a driver keeps some"),
        ("gaudi3", "maker_gb", "119.2 GiB of gaudi3 (its maker's GB"),
    ] {
        let page: Value = serde_json::from_str(&place.say(&format!("kv llama-3.1-8b --device {device} --format json")).stdout).unwrap();
        assert_eq!(page["device"]["memory_by"], by);
        let table = place.say(&format!("kv llama-3.1-8b --device {device}")).stdout.replace("\n  ", " ");
        assert!(table.contains(says), "{table}");
    }
}

#[test]
fn a_configuration_of_ones_own() {
    let place = Place::new();
    place.file(
        "config.json",
        r#"{"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096, "intermediate_size": 14336,
            "vocab_size": 128256, "hidden_act": "silu", "tie_word_embeddings": false, "torch_dtype": "bfloat16",
            "quantization_config": {"quant_method": "awq", "bits": 4}}"#,
    );
    let row = rows(&place, "config.json --context 128k --dtype bf16 --memory 80 --weights fp4")[0].clone();
    assert_eq!((&row["bytes"], &row["users"], &row["weights"]), (&Value::from(16_u64 << 30), &Value::from(4), &Value::from("fp4")));
    let table = place.say("kv config.json --context 128k --memory 80").stdout;
    assert!(table.contains("quantised (awq, 4 bits), else bfloat16"), "{table}");
}

#[test]
fn every_format_holds_every_model() {
    let place = Place::new();
    for format in ["table", "markdown", "csv", "json"] {
        let ended = place.say(&format!("kv --format {format} --device h200 --link 400g"));
        assert_eq!(ended.code, Some(0));
        for name in ["llama-3.1-405b", "jamba-1.5-large", "deepseek-v4-flash"] {
            assert!(ended.stdout.contains(name), "{format} {name}");
        }
        if format == "table" {
            assert!(ended.stdout.lines().all(|line| line.chars().count() <= 100), "{}", ended.stdout);
        }
    }
}

#[test]
fn what_cannot_be() {
    let place = Place::new();
    place.file("config.json", r#"{"num_hidden_layers": 1, "layer_types": ["chunked_attention"]}"#);
    place.file("cut.json", r#"{"num_hidden_layers": 2, "layer_types": ["full_attention"]}"#);
    for (line, says) in [
        ("llama-3.1-8", "is the nearest"),
        ("config.json", "known are full_attention"),
        ("cut.json", "1 entries in `layer_types`, but `num_hidden_layers` = 2"),
        ("--device h20", "nomoat profiles"),
        ("--device h200 --memory 80", "give one of them"),
        ("--link 40g", "or a rate in GB/s"),
        ("--link -3", "unexpected argument"),
        ("--batch 0", "1 to 1048576"),
        ("--dtype fp9", "--dtype"),
        ("--weights int3", "--weights"),
        ("--context 4q", "4096, 128k or 1M"),
        ("--against nobody", "no model is called"),
        ("--format yaml", "--format"),
    ] {
        let ended = place.say(&format!("kv {line}"));
        assert!(ended.code == Some(2) && ended.stderr.contains(says) && ended.stdout.is_empty(), "{line}: {ended:?}");
    }
}
