//! `--dry-run`: what would be sent, told without a connection to anything.

use crate::common::{Place, words};

/// A port that nobody listens on: whoever connects fails.
const NOBODY: &str = "http://127.0.0.1:1";

fn check(name: &str, line: &str) {
    let place = Place::new();
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../workloads/samples");
    let args: Vec<String> = words(line).into_iter().map(|w| w.replace("{samples}", samples).replace("{nobody}", NOBODY)).collect();
    let ended = place.run(&args);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{line}");
    assert!(place.runs().is_empty(), "{line} made a run directory");
    insta::assert_snapshot!(name, ended.stdout, line);
}

#[test]
fn of_one_shape() {
    check("shape", "run --dry-run --url {nobody} --input-tokens 32 --output-tokens 8 --rate 50 --duration 2s --price in=1,out=2");
}

#[test]
fn of_constant_arrivals_with_a_warm_up() {
    check(
        "constant",
        "run --dry-run --url {nobody} --input-tokens 32 --output-tokens 8 --rate 10 --arrivals constant --requests 100 --warmup 10 --usd-per-hour 36",
    );
}

#[test]
fn of_the_ladder() {
    check("ladder", "run --dry-run --url {nobody} --input-tokens 32 --output-tokens 8");
}

#[test]
fn of_the_bundled_trace() {
    check("bundled", "run --dry-run");
}

#[test]
fn of_trace_files() {
    check("chat", "run --dry-run --url {nobody} --trace {samples}/chat.jsonl --rate 5 --duration 10s");
    check("azure", "run --dry-run --url {nobody} --trace {samples}/azure.csv --speed 2");
    check("mooncake", "run --dry-run --url {nobody} --trace {samples}/mooncake.jsonl");
    check("clipped", "run --dry-run --url {nobody} --trace {samples}/mooncake.jsonl --context 1024 --overlong clip");
}

#[test]
fn the_digest_depends_on_what_is_asked_and_on_nothing_else() {
    let place = Place::new();
    let digest = |more: &str| {
        let ended = place.say(&format!("run --dry-run --input-tokens 32 --output-tokens 8 --rate 50 --duration 2s {more}"));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let line = ended.stdout.lines().find(|line| line.starts_with("schedule digest")).unwrap().to_owned();
        line.split_whitespace().last().unwrap().to_owned()
    };
    let plain = digest("");
    assert_eq!(plain.len(), 64);
    for same in ["", "--url http://127.0.0.1:1", "--shards 3", "--label a=b --quiet", "--max-in-flight 7 --timeout 1s"] {
        assert_eq!(digest(same), plain, "{same}");
    }
    for other in ["--seed 1", "--arrivals constant", "--cv 2", "--warmup 1s", "--output-length cap"] {
        assert_ne!(digest(other), plain, "{other}");
    }
}
