//! The built-in engine, driven as any other.

use crate::common::{FIVE, Place, names};

#[test]
fn a_short_run() {
    let place = Place::new();
    let ended = place.say("run --requests 20 --rate 10 --warmup 0s --format json");
    let summary = ended.summary();
    ended.assert_exit(0, &summary);
    assert_eq!(summary.broken_by_requests(), [""; 0], "{}", ended.stderr);
    assert_eq!([summary.count("measured"), summary.count("ok"), summary.count("failed")], [20, 20, 0]);
    assert_eq!(summary.count("output_tokens"), summary.count("output_wanted"));
    assert_eq!(summary.count("input_tokens"), summary.count("input_wanted"));
    assert_eq!(summary.count("uncounted"), 0);
    let kv = |name: &str| summary.metric(name, "value").unwrap_or_else(|| panic!("{name} is not known"));
    assert!(kv("kv_occupied_peak_bytes") > 0.0, "prompts were computed, so blocks were held");
    assert!(kv("kv_occupied_peak_bytes") <= kv("kv_allocated_bytes"));
    assert!(kv("kv_occupied_mean_bytes") <= kv("kv_occupied_peak_bytes"));
    assert!(kv("kv_bytes_per_token") > 0.0);
    let run = place.only_run();
    assert_eq!(names(&run), FIVE);

    let table = place.run(&["report", run.to_str().unwrap()]);
    assert!(table.stdout.contains("KV memory") && table.stdout.contains("Allocated"), "{table:?}");
}

#[test]
fn the_table_ends_with_what_to_do_next() {
    let place = Place::new();
    let ended = place.say("run --requests 5 --rate 50 --warmup 0s --quiet");
    assert!([Some(0), Some(5)].contains(&ended.code), "{ended:?}");
    assert_eq!(ended.stderr, "", "--quiet");
    let next = ended.stdout.rfind("\nnext: ").unwrap_or_else(|| panic!("{}", ended.stdout));
    // The last paragraph, and it holds a command to type.
    assert!(!ended.stdout[next + 1..].trim_end().contains("\n\n"), "{}", ended.stdout);
    assert!(ended.stdout[next..].contains("nomoat run"), "{}", ended.stdout);
}
