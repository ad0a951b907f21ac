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
