//! `nomoat cost` and `nomoat prices`: finished runs under prices of the book, of a user's own, and under none.

use crate::common::Place;

/// A price that is read today, whenever that is, so that no warning depends on the day.
const OWN: &str = "[[api]]\nprovider = \"me\"\nmodel = \"small\"\ninput = 0.5\ncache_read = 0.05\noutput = 1\nfrom = \"2020-01-01\"\nsource = \"a contract\"\nretrieved = \"2026-11-01\"\n\
                   [[hour]]\nsku = \"box\"\nowner = \"me\"\nlow = 0.1\nmedian = 0.2\nhigh = 0.4\nfrom = \"2020-01-01\"\nsource = \"a bill\"\nretrieved = \"2026-11-01\"\n";

fn ran(place: &Place) -> String {
    let ended = place.say("run --requests 20 --concurrency 1 --warmup 0s --slo ttft=30s --quiet");
    assert!([Some(0), Some(5)].contains(&ended.code), "{ended:?}");
    place.only_run().to_str().unwrap().to_owned()
}

#[test]
fn a_run_of_the_embedded_engine_against_an_api() {
    let place = Place::new();
    let run = ran(&place);
    let table = place.run(&[
        "cost",
        &run,
        "--usd-per-hour",
        "0.2",
        "--against",
        "cerebras/gpt-oss-120b",
        "--against",
        "deepseek/deepseek-v4-pro",
        "--at",
        "2026-10-28T02:00:00Z",
    ]);
    assert_eq!((table.code, table.stderr.as_str()), (Some(0), ""), "{}", table.stdout);
    for part in [
        "your pool, $0.200/h",
        "Break-even for this workload",
        "cerebras/gpt-oss-120b",
        "01:00–04:00 UTC",
        "20 requests at input 1.32",
        "20 of 20 answered, ",
    ] {
        assert!(table.stdout.contains(part), "{part}\n{}", table.stdout);
    }
    let json = place.run(&["cost", &run, "--usd-per-hour", "0.2", "--against", "cerebras/gpt-oss-120b", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let run = &json["runs"][0];
    let even = &run["break_even"][0];
    let number = |value: &serde_json::Value| value.as_f64().unwrap_or_else(|| panic!("{value} in {json:#}"));
    // Break-even by its own definition, from the other numbers of the page.
    let api = number(&run["apis"][0]["cost"]["usd_per_mtok_total"]);
    let at_full = number(&even["at"][0]["tokens_per_s_device"]);
    assert!((at_full - 0.2 / api * 1e6 / 3600.0).abs() < 1e-6 * at_full, "{at_full}");
    let tokens = number(&run["output_tokens"]) + number(&run["input_tokens"]);
    let measured = tokens / number(&run["window_s"]);
    assert!((number(&even["measured_tokens_per_s_device"]) - measured).abs() < 1e-6 * measured);
    assert!((number(&even["cheaper_from_utilisation"]) - at_full / measured).abs() < 1e-9);
    assert_eq!(run["hosted"][0]["at_utilisation"].as_array().unwrap().len(), 3);
}

/// A run that is given an API's price and the same run priced afterwards tell the same costs: they have one definition.
#[test]
fn a_price_before_a_run_and_after_it_are_one() {
    let place = Place::new();
    let own = place.file("own.toml", OWN);
    let ended = place.say(
        "run --requests 40 --concurrency 4 --duration 60s --warmup 0s --slo ttft=30s,e2e=60ms --price in=0.5,cached=0.05,out=1 --quiet",
    );
    // Some of its answers are to miss the service level, which is an exit code of its own.
    assert!([Some(0), Some(5), Some(20)].contains(&ended.code), "{ended:?}");
    let run = place.only_run();
    let read = |text: &str| -> serde_json::Value { serde_json::from_str(text).unwrap() };
    let summary = read(&std::fs::read_to_string(run.join("summary.json")).unwrap());
    let after = place.run(&["cost", run.to_str().unwrap(), "--against", "me/small", "--prices", &own, "--format", "json"]);
    assert_eq!((after.code, after.stderr.as_str()), (Some(0), ""));
    let after = read(&after.stdout)["runs"][0]["apis"][0]["cost"].clone();
    let mut told = 0;
    for name in ["usd_per_mtok_out", "usd_per_mtok_good_out", "usd_per_mtok_total", "usd_per_request", "usd_per_mchar_out"] {
        let before = summary["metrics"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap()["value"].as_f64();
        let after = after[name].as_f64();
        // Where nobody was within the service level neither has a number.
        assert_eq!(before.is_some(), after.is_some(), "{name}: {before:?} {after:?}");
        if let (Some(before), Some(after)) = (before, after) {
            assert!((before - after).abs() < 1e-9 * before, "{name}: {before} before, {after} after");
            told += 1;
        }
    }
    assert!(told >= 3, "{summary:#}");
}

#[test]
fn prices_of_ones_own_and_a_sweep() {
    let place = Place::new().with_env("NOMOAT_PRICES", "");
    let own = place.file("own.toml", OWN);
    for lanes in ["1", "2"] {
        let ended = place.say(&format!("run --concurrency {lanes} --requests 6 --warmup 0s --slo ttft=30s --quiet"));
        assert!([Some(0), Some(5)].contains(&ended.code), "{ended:?}");
    }
    let mut args: Vec<String> =
        ["cost", "--prices", &own, "--sku", "box:2", "--against", "me/small", "--max-price-age", "100000"].map(str::to_owned).into();
    let mut runs: Vec<String> = std::fs::read_dir(place.path().join("runs"))
        .unwrap()
        .map(|entry| entry.unwrap().path().to_str().unwrap().to_owned())
        .filter(|path| std::path::Path::new(path).join("manifest.json").is_file())
        .collect();
    runs.sort();
    assert_eq!(runs.len(), 2);
    args.extend(runs.clone());
    let table = place.run(&args);
    assert_eq!((table.code, table.stderr.as_str()), (Some(0), ""), "{}", table.stdout);
    for part in
        ["2 × box me", "  low, $0.100/h", "  high, $0.400/h", "Cost at the service level: TTFT ≤ 30.0 s, met by at least 90 %", "a bill"]
    {
        assert!(table.stdout.contains(part), "{part}\n{}", table.stdout);
    }
    // Nobody answers within a nanosecond, so no load is a point.
    args.extend(["--slo", "ttft=1ns"].map(str::to_owned));
    let none = place.run(&args);
    assert!(none.stdout.contains("∞ (no operating point)"), "{}", none.stdout);
    // A busy host makes runs invalid, and then that is the reason.
    assert!(["0.0 % of the requests met it", "is INVALID"].iter().any(|why| none.stdout.contains(why)), "{}", none.stdout);
    let csv = place.run(&["cost", &runs[0], "--prices", &own, "--sku", "box:2", "--format", "csv"]);
    assert_eq!(csv.stdout.lines().count(), 1 + 5, "a header, the price and its ends, two utilisations\n{}", csv.stdout);
}

#[test]
fn what_cannot_be_priced_is_an_error() {
    let place = Place::new();
    let run = ran(&place);
    let bad = place.file(
        "bad.toml",
        "[[api]]\nprovider = \"me\"\nmodel = \"m\"\ninput = 1\noutput = 1\nfrom = \"2026-01-01\"\nretrieved = \"2026-01-01\"\n",
    );
    for (args, says) in [
        (&["cost", &run][..], "nothing to price by"),
        (&["cost", &run, "--sku", "h20:8"], "no device `h20`"),
        (&["cost", &run, "--sku", "h200"], "write h200:8"),
        (&["cost", &run, "--sku", "h200:8", "--owner", "friend"], "--owner is one of"),
        (&["cost", &run, "--against", "groq/llama"], "is the nearest"),
        (&["cost", &run, "--usd-per-hour", "0"], "must be an amount"),
        (&["cost", &run, "--usd-per-hour", "1e308"], "must be an amount"),
        (&["cost", &run, "--usd-per-hour", "1e-300"], "must be an amount"),
        (&["cost", &run, "--usd-per-hour", "1", "--utilisation", "0"], "more than 0 and at most 100"),
        (&["cost", &run, "--usd-per-hour", "1", "--against", "cerebras/gpt-oss-120b", "--at", "yesterday"], "no moment in UTC"),
        (&["cost", &run, "--sku", "h200:8", "--owner", "neocloud", "--publish", "--max-price-age", "1"], "not to be published"),
        (&["cost", &run, "--prices", &bad, "--usd-per-hour", "1"], "`me/m` has no `source`"),
        (&["cost", "nowhere", "--usd-per-hour", "1"], "nowhere"),
        (&["prices", "check", "--prices", &bad], "`me/m` has no `source`"),
        (&["prices", "check", "--strict", "--max-price-age", "1"], "prices are old"),
        (&["prices", "show", "h200@nobody"], "the price book has no"),
    ] {
        let ended = place.run(args);
        assert!(
            ended.code == Some(2) && ended.stderr.contains(says) && ended.stdout.is_empty() || args[0] == "prices",
            "{args:?}: {ended:?}"
        );
        assert!(ended.code == Some(2) && ended.stderr.contains(says), "{args:?}: {ended:?}");
    }
    // A moment before the book: the API has no cost, and that is a reason in the table and no number.
    let old = place.run(&["cost", &run, "--usd-per-hour", "1", "--against", "cerebras/gpt-oss-120b", "--at", "2020-01-01"]);
    assert!(old.code == Some(0) && old.stdout.contains("cerebras/gpt-oss-120b has no cost"), "{old:?}");
}

#[test]
fn offers_become_prices() {
    let place = Place::new();
    let offer = |price: f64| {
        serde_json::json!({"backend": "somebody", "region": "r", "price": price, "availability": "available",
            "instance": {"name": "i", "resources": {"cpus": 8, "memory_mib": 1, "spot": false, "gpus": [{"name": "L40S", "memory_mib": 1, "vendor": "nvidia"}]}}})
    };
    let page = place.file("offers.json", &serde_json::json!({"offers": [offer(1.0), offer(2.0)]}).to_string());
    let toml = place.run(&["prices", "import", &page, "--date", "2026-11-28"]);
    assert_eq!((toml.code, toml.stderr.as_str()), (Some(0), ""));
    let prices = place.file("offers.toml", &toml.stdout);
    let shown = place.run(&["prices", "show", "l40s@on-demand", "--prices", &prices]);
    assert!(shown.stdout.contains("1…1.5…2 USD an hour") && shown.stdout.contains("2 offers of somebody"), "{shown:?}");
}

#[test]
fn runs_in_the_fields_of_others() {
    let place = Place::new();
    for lanes in ["2", "1"] {
        let ended = place.say(&format!("run --concurrency {lanes} --requests 6 --warmup 0s --accelerators box:2 --quiet"));
        assert!([Some(0), Some(5)].contains(&ended.code), "{ended:?}");
    }
    let runs = std::fs::read_dir(place.path().join("runs")).unwrap().map(|entry| entry.unwrap().path());
    let mut args: Vec<String> =
        runs.filter(|path| path.join("manifest.json").is_file()).map(|path| path.to_str().unwrap().to_owned()).collect();
    args.splice(0..0, ["export".to_owned()]);
    let page = |to: &str| -> serde_json::Value {
        let ended = place.run(&[args.clone(), vec!["--to".to_owned(), to.to_owned()]].concat());
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        serde_json::from_str(&ended.stdout).unwrap()
    };
    let points = page("mlperf-endpoints")["points"].clone();
    let of = |point: &serde_json::Value, field: &str| point[field].as_f64().unwrap_or_else(|| panic!("{field}: {point:#}"));
    assert_eq!([&points[0], &points[1]].map(|point| of(point, "concurrency")), [1.0, 2.0], "a curve goes from light to heavy");
    assert!((of(&points[0], "tps_per_user") * of(&points[0], "tpot_p90_ms") - 1_000.0).abs() < 1e-6);
    let row = page("inferencex")["points"][0].clone();
    assert!((of(&row, "tput_per_gpu") - of(&row, "output_tput_per_gpu") - of(&row, "input_tput_per_gpu")).abs() < 1e-6);
    assert_eq!((row["hw"].as_str(), row["precision"].as_str()), (Some("box"), None));
    // A run on two kinds of devices is on neither alone.
    let manifest = std::path::Path::new(&args[1]).join("manifest.json");
    let mut mixed: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&manifest).unwrap()).unwrap();
    mixed["system"]["accelerators"] = serde_json::json!([{"name": "box", "count": 2}, {"name": "crate", "count": 4_294_967_295_u32}]);
    std::fs::write(&manifest, mixed.to_string()).unwrap();
    let rows = page("inferencex")["points"].clone();
    let row = rows.as_array().unwrap().iter().find(|row| row["hw"] == "box + crate").unwrap_or_else(|| panic!("{rows:#}"));
    assert_eq!(row["num_gpus"].as_f64(), Some(4_294_967_297.0));
    let wrong = place.run(&[args.clone(), vec!["--to".to_owned(), "mlperf".to_owned()]].concat());
    assert!(wrong.code == Some(2) && wrong.stderr.contains("mlperf-endpoints"), "{wrong:?}");
}
