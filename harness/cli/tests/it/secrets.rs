//! Keys and header values are sent and stored nowhere: no file of a run, no stream of the process has them.

use crate::common::{Ended, Place, truth, url};
use std::fs;

const KEY: &str = "planted-key-7f3a9c";
const HEADER: &str = "planted-header-51e0d2";

fn assert_absent(place: &Place, ended: &[&Ended]) {
    for secret in [KEY, HEADER] {
        for ended in ended {
            assert!(!ended.stdout.contains(secret) && !ended.stderr.contains(secret), "{ended:?}");
        }
        let mut looked_at = 0;
        for run in place.runs() {
            for entry in fs::read_dir(run).unwrap() {
                let path = entry.unwrap().path();
                let bytes = fs::read(&path).unwrap();
                assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()), "{} holds a secret", path.display());
                looked_at += 1;
            }
        }
        assert!(looked_at >= 5, "{looked_at} files");
    }
}

/// A run against a server that answers nobody without the key.
fn args(url: &str) -> Vec<String> {
    let line = format!(
        "run --url {url} --api-key-env PLANTED --concurrency 1 --requests 4 --warmup 0s --input-tokens 16 --output-tokens 4 --format json"
    );
    crate::common::words(&line)
}

#[test]
fn flags() {
    let place = Place::new().with_env("PLANTED", KEY);
    let server = truth("ttft=2ms,itl=1ms", Some(KEY), None);
    for header in [vec!["--header".to_owned(), format!("X-Secret: {HEADER}")], vec![format!("--header=X-Secret: {HEADER}")]] {
        let ended = place.run(&[args(&url(&server)), header].concat());
        let summary = ended.summary();
        assert_eq!(summary.count("ok"), 4, "the key was sent");
        ended.assert_exit(0, &summary);
        let run = place.runs().pop().unwrap();
        let report = place.run(&["report", run.to_str().unwrap()]);
        assert!(report.stderr.contains("byte for byte"), "{report:?}");
        assert_absent(&place, &[&ended, &report]);
        assert!(
            fs::read_to_string(run.join("manifest.json")).unwrap().contains("PLANTED"),
            "the variable's name may be kept, and repeats the run"
        );
    }
}

#[test]
fn a_file() {
    let place = Place::new().with_env("PLANTED", KEY);
    let server = truth("ttft=2ms,itl=1ms", Some(KEY), None);
    let file = place.file("bench.toml", &format!("header = [\"X-Secret: {HEADER}\"]\n"));
    let ended = place.run(&[args(&url(&server)), vec!["-f".into(), file]].concat());
    assert_eq!(ended.summary().count("ok"), 4);
    assert_absent(&place, &[&ended]);
}

#[test]
fn failed_requests() {
    let place = Place::new().with_env("PLANTED", KEY);
    let server = truth("ttft=2ms,itl=1ms,fault=status:401,fault_every=2", Some(KEY), None);
    let ended = place.run(&[args(&url(&server)), vec!["--header".into(), format!("X-Secret: {HEADER}")]].concat());
    assert_eq!(ended.summary().count("failed"), 2);
    assert_absent(&place, &[&ended]);
}

#[test]
fn messages() {
    let server = truth("", Some("another"), None);
    for (key, exit) in [(KEY.to_owned(), 3), (format!("{KEY}\nbroken"), 2)] {
        let place = Place::new().with_env("PLANTED", &key);
        let ended = place.run(&[args(&url(&server)), vec!["--header".into(), format!("X-Secret: {HEADER}")]].concat());
        assert_eq!(ended.code, Some(exit), "{ended:?}");
        let ended = [ended, place.run(&[args(&url(&server)), vec!["--header".into(), HEADER.into()]].concat())];
        for ended in ended {
            assert!(!ended.stderr.contains(KEY) && !ended.stderr.contains(HEADER), "{ended:?}");
        }
    }
}
