//! `nomoat kernels` and `nomoat devices` on the host's processor.

use crate::common::Place;
use nomoat_results::kernels::KernelRun;

#[test]
fn devices_lists_the_cpu_and_says_why_others_are_not_there() {
    let place = Place::new();
    let ended = place.say("devices");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.starts_with("Found\n  cpu "), "{}", ended.stdout);
    let json: serde_json::Value = serde_json::from_str(&place.say("devices --format json").stdout).unwrap();
    assert_eq!(json["devices"][0]["id"], "cpu");
    for missing in json["missing"].as_array().unwrap() {
        assert!(missing["why"].as_str().is_some_and(|why| why.len() > 10), "{missing}");
    }
}

#[test]
fn a_selftest_names_every_variant_and_what_became_of_it() {
    let place = Place::new();
    let ended = place.say("devices --selftest");
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.stdout, ended.stderr);
    for words in ["cpu  ", "gemm native ", "decode-mla native ", "top-k native "] {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    }
    assert!(!ended.stdout.contains("WRONG") && !ended.stdout.contains("FAILED"), "{}", ended.stdout);
}

#[test]
fn a_measurement_is_stored_and_printed_again() {
    let place = Place::new();
    let ended = place.say("kernels copy --device cpu --quick --no-sweep --quiet --out runs");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let directory = place.path().join(ended.stderr.trim());
    let run = KernelRun::read(&directory).unwrap();
    let row = run.rows.iter().find(|row| row.kernel == "copy" && row.variant == "native").unwrap();
    assert!(row.check.relative_error == 0.0 && row.median_s() > 0.0 && row.cpu_s.is_some_and(|seconds| seconds > 0.0), "{row:?}");
    let again = place.say(&format!("report {}", directory.display()));
    assert_eq!((again.code, again.stdout), (Some(0), ended.stdout));
    // Only a copy was measured: what needs more says so and passes nothing.
    let studied = place.say(&format!("study dsa-alone {}", directory.display()));
    assert_eq!(studied.code, Some(0), "{}", studied.stderr);
    assert!(studied.stdout.contains("UNTESTED: dense attention"), "{}", studied.stdout);
}

#[test]
fn what_there_is_not_is_named_with_what_there_is() {
    let place = Place::new();
    for (line, says) in [
        ("kernels copi", ["there is no kernel `copi`", "did you mean copy?"]),
        ("kernels copy --device cuda:99", ["cuda:99", "nomoat devices"]),
        ("kernels copy --device tpu", ["tpu", "cpu"]),
        ("kernels copy --device cpu --variant fast", ["no variant", "native"]),
    ] {
        let ended = place.say(line);
        assert_eq!(ended.code, Some(2), "{line}: {}", ended.stderr);
        for words in says {
            assert!(ended.stderr.contains(words), "{line}: {}", ended.stderr);
        }
        assert_eq!(ended.stdout, "", "{line}");
    }
}
