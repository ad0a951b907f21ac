//! What hosted endpoints do: decline for now, and cost money.

use crate::common::{Place, truth, url};
use serde_json::Value;

#[test]
fn what_is_declined_for_now_is_asked_again_and_its_clock_runs_on() {
    for (status, http) in [(429, "1"), (503, "1"), (429, "2")] {
        let server = truth(&format!("ttft=2ms,itl=1ms,fault=status:{status},fault_every=2"), None, None);
        let place = Place::new();
        let ended = place.say(&format!(
            "run --url {} --http {http} --concurrency 1 --requests 3 --warmup 0 --input-tokens 4 --output-tokens 2 --retries 2 --quiet --format json",
            url(&server)
        ));
        let summary: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
        assert_eq!(summary["counts"]["ok"], 3, "{status} over {http}: {}", ended.stdout);
        let rules = summary["validity"]["rules"].as_array().unwrap();
        let retried = rules.iter().find(|r| r["code"] == "V16" && r["rule"] == "every request was sent once").unwrap();
        assert_eq!(retried["finding"], "fail", "{retried}");
        // The server asks for a second of patience, which TTFT has inside.
        let metrics = summary["metrics"].as_array().unwrap();
        let slowest = metrics.iter().find(|m| m["name"] == "ttft" && m["stat"] == "max").unwrap()["value"].as_f64().unwrap();
        assert!(slowest >= 1e9, "{slowest} ns");
    }
}

#[test]
fn another_attempt_is_no_use_where_the_endpoint_is_broken() {
    let server = truth("ttft=2ms,itl=1ms,fault=status:500,fault_every=2", None, None);
    let place = Place::new();
    let ended = place.say(&format!(
        "run --url {} --concurrency 1 --requests 4 --warmup 0 --input-tokens 4 --output-tokens 2 --retries 2 --quiet --format json",
        url(&server)
    ));
    let summary = ended.summary();
    assert_eq!((summary.count("ok"), summary.count("failed")), (2, 2), "{ended:?}");
}

#[test]
fn a_budget_ends_the_run_and_keeps_what_was_measured() {
    let server = truth("ttft=2ms,itl=1ms", None, None);
    let place = Place::new();
    // A dollar for each token: six for each request.
    let line = format!(
        "run --url {} --concurrency 1 --requests 100 --warmup 0 --input-tokens 4 --output-tokens 2 --price in=1000000,out=1000000 \
         --budget-usd 20 --quiet --format json",
        url(&server)
    );
    let ended = place.say(&line);
    assert_eq!(ended.code, Some(6), "{ended:?}");
    assert!(ended.stderr.contains("--budget-usd 20"), "{}", ended.stderr);
    let ok = ended.summary().count("ok");
    assert!((4..20).contains(&ok), "{ok} answers of 6 USD each");
    for (flags, says) in [("--budget-usd 1", "--price"), ("--budget-usd 0 --price in=1,out=1", "positive")] {
        let ended =
            place.say(&format!("run --url {} --concurrency 1 --requests 1 --input-tokens 4 --output-tokens 2 {flags}", url(&server)));
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
}
