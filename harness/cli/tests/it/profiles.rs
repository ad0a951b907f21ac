//! `nomoat profiles` by the command line: what ships, a file of one's own, fits of measured collectives.

use crate::common::Place;
use serde_json::Value;

const NCCL: &str = include_str!("../../../../results/fixtures/collectives/nccl-2.17.txt");
const RCCL: &str = include_str!("../../../../results/fixtures/collectives/rccl.txt");
const OLD: &str = include_str!("../../../../results/fixtures/collectives/nccl-2.0.txt");

fn narrow(text: &str) {
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn what_ships_is_listed_with_its_source() {
    let place = Place::new();
    let all = place.say("profiles");
    assert_eq!((all.code, all.stderr.as_str()), (Some(0), ""));
    narrow(&all.stdout);
    for name in ["h100-sxm", "wse-3", "5g-up", "nvlink5", "jetson-thor", "edge-128"] {
        assert!(all.stdout.contains(name), "{name}");
    }
    let page: Value = serde_json::from_str(&place.say("profiles --format json").stdout).unwrap();
    for kind in ["devices", "links", "nodes"] {
        for row in page[kind].as_array().unwrap() {
            assert!(["source", "date", "evidence"].iter().all(|key| row[key].as_str().is_some_and(|text| !text.is_empty())), "{row}");
        }
        narrow(&place.say(&format!("profiles {kind}")).stdout);
    }
    // What nobody states is null, and a dash.
    let xeon = place.say("profiles devices xeon-6980p --format json").stdout;
    assert_eq!(serde_json::from_str::<Value>(&xeon).unwrap()[0]["memory_gib"], Value::Null);
    let csv = place.say("profiles links 5g-down --format csv").stdout;
    assert!(csv.starts_with("name,gbit_s,gb_s,latency_us,evidence,date,title,source\n5g-down,0.26951,0.03368875,,measured,"), "{csv}");
    for (line, says) in
        [("profiles devices h20", "is the nearest"), ("profiles --format csv", "hold one kind"), ("profiles lonks", "links")]
    {
        let ended = place.say(line);
        assert!(ended.code == Some(2) && ended.stderr.contains(says), "{line}: {ended:?}");
    }
}

#[test]
fn a_file_of_ones_own_is_checked() {
    let place = Place::new();
    place.file(
        "mine.toml",
        "[[link]]\nname = \"mine\"\ntitle = \"Mine\"\ngbit_s = 4\nevidence = \"measured\"\nsource = \"iperf3\"\ndate = \"2026-11-28\"\n\
         [[node]]\nname = \"bad\"\ntitle = \"Bad\"\nmemory_gib = -1\nevidence = \"measured\"\nsource = \"me\"\ndate = \"yesterday\"\n\
         [[node]]\nname = \"worse\"\n",
    );
    let ended = place.say("profiles check mine.toml");
    assert_eq!(ended.code, Some(2));
    for says in ["1 link(s)", "node `bad` has memory_gib = -1", "YYYY-MM-DD", "node `worse` lacks `source`", "node `worse` lacks `date`"] {
        assert!(ended.stdout.contains(says), "{says}: {}", ended.stdout);
    }
    let link = place.say("profiles links mine.toml --format json").stdout;
    assert_eq!(serde_json::from_str::<Value>(&link).unwrap()[0]["gb_s"], 0.5);
}

#[test]
fn a_line_through_measured_times() {
    let place = Place::new();
    place.file("nccl.txt", NCCL);
    place.file("rccl.txt", RCCL);
    place.file("old.txt", OLD);
    let ended = place.say("profiles link-fit nccl.txt rccl.txt --format json");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let page: Value = serde_json::from_str(&ended.stdout).unwrap();
    // The made-up times are 20 µs and 183 GB/s with errors of three in a hundred.
    let fit = &page["fits"][0];
    let (alpha, half) = (fit["alpha_s"].as_f64().unwrap(), fit["alpha_half_width_s"].as_f64().unwrap());
    assert!((alpha - 20e-6).abs() < half && half < 0.5e-6, "{fit}");
    assert!(fit["bytes_per_s_low"].as_f64().unwrap() < 183e9 && fit["bytes_per_s_high"].as_f64().unwrap() > 183e9, "{fit}");
    assert_eq!((&fit["ranks"], &fit["fits"]), (&Value::from(8), &Value::from(true)));
    let crossing = &fit["crossover"][1];
    assert_eq!(crossing["d_model"], 7_168);
    let (tokens, half) = (crossing["tokens"].as_f64().unwrap(), crossing["half_width"].as_f64().unwrap());
    assert!((tokens - 20e-6 * 183e9 / (2.0 * 7_168.0)).abs() < half, "{crossing}");
    // B* is of all-reduce.
    assert_eq!(page["fits"][1]["crossover"], Value::Array(vec![]));
    let table = place.say("profiles link-fit nccl.txt --in-place --d-model 7168").stdout;
    narrow(&table);
    for says in ["all_reduce", "± ", "residual", "268435456", "B*", "is off by"] {
        assert!(table.contains(says), "{says}: {table}");
    }
    for (line, says) in [
        ("old.txt", "give --collective"),
        ("old.txt --collective all_reduce", "give --ranks"),
        ("old.txt --collective all_hands --ranks 16", "--collective"),
        ("nccl.txt --ranks 4", "its own number of ranks is 8"),
        ("nccl.txt --d-model 0", "--d-model"),
        ("none.txt", "reading none.txt"),
    ] {
        let ended = place.say(&format!("profiles link-fit {line}"));
        assert!(ended.code == Some(2) && ended.stderr.contains(says) && ended.stdout.is_empty(), "{line}: {ended:?}");
    }
    assert_eq!(place.say("profiles link-fit old.txt --collective all_reduce --ranks 16").code, Some(0));
    place.file("wrong.txt", &NCCL.replacen("0.09       0", "0.09       2", 1));
    let ended = place.say("profiles link-fit wrong.txt");
    assert!(ended.code == Some(2) && ended.stderr.contains("wrong.txt: line 19: 2 values were wrong"), "{ended:?}");
}

#[test]
fn where_a_line_does_not_fit_is_said() {
    let place = Place::new();
    // From 2 MiB on another algorithm takes three times as long.
    let mut text = String::from("# Collective test starting: all_reduce_perf\n#  Rank  0 Group  0 Pid 1 on a device  0 [0000:10:00] X\n");
    text.push_str("#  Rank  1 Group  0 Pid 2 on a device  1 [0000:11:00] X\n# size count type redop root time algbw busbw #wrong\n");
    for power in 16..26 {
        let bytes = f64::from(1 << power);
        let seconds = (20e-6 + bytes / 50e9) * if power < 21 { 1.0 } else { 3.0 };
        let rate = bytes / seconds / 1e9;
        text.push_str(
            &[bytes.to_string(), "1 float sum -1".into(), (seconds * 1e6).to_string(), rate.to_string(), rate.to_string(), "0\n".into()]
                .join(" "),
        );
    }
    place.file("steps.txt", &text);
    let ended = place.say("profiles link-fit steps.txt");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("one line does not fit"), "{}", ended.stdout);
}
