//! `nomoat study`: claims judged by formulas and prices, by the rules of a file.

use crate::common::Place;

#[test]
fn the_list_has_every_study_and_what_it_takes() {
    let place = Place::new();
    let ended = place.say("study --format csv");
    assert_eq!((ended.code, ended.stdout.lines().count()), (Some(0), 29), "{}", ended.stderr);
    let of = |name: &str| ended.stdout.lines().find(|line| line.starts_with(&format!("{name},"))).unwrap().to_owned();
    assert!(of("edge-fit").ends_with("now: exact"));
    assert!(of("phase-roofline").contains("with a run of nomoat kernels gemm"));
    assert!(of("pd-payoff").contains("untested: needs at least 2 GPUs"));
}

#[test]
fn five_studies_are_judged_without_a_run() {
    let place = Place::new();
    for (name, says) in [
        ("kv-footprint", ["SUPPORTED, exact: deepseek-v4-pro: the cache is cut to 10 % from 6,181 tokens on", "19.7 %"]),
        ("edge-radio", ["UNTESTED: sending a cache", "172 s"]),
        ("edge-fit", ["CONTRADICTED, exact: deepseek-v4-flash", "132 GiB"]),
        ("collective-crossover", ["CONTRADICTED, exact: 500 requests per GPU are a constant", "511"]),
        ("cost-decline", ["needs scores", "$1.98"]),
    ] {
        let ended = place.say(&format!("study {name}"));
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.stderr);
        for words in says.into_iter().chain(["sha256", "thresholds: "]) {
            assert!(ended.stdout.contains(words), "{name}, {words}: {}", ended.stdout);
        }
        let json: serde_json::Value = serde_json::from_str(&place.say(&format!("study {name} --format json")).stdout).unwrap();
        assert_eq!((json["schema"].as_str(), json["study"].as_str()), (Some("study-report/1"), Some(name)));
        let verdict =
            |f: &serde_json::Value| ["supported", "contradicted", "inconclusive", "untested"].contains(&f["verdict"].as_str().unwrap());
        assert!(json["findings"].as_array().unwrap().iter().all(verdict) && json["sha256"].as_str().unwrap().len() == 64);
    }
    let every = place.say("study --all --format csv");
    assert_eq!(every.code, Some(0), "{}", every.stderr);
    // Without its arm nothing passes.
    let of = |name: &str| every.stdout.lines().filter(|line| line.starts_with(&format!("{name},"))).map(str::to_owned).collect::<Vec<_>>();
    assert!(of("long-context").iter().all(|line| line.contains("untested: needs an endpoint")), "{:?}", of("long-context"));
    assert!(of("phase-roofline").iter().all(|line| line.contains("untested: needs nomoat kernels")));
}

#[test]
fn a_file_of_the_users_own_and_scores() {
    let place = Place::new();
    let shipped = include_str!("../../../../results/studies/collective-crossover.toml");
    std::fs::write(place.path().join("mine.toml"), shipped.replacen("value = 500", "value = 100", 1)).unwrap();
    std::fs::write(place.path().join("lacking.toml"), shipped.replacen("[thresholds.tolerance]\nvalue", "[thresholds.claimed]\nvalue", 1))
        .unwrap();
    let ended = place.say("study collective-crossover --thresholds mine.toml");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("claimed_requests 100") && ended.stdout.contains("fixed in mine.toml, sha256"), "{}", ended.stdout);
    std::fs::write(
        place.path().join("scores.csv"),
        "model,score,source\ndeepseek/deepseek-v4-pro,60,an index of 2026\nnobody/none,70,an index of 2026\n",
    )
    .unwrap();
    std::fs::write(place.path().join("bare.csv"), "model,score,source\ndeepseek/deepseek-v4-pro,60,\n").unwrap();
    let ended = place.say("study cost-decline --scores scores.csv");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("a score of at least 60") && ended.stdout.contains("no price of nobody/none"), "{}", ended.stdout);
    let pages = [
        ("ring.txt", include_str!("../../../../results/fixtures/collectives/nccl-2.17.txt")),
        ("gathered.txt", include_str!("../../../../results/fixtures/collectives/rccl.txt")),
    ];
    for (name, text) in pages {
        std::fs::write(place.path().join(name), text).unwrap();
    }
    for line in ["study collective-crossover --collectives ring.txt", "study --all --collectives ring.txt"] {
        let ended = place.say(line);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stdout.contains("GPU only: 8 × Made-up GPU"), "{}", ended.stdout);
    }
    let gathered = place.say("study collective-crossover --collectives gathered.txt --format json");
    assert!(gathered.code == Some(0) && gathered.stdout.contains("gathered.txt has all_gather"), "{}", gathered.stdout);
    for (line, says) in [
        ("study collective-crossover --thresholds lacking.toml", ["lacking.toml", "`claimed`"]),
        ("study collective-crossover --thresholds none.toml", ["reading none.toml", "No such file"]),
        ("study --all --thresholds mine.toml", ["--thresholds", "give its name"]),
        ("study cost-decline --scores bare.csv", ["bare.csv: line 2", "source"]),
        ("study cost-decline --collectives ring.txt", ["is for the study collective-crossover", "cost-decline does not look at it"]),
        ("study collective-crossover --scores scores.csv", ["--scores", "cost-decline"]),
        ("study collective-crossover --ranks 8", ["--ranks", "--collectives"]),
        ("study collective-crossover --collectives none.txt", ["reading none.txt", "nccl-tests"]),
        ("study --collectives ring.txt", ["--collectives", "give its name"]),
        ("study dsa-alon", ["did you mean dsa-alone?", "nomoat study"]),
        ("study dsa-alone nowhere", ["nowhere", "kernels.json"]),
        ("study --all nowhere", ["nowhere", "kernels.json"]),
    ] {
        let ended = place.say(line);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{line}: {}", ended.stderr);
        for words in says {
            assert!(ended.stderr.contains(words), "{line}, {words}: {}", ended.stderr);
        }
    }
}

#[test]
fn kernels_are_judged_by_a_measurement_only() {
    let place = Place::new();
    let alone = place.say("study dsa-alone");
    assert_eq!(alone.code, Some(0), "{}", alone.stderr);
    assert!(alone.stdout.contains("UNTESTED: dense attention") && alone.stdout.contains("nomoat kernels decode-mla"), "{}", alone.stdout);
    let ended = place.say("kernels copy --device cpu --quick --no-sweep --quiet --out runs");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let run = ended.stderr.trim();
    let refused = place.say(&format!("study edge-fit {run}"));
    assert_eq!(refused.code, Some(2), "{}", refused.stdout);
    assert!(refused.stderr.contains("formulas and prices"), "{}", refused.stderr);
    let every = place.say(&format!("study --all {run} --format csv"));
    assert_eq!(every.code, Some(0), "{}", every.stderr);
    assert!(every.stdout.lines().any(|line| line.starts_with("phase-roofline,") && line.contains("cpu (")), "{}", every.stdout);
    assert!(every.stdout.lines().any(|line| line.starts_with("edge-fit,") && line.ends_with(',')), "{}", every.stdout);
}
