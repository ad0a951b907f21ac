//! Served numbers of a made-up summary, sweeps over loads, and the tables.

use super::*;
use crate::prices::Book;
use crate::table::{CostReport, Format, render_cost};
use nomoat_core::record::{CountSource, Moments, Status, Tokens};
use nomoat_core::units::Nanos;

/// The golden run: 600 s, 2.4 million tokens out, 19.2 million in.
fn served() -> Served {
    Served {
        seconds: 600.0,
        output: 2_400_000,
        input: Some(19_200_000),
        good_output: Some(1_200_000),
        good_billed: Some(1_500),
        attained: Some(0.95),
        answered: 2_400,
        ended: 2_000,
        measured: 2_500,
        chars_per_token: Some(4.0),
    }
}

fn h200(usd: Band, served: &Served) -> Hosted {
    let pools = vec![Pool { role: String::new(), devices: 8, usd_per_device_hour: usd }];
    Hosted::new("8 × h200 rental-3y".into(), pools, vec!["h200@rental-3y: somebody".into()], served)
}

fn near(value: Option<f64>, expect: f64) {
    assert!(value.is_some_and(|value| (value - expect).abs() < 1e-5), "{value:?} for {expect}");
}

#[test]
fn hardware_by_what_came_out_of_it() {
    let served = served();
    let hosted = h200(Band::of(1.6), &served);
    let per = Hosted::per(hosted.usd.median, &served);
    near(Some(hosted.usd.median), 2.133_33);
    near(per.output, 0.888_89);
    near(per.good_output, 1.777_78);
    near(per.total, 0.098_77);
    near(per.request, 2.133_33 / 2_000.0);
    near(per.chars, 0.222_22);
    near(hosted.full_bill_per_input(&served), 0.111_11);
    assert!(hosted.attributed(&served).unwrap_err().contains("not attributed"));
    let unknown = Served { input: None, ..served };
    assert_eq!((Hosted::per(1.0, &unknown).total, hosted.full_bill_per_input(&unknown)), (None, None));
}

fn record(i: u32, due_s: i64, status: Status) -> RequestRecord {
    let source = CountSource::Usage;
    let due = Nanos::from_secs(due_s);
    RequestRecord {
        at: Moments { due, sent: Some(due), ..Moments::default() },
        status,
        tokens: Tokens {
            input: Some(10_000),
            cache_read: Some(8_000),
            output: Some(1_000),
            input_source: source,
            output_source: source,
            ..Tokens::default()
        },
        phase: if i == 0 { Phase::Warmup } else { Phase::Measure },
        ..RequestRecord::default()
    }
}

fn billed(book: &Book, api: &str, records: &[RequestRecord]) -> ApiCost {
    let api = book.api(api).unwrap();
    // The run's clock stood at 100 s on Wednesday, 2026-10-28, at 12:00 UTC.
    let mut biller = Biller::new([&api.tariff], Anchor { mono_ns: 100_000_000_000, unix_ns: 1_793_188_800_000_000_000 });
    records.iter().for_each(|record| biller.add(record));
    ApiCost::new(api, &biller.finish()[0], 20_785)
}

#[test]
fn every_request_is_billed_at_its_own_moment() {
    let book = Book::shipped();
    let night = 100 + 14 * 3_600;
    let records = [record(0, 100, Status::Ok), record(1, 100, Status::Ok), record(2, 100, Status::Truncated), record(3, night, Status::Ok)];
    let api = billed(&book, "deepseek/deepseek-v4-pro", &records);
    let (off, peak) = (0.003_476, 0.006_952);
    near(api.usd.clone().ok(), 2.0 * off + peak);
    assert_eq!((api.bill.requests, api.rates.len(), api.rates[1].1, api.cached_share()), (3, 2, 1, Some(0.8)));
    near(api.effective_input(), (2.0 + 2.0) * (2_000.0 * 0.66 + 8_000.0 * 0.022) / 30_000.0);
    near(api.usd_uncached.clone().ok(), 4.0 * (10_000.0 * 0.66 + 1_000.0 * 1.98) / 1e6);
    let old = billed(&book, "deepseek/deepseek-v4-pro", &[record(1, -400 * 86_400, Status::Ok)]);
    assert!(old.usd.unwrap_err().contains("has no price at"));
    assert!(billed(&book, "groq/llama-3.1-8b", &records).usd.unwrap_err().contains("came from a cache"));
}

#[test]
fn hardware_and_apis_meet() {
    let served = served();
    let book = Book::shipped();
    let api = billed(&book, "cerebras/gpt-oss-120b", &[record(1, 100, Status::Ok)]);
    let hosted = h200(Band { low: 1.0, median: 1.6, high: 20.0 }, &served);
    let even = break_even(&hosted, &api, &served, &[1.0, 0.3]).unwrap();
    let per_mtok = (10_000.0 * 0.35 + 1_000.0 * 0.75) / 11_000.0;
    near(Some(even.at[0].1), 1.6 / per_mtok * 1e6 / 3_600.0);
    near(Some(even.at[1].1 * 0.3), even.at[0].1);
    near(even.measured, 21.6e6 / 600.0 / 8.0);
    near(even.utilisation, even.at[0].1 / 4_500.0);
    let (low, high) = even.utilisation_band.unwrap();
    assert!(low < even.utilisation.unwrap() && high > 1.0);
}

fn run(id: &str, load: &str, usd: f64, attained: f64, good: u64, state: &str) -> RunCost {
    let served = Served { attained: Some(attained), good_output: Some(good), ..served() };
    let hosted = vec![h200(Band { low: usd / 2.0, median: usd, high: usd * 2.0 }, &served)];
    RunCost {
        run_id: id.into(),
        arm: "a model on an engine".into(),
        load: load.into(),
        repeat_of: load.into(),
        state: state.into(),
        span: (1_793_188_800, 1_793_189_400),
        served,
        hosted,
        apis: vec![],
    }
}

#[test]
fn the_cheapest_load_that_meets_the_service_level() {
    let runs = [
        run("r1", "1 lane", 1.6, 1.0, 600_000, "VALID"),
        run("r2", "8 lanes", 1.6, 0.96, 1_200_000, "VALID"),
        run("r3", "8 lanes", 1.6, 0.96, 1_210_000, "VALID"),
        run("r4", "64 lanes", 1.6, 0.43, 2_000_000, "VALID"),
        run("r5", "32 lanes", 1.6, 0.99, 9_000_000, "INVALID"),
    ];
    let found = at_slo(&runs, ATTAINMENT);
    let best = found[0].best.as_ref().unwrap();
    assert_eq!((found.len(), best.load.as_str(), best.runs), (1, "8 lanes", 2));
    let mean = (2.133_333_333 / (1_200_000.0_f64 * 1_210_000.0).sqrt()) * 1e6;
    near(Some(best.usd.median), mean);
    near(Some(best.usd.low), mean / 2.0);
    let (low, high) = best.interval.unwrap();
    assert!(low < mean && high > mean && high / low < 1.25, "{low} … {high}");
    let said = found[0].others.join("\n");
    for part in ["64 lanes: 43.0 % of the requests met it, 90 % are asked for", "32 lanes: run r5 is INVALID", "1 lane: 2.01 times as dear"]
    {
        assert!(said.contains(part), "{said}");
    }
    // A run that has no such price is no point of it, whatever stands at the same place in its list.
    let mut other = runs[1].clone();
    other.hosted[0].name = "8 × mi300x".into();
    let mixed = at_slo(&[runs[0].clone(), other, RunCost { hosted: vec![], ..runs[2].clone() }], ATTAINMENT);
    assert_eq!(
        mixed.iter().map(|at| (at.price.as_str(), at.best.as_ref().unwrap().load.as_str())).collect::<Vec<_>>(),
        [("8 × h200 rental-3y", "1 lane"), ("8 × mi300x", "8 lanes")]
    );
    let none = at_slo(&runs[3..], ATTAINMENT);
    assert_eq!(none[0].best, None);
    let report = report(vec![runs[3].clone()], none);
    assert!(render_cost(&report, Format::Table).contains("∞ (no operating point)"));
}

fn report(runs: Vec<RunCost>, at_slo: Vec<AtSlo>) -> CostReport {
    CostReport {
        runs,
        utilisations: vec![1.0, 0.7, 0.3],
        cold_start: Some((30.0, 5e6)),
        at_slo,
        slo: Some("TTFT ≤ 500 ms".into()),
        attainment: ATTAINMENT,
        notes: vec!["h200@rental-3y was read on 2026-04-03, 239 days ago (more than 45)".into()],
    }
}

#[test]
fn tables() {
    let book = Book::shipped();
    let mut run = run("0195-run", "8 lanes", 1.6, 0.96, 1_200_000, "VALID");
    run.apis = ["cerebras/gpt-oss-120b", "groq/llama-3.1-8b", "deepseek/deepseek-v4-pro"]
        .map(|api| billed(&book, api, &[record(1, 100, Status::Ok), record(2, 100 + 14 * 3_600, Status::Ok)]))
        .into();
    let report = report(vec![run.clone()], at_slo(&[run], ATTAINMENT));
    for (format, name) in [(Format::Table, "table"), (Format::Markdown, "markdown"), (Format::Csv, "csv"), (Format::Json, "json")] {
        insta::assert_snapshot!(format!("cost_{name}"), render_cost(&report, format));
    }
    for line in render_cost(&report, Format::Table).lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
}
