//! `report --as`: what other harnesses would have printed of a run.

use crate::common::{Place, truth, url};
use serde_json::Value;

#[test]
fn every_tool_explains_itself_from_one_run() {
    let place = Place::new();
    let server = truth("ttft=4ms,itl=1ms,role_delay=1ms,reasoning_tokens=2", None, None);
    let ended = place.say(&format!(
        "run --url {} --endpoint /v1/chat/completions --concurrency 2 --requests 8 --warmup 0 --input-tokens 16 --output-tokens 6 --format json",
        url(&server)
    ));
    let summary = ended.summary();
    assert_eq!(summary.count("ok"), 8, "{}", ended.stderr);
    let run = place.only_run();
    let run = run.to_str().unwrap();
    for tool in ["vllm", "sglang", "aiperf", "guidellm", "inference-perf"] {
        for format in ["table", "markdown", "csv"] {
            let ended = place.say(&format!("report {run} --as {tool} --format {format}"));
            assert!(ended.stdout.contains("queueing"), "{tool} {format}: {}{}", ended.stdout, ended.stderr);
        }
        let found: Value = serde_json::from_str(&place.say(&format!("report {run} --as {tool} --format json")).stdout).unwrap();
        assert_eq!((&found["tool"], &found["answered"], &found["measured"]), (&tool.into(), &8.into(), &8.into()));
        for metric in found["metrics"].as_array().unwrap() {
            let Some(ours) = metric["ours"].as_str() else { continue };
            let number = |key: &str| metric[key].as_f64().unwrap_or_else(|| panic!("{tool}: {key} of {metric}"));
            assert_eq!(Some(number("ours_mean_ns")), summary.metric(ours, "mean"), "{tool} {ours}");
            let causes: f64 = metric["causes"].as_array().unwrap().iter().map(|c| c["ns"].as_f64().unwrap()).sum();
            assert!((number("difference_ns") - causes - number("rest_ns")).abs() < 0.01, "{tool}: {metric}");
            // Values of the report are whole ns.
            assert!(number("rest_ns").abs() < 2.0, "{tool}: {metric}");
        }
    }
    // The role comes 3 ms before the first token and is where vLLM's clock stops; reasoning lasts 2 ms and inference-perf does not see it.
    let cause = |tool: &str, metric: &str, cause: &str| {
        let found: Value = serde_json::from_str(&place.say(&format!("report {run} --as {tool} --format json")).stdout).unwrap();
        let metric = found["metrics"].as_array().unwrap().iter().find(|m| m["name"] == metric).unwrap().clone();
        metric["causes"].as_array().unwrap().iter().find(|c| c["name"] == cause).unwrap()["ns"].as_f64().unwrap()
    };
    assert!(cause("vllm", "TTFT", "role chunk") < 0.0);
    assert!(cause("inference-perf", "Time to First Token", "reasoning left out") > 0.0);
}

#[test]
fn an_unknown_tool_is_an_error_that_names_the_known_ones() {
    let place = Place::new();
    let ended = place.say("report nowhere --as vlm");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    assert!(ended.stderr.contains("vllm, sglang, aiperf, guidellm, inference-perf; did you mean `vllm`?"), "{}", ended.stderr);
}
