//! The certificate: that it holds the instrument against the server it started, request by request. How small the errors are is for a
//! quiet host to say, not for a test.

use crate::common::{Place, truth, url};
use serde_json::Value;

fn matched(certificate: &Value) -> (u64, u64, u64) {
    let count = |key: &str| certificate[key].as_u64().unwrap_or_else(|| panic!("{key} in {certificate}"));
    (count("matched"), count("sent"), count("token_mismatches"))
}

#[test]
fn a_load_of_ones_own() {
    let place = Place::new();
    let ended = place.say("calibrate --rate 40 --output-tokens 8 --script ttft=5ms,itl=1ms --duration 1s --format json --quiet");
    assert!(matches!(ended.code, Some(0 | 5)), "{:?} {}", ended.code, ended.stderr);
    let page: Value = serde_json::from_str(&ended.stdout).unwrap();
    let certificate = &page["certificates"][0];
    let (matched, sent, mismatches) = matched(certificate);
    assert!(matched > 0 && matched == sent && mismatches == 0, "{certificate}");
    for name in ["ttft", "tpot", "e2e"] {
        assert_eq!(certificate["error"][name]["n"].as_u64(), Some(matched), "{name}");
    }
    assert_eq!(certificate["error"]["itl"]["n"].as_u64(), Some(matched * 7), "seven gaps an answer");
    assert_eq!(page["ceilings"].as_array().map(Vec::len), Some(0), "no ceiling was asked for");
    assert!(place.runs().is_empty(), "a calibration leaves no run behind");
}

#[test]
fn a_run_carries_its_certificates() {
    let place = Place::new();
    let server = truth("ttft=5ms,itl=1ms", None, None);
    let ended = place.say(&format!(
        "run --url {} --rate 30 --duration 1s --input-tokens 16 --output-tokens 4 --warmup 0s --calibrate --quiet",
        url(&server)
    ));
    assert!(matches!(ended.code, Some(0 | 5)), "{:?} {}", ended.code, ended.stderr);
    let line = ended.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(line.contains("own error at this load, HTTP/1.1 on loopback, before the run"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("not calibrated"), "{}", ended.stdout);
    let run = place.only_run();
    let manifest: Value = serde_json::from_str(&std::fs::read_to_string(run.join("manifest.json")).unwrap()).unwrap();
    for when in ["before", "after"] {
        let (matched, sent, mismatches) = matched(&manifest["calibration"][when]);
        assert!(matched > 0 && matched == sent && mismatches == 0, "{when}");
    }
    let error = manifest["facts"]["instrument_error_ns"].as_i64().unwrap();
    let worst = ["before", "after"].map(|w| {
        let e = &manifest["calibration"][w]["error"]["ttft"];
        e["p99_ns"].as_i64().unwrap().abs().max(e["mean_ns"].as_f64().unwrap().abs() as i64)
    });
    assert_eq!(Some(&error), worst.iter().max());
    let again = place.say(&format!("report {}", run.display()));
    assert!(again.stderr.contains("byte for byte") && again.stdout.contains("own error at this load"), "{}", again.stderr);
}

#[test]
fn what_cannot_be_calibrated() {
    let place = Place::new();
    for (line, part) in [
        ("run --calibrate", "needs --url"),
        ("calibrate --rate 5 --concurrency 2", "give one"),
        ("calibrate --rate 0", "must be positive"),
        ("calibrate --concurrency 1 --duration soon", "--duration"),
        ("calibrate --rate 1 --format csv", "--format"),
        ("truth --instant sometimes", "--instant"),
        ("run --url http://127.0.0.1:1 --connections few", "--connections"),
    ] {
        let ended = place.say(line);
        assert_eq!(ended.code, Some(2), "{line}: {}", ended.stderr);
        assert!(ended.stderr.contains(part), "{line}: {}", ended.stderr);
    }
}

#[test]
fn connections_are_kept_or_not() {
    for (how, fresh) in [("reuse", false), ("per-request", true), ("1", false)] {
        let place = Place::new();
        let server = truth("ttft=1ms,itl=0ms", None, None);
        let line = format!(
            "run --url {} --concurrency 1 --requests 6 --warmup 0 --input-tokens 4 --output-tokens 2 --connections {how} --quiet --format csv",
            url(&server)
        );
        let ended = place.say(&line);
        assert!(matches!(ended.code, Some(0 | 5)), "{:?} {}", ended.code, ended.stderr);
        let accepted: std::collections::BTreeSet<i64> = server.log().iter().map(|row| row.accepted.0).collect();
        // Two more are the pre-flight's.
        assert_eq!(accepted.len(), if fresh { 8 } else { 3 }, "{how}");
    }
}
