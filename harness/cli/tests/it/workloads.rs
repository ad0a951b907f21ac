//! Generators, overlays and suites by the command line.

use crate::common::Place;

/// A port that nobody listens on: whoever connects fails.
const NOBODY: &str = "http://127.0.0.1:1";

#[test]
fn every_generator_makes_a_trace_that_is_read_again() {
    let place = Place::new();
    let list = place.say("trace generators");
    assert_eq!((list.code, list.stderr.as_str()), (Some(0), ""));
    for name in ["chat", "random", "shared-prefix", "multi-turn", "mlperf", "resample", "project-text"] {
        assert!(list.stdout.contains(&format!("\n{name} ")) || list.stdout.starts_with(name), "{name} is not listed");
        let file = format!("{name}.jsonl");
        let made = place.say(&format!("trace make {name} --seed 7 -o {file}"));
        assert_eq!(made.code, Some(0), "{name}: {}", made.stderr);
        let checked = place.say(&format!("trace check {file}"));
        assert!(checked.code == Some(0) && checked.stdout.contains("no fault found"), "{name}: {checked:?}");
    }
    let bundled = place.say("trace make");
    assert!(bundled.code == Some(0) && bundled.stdout == nomoat_workloads::CHAT_SAMPLE, "without a name it is the bundled trace");
    let few = place.say("trace make --requests 3");
    assert_eq!(few.stdout.matches("\"k\":\"req\"").count(), 3);
    for (line, says) in [
        ("trace make agentik", "did you mean `agentic`?"),
        ("trace make random --set inputt=5", "did you mean `input`?"),
        ("trace make random --set input=none", "a whole number from 1"),
    ] {
        let refused = place.say(line);
        assert!(refused.code == Some(2) && refused.stderr.contains(says), "{line}: {refused:?}");
    }
}

#[test]
fn overlays_are_written_and_said() {
    let place = Place::new();
    let (plain, mixed) = ("plain.jsonl", "mixed.jsonl");
    assert_eq!(place.say(&format!("trace make -o {plain}")).code, Some(0));
    let ended = place.say(&format!(
        "trace overlay {plain} -o {mixed} --classes critical:0.2:100,normal:0.6:0,batch:0.2:-10 --adapters a,b,c --zipf 1 --cancel-hazard 0.01/s"
    ));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for says in ["classes were drawn, not recorded", "3 adapters were drawn", "700 of 700 users go away"] {
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
    let text = std::fs::read_to_string(place.path().join(mixed)).unwrap();
    assert!(text.contains("critical") && text.contains("\"prio\":-10") && text.contains("\"cancel\""));
    for (flags, says) in [
        ("", "nothing is put over"),
        ("--classes critical:0.2", "NAME:SHARE:PRIORITY"),
        ("--cancel-hazard 0.01", "write 0.01/s"),
        ("--cancel-hazard -1/s", "rate above 0"),
    ] {
        let refused = place.say(&format!("trace overlay {plain} {flags}"));
        assert!(refused.code == Some(2) && refused.stderr.contains(says), "{flags}: {refused:?}");
    }
}

#[test]
fn suites_are_listed_and_planned() {
    let place = Place::new();
    let list = place.say("suites --format csv");
    assert_eq!((list.code, list.stderr.as_str()), (Some(0), ""));
    assert_eq!(list.stdout.lines().count(), 12, "{}", list.stdout);
    for name in ["chat", "rag", "bursty-edge", "mlperf-like", "inferencex-like", "project-text"] {
        assert!(list.stdout.contains(name), "{name}");
        let planned = place.say(&format!("run --dry-run --url {NOBODY} --suite {name}"));
        assert_eq!((planned.code, planned.stderr.as_str()), (Some(0), ""), "{name}");
        assert!(planned.stdout.contains("schedule digest"), "{name}");
    }
    let plan = |flags: &str| place.say(&format!("run --dry-run --url {NOBODY} --suite inferencex-like {flags}"));
    assert!(plan("").stdout.contains("768, warm-up included"), "{}", plan("").stdout);
    assert!(plan("--rate 3 --requests 5").stdout.contains("poisson arrivals at 3.000/s"), "flags win: {}", plan("--rate 3").stdout);
    let narrow = plan("--context 4096");
    assert!(narrow.code == Some(2) && narrow.stderr.contains("requires a context of 9216 tokens"), "{narrow:?}");
    assert_eq!(plan("--context 9216").code, Some(0));
    let both = plan("--trace x.jsonl");
    assert!(both.code == Some(2) && both.stderr.contains("goes without --trace"), "{both:?}");
}
