//! Verdicts on made-up measurements and prices and on the shipped shapes: each verdict is reached, and none by absence.

mod prices;

use super::*;
use crate::collectives::{Asked, LinkFit};
use crate::kernels::{CeilingWire, CeilingsWire, CheckWire, CompileWire, CostWire, GrowthWire, RowWire};
use crate::made_up::kernel_run;
use Verdict::{Contradicted, Inconclusive, Supported, Untested};
use nomoat_core::collective::{Collective, Weighting};
use nomoat_core::report::Interval;
use prices::{falling, prices};

fn growth(kernel: &str, points: &[(f64, f64)], exponent: f64, error: f64) -> GrowthWire {
    GrowthWire {
        kernel: kernel.into(),
        variant: "native".into(),
        over: "L".into(),
        claim: String::new(),
        shape: String::new(),
        expected: 1.0,
        points: points.to_vec(),
        exponent: Some(exponent),
        standard_error: Some(error),
    }
}

/// A study with some thresholds changed.
fn changed(name: &str, limits: &[(&str, f64)]) -> Study {
    let mut study = find(name).unwrap();
    for (limit, value) in limits {
        study.fixed.definition.thresholds.get_mut(*limit).unwrap().value = *value;
    }
    study
}

fn swept(mut study: Study, sweep: &str, values: Values) -> Study {
    study.fixed.definition.sweep.get_mut(sweep).unwrap().values = values;
    study
}

fn judged(study: &Study, inputs: &Inputs) -> Vec<Finding> {
    study.report(inputs).unwrap().findings
}

fn verdicts(study: &Study, inputs: &Inputs) -> Vec<Verdict> {
    judged(study, inputs).into_iter().map(|finding| finding.verdict).collect()
}

fn on(name: &str, run: &KernelRun) -> Vec<Verdict> {
    verdicts(&find(name).unwrap(), &Inputs { kernels: Some(run), ..Inputs::default() })
}

#[test]
fn every_shipped_file_reads_and_fixes_something() {
    let all = all();
    assert_eq!(all.len(), 28);
    for (index, (study, (name, _, _))) in all.iter().zip(SHIPPED).enumerate() {
        let definition = &study.fixed.definition;
        assert_eq!((definition.number, definition.name.as_str()), (index as u32 + 1, *name));
        assert!(definition.source.starts_with("There Is No Inference Moat") && !definition.modes.is_empty(), "{name}");
        let texts = [&definition.claim, &definition.rule, &definition.needs];
        assert!(texts.iter().all(|text| text.len() > 10) && !definition.thresholds.is_empty(), "{name}");
        let units = definition.thresholds.values().all(|limit| !limit.unit.is_empty() && !limit.about.is_empty());
        assert!(units && definition.given.values().all(|given| !given.source.is_empty()), "{name}");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(&study.fixed.file);
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(
            nomoat_core::digest::Digest::of(&bytes).to_string(),
            study.fixed.sha256,
            "what sha256sum prints of {}",
            study.fixed.file
        );
    }
}

#[test]
fn a_missing_arm_is_never_a_pass() {
    for study in all() {
        let findings = judged(&study, &Inputs::default());
        assert!(!findings.is_empty(), "{}", study.name());
        for finding in &findings {
            let tested = finding.verdict != Untested;
            assert_eq!(tested, finding.evidence.is_some(), "{finding:?}");
            assert!(tested || finding.reason.as_ref().is_some_and(|reason| reason.starts_with("needs ")), "{finding:?}");
        }
        // What nothing judges here, and what only a measurement can tell.
        if study.judge.is_none() || study.name() == "phase-roofline" {
            assert!(findings.iter().all(|finding| finding.verdict == Untested), "{}", study.name());
        }
        let given = study.report(&Inputs { kernels: Some(&kernel_run()), ..Inputs::default() });
        assert_eq!(given.is_ok(), study.takes_runs(), "{}", study.name());
    }
}

#[test]
fn a_file_that_lacks_what_the_rule_asks_for_is_named_with_it() {
    for study in all().iter().filter(|study| study.judge.is_some()) {
        let definition = &study.fixed.definition;
        let names = definition.thresholds.keys().chain(definition.given.keys()).chain(definition.sweep.keys());
        for name in names {
            let mut lacking = study.clone();
            lacking.fixed.definition.thresholds.remove(name);
            lacking.fixed.definition.given.remove(name);
            lacking.fixed.definition.sweep.remove(name);
            let run = KernelRun { growth: vec![], ..kernel_run() };
            let inputs = Inputs { kernels: study.takes_runs().then_some(&run), ..Inputs::default() };
            let error = lacking.report(&inputs).unwrap_err().to_string();
            assert!(error.contains(&format!("`{name}`")) && error.contains(&study.fixed.file), "{}: {error}", study.name());
        }
    }
}

#[test]
fn files_that_are_no_study_are_refused() {
    let study = find("edge-fit").unwrap();
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("studies/edge-fit.toml")).unwrap();
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("mine.toml");
    let with = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        study.by(&path)
    };
    for (from, to, says) in [
        ("number = 13", "nummer = 13", "unknown field `nummer`"),
        ("name = \"edge-fit\"", "name = \"edge-radio\"", "it is the study edge-radio, not edge-fit"),
        ("[thresholds.context_tokens]", "[thresholds.context_token]", "did you mean `context_tokens`?"),
        ("[sweep.memory]", "[sweep.memry]", "did you mean `memory`?"),
        ("value = 1048576", "value = -1", "`context_tokens` must be a number that is not negative"),
        ("value = 1048576", "value = nan", "`context_tokens` must be a number"),
        ("[16, 32, 64, 128]", "[]", "`memory` must have values"),
        ("[16, 32, 64, 128]", "[16, 0]", "must be positive"),
        ("[16, 32, 64, 128]", "\"many\"", "mine.toml"),
        ("modes = [\"model\"]", "modes = [\"oracle\"]", "oracle"),
    ] {
        let error = with(from, to).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("mine.toml"), "{to}: {error}");
    }
    for (from, to, says) in [
        ("value = 1048576", "value = 1.5", "`context_tokens` must be a whole number"),
        ("[16, 32, 64, 128]", "[\"h200\"]", "`memory` has names and needs numbers"),
        ("\"deepseek-v4-flash\"", "\"deepseek-v4-flsh\"", "`deepseek-v4-flash` is the nearest"),
    ] {
        let error = with(from, to).unwrap().report(&Inputs::default()).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("mine.toml"), "{to}: {error}");
    }
    let other = with("value = 1048576", "value = 4096").unwrap();
    assert!(other.fixed.file.ends_with("mine.toml") && other.fixed.sha256 != study.fixed.sha256);
    let error = study.by(&place.path().join("none.toml")).unwrap_err().to_string();
    assert!(error.starts_with("reading ") && error.contains("none.toml"), "{error}");
    let error = find("edge-fitt").unwrap_err().to_string();
    assert!(error.contains("did you mean edge-fit?"), "{error}");
}

#[test]
fn intervals_decide_as_a_whole() {
    let interval = |lo: f64, hi: Option<f64>| Interval { lo, hi, level: 0.95 };
    for (lo, hi, within, above) in [
        (0.9, Some(1.1), Supported, Inconclusive),
        (0.89, Some(1.1), Inconclusive, Inconclusive),
        (1.0, Some(1.2), Inconclusive, Inconclusive),
        (1.11, Some(1.2), Contradicted, Supported),
        (0.1, Some(0.8), Contradicted, Contradicted),
        (0.5, Some(1.0), Inconclusive, Contradicted),
        (1.05, None, Inconclusive, Supported),
        (0.5, None, Inconclusive, Inconclusive),
    ] {
        assert_eq!(Verdict::within(interval(lo, hi), (0.9, 1.1)), within, "{lo} {hi:?}");
        assert_eq!(Verdict::above(interval(lo, hi), 1.0), above, "{lo} {hi:?}");
    }
}

#[test]
fn a_model_that_missed_held_out_points_passes_no_verdict() {
    let fixed = find("pd-interference").unwrap().fixed;
    for (error, expect) in
        [(0.0, Supported), (0.15, Supported), (-0.15, Supported), (0.151, Inconclusive), (-0.2, Inconclusive), (f64::NAN, Inconclusive)]
    {
        let finding = Finding::simulated(&fixed, "c", "r", "", Supported, error).unwrap();
        assert_eq!(finding.verdict, expect, "{error}");
        assert_eq!(finding.reason.as_deref().is_some_and(|reason| reason.starts_with("model invalid: ")), expect == Inconclusive);
        assert!(matches!(finding.evidence, Some(Evidence::Simulated { .. })));
    }
    let lacking = Finding::simulated(&find("edge-fit").unwrap().fixed, "c", "r", "", Supported, 0.0).unwrap_err().to_string();
    assert!(lacking.contains("`model_error`"), "{lacking}");
}

#[test]
fn what_was_not_measured_is_untested() {
    let run = KernelRun { rows: vec![], growth: vec![], ..kernel_run() };
    // The formulas need no measurement.
    assert_eq!(on("dsa-alone", &run), [Contradicted, Untested, Untested, Untested, Untested]);
    assert_eq!(on("ssm-state", &run), [Untested, Untested, Contradicted, Untested]);
    assert_eq!(on("phase-roofline", &run), [Untested, Untested]);
}

#[test]
fn exponents_decide_by_their_whole_interval() {
    let sizes = [2048.0, 8192.0, 32768.0, 131_072.0];
    let points = |slope: f64, first: f64| sizes.map(|size| (size, first * (size / 2048.0_f64).powf(slope)));
    let mut run = KernelRun {
        growth: vec![
            growth("decode-mla", &points(1.0, 6.0), 1.0, 0.005),
            growth("indexer", &points(1.0, 1.5), 1.0, 0.005),
            growth("top-k", &points(1.0, 0.01), 1.0, 0.005),
            growth("sparse-attention", &points(0.0, 6.0), 0.0, 0.005),
        ],
        ..kernel_run()
    };
    assert_eq!(on("dsa-alone", &run), [Contradicted, Supported, Supported, Contradicted, Supported]);
    let study = |limits: &[(&str, f64)]| verdicts(&changed("dsa-alone", limits), &Inputs { kernels: Some(&run), ..Inputs::default() });
    // At 32,768 and 131,072 tokens dense is 3.2 and 3.8 times slower.
    assert_eq!(study(&[("speedup", 3.5)])[4], Inconclusive);
    assert_eq!(study(&[("speedup", 4.0)])[4], Contradicted);
    assert_eq!(study(&[("speedup", 3.5), ("context_tokens_min", 131_072.0)])[4], Supported);
    assert_eq!(study(&[("context_tokens_min", 131_073.0)])[4], Untested);
    assert_eq!(study(&[("bytes_ratio", 1.3)])[0], Supported);
    // Student's t for two degrees of freedom is 4.303: 0.0215 on both sides.
    assert_eq!(study(&[("exponent_tolerance", 0.022)])[1], Supported);
    assert_eq!(study(&[("exponent_tolerance", 0.021)])[1], Inconclusive);
    // The same exponents with an error that reaches over the bounds.
    run.growth.iter_mut().for_each(|growth| growth.standard_error = Some(0.4));
    assert_eq!(on("dsa-alone", &run)[1..4], [Inconclusive; 3]);
}

#[test]
fn a_state_is_smaller_from_some_context_on() {
    // 160 MiB of state are 1,280 tokens of cache.
    for (from, expect) in [(1_279.0, Contradicted), (1_280.0, Supported), (1_281.0, Supported)] {
        assert_eq!(verdicts(&changed("ssm-state", &[("context_tokens_min", from)]), &Inputs::default())[2], expect, "{from}");
    }
}

#[test]
fn a_phase_is_judged_problem_by_problem() {
    let row = |kernel: &str, m: u64, flops: f64, bytes: f64| RowWire {
        kernel: kernel.into(),
        variant: "native".into(),
        dtype: "bf16".into(),
        shape: serde_json::json!({"M": m}).as_object().cloned().unwrap(),
        cost: CostWire { matrix_flops: flops, vector_flops: 0.0, read_bytes: bytes, written_bytes: 0.0 },
        check: CheckWire { relative_error: 0.0, limit: 1.0, units: 1, of: 1 },
        compile: CompileWire::default(),
        cache: "cold".into(),
        runs_per_sample: 1,
        samples_s: vec![1.0],
        cpu_s: None,
    };
    let ceiling = |per_s| Some(CeilingWire { per_s, variant: "native".into() });
    let run = |rows: Vec<RowWire>| KernelRun {
        ceilings: CeilingsWire { copy: ceiling(100.0), read: ceiling(100.0), matrix: ceiling(100.0) },
        rows,
        ..kernel_run()
    };
    let four = vec![row("gemm", 4096, 90.0, 10.0), row("gemm", 1, 1.0, 60.0), row("gemv", 1, 1.0, 85.0), row("decode-mla", 0, 80.0, 30.0)];
    assert_eq!(on("phase-roofline", &run(four)), [Supported, Inconclusive, Supported, Contradicted]);
    // At, below and above each limit; prefill has no rows here.
    for (flops, bytes, expect) in [
        (40.0, 70.0, Supported),
        (41.0, 70.0, Inconclusive),
        (40.0, 69.0, Inconclusive),
        (70.0, 40.0, Contradicted),
        (41.0, 40.0, Contradicted),
        (40.0, 39.0, Contradicted),
        (39.0, 38.0, Inconclusive),
    ] {
        assert_eq!(on("phase-roofline", &run(vec![row("gemv", 1, flops, bytes)])), [Untested, expect], "{flops} {bytes}");
    }
    for (m, phases) in [(16, [Untested, Supported]), (17, [Untested, Untested]), (511, [Untested, Untested])] {
        assert_eq!(on("phase-roofline", &run(vec![row("gemm", m, 0.0, 90.0)])), phases, "{m}");
    }
    assert_eq!(on("phase-roofline", &run(vec![row("gemm", 512, 90.0, 0.0)])), [Supported, Untested]);
}

/// Claim and verdict of the findings whose claim has a word in it.
fn about(findings: &[Finding], word: &str) -> Vec<(String, Verdict)> {
    findings.iter().filter(|finding| finding.claim.contains(word)).map(|finding| (finding.claim.clone(), finding.verdict)).collect()
}

fn number(finding: &Finding, row: usize, column: &str) -> f64 {
    let numbers = finding.numbers.as_ref().unwrap();
    let at = numbers.columns.iter().position(|known| known.name == column).unwrap();
    match numbers.rows[row][at] {
        Cell::Number(number) => number,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn caches_of_v4_are_cut_from_some_context_on() {
    let found = judged(&find("kv-footprint").unwrap(), &Inputs::default());
    // The shares at 1k and 1M that the formulas are known to give; DeepSeek's card has 10, 27, 7 and 10 % at 1M.
    let share = |index: usize, row: usize| number(&found[index], row, "share of deepseek-v3.2");
    for (index, row, expect) in
        [(1, 0, 0.197), (0, 0, 0.116), (0, 4, 0.105), (2, 0, 0.265), (5, 0, 0.138), (4, 1, 0.081), (4, 5, 0.073), (6, 1, 0.099)]
    {
        assert!((share(index, row) - expect).abs() < 0.0006, "{index} {row}: {}", share(index, row));
    }
    assert_eq!(
        found.iter().map(|finding| finding.verdict).collect::<Vec<_>>(),
        [Supported, Contradicted, Supported, Contradicted, Supported, Contradicted, Supported, Contradicted, Contradicted, Untested]
    );
    // The context where it begins to hold is the first: one token less and it does not.
    let begins = |limit: f64| {
        let study = changed("kv-footprint", &[("v4_pro_cache_share", limit), ("tolerance", 0.0)]);
        let study = swept(study, "model", Values::Names(vec!["deepseek-v4-pro".into()]));
        about(&judged(&swept(study, "context", Values::Numbers(vec![1024.0, 2048.0])), &Inputs::default()), "the cache is")
    };
    let shape = |name: &str| crate::models::find(name).unwrap().shape;
    let (new, old) = (shape("deepseek-v4-pro"), shape("deepseek-v3.2"));
    let at = |tokens: u64| {
        use nomoat_core::footprint::Packing::Fp8;
        new.held(tokens, Fp8) as f64 / old.held(tokens, Fp8) as f64
    };
    let worst = (1_500..=2_048).map(at).fold(0.0, f64::max);
    let start = begins(worst);
    assert_eq!(start.len(), 2, "{start:?}");
    let from: u64 = start[0].0.split("from ").nth(1).unwrap().split(' ').next().unwrap().replace(',', "").parse().unwrap();
    assert!(from <= 1_500 && at(from) <= worst && at(from - 1) > worst && start[0].1 == Supported, "{start:?}");
    // Everywhere, and nowhere, is one finding.
    assert_eq!(begins(0.5).iter().map(|found| found.1).collect::<Vec<_>>(), [Supported]);
    assert_eq!(begins(0.01).iter().map(|found| found.1).collect::<Vec<_>>(), [Contradicted]);
    let mechanism = |limit| judged(&changed("kv-footprint", &[("indexer_bytes_ratio", limit)]), &Inputs::default())[8].verdict;
    assert_eq!([mechanism(1.2), mechanism(1.21)], [Contradicted, Supported]);
    let far = swept(find("kv-footprint").unwrap(), "context", Values::Numbers(vec![1e9]));
    assert!(far.report(&Inputs::default()).unwrap_err().to_string().contains("16,777,216"));
}

#[test]
fn radio_links_carry_some_caches() {
    let found = judged(&find("edge-radio").unwrap(), &Inputs::default());
    // Seconds at 8k over 50 Mb/s: by hand 131,072 × 8,192 × 8 / 50e6, and so on. V4-Pro's has its window of 128 tokens in all 61 layers.
    for (finding, row, expect) in [(0, 0, 171.8), (0, 1, 63.0), (0, 2, 7.32), (1, 0, 1.17)] {
        let seconds = number(&found[finding], row, "8k");
        assert!((seconds / expect - 1.0).abs() < 0.003, "{seconds} for {expect}");
    }
    let names: Vec<_> = found.iter().map(|finding| finding.verdict).collect();
    assert_eq!(names, [Supported, Contradicted, Supported, Contradicted, Untested]);
    // What is across just in time is across: 890 bytes × 8,192 at 50 Mb/s take 1.1665 s.
    let exact = 890.0 * 8_192.0 / (0.05 * 1e9 / 8.0);
    for (limit, expect) in [(exact, Contradicted), (exact * 1.0001, Contradicted), (exact * 0.9999, Supported)] {
        let found = judged(&changed("edge-radio", &[("ttft_s", limit)]), &Inputs::default());
        let of: Vec<_> =
            found.iter().filter(|f| f.claim.starts_with("5g-up") && f.claim.contains("v4.1-flash")).map(|f| f.verdict).collect();
        assert_eq!(of, [expect], "{limit}");
    }
    // Another context, another verdict.
    let short = judged(&changed("edge-radio", &[("context_tokens", 1_024.0)]), &Inputs::default());
    assert!(about(&short, "5g-up").iter().any(|(claim, verdict)| claim.contains("v4-pro") && *verdict == Contradicted), "{short:?}");
    assert!((number(&found[1], 0, "in 2 s") - 14_044.0).abs() < 1.0);
}

#[test]
fn weights_or_caches_are_in_the_way() {
    let found = judged(&find("edge-fit").unwrap(), &Inputs::default());
    let of = |name: &str| about(&found, &format!("{name}:"))[0].1;
    for (name, expect) in [
        ("deepseek-v4-flash", Contradicted),
        ("deepseek-v4-pro", Contradicted),
        ("llama-3.1-8b", Supported),
        ("qwen3-32b", Supported),
        ("mamba2-2.7b", Contradicted),
    ] {
        assert_eq!(of(name), expect, "{name}");
    }
    let gib = f64::from(1 << 30);
    assert!((number(&found[0], 0, "weights") / gib - 132.25).abs() < 0.01 && (number(&found[0], 0, "cache") / gib - 3.435).abs() < 0.001);
    // With memory for its weights V4-Flash has room for its cache too, but for a narrow gap.
    for (memory, expect) in [(132.0, Contradicted), (133.0, Supported), (135.6, Supported), (135.7, Contradicted)] {
        let study =
            swept(swept(find("edge-fit").unwrap(), "memory", Values::Numbers(vec![memory])), "weight_bits", Values::Numbers(vec![4.0]));
        assert_eq!(about(&judged(&study, &Inputs::default()), "v4-flash:")[0].1, expect, "{memory}");
    }
    let short = judged(&changed("edge-fit", &[("context_tokens", 1_024.0)]), &Inputs::default());
    assert_eq!(about(&short, "llama-3.1-8b:")[0].1, Contradicted, "a short cache fits everywhere");
}

#[test]
fn crossovers_are_points() {
    let study = |claimed: f64, tolerance: f64, d_model: &[f64]| {
        let study = changed("collective-crossover", &[("claimed_requests", claimed), ("tolerance", tolerance)]);
        let study = swept(study, "d_model", Values::Numbers(d_model.to_vec()));
        verdicts(&swept(study, "alpha", Values::Numbers(vec![10.0])), &Inputs::default())
    };
    assert_eq!(verdicts(&find("collective-crossover").unwrap(), &Inputs::default()), [Contradicted, Supported, Contradicted, Untested]);
    // 10 µs × 366 GB/s are 3.66 MB: 1,000 requests of d = 1,830, to the last bits.
    for (claimed, tolerance, expect) in
        [(999.99, 0.0, Supported), (1_000.01, 0.0, Contradicted), (1_111.0, 0.1, Supported), (1_111.2, 0.1, Contradicted)]
    {
        assert_eq!(study(claimed, tolerance, &[1_830.0]), [Supported, expect, Untested], "{claimed} {tolerance}");
    }
    // One crossover is twice the other: a constant only to someone who allows that.
    assert_eq!(study(500.0, 0.99, &[915.0, 1_830.0])[0], Contradicted);
    assert_eq!(study(500.0, 1.0, &[915.0, 1_830.0])[0], Supported);
}

/// Pages of which one line is the truth, with an error of so much at every other size.
fn page(alpha_us: f64, gb_s: f64, off: f64, head: &str) -> LinkFit {
    let rows = (10..31).map(|power| {
        let bytes = f64::from(1 << power);
        let noise = if power % 2 == 0 { off } else { -off };
        let us = (alpha_us + bytes / gb_s / 1e3) * (1.0 + noise);
        let alg = bytes / us / 1e3;
        format!("{bytes} {} float sum -1 {us:.4} {alg:.4} {:.4} 0", bytes / 4.0, alg * 1.75)
    });
    let ranks = (0..8).map(|rank| format!("# Rank {rank} Group 0 Pid 1 on here device {rank} [0x0{rank}] Made-up accelerator"));
    let head = [head.to_owned()].into_iter().chain(ranks).chain(["# size count type redop root time algbw busbw #wrong".to_owned()]);
    let lines: Vec<String> = head.chain(rows).chain(["# Out of bounds values : 0 OK".to_owned()]).collect();
    let table = crate::collectives::read(&lines.join("\n")).unwrap().remove(0);
    let asked =
        Asked { collective: Some(Collective::AllReduce), otherwise: None, ranks: None, in_place: false, weighting: Weighting::Relative };
    LinkFit::new("page".into(), table, asked).unwrap()
}

#[test]
fn a_measured_crossover_is_held_to_the_claim_by_its_interval() {
    let study = |width: f64| swept(find("collective-crossover").unwrap(), "d_model", Values::Numbers(vec![width]));
    let check = |page: &LinkFit, width: f64, expect: Verdict, says: &str| {
        let study = study(width);
        let inputs = Inputs { collectives: std::slice::from_ref(page), ..Inputs::default() };
        let found = judged(&study, &inputs).pop().unwrap();
        assert_eq!((found.verdict, found.evidence), (expect, Some(Evidence::Measured)), "{found:?}");
        assert!(found.claim.contains("8 × Made-up accelerator"), "{}", found.claim);
        assert!(found.reason.unwrap_or(found.seen).contains(says));
    };
    // 20 µs at 366 GB/s are 7.32 MB: 450 requests of d = 8,133.
    let clean = page(20.0, 366.0, 0.0, "#");
    check(&clean, 8_100.0, Supported, "α 20.0 ± 0.0 µs");
    check(&clean, 8_200.0, Contradicted, "21 sizes");
    let noisy = page(20.0, 366.0, 0.1, "#");
    check(&noisy, 8_133.0, Inconclusive, "an interval has the limit in it");
    check(&noisy, 4_096.0, Supported, "page: α");
    check(&noisy, 16_384.0, Contradicted, "page: α");
    check(&page(20.0, 366.0, 0.4, "#"), 4_096.0, Inconclusive, "one line does not fit");
    let cut = LinkFit { table: crate::collectives::Table { ended: false, ..clean.table.clone() }, ..clean.clone() };
    check(&cut, 4_096.0, Inconclusive, "cut off");
    let gathered = LinkFit { collective: Collective::AllGather, ..clean };
    let inputs = Inputs { collectives: &[gathered], ..Inputs::default() };
    assert_eq!(judged(&study(4_096.0), &inputs).pop().unwrap().verdict, Untested);
}

#[test]
fn pictures() {
    let run = kernel_run();
    let prices = [falling(7.0), prices(&[("2026-05-31", "b/dearer", 0.87), ("2026-08-16", "b/dearer", 1.98)])].concat();
    let report = |study: &Study| {
        let inputs = Inputs { kernels: study.takes_runs().then_some(&run), prices: Some(&prices), ..Inputs::default() };
        study.report(&inputs).unwrap()
    };
    let all = all();
    // A digest that changes with every word of a file would hide in a picture what did change.
    let plain = |report: &Report, text: String| text.replace(&report.fixed.sha256, "SHA256");
    for study in all.iter().filter(|study| study.judge.is_some()) {
        let report = report(study);
        insta::assert_snapshot!(format!("study_{}", study.name()), plain(&report, study_report(&report, Format::Table)));
    }
    for (name, format) in [("markdown", Format::Markdown), ("csv", Format::Csv), ("json", Format::Json)] {
        let report = report(&find("collective-crossover").unwrap());
        insta::assert_snapshot!(format!("study_{name}"), plain(&report, study_report(&report, format)));
    }
    insta::assert_snapshot!("studies", study_list(&all, Format::Table));
    let reports: Vec<Report> = all.iter().map(report).collect();
    insta::assert_snapshot!("verdicts", study_verdicts(&reports, Format::Table));
    let csv = study_verdicts(&reports, Format::Csv);
    assert!(
        csv.starts_with("study,claim,verdict,evidence,on\n")
            && csv.lines().count() == 1 + reports.iter().map(|r| r.findings.len()).sum::<usize>()
    );
}

#[test]
fn every_table_fits_a_terminal() {
    for study in all() {
        let text = study_report(&study.report(&Inputs::default()).unwrap(), Format::Table);
        for line in text.lines().filter(|line| !line.contains("sha256") && line.trim().len() != 64) {
            assert!(line.chars().count() <= 100, "{} {}: {line}", study.name(), line.chars().count());
        }
    }
}
