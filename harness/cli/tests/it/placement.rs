//! Where a scheduler put the engine: recorded pages of a cluster in the manifest and under the table.

use crate::common::{Place, truth, url};
use serde_json::Value;
use std::fs;
use std::path::Path;

const LOAD: &str = "--concurrency 1 --requests 3 --warmup 0 --input-tokens 4 --output-tokens 2 --quiet";

/// A made-up page.
fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../results/fixtures/placement").join(name)).unwrap()
}

#[test]
fn it_stands_in_the_manifest_and_under_the_table() {
    let place = Place::new();
    let server = truth("ttft=1ms,itl=0ms", None, None);
    place.file("pods.json", &page("kai.json"));
    place.file("job.txt", &page("slurm.txt"));
    let ended = place.say(&format!("run --url {} --placement pods.json --placement job.txt --format markdown {LOAD}", url(&server)));
    assert!(matches!(ended.code, Some(0 | 5)), "{ended:?}");
    for words in [
        "placed by kai-scheduler: PodGroup pg-decode-5d0a (2 or none), 2 pods, on gpu-node-a and gpu-node-b, 8 GPUs (NVIDIA-H100-80GB-HBM3)",
        "placed by slurm: job 4711 (2 or none), on gpu01 and gpu02, 16 GPUs (h100); read from job.txt",
    ] {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    }
    let run = place.only_run();
    let text = fs::read_to_string(run.join("manifest.json")).unwrap();
    assert!(!text.contains("planted-secret"), "of a pod only what was asked for is kept");
    let manifest: Value = serde_json::from_str(&text).unwrap();
    let schedulers: Vec<&Value> =
        manifest["system"]["placement"].as_array().unwrap().iter().map(|placed| &placed["scheduler"]["value"]).collect();
    assert_eq!(schedulers, ["slurm", "slurm", "default-scheduler", "kai-scheduler"]);
    let found = manifest.pointer("/system/placement/3/members/1/gpus").unwrap();
    assert_eq!(found, &serde_json::json!({"value": 4, "read": "pods.json: Pod decode-1"}));
    let report = place.say(&format!("report {}", run.display()));
    assert!(report.stderr.contains("byte for byte") && report.stdout.contains("placed by kai-scheduler"), "{report:?}");
    let again = place.say(&format!("run -f {}/manifest.json --quiet", run.display()));
    assert!(again.stdout.contains("placed by kai-scheduler"), "{again:?}");
}

#[test]
fn pages_that_tell_nothing_are_refused_before_anything_connects() {
    let place = Place::new();
    place.file("cut.json", &page("kai.json")[..900]);
    place.file("text.txt", "NAME   READY\ndecode-0   1/1\n");
    place.file("other.json", r#"{"kind": "List", "items": [{"apiVersion": "v1", "kind": "Service"}]}"#);
    for (flags, needle) in [
        ("--url http://127.0.0.1:1 --placement cut.json", "cut.json: EOF while parsing"),
        ("--url http://127.0.0.1:1 --placement text.txt", "text.txt is neither JSON nor"),
        ("--url http://127.0.0.1:1 --placement other.json", "other.json holds nothing but Service"),
        ("--url http://127.0.0.1:1 --placement none.json", "reading --placement none.json"),
        ("--backend local --placement cut.json", "the engine in this process runs here"),
    ] {
        let ended = place.say(&format!("run {flags} {LOAD}"));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{flags}: {}", ended.stderr);
        assert!(ended.stderr.contains(needle), "{flags}: {}", ended.stderr);
    }
    assert!(place.runs().is_empty());
}
