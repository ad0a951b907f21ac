//! Runs against a scripted server: counts, files, repetition and exit codes.

use crate::common::{Ended, FIVE, Place, Summary, names, truth, url, words};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn manifest(run: &Path) -> Value {
    serde_json::from_str(&read(&run.join("manifest.json"))).unwrap()
}

/// All answered, each with the lengths that were asked for.
fn assert_exact(ended: &Ended, summary: &Summary, input: u64, output: u64) {
    let n = summary.count("measured");
    assert!(n > 0);
    assert_eq!([summary.count("ok"), summary.count("failed"), summary.count("uncounted")], [n, 0, 0]);
    assert_eq!([summary.count("input_tokens"), summary.count("input_wanted")], [n * input; 2]);
    assert_eq!([summary.count("output_tokens"), summary.count("output_wanted")], [n * output; 2]);
    assert_eq!(summary.broken_by_requests(), [""; 0]);
    ended.assert_exit(0, summary);
}

#[test]
fn an_open_loop_and_all_that_can_be_done_with_its_run() {
    let place = Place::new();
    let log = place.path().join("log.jsonl");
    let server = truth("ttft=5ms,itl=1ms", None, Some(log.clone()));
    let args =
        format!("run --url {} --rate 50 --duration 2s --warmup 0s --input-tokens 32 --output-tokens 8 --quiet --format json", url(&server));
    let ended = place.say(&args);
    let summary = ended.summary();
    assert_eq!(ended.stderr, "", "--quiet");
    assert_exact(&ended, &summary, 32, 8);
    assert_eq!(summary.count("scheduled"), summary.count("recorded"));
    let run = place.only_run();
    let shown = run.to_str().unwrap();
    assert_eq!(names(&run), FIVE);
    assert_eq!(read(&run.join("summary.json")), ended.stdout, "--format json is summary.json");
    let first = manifest(&run);
    assert_eq!([&first["state"], &first["backend"]["model"]], ["complete", "truth"]);

    let report = place.run(&["report", shown, "--format", "json"]);
    assert_eq!(report.code, ended.code);
    assert!(report.stderr.contains("byte for byte"), "{}", report.stderr);
    assert_eq!(report.stdout, ended.stdout);
    for (format, holds) in [("table", "TTFT, from due"), ("markdown", "| ttft | p50 |"), ("csv", "ttft,")] {
        let report = place.run(&["report", shown, "--format", format]);
        assert_eq!(report.code, ended.code, "{format}");
        assert!(report.stdout.contains(holds), "{format}: {}", report.stdout);
    }

    server.stop();
    let compared = place.run(&["truth", "compare", shown, "--log", log.to_str().unwrap(), "--format", "json"]);
    assert_eq!(compared.code, Some(0), "{compared:?}");
    let compared: Value = serde_json::from_str(&compared.stdout).unwrap();
    assert_eq!(compared["matched"], summary.count("measured"));
    for none in ["unmatched_records", "token_mismatches", "outcome_mismatches"] {
        assert_eq!(compared[none], 0, "{none}: {compared}");
    }
    let table = place.run(&["truth", "compare", shown, "--log", log.to_str().unwrap()]);
    assert!(table.stdout.contains("instrument error"), "{table:?}");

    // The server is another one now: everything but the address comes from the manifest.
    let server = truth("ttft=5ms,itl=1ms", None, None);
    let repeat = |more: &[&str]| {
        let manifest_json = format!("{shown}/manifest.json");
        let again = place.run(&[&["run", "-f", &manifest_json, "--url", &url(&server), "--quiet", "--format", "json"], more].concat());
        assert_exact(&again, &again.summary(), 32, 8);
        let again = manifest(place.runs().last().unwrap());
        assert_ne!(again["run_id"], first["run_id"]);
        assert_eq!(again["workload"]["schedule_digest"], first["workload"]["schedule_digest"]);
        again["workload"]["wire_digest"].clone()
    };
    // What is sent when is the same; the prompts are new, so that no prefix cache knows them, unless the old ones are asked for.
    assert_ne!(repeat(&[]), first["workload"]["wire_digest"]);
    assert_eq!(repeat(&["--same-prompts"]), repeat(&["--same-prompts"]));
}

#[test]
fn several_endpoints_take_turns() {
    let [one, two, other] = ["", "", "model=other"].map(|script| truth(script, None, None));
    let place = Place::new();
    let both = format!("{},{}", url(&one), url(&two));
    let load = "--concurrency 2 --requests 21 --warmup 0s --input-tokens 32 --output-tokens 8 --quiet --format json";
    let ended = place.say(&format!("run --url {} --url {} {load}", url(&one), url(&two)));
    let summary = ended.summary();
    assert_exact(&ended, &summary, 32, 8);
    let by_endpoint = |summary: &Summary| {
        let parts = summary.0["counts"]["by_endpoint"].as_array().unwrap().clone();
        parts.iter().map(|part| (part["measured"].as_u64().unwrap(), part["ok"].as_u64().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(by_endpoint(&summary), [(11, 11), (10, 10)]);
    let ttft = |endpoint: u64| {
        let rows = summary.0["metrics"].as_array().unwrap();
        rows.iter().find(|r| r["scope"]["endpoint"] == endpoint && r["name"] == "ttft" && r["stat"] == "p50").unwrap()["n"].as_u64()
    };
    assert_eq!([ttft(0), ttft(1)], [Some(11), Some(10)]);
    let counter = summary.0["validity"]["rules"].as_array().unwrap().iter().find(|r| r["rule"] == "usage agrees with the engine's counter");
    assert_eq!(counter.unwrap()["finding"], "pass", "the counters of both are added up");
    let run = place.only_run();
    let first = manifest(&run);
    assert_eq!(first["backend"]["endpoints"], serde_json::json!([url(&one), url(&two)]));
    let report = place.run(&["report", run.to_str().unwrap()]);
    assert!(report.stderr.contains("byte for byte"), "{}", report.stderr);
    assert!(report.stdout.contains(&format!("\n1 {}", url(&two))), "{}", report.stdout);

    let again = place.run(&["run", "-f", &format!("{}/manifest.json", run.display()), "--quiet", "--format", "json"]);
    assert_eq!(by_endpoint(&again.summary()), [(11, 11), (10, 10)], "a manifest repeats it");
    let ladder = place.say(&format!("run --url {both} --ladder 1,2 --requests 4 --warmup 0s --input-tokens 8 --output-tokens 2 --quiet"));
    let shown = ladder.stdout.lines().find(|line| line.starts_with("  endpoint 1")).unwrap_or_else(|| panic!("{ladder:?}"));
    assert_eq!(shown.matches("2 of 2").count(), 2, "{shown}");

    let differ = place.say(&format!("run --url {} --url {} {load}", url(&one), url(&other)));
    assert_eq!(differ.code, Some(3), "{differ:?}");
    let says = format!("{} serves model `truth`, {} serves model `other`", url(&one), url(&other));
    assert!(differ.stderr.contains(&says), "{}", differ.stderr);
    let twice = place.say(&format!("run --url {0},{0} {load}", url(&one)));
    assert!(twice.code == Some(2) && twice.stderr.contains("is given twice"), "{twice:?}");
}

#[test]
fn both_dialects() {
    let server = truth("ttft=2ms,itl=1ms", None, None);
    for (path, dialect) in [("/v1/chat/completions", "chat"), ("/v1/completions", "completions")] {
        let place = Place::new();
        let ended = place.say(&format!(
            "run --url {} --endpoint {path} --concurrency 2 --requests 10 --warmup 0s --input-tokens 32 --output-tokens 8 --quiet --format json",
            url(&server)
        ));
        let summary = ended.summary();
        let n = summary.count("measured");
        assert_eq!([n, summary.count("ok"), summary.count("output_tokens")], [10, 10, 80], "{path}");
        assert_eq!(summary.broken_by_requests(), [""; 0], "{path}");
        ended.assert_exit(0, &summary);
        assert_eq!(manifest(&place.only_run())["backend"]["dialect"], dialect);
    }
}

#[test]
fn a_trace_over_the_endpoint() {
    let server = truth("ttft=1ms,itl=100us,max_model_len=64", None, None);
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../workloads/samples");
    let run = |more: &str| {
        let place = Place::new();
        let args = format!(
            "run --url {} --trace {samples}/chat.jsonl --rate 100 --requests 60 --warmup 0s {more} --quiet --format json",
            url(&server)
        );
        let ended = place.say(&args);
        (ended.summary(), ended)
    };
    for overlong in ["skip", "clip"] {
        let (summary, ended) = run(&format!("--overlong {overlong}"));
        assert_eq!([summary.count("measured"), summary.count("ok")], [60, 60], "{overlong}");
        assert_eq!(summary.count("output_tokens"), summary.count("output_wanted"));
        assert_eq!(summary.broken_by_requests(), [""; 0]);
        ended.assert_exit(0, &summary);
        let [skipped, clipped] = [summary.count("skipped"), summary.count("clipped")];
        assert_eq!([skipped > 0, clipped > 0], [overlong == "skip", overlong == "clip"], "{skipped} {clipped}");
    }
}

#[test]
fn a_ladder_prints_every_rung() {
    let place = Place::new();
    let server = truth("ttft=5ms,itl=1ms", None, None);
    let args = format!(
        "run --url {} --ladder 1,2 --duration 1s --warmup 0s --input-tokens 16 --output-tokens 4 --quiet --exit-zero-on invalid",
        url(&server)
    );
    let ended = place.say(&args);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for rung in ["C = 1", "C = 2", "next: "] {
        assert!(ended.stdout.contains(rung), "{}", ended.stdout);
    }
    let runs = place.runs();
    assert_eq!(runs.len(), 2);
    let groups: Vec<Value> = runs.iter().map(|run| manifest(run)["group_id"].clone()).collect();
    assert_eq!(groups[0], groups[1], "the rungs belong together");
    for run in &runs {
        assert_eq!(names(run), FIVE);
        let summary = Summary(serde_json::from_str(&read(&run.join("summary.json"))).unwrap());
        assert_eq!(summary.count("failed"), 0);
        assert_eq!(summary.count("output_tokens"), 4 * summary.count("ok"));
    }
}

#[test]
fn a_configuration_file_with_a_flag_over_it() {
    let place = Place::new();
    let server = truth("ttft=2ms,itl=1ms", None, None);
    let toml =
        "input-tokens = 16\noutput-tokens = 4\nconcurrency = 1\nrequests = 50\nquiet = true\nformat = \"json\"\nlabel = [\"who=file\"]\n";
    let file = place.file("bench.toml", &format!("url = \"{}\"\n{toml}", url(&server)));
    let ended = place.run(&["run", "-f", &file, "--requests", "5"]);
    let summary = ended.summary();
    assert_exact(&ended, &summary, 16, 4);
    assert_eq!(summary.count("measured"), 5);
    assert_eq!(manifest(&place.only_run())["labels"]["who"], "file");
}

#[test]
fn a_missed_service_level() {
    let server = truth("ttft=20ms,itl=1ms", None, None);
    let run = |more: &str| {
        let place = Place::new();
        place.run(&words(&format!(
            "run --url {} --concurrency 1 --requests 5 --warmup 0s --input-tokens 16 --output-tokens 4 --quiet --format json {more}",
            url(&server)
        )))
    };
    // No answer can begin before the server's 20 ms; none takes an hour.
    let missed = run("--slo ttft=1ms");
    let summary = missed.summary();
    assert_eq!(summary.metric("goodput_share", "rate"), Some(0.0));
    missed.assert_exit(20, &summary);
    let goodput = run("--goodput ttft:1");
    goodput.assert_exit(20, &goodput.summary());
    let met = run("--slo ttft=1h,e2e=1h");
    assert_eq!(met.summary().metric("goodput_share", "rate"), Some(1.0));
    met.assert_exit(0, &met.summary());
    let excused = run("--slo ttft=1ms --exit-zero-on slo,invalid");
    assert_eq!(excused.code, Some(0), "{excused:?}");
    assert_eq!(excused.summary().metric("goodput_share", "rate"), Some(0.0), "excused, not hidden");
}

#[test]
fn over_http_2_plain_and_under_tls() {
    let load = "--rate 50 --duration 1s --warmup 0s --input-tokens 32 --output-tokens 8 --quiet --format json";
    for (tls, http, connection) in [(false, "2", "h2"), (true, "2", "h2"), (true, "auto", "h2"), (true, "1", "reused")] {
        let place = Place::new();
        let (log, certificate) = (place.path().join("log.jsonl"), place.file("truth.pem", nomoat_truth::CERTIFICATE_PEM));
        let script = nomoat_truth::Script::parse("ttft=5ms,itl=1ms").unwrap();
        let config = nomoat_truth::Config { script, tls, log_file: Some(log.clone()), ..nomoat_truth::Config::default() };
        let server = nomoat_truth::Truth::start(config).unwrap();
        let at = if tls { format!("https://{} --ca-file {certificate}", server.addr()) } else { url(&server) };
        let ended = place.say(&format!("run --url {at} --http {http} {load}"));
        let summary = ended.summary();
        assert_exact(&ended, &summary, 32, 8);
        let run = place.only_run();
        let spoken = if connection == "h2" { "2" } else { "1" };
        assert_eq!(
            manifest(&run)["command"]["config"]["http"],
            spoken,
            "what was found out is kept: {}",
            manifest(&run)["command"]["config"]
        );
        let scopes: Vec<&Value> = summary.0["metrics"].as_array().unwrap().iter().map(|m| &m["scope"]["connection"]).collect();
        assert!(scopes.iter().any(|scope| *scope == connection), "{tls} {http}");
        server.stop();
        let compared = place.run(&["truth", "compare", run.to_str().unwrap(), "--log", log.to_str().unwrap(), "--format", "json"]);
        let compared: Value = serde_json::from_str(&compared.stdout).unwrap();
        assert_eq!(compared["matched"], summary.count("measured"));
        for none in ["unmatched_records", "token_mismatches", "outcome_mismatches"] {
            assert_eq!(compared[none], 0, "{none}: {compared}");
        }
    }
}
