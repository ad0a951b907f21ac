//! Every help page, as it is printed. A changed page is a changed interface: look at the difference, then accept it.

use crate::common::Place;

#[test]
fn pages() {
    let place = Place::new();
    for line in [
        "--help",
        "run -h",
        "run --help",
        "report --help",
        "recover --help",
        "truth --help",
        "truth compare --help",
        "audit --help",
        "calibrate --help",
        "trace --help",
        "trace import --help",
        "trace check --help",
        "trace stats --help",
        "trace overlay --help",
        "trace generators --help",
        "trace make --help",
        "trace record --help",
        "cost -h",
        "cost --help",
        "export --help",
        "prices --help",
        "prices list --help",
        "suites --help",
        "kernels --help",
        "kv --help",
        "profiles --help",
        "profiles link-fit --help",
        "devices --help",
        "study --help",
        "metrics --help",
        "engine --help",
        "engine list --help",
        "engine show --help",
        "engine probe --help",
        "engine conform --help",
        "engine suite --help",
    ] {
        let ended = place.say(line);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{line}");
        insta::assert_snapshot!(line.replace([' ', '-'], "_"), ended.stdout, line);
    }
}

#[test]
fn the_other_name_of_run() {
    let place = Place::new();
    let (run, bench) = (place.say("run --help"), place.say("bench --help"));
    assert_eq!(bench.code, Some(0));
    assert_eq!(run.stdout, bench.stdout);
}

#[test]
fn metrics_are_listed_in_every_format() {
    let place = Place::new();
    for format in ["table", "markdown", "csv", "json"] {
        let ended = place.say(&format!("metrics --format {format}"));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{format}");
        for name in ["ttft", "tpot", "e2e", "kv_occupied_peak_bytes"] {
            assert!(ended.stdout.contains(name), "{format} without {name}");
        }
    }
}
