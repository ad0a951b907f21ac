//! `nomoat audit` with harnesses that are made up: a run of our own that writes no result, shells that write one by hand.

use crate::common::{Ended, Place};
use serde_json::{Value, json};

/// A small load: sixteen requests at 100/s.
const LOAD: [&str; 10] =
    ["--rate", "100", "--requests", "16", "--input-tokens", "8", "--output-tokens", "4", "--script", "ttft=5ms,itl=1ms"];

fn audit(place: &Place, flags: &[&str], command: &[&str]) -> Ended {
    let words: Vec<&str> = [&["audit"], flags, &["--"], command].concat();
    place.run(&words)
}

/// A harness that really sends the load, and then claims what is in `claim`: our own program, and a shell around it.
fn harness(claim: &str) -> [String; 3] {
    let own = env!("CARGO_BIN_EXE_nomoat");
    let run = format!(
        "{own} run --url {{url}} --rate {{rate}} --arrivals constant --requests {{requests}} --warmup 0s --quiet \
         --input-tokens {{input_tokens}} --output-tokens {{output_tokens}} --out {{out}}/own --exit-zero-on invalid >/dev/null"
    );
    ["sh".to_owned(), "-c".to_owned(), format!("{run} && cat > {{out}}/result.json <<'END'\n{claim}\nEND")]
}

/// A result in the form of vLLM's, of sixteen requests.
fn claim(completed: u64, ttft_ms: f64) -> String {
    json!({
        "completed": completed, "failed": 0, "request_throughput": 100.0,
        "mean_ttft_ms": ttft_ms, "median_ttft_ms": ttft_ms, "p99_ttft_ms": ttft_ms,
    })
    .to_string()
}

#[test]
fn a_made_up_result_stands_beside_ours() {
    let place = Place::new();
    let command = harness(&claim(16, 1_005.0));
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let ended = audit(&place, &[&LOAD[..], &["--format", "json", "--keep", "kept"]].concat(), &command);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let all: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(all["schema"], "audit/1");
    let [theirs, ours] = [0, 1].map(|at| &all["harnesses"][at]);
    assert_eq!([&theirs["tool"], &ours["tool"]], ["vllm", "nomoat"]);
    let cell = |harness: &Value, section: &str, what: &str, stat: &str, column: &str| {
        let rows = harness["sections"][section].as_array().unwrap();
        let row = rows.iter().find(|row| row["what"] == what && row["stat"] == stat);
        row.unwrap_or_else(|| panic!("no {section} {what} {stat}"))[column].as_f64()
    };
    // The server waits 5 ms at least, so what was claimed is off by at most a second, and by nearly that on any host that is not stuck.
    let (truth, error) =
        (cell(theirs, "statistics", "TTFT", "mean", "truth").unwrap(), cell(theirs, "statistics", "TTFT", "mean", "error").unwrap());
    assert!(truth >= 5e6, "{truth}");
    assert!((truth + error - 1_005e6).abs() < 1.0, "reported is truth plus error: {truth} {error}");
    assert_eq!(cell(theirs, "statistics", "E2E", "mean", "error"), None, "not in the file");
    assert!(cell(ours, "statistics", "E2E", "mean", "error").is_some());
    // Its pre-flight is two more than it counts: one token, and a few to see whether a forced length is kept.
    assert_eq!(cell(theirs, "requests", "seen by the server", "all", "count"), Some(18.0));
    assert_eq!(cell(theirs, "requests", "not in the result", "before it began", "count"), Some(2.0));
    for side in [theirs, ours] {
        assert_eq!(cell(side, "requests", "reported", "answered", "count"), Some(16.0));
        assert_eq!(cell(side, "requests", "found in the log", "", "count"), Some(16.0));
        assert!(cell(side, "arrivals", "rate", "achieved", "value").is_some());
        assert!(cell(side, "arrivals", "lateness", "p99", "value").is_some());
    }
    let kept: Vec<String> = crate::common::names(&place.path().join("kept"));
    assert_eq!(kept, ["ours", "ours.log.jsonl", "theirs", "theirs.log.jsonl"]);
}

#[test]
fn every_format_has_the_table() {
    let place = Place::new();
    let command = harness(&claim(15, 6.0));
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    for (format, says) in [
        ("table", ["how wrong is your benchmark: vllm and nomoat", "the result names no single request"]),
        ("markdown", ["**How wrong is your benchmark: vllm and nomoat", "| TTFT | mean | 6.000 ms |"]),
        ("csv", ["section,what,stat,harness,column,value,unit\n", "statistics,TTFT,p99,vllm,reported,6000000,ns"]),
    ] {
        let ended = audit(&place, &[&LOAD[..], &["--format", format]].concat(), &command);
        assert_eq!(ended.code, Some(0), "{format}: {}", ended.stderr);
        says.iter().for_each(|says| assert!(ended.stdout.contains(says), "{format} without {says}: {}", ended.stdout));
        assert!(!ended.stdout.contains("kept in"), "{}", ended.stdout);
    }
    assert_eq!(place.runs(), [""; 0].map(std::path::PathBuf::from), "our own run is among the audit's files");
}

#[test]
fn what_goes_wrong_is_named() {
    let place = Place::new();
    let own = env!("CARGO_BIN_EXE_nomoat");
    let sends = harness("{\"some\": \"other format\"}");
    let sends: Vec<&str> = sends.iter().map(String::as_str).collect();
    let asks = |flags: &[&str], command: &[&str], code: i32, says: &[&str]| {
        let ended = audit(&place, &[&LOAD[..], flags].concat(), command);
        assert_eq!(ended.code, Some(code), "{command:?}: {}", ended.stderr);
        says.iter().for_each(|says| assert!(ended.stderr.contains(says), "{command:?} without {says}: {}", ended.stderr));
        assert_eq!(ended.stdout, "", "{command:?}: stdout is data");
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    };
    // Nobody came.
    asks(&[], &[own, "metrics"], 4, &["no generation request reached the server", "ended with exit status: 0", "{base_url}"]);
    asks(&[], &["sh", "-c", "echo said; exit 3"], 4, &["said", "ended with exit status: 3"]);
    // It sent the load and left nothing that is known, or nothing at all.
    asks(&[], &sends, 2, &["no result under", "result.json", "tried vllm, sglang, aiperf, guidellm, inference-perf", "--result FILE"]);
    asks(&["--result", "{out}/result.json"], &sends, 2, &["result.json: no reader knows this format"]);
    asks(&["--result", "{out}/result.json", "--tool", "vllm"], &sends, 2, &["result.json: field `completed` is missing"]);
    asks(&["--result", "{out}/nowhere.json"], &sends, 2, &["nowhere.json", "No such file"]);
    let fails = format!("{}\nexit 7", sends[2]);
    asks(&[], &["sh", "-c", &fails], 2, &["ended with exit status: 7, after 18 requests"]);
    // It cannot be started, or does not end.
    asks(&[], &["nomoat-no-such-program"], 2, &["starting `nomoat-no-such-program`", "is it installed"]);
    asks(&["--timeout", "200ms"], &["sleep", "600"], 2, &["`sleep` has not ended after 0.2 s", "--timeout"]);
    // Flags that cannot be.
    asks(&[], &["x", "{concurrency}"], 2, &["COMMAND has {concurrency}", "{rate}"]);
    asks(&[], &["x", "{request}"], 2, &["did you mean {requests}?"]);
    asks(&["--tool", "vlm"], &["x"], 2, &["no reader is called `vlm`", "did you mean `vllm`?"]);
    asks(&["--arrivals", "poison"], &["x"], 2, &["--arrivals `poison`", "did you mean `poisson`?"]);
    asks(&["--timeout", "soon"], &["x"], 2, &["--timeout: `soon` is not a duration"]);
    place.file("full", "x");
    asks(&["--keep", "."], &["x"], 2, &["--keep .: the folder is not empty"]);
    let none = place.say("audit --rate 1");
    assert_eq!(none.code, Some(2), "{}", none.stderr);
    assert!(none.stderr.contains("COMMAND"), "{}", none.stderr);
    for (flags, says) in [("--rate -1", "--rate -1 is not"), ("--requests 0", "--requests is 0"), ("--concurrency 0", "--concurrency is 0")]
    {
        let ended = place.say(&format!("audit {flags} -- x"));
        assert_eq!(ended.code, Some(2));
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
}
