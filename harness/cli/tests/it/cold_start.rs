//! Cold starts: states that are verified, the parts of the way back, and servers that do not do what they say.

use crate::common::{Ended, Place, truth, url, words};
use serde_json::Value;

/// What was stored of the only measurement.
fn stored(place: &Place, ended: &Ended) -> Value {
    let folder = place.only_run();
    let text = std::fs::read_to_string(folder.join("cold-start.json")).unwrap_or_else(|e| panic!("{e}: {ended:?}"));
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_way_back_has_its_parts_and_its_refusals() {
    let place = Place::new();
    let server = truth("ttft=2ms,itl=1ms,waking=60ms", None, None);
    let line = format!("run --url {} --cold-start sleep:1 --cycles 2 --quiet --format json", url(&server));
    let ended = place.say(&line);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let run = stored(&place, &ended);
    assert_eq!(serde_json::from_str::<Value>(&ended.stdout).unwrap(), run, "what is printed is what is stored");
    assert_eq!((&run["schema"], &run["action"], &run["stopped_because"]), (&"cold-start/1".into(), &"sleep:1".into(), &Value::Null));
    assert_eq!(run["cold_by"], "GET /is_sleeping at /is_sleeping is `true`");
    let cycles = run["cycles"].as_array().unwrap();
    assert_eq!(cycles.len(), 2);
    for cycle in cycles {
        let at = |name: &str| cycle[name].as_i64().unwrap_or_else(|| panic!("{name}: {cycle}"));
        assert!(0 < at("api_ns") && at("api_ns") <= at("ready_ns") && at("ready_ns") < at("first_token_ns"), "{cycle}");
        // The server answers nobody for so long, so no first token can have come before.
        assert!(at("first_token_ns") >= 60_000_000 && cycle["refused"]["503"].as_u64().unwrap() > 0, "{cycle}");
        assert!(at("warm_token_ns") >= 2_000_000, "{cycle}");
        assert!(cycle["port_open_ns"].is_null() && cycle["resident_warm_bytes"].is_null(), "absent is not zero: {cycle}");
    }
    // What the server saw: it was asked while it was on its way back, and answered twice a cycle at least.
    let rows = server.log();
    assert!(rows.iter().filter(|row| row.status == 503).count() >= 2, "{}", rows.len());
    assert!(rows.iter().filter(|row| row.status == 200).count() >= 4, "{}", rows.len());
}

#[test]
fn a_process_is_started_again_and_again() {
    let place = Place::new();
    let ended = place.say("run --launch truth --cold-start launch --cycles 2 --quiet");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("cold start by launch · 2 of 2 cycles"), "{}", ended.stdout);
    let run = stored(&place, &ended);
    assert_eq!(crate::common::names(&place.only_run()), ["cold-start.json", "engine-1.log", "engine-2.log", "engine.log"]);
    for cycle in run["cycles"].as_array().unwrap() {
        let at = |name: &str| cycle[name].as_i64().unwrap_or_else(|| panic!("{name}: {cycle}"));
        assert!(0 < at("port_open_ns") && at("port_open_ns") <= at("ready_ns") && at("ready_ns") < at("first_token_ns"), "{cycle}");
        assert!(at("resident_warm_bytes") > 1 << 20 && at("resident_cold_bytes") == 0 && cycle["api_ns"].is_null(), "{cycle}");
    }
}

#[test]
fn a_status_is_not_a_state() {
    let place = Place::new();
    for (script, says) in [
        ("sleep=ignored", "was asked to be cold and does not show it after 100 ms: /is_sleeping: HTTP 200, and not yet"),
        ("sleep=absent", "by POST /sleep?level=1: HTTP 404"),
    ] {
        let server = truth(script, None, None);
        let ended = place.say(&format!("run --url {} --cold-start sleep:1 --wait-ready 100ms --quiet", url(&server)));
        assert_eq!(ended.code, Some(3), "{script}: {ended:?}");
        assert!(ended.stderr.contains(says), "{script}: {}", ended.stderr);
        assert_eq!((ended.stdout.as_str(), place.runs().len()), ("", 0), "{script}");
    }
}

#[test]
fn an_engine_that_never_answers_again_is_given_up() {
    let place = Place::new();
    let server = truth("ttft=1ms,waking=1h", None, None);
    let ended = place.say(&format!("run --url {} --cold-start sleep:1 --wait-ready 100ms --quiet", url(&server)));
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("HTTP 503: the model is loading"), "{}", ended.stderr);
}

#[test]
fn engines_without_a_control_say_so_by_name() {
    let place = Place::new();
    let server = truth("ttft=1ms", None, None);
    let address = url(&server);
    for (line, says) in [
        (format!("--url {address} --cold-start sleep:2"), "nomoat's scripted server has no such control; it has sleep:1, launch"),
        (format!("--url {address} --engine tgi --cold-start sleep:1"), "Text Generation Inference has no control that nomoat knows of"),
        (format!("--url {address} --engine vllm --cold-start lora"), "--cold-start lora:NAME"),
        (format!("--url {address} --cold-start launch"), "it needs --launch NAME"),
        ("--cold-start sleep:1".into(), "needs --url or --launch"),
        (format!("--url {address},{address} --cold-start sleep:1"), "give one --url"),
        (format!("--url {address} --cold-start sleep:1 --cycles 0"), "--cycles must be at least 1"),
        (format!("--url {address} --http 2 --cold-start sleep:1"), "give --http 1"),
    ] {
        let ended = place.run(&[words("run --quiet"), words(&line)].concat());
        assert_eq!(ended.code, Some(2), "{line}: {ended:?}");
        assert!(ended.stderr.contains(says), "{line}: {}", ended.stderr);
    }
    assert!(place.runs().is_empty());
}
