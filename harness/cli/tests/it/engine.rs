//! `nomoat engine`: descriptions, the probe, and the checks of an endpoint, held against servers that are wrong on purpose.

use crate::common::{Place, truth, url};
use serde_json::Value;

#[test]
fn engines_are_listed_in_every_format() {
    let place = Place::new();
    for format in ["table", "markdown", "csv", "json"] {
        let ended = place.say(&format!("engine list --format {format}"));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{format}");
        for name in ["vllm", "sglang", "llama-cpp", "dynamo", "cerebras", "openai-compatible"] {
            assert!(ended.stdout.contains(name), "{format} without {name}");
        }
    }
}

#[test]
fn one_is_shown_and_an_unknown_one_is_answered_by_a_near_one() {
    let place = Place::new();
    let ended = place.say("engine show dynamo");
    assert_eq!(ended.code, Some(0));
    assert!(ended.stdout.contains("ignore_eos") && ended.stdout.contains("/openapi.json"), "{}", ended.stdout);
    let ended = place.say("engine show dynamic");
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("no engine is called `dynamic`"), "{}", ended.stderr);
    let ended = place.say("run --url http://127.0.0.1:1 --engine vlm");
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("`vllm`"), "{}", ended.stderr);
}

#[test]
fn the_users_folder_adds_an_engine() {
    let place = Place::new();
    std::fs::create_dir(place.path().join("mine")).unwrap();
    let text = "name = \"mine\"\ntitle = \"Mine\"\nkind = \"engine\"\nprotocols = [\"chat\"]\nnotes = [\"ours\"]\n";
    std::fs::write(place.path().join("mine/mine.toml"), text).unwrap();
    let ended = place.say("engine list --engines mine --format csv");
    assert!(ended.stdout.contains("mine,Mine,engine,chat,"), "{}", ended.stdout);
    let server = truth("ttft=2ms,itl=1ms", None, None);
    let ended = place.say(&format!("engine probe {} --engines mine --engine mine --format json", url(&server)));
    let found: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&found["engine"], &found["dialect"]), (&"mine".into(), &"chat".into()));
    std::fs::write(place.path().join("mine/broken.toml"), "name = \"broken\"").unwrap();
    let ended = place.say("engine list --engines mine");
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("broken.toml") && ended.stderr.contains("title"), "{}", ended.stderr);
}

#[test]
fn what_a_run_found_out_is_in_its_manifest() {
    let place = Place::new();
    let server = truth("ttft=2ms,itl=1ms", None, None);
    let line = format!("run --url {} --concurrency 1 --requests 2 --warmup 0 --input-tokens 4 --output-tokens 2 --quiet", url(&server));
    let ended = place.say(&line);
    assert!(matches!(ended.code, Some(0 | 5)), "{ended:?}");
    let manifest: Value = serde_json::from_str(&std::fs::read_to_string(place.only_run().join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["backend"]["engine"], "truth");
    assert_eq!(manifest["backend"]["probed"]["forced_length"], "8 of 8 tokens");
}

/// The checks that did not come out good, as `outcome check`.
fn blemishes(script: &str) -> (Option<i32>, Vec<String>) {
    let server = truth(script, None, None);
    let ended = Place::new().say(&format!("engine conform {} --timeout 20s --format json", url(&server)));
    let whole: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{script}: {ended:?}"));
    assert_eq!(whole["schema"], "conform/1");
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let findings = whole["findings"].as_array().unwrap();
    assert!(findings.len() > 12, "{script}: {findings:?}");
    let bad = findings.iter().filter(|f| f["outcome"] != "good" && f["outcome"] != "skipped");
    (ended.code, bad.map(|f| format!("{} {}", text(&f["outcome"]), text(&f["check"]))).collect())
}

#[test]
fn servers_that_are_wrong_on_purpose_are_found_out() {
    // Not told by any of them: a prefix cache.
    let odd = "odd cached prompt tokens";
    for (script, code, expect) in [
        ("ttft=2ms,itl=5ms", 0, &[odd][..]),
        ("ttft=2ms,itl=1ms,fault=coalesce:100", 5, &["wrong answers stream", odd]),
        ("ttft=2ms,itl=1ms,fault=not_streaming", 5, &["wrong answers stream", odd]),
        ("ttft=2ms,itl=5ms,fault=no_usage", 5, &["wrong output tokens are counted", "wrong prompt tokens are counted", odd]),
        ("ttft=2ms,itl=20ms,fault=short:2", 0, &["odd forced length is kept", odd]),
        ("ttft=2ms,itl=5ms,fault=wrong_usage:2", 5, &["odd tokens of each event", odd, "wrong the engine's own counters"]),
    ] {
        let (exit, found) = blemishes(script);
        for blemish in expect {
            assert!(found.iter().any(|f| f == blemish), "{script}: `{blemish}` is not in {found:?}");
        }
        assert_eq!(exit, Some(code), "{script}: {found:?}");
    }
}

#[test]
fn the_suite_is_listed_and_written_out() {
    let place = Place::new();
    let ended = place.say("engine suite --format csv");
    assert_eq!(ended.stdout.lines().count(), 26, "a head and 25 traps: {}", ended.stdout);
    let ended = place.say("engine suite out/suite");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let files = crate::common::names(&place.path().join("out/suite"));
    let of = |end: &str| files.iter().filter(|f| f.ends_with(end)).count();
    assert!(of(".http") > 150 && of(".http") == of(".expect"), "{} files", files.len());
}

#[test]
fn a_run_that_asks_for_quality_has_it_in_its_verdict() {
    let server = truth("ttft=1ms,itl=0ms", None, None);
    let place = Place::new();
    let line = "--concurrency 1 --requests 2 --warmup 0 --input-tokens 4 --output-tokens 2 --quality --quiet --format json";
    let ended = place.say(&format!("run --url {} {line}", url(&server)));
    let summary: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    let rules = summary["validity"]["rules"].as_array().unwrap();
    let repeats = rules.iter().find(|r| r["code"] == "V15").unwrap();
    assert_eq!(repeats["finding"], "pass", "{repeats}");
    let report = place.say(&format!("report {}", place.only_run().display()));
    assert!(report.stderr.contains("byte for byte"), "{}", report.stderr);
}

#[test]
fn quality_is_asked_for_and_told() {
    let server = truth("ttft=1ms,itl=0ms", None, None);
    let ended = Place::new().say(&format!("engine conform {} --quality --quality-load 4 --format json", url(&server)));
    let whole: Value = serde_json::from_str(&ended.stdout).unwrap();
    let quality = &whole["quality"];
    assert_eq!((&quality["prompts"], &quality["load"]), (&20.into(), &4.into()));
    assert_eq!(quality["finishes"], serde_json::json!({"length": 20}));
    assert!(quality["mean_logprob"].is_null() && quality["mean_logprob_reason"].is_string(), "{quality}");
}
