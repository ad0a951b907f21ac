//! Energy of whole runs, by a made-up meter whose power is known.

use crate::common::{Ended, Place, truth, url};
use nomoat_results::power::MOST_BYTES;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// Watts of the made-up meter.
const WATTS: f64 = 250.0;

/// A table of one reading a second, from so many seconds before now to so many after it, by a clock that writes such a fraction.
fn table(from: i64, to: i64, fraction: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let rows: Vec<String> = (from..=to).map(|at| format!("{}{fraction},pdu-1,{WATTS}\n", now + at)).collect();
    format!("time,device,watts\n{}", rows.concat())
}

/// A run against a scripted server, with further flags.
fn run(place: &Place, flags: &[&str]) -> Ended {
    run_of(place, 40, flags)
}

/// The same with so many requests, fifty a second.
fn run_of(place: &Place, requests: u32, flags: &[&str]) -> Ended {
    let server = truth("ttft=2ms,itl=1ms", None, None);
    let mut args = vec!["run".to_owned(), "--url".into(), url(&server)];
    args.extend("--input-tokens 16 --output-tokens 8 --rate 50 --format json --quiet --requests".split(' ').map(String::from));
    args.push(requests.to_string());
    args.extend(flags.iter().map(|flag| (*flag).to_owned()));
    place.run(&args)
}

/// The rows of a metric.
fn rows<'a>(summary: &'a Value, name: &str) -> Vec<&'a Value> {
    summary["metrics"].as_array().unwrap().iter().filter(|row| row["name"] == name).collect()
}

fn number(summary: &Value, name: &str) -> f64 {
    let row = rows(summary, name)[0];
    row["value"].as_f64().unwrap_or_else(|| panic!("{row}"))
}

/// Folding the run again gives the same bytes.
fn assert_repeats(place: &Place, run: &Path) {
    let again = place.run(&["report", run.to_str().unwrap(), "--format", "json"]);
    assert!(again.stderr.contains("byte for byte"), "{again:?}");
}

#[test]
fn a_table_that_brackets_the_window_gives_joules() {
    let place = Place::new();
    let table = place.file("power.csv", &table(-20, 300, ".000"));
    let ended = run(&place, &["--power", &table, "--energy-scope", "wall", "--usd-per-kwh", "0.4"]);
    let summary = ended.summary();
    ended.assert_exit(0, &summary);
    let window = &summary.0["window"];
    let seconds = (window["end_ns"].as_i64().unwrap() - window["start_ns"].as_i64().unwrap()) as f64 / 1e9;
    let joules = number(&summary.0, "energy_joules");
    assert!((joules / (WATTS * seconds) - 1.0).abs() < 1e-9, "{joules} J in {seconds} s");
    assert!((number(&summary.0, "avg_power_w") / WATTS - 1.0).abs() < 1e-9);
    let answers = number(&summary.0, "request_rate") * seconds;
    assert!((number(&summary.0, "j_per_request") / (joules / answers) - 1.0).abs() < 1e-9, "by the answers that ended in the window");
    let tokens = number(&summary.0, "output_tput") * seconds;
    assert!((number(&summary.0, "j_per_output_token") / (joules / tokens) - 1.0).abs() < 1e-9);
    assert!((number(&summary.0, "energy_usd") / (joules / 3.6e6 * 0.4) - 1.0).abs() < 1e-9);
    assert_eq!(rows(&summary.0, "energy_joules")[0]["scope"]["energy"], "wall");
    assert_eq!(rows(&summary.0, "energy_joules")[0]["method"], "trapezoid");
    assert_repeats(&place, &place.only_run());
    let shown = place.run(&["report", place.only_run().to_str().unwrap()]);
    assert!(shown.stdout.contains("\nEnergy, wall\n") && shown.stdout.contains("250 W on average"), "{}", shown.stdout);
}

#[test]
fn a_table_of_whole_seconds_is_too_coarse_for_a_short_window() {
    let place = Place::new();
    let table = place.file("power.csv", &table(-20, 300, ""));
    let summary = run(&place, &["--power", &table, "--energy-scope", "wall"]).summary();
    let row = rows(&summary.0, "energy_joules")[0];
    let reason = row["reason"].as_str().unwrap();
    assert!(row["value"].is_null() && reason.starts_with("coarse: the clock of pdu-1 has steps of 1.0 s"), "{row}");
    assert!(reason.contains("fractions of a second"), "{row}");
    assert_repeats(&place, &place.only_run());
}

#[test]
fn a_table_that_does_not_bracket_the_window_is_named_with_the_remedy() {
    let place = Place::new();
    let table = place.file("power.csv", &table(-100, -50, ".000"));
    let ended = run(&place, &["--power", &table, "--energy-scope", "node"]);
    let summary = ended.summary();
    ended.assert_exit(0, &summary);
    for name in ["energy_joules", "avg_power_w", "j_per_output_token", "j_per_total_token", "j_per_request"] {
        let row = rows(&summary.0, name)[0];
        let reason = row["reason"].as_str().unwrap();
        assert!(row["value"].is_null() && row["scope"]["energy"] == "node", "{row}");
        assert!(reason.starts_with("not_bracketed: ") && reason.contains("keep the meter running from before the run"), "{reason}");
    }
    assert_repeats(&place, &place.only_run());
}

#[test]
fn what_cannot_be_read_after_the_run_is_a_reason_and_the_run_is_kept() {
    let place = Place::new();
    let bad = place.file("power.csv", "time,device,watts\n1700000000,pdu,12W\n");
    let slurm = place.file("job.txt", "JobID|Start|End|NNodes|ConsumedEnergyRaw\n7|2026-11-28T01:00:00|2026-11-28T02:00:00|1|5\n");
    let flags = ["--power", &bad, "--energy-scope", "node", "--power-slurm", &slurm, "--power-url", "http://127.0.0.1:1/metrics"];
    let ended = run(&place, &flags);
    let summary = ended.summary();
    ended.assert_exit(0, &summary);
    let reason = rows(&summary.0, "energy_joules")[0]["reason"].as_str().unwrap().to_owned();
    for part in ["line 2: `12W` is no number of watts", "SLURM_TIME_FORMAT=%s", "reading http://127.0.0.1:1/metrics"] {
        assert!(reason.contains(part), "{reason}");
    }
    let manifest: Value = serde_json::from_str(&std::fs::read_to_string(place.only_run().join("manifest.json")).unwrap()).unwrap();
    let absent: Vec<&str> = manifest["facts"]["energy"]["absent"].as_array().unwrap().iter().map(|a| a["what"].as_str().unwrap()).collect();
    assert!(["--power-url", "--power", "--power-slurm"].iter().all(|flag| absent.contains(flag)), "{absent:?}");
    assert_repeats(&place, &place.only_run());
}

#[test]
fn a_job_is_told_and_is_not_the_window() {
    let place = Place::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let page = format!("JobID|Start|End|NNodes|ConsumedEnergyRaw\n7|{}|{}|2|400000\n", now - 500, now + 500);
    let slurm = place.file("job.txt", &page);
    let ended = run(&place, &["--power-slurm", &slurm, "--energy", "off"]);
    let summary = ended.summary();
    let row = rows(&summary.0, "energy_joules")[0].clone();
    let reason = row["reason"].as_str().unwrap();
    assert!(row["value"].is_null() && row["scope"]["energy"] == "node", "{row}");
    assert!(
        reason.starts_with("whole_job: the batch system tells 400 W, the mean of job 7 over 1000 s, and the window is a part"),
        "{reason}"
    );
    assert_repeats(&place, &place.only_run());
}

/// Compiles the stand-in for NVIDIA's library into a folder, or says visibly that it cannot.
fn nvml(place: &Place, name: &str, define: &str) -> Option<String> {
    let folder = place.path().join(name);
    std::fs::create_dir(&folder).unwrap();
    let source = place.file("stub.c", include_str!("nvml/stub.c"));
    let ended = Command::new("cc").args(["-shared", "-fPIC", define, "-o"]).arg(folder.join("libnvidia-ml.so.1")).arg(&source).output();
    match ended {
        Ok(ended) if ended.status.success() => Some(folder.to_str().unwrap().to_owned()),
        Ok(ended) => panic!("{}", String::from_utf8_lossy(&ended.stderr)),
        Err(error) => {
            eprintln!("SKIPPED: no C compiler (`cc`): {error}");
            None
        }
    }
}

/// What a number says of meters that nobody named.
const BY_ADDRESS: &str = "the engine is taken to run here by its address: --energy says so";

#[test]
fn meters_that_are_read_by_the_address_alone_are_said_to_be() {
    let place = Place::new();
    let Some(folder) = nvml(&place, "here", "-DWATTS_TOLD=100") else { return };
    let place = place.with_env("LD_LIBRARY_PATH", &folder);
    let summary = run_of(&place, 200, &["--accelerators", "h200:2"]).summary();
    let row = rows(&summary.0, "energy_joules")[0];
    assert!(row["value"].is_number() && row["scope"]["energy"] == "board", "{row}");
    assert!(row["reason"].as_str().unwrap().contains(BY_ADDRESS), "{row}");
    let shown = place.run(&["report", place.only_run().to_str().unwrap()]).stdout;
    let line = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(line.contains(BY_ADDRESS), "{shown}");
    assert_repeats(&place, &place.only_run());
}

/// The whole way from the library's functions to joules, over the prototypes of its header: two boards of 100 and 200 W.
#[test]
fn boards_that_a_library_counts() {
    let check = |name: &str, define: &str, boards: &str, look: &dyn Fn(&Value, f64)| {
        let place = Place::new();
        let Some(folder) = nvml(&place, name, define) else { return };
        let place = place.with_env("LD_LIBRARY_PATH", &folder);
        // Four seconds: a counter is read a moment after its reading is stamped, and a busy host makes that moment long.
        let ended = run_of(&place, 200, &["--energy", "nvml", "--accelerators", boards]);
        let summary = ended.summary();
        ended.assert_exit(0, &summary);
        let window = &summary.0["window"];
        let seconds = (window["end_ns"].as_i64().unwrap() - window["start_ns"].as_i64().unwrap()) as f64 / 1e9;
        look(rows(&summary.0, "energy_joules")[0], seconds);
        assert_repeats(&place, &place.only_run());
        let listed = place.run(&["devices"]).stdout;
        assert!(listed.contains("nvml") && !listed.contains("nvml      not there"), "{listed}");
    };
    check("alike", "-DWATTS_TOLD=100", "h200:2", &|row, seconds| {
        assert_eq!(row["scope"]["energy"], "board", "{row}");
        assert!(!row["reason"].as_str().unwrap().contains(BY_ADDRESS), "the user said so: {row}");
        let (joules, expect) = (row["value"].as_f64().unwrap_or_else(|| panic!("{row}")), 300.0 * seconds);
        assert!((joules / expect - 1.0).abs() < 0.2, "{joules} J for {expect} J");
    });
    check("apart", "-DWATTS_TOLD=300", "h200:2", &|row, _| {
        assert!(row["value"].is_null() && row["reason"].as_str().unwrap().starts_with("disagree: "), "{row}");
    });
    check("missing", "-DWATTS_TOLD=100", "h200:8", &|row, _| {
        assert!(row["value"].is_null() && row["reason"].as_str().unwrap().starts_with("devices: "), "{row}");
    });
}

/// A meter is tried without a run: boards of 100 and 200 W whose power is told right, and one whose power is three times its counter.
#[test]
fn meters_are_tried() {
    for (define, boards_say, code) in [("-DWATTS_TOLD=100", 0.0, 0), ("-DWATTS_TOLD=300", 2.0, 5)] {
        let place = Place::new();
        let Some(folder) = nvml(&place, "tried", define) else { return };
        let place = place.with_env("LD_LIBRARY_PATH", &folder);
        let ended = place.say("devices --power 2s --format json");
        assert_eq!(ended.code, Some(code), "{ended:?}");
        let page: Value = serde_json::from_str(&ended.stdout).unwrap();
        let nvml = page["meters"].as_array().unwrap().iter().find(|meter| meter["meter"] == "nvml").unwrap();
        let devices = nvml["devices"].as_array().unwrap();
        assert_eq!(devices.len(), 2, "{nvml:#}");
        let apart = nvml["power_against_counter"].as_f64().unwrap_or_else(|| panic!("{nvml:#}"));
        assert!((apart - boards_say).abs() < 0.2, "{apart}");
        assert_eq!(nvml["joules"].is_number(), code == 0, "{nvml:#}");
        assert_eq!(nvml["reason"].as_str().is_some_and(|why| why.starts_with("disagree: ")), code == 5, "{nvml:#}");
        // The power of the stand-in never moves, its counter does at every reading.
        assert!(devices.iter().all(|device| device["power_moves_ns"].is_null() && device["counter_moves_ns"].is_number()), "{nvml:#}");
        assert!(page["missing"].as_array().unwrap().iter().any(|missing| missing["what"] == "amdsmi"), "{page:#}");
        let table = place.say("devices --power 1s").stdout;
        for part in ["GPU-made-up-1", "power counter", "nvml (board): ", "than by its counter", "not there: "] {
            assert!(table.contains(part), "{part}: {table}");
        }
    }
}

#[test]
fn what_is_provisioned_is_said_to_be() {
    let place = Place::new();
    let ended = run(&place, &["--provisioned-watts", "1730", "--energy", "off"]);
    let summary = ended.summary();
    let row = rows(&summary.0, "avg_power_w")[0];
    assert_eq!((row["value"].as_f64(), row["scope"]["energy"].as_str()), (Some(1730.0), Some("provisioned")));
    assert!(row["reason"].as_str().unwrap().contains("nothing was measured"), "{row}");
}

#[test]
fn nobody_who_did_not_ask_is_bothered() {
    let place = Place::new();
    let ended = run(&place, &["--energy", "off"]);
    let summary = ended.summary();
    ended.assert_exit(0, &summary);
    assert!(!ended.stderr.contains("energy"), "{}", ended.stderr);
    let shown = place.run(&["report", place.only_run().to_str().unwrap()]).stdout;
    assert!(!shown.contains("\nEnergy") && shown.matches("no energy source").count() == 1, "{shown}");
}

#[test]
fn flags_that_contradict_each_other_start_nothing() {
    let place = Place::new();
    for (flags, says) in [
        (&["--power", "p.csv"][..], "needs --energy-scope"),
        (&["--pue", "1.2"], "needs --usd-per-kwh"),
        (&["--power-url", "http://127.0.0.1:1/metrics?token=SESAME"], "takes no query and no credentials"),
        (&["--energy", "nvlm"], "did you mean `nvml`?"),
    ] {
        let ended = run(&place, flags);
        assert!(ended.code == Some(2) && ended.stderr.contains(says), "{ended:?}");
        assert!(!format!("{ended:?}").contains("SESAME"), "{ended:?}");
    }
    assert_eq!(place.runs().len(), 0, "so no file has the token either");
    let large = place.path().join("large.csv");
    std::fs::File::create(&large).unwrap().set_len(MOST_BYTES + 1).unwrap();
    let ended = run(&place, &["--power", large.to_str().unwrap(), "--energy-scope", "wall"]);
    let reason = rows(&ended.summary().0, "energy_joules")[0]["reason"].to_string();
    assert!(reason.contains("are read at most"), "{reason}");
}
