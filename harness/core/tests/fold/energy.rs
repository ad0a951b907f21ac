//! Energy per token and request by hand, scope by scope.

use super::{answer, limited, ms};
use nomoat_core::energy::{Absent, EnergyFacts, Scope as Drawn};
use nomoat_core::fold::fold;
use nomoat_core::record::RequestRecord;
use nomoat_core::report::{MetricRow, RunFacts, RunReport};
use nomoat_core::sample::{Sample, SampleSource, names};
use nomoat_core::units::Nanos;

/// Readings once a second of a constant power around a window of ten seconds.
fn watts(scope: &str, device: u32, watts: f64) -> Vec<Sample> {
    let sample = |at| Sample {
        at: Nanos::from_secs(at),
        source: SampleSource::Power,
        metric: names::POWER_WATTS.into(),
        labels: format!("scope={scope},meter=exporter,device={device}"),
        value: watts,
    };
    (-1..=11).map(sample).collect()
}

/// Ten answers of five tokens to prompts of ten.
fn records() -> Vec<RequestRecord> {
    (0..10).map(|i| answer(i, ms(i64::from(i) * 900), &[10, 20, 30, 40, 50])).collect()
}

fn folded(energy: EnergyFacts, accelerators: Option<u32>, samples: &[Sample]) -> RunReport {
    fold(&RunFacts { scheduled: 10, energy, accelerators, ..limited(10) }, records(), samples, &[])
}

fn rows<'a>(report: &'a RunReport, name: &str) -> Vec<&'a MetricRow> {
    report.metrics.iter().filter(|r| r.name == name).collect()
}

#[test]
fn every_scope_has_numbers_of_its_own() {
    let samples = [watts("board", 0, 300.0), watts("board", 1, 200.0), watts("package", 0, 80.0)].concat();
    let energy = EnergyFacts { usd_per_kwh: Some(0.36), pue: Some(1.5), packages: Some(1), ..EnergyFacts::default() };
    let report = folded(energy, Some(2), &samples);
    let check = |name: &str, board: f64, package: f64| {
        let found: Vec<_> = rows(&report, name).into_iter().map(|r| (r.scope.energy, r.value.unwrap())).collect();
        let [(Some(Drawn::Board), b), (Some(Drawn::Package), p)] = found[..] else { panic!("{name}: {found:?}") };
        assert!((b / board - 1.0).abs() < 1e-12 && (p / package - 1.0).abs() < 1e-12, "{name}: {found:?}");
        assert_eq!(report.energy(name).unwrap().value, Some(b), "the headline");
    };
    check("energy_joules", 5000.0, 800.0);
    check("avg_power_w", 500.0, 80.0);
    check("j_per_output_token", 100.0, 16.0);
    check("j_per_total_token", 5000.0 / 150.0, 800.0 / 150.0);
    check("j_per_request", 500.0, 80.0);
    // 5 kJ are 1/720 kWh; times the tariff and the building.
    check("energy_usd", 5000.0 / 3.6e6 * 0.36 * 1.5, 800.0 / 3.6e6 * 0.36 * 1.5);
    check("energy_usd_per_mtok_out", 5000.0 / 3.6e6 * 0.36 * 1.5 / 50e-6, 800.0 / 3.6e6 * 0.36 * 1.5 / 50e-6);
    let said = |name: &str| rows(&report, name)[0].reason.clone().unwrap();
    assert_eq!(said("j_per_request"), "board scope: 2 boards, by integrated power of the page of --power-url");
    assert!(said("energy_usd").ends_with("; times a PUE of 1.5"), "{}", said("energy_usd"));
    assert_eq!(report.single("usd_total").unwrap().value, None, "what energy costs is no part of the cost");
    let part = folded(EnergyFacts::default(), Some(2), &[watts("board", 0, 300.0), watts("board", 1, 0.0)].concat());
    let part = rows(&part, "energy_joules")[0];
    assert_eq!(part.value, Some(3000.0));
    assert!(part.reason.as_deref().unwrap().contains("of 1 of them it is 0 J"), "{:?}", part.reason);
    let hwmon: Vec<Sample> = watts("board", 0, 900.0)
        .into_iter()
        .map(|sample| Sample { labels: sample.labels.replace("exporter", "hwmon"), ..sample })
        .collect();
    let two = folded(EnergyFacts::default(), Some(1), &[watts("board", 0, 300.0), hwmon].concat());
    assert!(rows(&two, "energy_joules")[0].reason.as_deref().unwrap().contains("; by hwmon it is 9000.0 J"));
    let unsure = folded(EnergyFacts::default(), None, &samples);
    assert!(rows(&unsure, "energy_joules")[0].reason.as_deref().unwrap().contains("not known without --accelerators"));
}

#[test]
fn an_overloaded_engine_is_charged_for_what_it_answered_in_time() {
    // 200 are due in the ten seconds and ten of them end there; the others end long after, with energy that nobody counts here.
    let late = |i: u32| if i.is_multiple_of(20) { 20 } else { 60_000 };
    let records: Vec<RequestRecord> = (0..200).map(|i| answer(i, ms(i64::from(i) * 49), &[late(i)])).collect();
    let facts = RunFacts { scheduled: 200, accelerators: Some(1), ..limited(10) };
    let report = fold(&facts, records, &watts("board", 0, 300.0), &[]);
    assert_eq!((report.counts.ok, report.single("request_rate").unwrap().value), (200, Some(1.0)));
    assert_eq!(report.energy("j_per_request").unwrap().value, Some(300.0), "3000 J by ten answers");
    let none: Vec<RequestRecord> = (0..200).map(|i| answer(i, ms(i64::from(i) * 49), &[60_000])).collect();
    let report = fold(&facts, none, &watts("board", 0, 300.0), &[]);
    let row = report.energy("j_per_request").unwrap();
    assert_eq!((row.value, row.reason.as_deref()), (None, Some("no answer ended in the window")));
}

#[test]
fn meters_that_were_taken_by_the_address_say_so() {
    let of = |meter: &str, scope: &str, by_address: bool| {
        let labels = |s: Sample| Sample { labels: s.labels.replace("meter=exporter", &format!("meter={meter}")), ..s };
        let samples: Vec<Sample> = watts(scope, 0, 80.0).into_iter().map(labels).collect();
        let report = folded(EnergyFacts { by_address, ..EnergyFacts::default() }, Some(1), &samples);
        report.energy("j_per_request").unwrap().reason.clone().unwrap().contains("taken to run here by its address")
    };
    assert!(of("nvml", "board", true) && of("rapl", "package", true));
    assert!(!of("nvml", "board", false) && !of("rapl", "package", false), "by the user's word it is known");
    assert!(!of("exporter", "board", true) && !of("csv", "wall", true), "what the user named is");
}

#[test]
fn a_clock_of_whole_seconds_is_told_of() {
    let whole = |seconds: i64| -> Vec<Sample> {
        let at = |i: i64| Sample { at: Nanos::from_secs(i / 4), ..watts("wall", 0, 74.0).remove(0) };
        (-8..=4 * (seconds + 2)).map(at).collect()
    };
    let report = folded(EnergyFacts::default(), None, &whole(10));
    let row = report.energy("energy_joules").unwrap();
    assert!(row.value.is_none() && row.reason.as_deref().unwrap().starts_with("coarse: "), "2 s of 10 s are too many: {row:?}");
    let report = fold(&RunFacts { scheduled: 10, ..limited(50) }, records(), &whole(50), &[]);
    let row = report.energy("energy_joules").unwrap();
    assert!((row.value.unwrap() - 3700.0).abs() < 1e-9, "{row:?}");
    assert!(row.reason.as_deref().unwrap().ends_with("steps of 1.0 s, so either edge of the window is unknown by that"), "{row:?}");
}

#[test]
fn a_broken_rule_leaves_no_number_of_that_scope() {
    let samples = [watts("board", 0, 300.0), watts("package", 0, 80.0)].concat();
    let report = folded(EnergyFacts::default(), Some(8), &samples);
    for name in ["energy_joules", "avg_power_w", "j_per_output_token", "j_per_total_token", "j_per_request"] {
        let [board, package] = rows(&report, name)[..] else { panic!("{name}") };
        assert_eq!((board.value, package.value.is_some()), (None, true), "{name}");
        assert!(board.reason.as_deref().unwrap().starts_with("devices: there are readings of 1 of 8 accelerators; "), "{board:?}");
        assert_eq!(report.energy(name).unwrap().value, None, "another scope does not take its place");
    }
}

#[test]
fn what_nobody_read_says_what_to_give() {
    let check = |energy: EnergyFacts, samples: &[Sample], scope: Option<Drawn>, says: &[&str]| {
        let report = folded(energy, None, samples);
        let row = report.energy("j_per_output_token").unwrap();
        let reason = row.reason.as_deref().unwrap();
        assert_eq!((row.value, row.scope.energy), (None, scope));
        assert!(says.iter().all(|part| reason.contains(part)) && reason.ends_with("give --power FILE.csv or --power-url URL"), "{reason}");
    };
    let absent = |what: &str| Absent { what: what.into(), why: format!("{what} is not there") };
    check(EnergyFacts::default(), &[], None, &["no energy source: give"]);
    let two = EnergyFacts { absent: vec![absent("nvml"), absent("rapl")], ..EnergyFacts::default() };
    check(two.clone(), &[], None, &["none of nvml, rapl is there (`nomoat devices` says why)"]);
    check(EnergyFacts { asked: true, ..two }, &[], None, &["nvml: nvml is not there; rapl: rapl is not there"]);
    // Whoever asks for the wall gets no package instead.
    let wall = EnergyFacts { asked: true, scope: Some(Drawn::Wall), ..EnergyFacts::default() };
    check(wall, &watts("package", 0, 80.0), Some(Drawn::Wall), &["no energy source of the wall scope"]);
}
