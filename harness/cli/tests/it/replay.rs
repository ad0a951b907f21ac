//! Recorded workloads against a scripted server: who waits for whom, for how long, who goes away, and what is said.

use crate::common::{Place, truth, url};
use nomoat_core::record::RequestRecord;
use nomoat_core::trace::{Join, Moment, Trace};
use nomoat_core::units::Nanos;
use nomoat_results::RunDir;
use nomoat_workloads::{ImportOptions, open};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../workloads/samples").join(name)
}

fn records(run: &Path) -> Vec<RequestRecord> {
    let records = RunDir::open(run).unwrap().records().unwrap();
    let mut records: Vec<RequestRecord> = records.map(Result::unwrap).collect();
    records.sort_by_key(|r| r.request);
    records
}

/// Every request was due when the trace says: its gap, by `scale`, after the moments it waits for.
fn assert_follows(trace: &Trace, records: &[RequestRecord], scale: f64) {
    assert_eq!(trace.requests.len(), records.len());
    for (request, record) in trace.requests.iter().zip(records) {
        let dues = request.after.iter().map(|edge| {
            let parent = &records[edge.request.0 as usize].at;
            let moment = match edge.on {
                Moment::Start => parent.start,
                Moment::FirstToken => parent.first_token,
                Moment::End => parent.end,
            };
            moment.unwrap() + edge.gap.scale(scale)
        });
        let due = if request.join == Join::All { dues.max() } else { dues.min() };
        if let Some(due) = due {
            assert_eq!(record.at.due, due, "request {}", record.request.0);
            assert!(record.at.start.unwrap() >= due, "nothing starts before it is due");
        }
        assert_eq!(record.tokens.input, Some(request.input_tokens));
        assert_eq!(record.tokens.output, Some(request.output_tokens));
    }
}

#[test]
fn a_session_with_sub_agents_keeps_its_order_and_its_gaps() {
    let trace = open(&sample("weka.json"), None, &ImportOptions::default()).unwrap();
    assert!(trace.requests.iter().any(|r| r.after.len() > 2), "the sample joins sub-agents");
    let server = truth("ttft=5ms,itl=1ms", None, None);
    for load in ["", "--concurrency 1"] {
        let place = Place::new();
        let file = sample("weka.json");
        let ended = place.say(&format!(
            "run --url {} --trace {} --gap-scale 0.01 {load} --warmup 0s --quiet --format json",
            url(&server),
            file.display()
        ));
        let summary = ended.summary();
        assert_eq!([summary.count("ok"), summary.count("failed")], [trace.requests.len() as u64, 0], "{}", ended.stderr);
        let records = records(&place.only_run());
        assert_follows(&trace, &records, 0.01);
        // Two sub-agents run beside each other, and the parent's next turn waits for the slower.
        assert!(records[4].at.start.unwrap() < records[3].at.end.unwrap());
    }
}

#[test]
fn users_go_away_and_conversations_are_said_as_recorded() {
    let server = truth("ttft=40ms,itl=10ms", None, None);
    let place = Place::new();
    let mut trace = open(&sample("chat.jsonl"), None, &ImportOptions::default()).unwrap();
    trace.requests.truncate(4);
    for (request, at) in trace.requests.iter_mut().zip([0, 1, 2, 3]) {
        (request.at, request.output_tokens) = (Some(Nanos::from_millis(at)), 20);
    }
    trace.requests[1].cancel = Some(nomoat_core::request::Cancel::After(Nanos::from_millis(10)));
    trace.requests[2].cancel = Some(nomoat_core::request::Cancel::Tokens(3));
    let mut text = vec![];
    nomoat_workloads::write_canonical(&trace, &mut text).unwrap();
    let file = place.file("leaving.jsonl", std::str::from_utf8(&text).unwrap());
    let ended = place.say(&format!("run --url {} --trace {file} --quiet --format json", url(&server)));
    let summary = ended.summary();
    assert_eq!([summary.count("ok"), summary.count("failed"), summary.count("left")], [2, 0, 2], "{}", ended.stdout);
    assert_eq!(summary.by_error().get("by_trace"), Some(&2));
    let seen = records(&place.only_run());
    assert_eq!([seen[1].chunk_tokens.len(), seen[2].chunk_tokens.len()], [0, 3]);

    let place = Place::new();
    let ended = place.say(&format!(
        "run --url {} --endpoint /v1/chat/completions --trace {} --concurrency 2 --warmup 0s --quiet --format json",
        url(&server),
        sample("sharegpt.json").display()
    ));
    let summary = ended.summary();
    assert!(summary.count("ok") > 2 && summary.count("failed") == 0, "{}", ended.stdout);
    let manifest = std::fs::read_to_string(place.only_run().join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["facts"]["content"], "recorded-text");
}

#[test]
fn traces_are_stored_cut_and_exported() {
    let place = Place::new();
    let weka = sample("weka.json").display().to_string();
    let out = |name: &str| place.path().join(name).display().to_string();
    let done = |line: String| {
        let ended = place.say(&line);
        assert_eq!(ended.code, Some(0), "{line}: {}", ended.stderr);
        ended
    };
    done(format!("trace import {weka} -o {}", out("w.jsonl.zst")));
    let checked = done(format!("trace check {}", out("w.jsonl.zst")));
    assert!(checked.stdout.contains("8 requests, no fault found"), "{}", checked.stdout);
    let stats = |file: &str| serde_json::from_str::<Value>(&done(format!("trace stats {file} --format json")).stdout).unwrap();
    let (a, b) = (stats(&weka), stats(&out("w.jsonl.zst")));
    for key in ["requests", "input", "output", "sharing", "sessions", "sha256"] {
        assert_eq!(a[key], b[key], "{key}");
    }
    done(format!("trace slice {weka} --enter 0.5,0.5 --gap-cap 1s -o {}", out("half.jsonl")));
    let shown = done(format!("trace show {}", out("half.jsonl"))).stdout;
    assert!(shown.contains("4 of 4 requests"), "{shown}");
    let mooncake = done(format!("trace export {} --to mooncake -o {}", sample("mooncake.jsonl").display(), out("m.jsonl")));
    assert!(mooncake.stderr.contains("lost: "), "{}", mooncake.stderr);
    assert_eq!(stats(&out("m.jsonl"))["requests"], 10);
    let refused = place.say(&format!("trace export {weka} --to moonkake"));
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("did you mean `mooncake`"), "{}", refused.stderr);
    let listed = done("trace formats".into()).stdout;
    for name in ["weka", "burstgpt", "otel", "mooncake"] {
        assert!(listed.contains(name), "{listed}");
    }
}
