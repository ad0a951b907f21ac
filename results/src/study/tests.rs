//! Verdicts on made-up measurements: each verdict is reached, and none by absence.

use super::*;
use crate::kernels::{CeilingWire, CeilingsWire, CheckWire, CompileWire, CostWire};
use crate::made_up::kernel_run;

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

fn verdicts(name: &str, run: &KernelRun) -> Vec<Verdict> {
    let study = STUDIES.iter().find(|study| study.name == name).unwrap();
    (study.judge)(run).into_iter().map(|finding| finding.verdict).collect()
}

#[test]
fn what_was_not_measured_is_untested() {
    let run = KernelRun { rows: vec![], growth: vec![], ..kernel_run() };
    use Verdict::{Contradicted, Untested};
    // The formulas need no measurement.
    assert_eq!(verdicts("dsa-alone", &run), [Contradicted, Untested, Untested, Untested, Untested]);
    assert_eq!(verdicts("ssm-state", &run), [Untested, Untested, Contradicted, Untested]);
    assert_eq!(verdicts("phase-roofline", &run), [Untested, Untested]);
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
    use Verdict::{Contradicted, Inconclusive, Supported};
    assert_eq!(verdicts("dsa-alone", &run), [Contradicted, Supported, Supported, Contradicted, Supported]);
    // The same exponents with an error that reaches over the bounds.
    run.growth.iter_mut().for_each(|growth| growth.standard_error = Some(0.4));
    assert_eq!(verdicts("dsa-alone", &run)[1..4], [Inconclusive; 3]);
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
    let run = KernelRun {
        ceilings: CeilingsWire { copy: ceiling(100.0), read: ceiling(100.0), matrix: ceiling(100.0) },
        rows: vec![row("gemm", 4096, 90.0, 10.0), row("gemm", 1, 1.0, 60.0), row("gemv", 1, 1.0, 85.0), row("decode-mla", 0, 80.0, 30.0)],
        ..kernel_run()
    };
    use Verdict::{Contradicted, Inconclusive, Supported};
    assert_eq!(verdicts("phase-roofline", &run), [Supported, Inconclusive, Supported, Contradicted]);
}

#[test]
fn pictures() {
    for study in STUDIES {
        insta::assert_snapshot!(format!("study_{}", study.name), render_study(study, &kernel_run(), Format::Table));
    }
    insta::assert_snapshot!("study_markdown", render_study(&STUDIES[0], &kernel_run(), Format::Markdown));
}
