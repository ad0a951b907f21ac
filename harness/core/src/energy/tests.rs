//! Energies computed by hand, and every rule broken once.

use super::*;
use crate::report::Window;
use crate::sample::{Sample, SampleSource, names};

fn s(seconds: f64) -> Nanos {
    Nanos::from_secs_f64(seconds)
}

const WINDOW: (f64, f64) = (10.0, 20.0);

fn window() -> Window {
    Window { start: s(WINDOW.0), end: s(WINDOW.1) }
}

/// Readings of a device; each `(seconds, value)`.
fn readings(metric: &str, labels: &str, values: &[(f64, f64)]) -> Vec<Sample> {
    let sample = |(at, value): &(f64, f64)| Sample {
        at: s(*at),
        source: SampleSource::Power,
        metric: metric.into(),
        labels: labels.into(),
        value: *value,
    };
    values.iter().map(sample).collect()
}

/// One reading a second of a constant power, over the window and a second on either side.
fn steady(scope: &str, meter: &str, device: u32, watts: f64) -> Vec<Sample> {
    let values: Vec<_> = (9..=21).map(|at| (f64::from(at), watts)).collect();
    readings(names::POWER_WATTS, &format!("scope={scope},meter={meter},device={device}"), &values)
}

fn one(facts: &EnergyFacts, boards: Option<u32>, samples: &[Sample]) -> Result<Measured, Fault> {
    let found = measured(facts, boards, window(), samples);
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().unwrap().1
}

#[test]
fn power_is_integrated_by_trapezoids_and_interpolated_at_the_edges() {
    let check = |values: &[(f64, f64)], joules: f64| {
        let got = one(&EnergyFacts::default(), None, &readings(names::POWER_WATTS, "scope=wall,meter=csv,device=pdu", values)).unwrap();
        assert!((got.joules - joules).abs() < 1e-9, "{values:?}: {got:?}");
        assert_eq!((got.method, got.devices), (Method::Trapezoid, 1));
    };
    let every = |step: f64, watts: fn(f64) -> f64| -> Vec<(f64, f64)> {
        (0..20).map(|i| 9.0 + f64::from(i) * step).take_while(|at| *at <= 21.5).map(|at| (at, watts(at))).collect()
    };
    check(&every(1.0, |_| 100.0), 1000.0);
    // A straight line is exact wherever its readings are: its mean over the window is its value in the middle.
    check(&every(1.0, |at| 20.0 * at), 3000.0);
    check(&every(0.7, |at| 20.0 * at), 3000.0);
    check(&every(2.5, |at| 20.0 * at), 3000.0);
    // Readings exactly at the edges bracket it, and those outside count for nothing.
    check(&[(0.0, 9e9), (10.0, 50.0), (12.0, 50.0), (14.0, 50.0), (17.0, 50.0), (20.0, 50.0), (30.0, 9e9)], 500.0);
    // 0 W at 9 s and 200 W at 11 s: 100 W at the edge, so 150 J in the first second and 200 W after it.
    check(&[(9.0, 0.0), (11.0, 200.0), (14.0, 200.0), (17.0, 200.0), (20.0, 200.0)], 150.0 + 1800.0);
}

#[test]
fn counters_are_differences_interpolated_at_the_edges() {
    let check = |values: &[(f64, f64)], range: &str, expect: Result<f64, &str>| {
        let labels = format!("scope=package,meter=rapl,device=package-0{range}");
        match (one(&EnergyFacts::default(), None, &readings(names::POWER_ENERGY, &labels, values)), expect) {
            (Ok(got), Ok(joules)) => assert!((got.joules - joules).abs() < 1e-6 && got.method == Method::Counter, "{values:?}: {got:?}"),
            (Err(fault), Err(says)) => assert!(fault.to_string().contains(says), "{fault}"),
            (got, _) => panic!("{values:?}: {got:?}"),
        }
    };
    // 100 W, read at half seconds.
    let at_100_w: Vec<_> = (0..14).map(|i| (8.5 + f64::from(i), 5000.0 + 100.0 * f64::from(i))).collect();
    check(&at_100_w, "", Ok(1000.0));
    // The same with a counter that starts again at 2^32 units of 61 µJ, once, in the window.
    let range = 4_294_967_296.0 * 61e-6;
    let wrapped: Vec<_> = at_100_w.iter().map(|(at, joules)| (*at, (joules + range - 5450.0) % range)).collect();
    assert!(wrapped.windows(2).filter(|pair| pair[1].1 < pair[0].1).count() == 1, "it wraps once");
    check(&wrapped, &format!(",range={range}"), Ok(1000.0));
    check(&wrapped, "", Err("fell: the energy counter of package-0 fell"));
    check(&wrapped, ",range=1", Err("fell: "));
    // A counter that was reset is none that started again: 250 kJ in a second are no package's.
    let reset = [(9.0, 5000.0), (10.5, 5100.0), (12.0, 5250.0), (13.0, 40.0), (16.0, 340.0), (19.0, 640.0), (20.0, 740.0)];
    check(&reset, ",range=262143.32885", Err("it would have drawn 256933 W, more than 2000 W"));
    check(&reset, "", Err("fell: "));
    // A wrap between the reading before the window and the first in it.
    let early: Vec<_> = at_100_w.iter().map(|(at, joules)| (*at, (joules + range - 5120.0) % range)).collect();
    check(&early, &format!(",range={range}"), Ok(1000.0));
}

/// A window of a hundred seconds, for clocks of whole seconds.
fn long(samples: &[Sample]) -> Result<Measured, Fault> {
    let window = Window { start: s(100.0), end: s(200.0) };
    measured(&EnergyFacts::default(), None, window, samples).remove(0).1
}

#[test]
fn readings_of_one_moment_are_one() {
    let labels = "scope=package,meter=csv,device=0";
    let counter = |rows: u32, whole: bool| -> Vec<(f64, f64)> {
        let at = |i: u32| f64::from(i) / f64::from(rows);
        (98 * rows..=202 * rows).map(|i| (if whole { at(i).floor() } else { at(i) }, 295.0 * at(i))).collect()
    };
    for rows in [1, 2, 4, 10] {
        for whole in [false, true] {
            let got = long(&readings(names::POWER_ENERGY, labels, &counter(rows, whole))).unwrap();
            assert!((got.joules - 29_500.0).abs() < 1e-6, "{rows} rows a second: {got:?}");
            assert_eq!(got.tick, (whole && rows > 1).then_some(s(1.0)));
            assert_eq!(got.readings, if whole { 101 } else { 100 * u64::from(rows) + 1 });
        }
    }
    // In another order and twice over it is the same, and one that starts again within a second too.
    let mut turned = counter(4, true);
    turned.reverse();
    assert!((long(&readings(names::POWER_ENERGY, labels, &turned)).unwrap().joules - 29_500.0).abs() < 1e-6);
    let wrapped: Vec<_> = counter(4, true).iter().map(|(at, joules)| (*at, (joules + 5850.0) % 50_000.0)).collect();
    let got = long(&readings(names::POWER_ENERGY, &format!("{labels},range=50000"), &wrapped)).unwrap();
    assert!((got.joules - 29_500.0).abs() < 295.0, "to the clock's step: {got:?}");
    // Of power the mean.
    let power =
        |low: f64| -> Vec<(f64, f64)> { (390..=810).map(|i| (f64::from(i / 4), [low, 100.0, 150.0, 50.0][i as usize % 4])).collect() };
    let got = long(&readings(names::POWER_WATTS, labels, &power(100.0))).unwrap();
    assert!((got.joules - 10_000.0).abs() < 1e-6 && got.tick == Some(s(1.0)), "{got:?}");
    let fault = long(&readings(names::POWER_WATTS, labels, &power(-1.0))).unwrap_err();
    assert!(fault.to_string().starts_with("not_power: a reading of 0 is -1 W"), "a mean hides it not: {fault}");
    // Two seconds of ten are more than the rules allow.
    let short: Vec<_> = counter(4, true).iter().map(|(at, joules)| (at - 90.0, *joules)).collect();
    let fault = one(&EnergyFacts::default(), None, &readings(names::POWER_ENERGY, labels, &short)).unwrap_err();
    assert!(
        fault.code() == "coarse" && fault.to_string().contains("has steps of 1.0 s") && fault.to_string().ends_with(fault.remedy()),
        "{fault}"
    );
}

#[test]
fn one_reading_a_second_by_a_clock_of_whole_seconds_is_known_to_a_second() {
    // The readings are half a second later than they are stamped; the power grows, so that it matters.
    let rows = |labels: &str| -> Vec<Sample> {
        let values: Vec<_> = (98..=202).map(|at| (f64::from(at), 20.0 * (f64::from(at) + 0.5))).collect();
        readings(names::POWER_WATTS, &format!("scope=wall,meter=csv,device=0{labels}"), &values)
    };
    for (labels, tick) in [("", None), (",step=1", Some(1.0)), (",step=0.1", Some(0.1)), (",step=inf", None), (",step=0", None)] {
        let got = long(&rows(labels)).unwrap();
        assert_eq!((got.joules, got.tick), (301_000.0, tick.map(s)), "{labels}");
    }
    // Of ten seconds two are too many, and two tenths are not; of forty two are what is allowed.
    let of = |seconds: f64, labels: &str| {
        let window = Window { start: s(100.0), end: s(100.0 + seconds) };
        measured(&EnergyFacts::default(), None, window, &rows(labels)).remove(0).1
    };
    for (seconds, labels, coarse) in
        [(10.0, ",step=1", true), (39.9, ",step=1", true), (40.0, ",step=1", false), (10.0, ",step=0.1", false)]
    {
        match of(seconds, labels) {
            Err(fault) => assert!(coarse && fault.to_string().starts_with("coarse: the clock of 0 has steps of 1.0 s"), "{fault}"),
            Ok(got) => assert!(!coarse && got.tick.is_some(), "{seconds} s, {labels}: {got:?}"),
        }
    }
}

#[test]
fn every_rule_has_a_reason_and_a_remedy() {
    let board = |values: &[(f64, f64)]| readings(names::POWER_WATTS, "scope=board,meter=nvml,device=0", values);
    let check = |samples: Vec<Sample>, boards: Option<u32>, code: &str, says: &str| {
        let fault = one(&EnergyFacts::default(), boards, &samples).unwrap_err();
        assert_eq!(fault.code(), code);
        let text = fault.to_string();
        assert!(text.contains(says) && text.ends_with(fault.remedy()) && !fault.remedy().is_empty(), "{text}");
    };
    let every_second = |from: i32, to: i32| (from..=to).map(|at| (f64::from(at), 100.0)).collect::<Vec<_>>();
    check(board(&every_second(12, 21)), None, "not_bracketed", "of 0 begin 2.00 s after the window's start");
    check(board(&every_second(9, 19)), None, "not_bracketed", "of 0 end 1.00 s before the window's end");
    check(board(&every_second(0, 5)), None, "not_bracketed", "none is in it");
    check(board(&every_second(25, 30)), None, "not_bracketed", "none is in it");
    let gap = |gap: f64| board(&[(9.0, 1.0), (11.0, 1.0), (11.0 + gap, 1.0), (17.0, 1.0), (20.0, 1.0)]);
    check(gap(3.1), None, "gap", "are 3.1 s apart, at most 3 s");
    assert!(one(&EnergyFacts::default(), None, &gap(3.0)).is_ok(), "three seconds are allowed");
    let boards = |n: u32| (0..n).flat_map(|device| steady("board", "nvml", device, 100.0)).collect::<Vec<_>>();
    check(boards(7), Some(8), "devices", "readings of 7 of 8 accelerators");
    check(boards(8), Some(4), "devices", "readings of 8 of 4 accelerators");
    let all = one(&EnergyFacts::default(), Some(8), &boards(8)).unwrap();
    assert_eq!((all.joules, all.devices, all.counted), (8000.0, 8, true));
    let packages = EnergyFacts { packages: Some(2), ..EnergyFacts::default() };
    let fault = one(&packages, Some(8), &steady("package", "rapl", 0, 1.0)).unwrap_err();
    assert!(fault.to_string().contains("1 of 2 packages"), "{fault}");
    check(board(&[(9.0, 1.0), (12.0, -1.0), (15.0, 1.0), (18.0, 1.0), (21.0, 1.0)]), None, "not_power", "-1 W");
    let nothing = Window { start: s(10.0), end: s(10.0) };
    let found = measured(&EnergyFacts { provisioned_w: Some(5.0), ..EnergyFacts::default() }, None, nothing, &boards(1));
    assert!(found.iter().all(|(_, e)| e == &Err(Fault::NoWindow)) && found.len() == 2, "{found:?}");
}

#[test]
fn power_and_counter_of_a_device_agree_or_there_is_no_number() {
    let labels = "scope=board,meter=nvml,device=0";
    let with_power = |watts: f64| {
        let counter: Vec<_> = (9..=21).map(|at| (f64::from(at), 100.0 * f64::from(at))).collect();
        [readings(names::POWER_ENERGY, labels, &counter), steady("board", "nvml", 0, watts)].concat()
    };
    let got = one(&EnergyFacts::default(), Some(1), &with_power(104.9)).unwrap();
    assert!((got.joules - 1000.0).abs() < 1e-9 && got.method == Method::Counter, "the counter is told: {got:?}");
    let fault = one(&EnergyFacts::default(), Some(1), &with_power(94.0)).unwrap_err();
    assert!(fault.to_string().starts_with("disagree: 0 drew 1000.0 J by its counter and 940.0 J by its power"), "{fault}");
}

#[test]
fn a_meter_that_does_not_count_is_no_number() {
    let counter = |device: u32, watts: f64| {
        let values: Vec<_> = (9..=21).map(|at| (f64::from(at), 7.0 + watts * f64::from(at))).collect();
        readings(names::POWER_ENERGY, &format!("scope=board,meter=amdsmi,device={device}"), &values)
    };
    let none = |samples: &[Sample]| one(&EnergyFacts::default(), None, samples).unwrap_err().to_string();
    let two = none(&[counter(0, 0.0), counter(1, 0.0)].concat());
    assert!(two.starts_with("still: by AMD SMI all 2 devices draw nothing in the window") && two.contains("--energy"), "{two}");
    assert!(none(&counter(0, 0.0)).contains("the device draws nothing"));
    assert!(none(&steady("wall", "csv", 0, 0.0)).contains("the file of --power"));
    // One part of a board may tell for all of it: that is a number, with how many tell nothing.
    let one_of_two = one(&EnergyFacts::default(), None, &[counter(0, 100.0), counter(1, 0.0)].concat()).unwrap();
    assert_eq!((one_of_two.joules, one_of_two.devices, one_of_two.still), (1000.0, 2, 1));
    // A counter that stands beside a power that does not is told as that.
    let beside = [counter(0, 0.0), steady("board", "amdsmi", 0, 300.0)].concat();
    assert!(none(&beside).starts_with("disagree: "));
}

#[test]
fn scopes_are_never_added_and_the_named_one_comes_first() {
    let samples = [
        steady("package", "rapl", 0, 50.0),
        steady("board", "exporter", 0, 300.0),
        steady("board", "exporter", 1, 300.0),
        steady("board", "nvml", 0, 700.0),
        steady("wall", "csv", 0, 900.0),
    ]
    .concat();
    let found = |facts: &EnergyFacts| -> Vec<(&str, f64)> {
        measured(facts, None, window(), &samples).into_iter().map(|(scope, e)| (scope.name(), e.unwrap().joules)).collect()
    };
    let default = [("board", 6000.0), ("package", 500.0), ("wall", 9000.0)];
    assert_eq!(found(&EnergyFacts::default()), default, "one meter a scope: the user's exporter goes before NVML");
    let named = EnergyFacts { scope: Some(Scope::Wall), provisioned_w: Some(1000.0), ..EnergyFacts::default() };
    assert_eq!(found(&named), [("wall", 9000.0), ("board", 6000.0), ("package", 500.0), ("provisioned", 10_000.0)]);
    assert!(measured(&EnergyFacts::default(), Some(8), window(), &[]).is_empty());
    let others = Sample { source: SampleSource::Engine, ..steady("board", "nvml", 0, 1.0)[0].clone() };
    assert!(measured(&EnergyFacts::default(), None, window(), &[others]).is_empty(), "what an engine says is not a meter's word");
}

#[test]
fn another_meter_of_a_scope_is_told_where_it_says_something_else() {
    let other = |watts: f64, devices: u32| {
        let second = (0..devices).flat_map(|device| steady("board", "hwmon", device, watts));
        let samples: Vec<_> = steady("board", "amdsmi", 0, 100.0).into_iter().chain(second).collect();
        let got = one(&EnergyFacts::default(), None, &samples).unwrap();
        assert_eq!((got.joules, got.meter), (1000.0, Some(Meter::AmdSmi)), "the first is believed");
        got.other
    };
    assert_eq!(other(104.9, 1), None);
    assert_eq!(other(300.0, 1), Some((Meter::Hwmon, 3000.0)));
    assert_eq!(other(300.0, 2), None, "two boards are others than one");
    assert_eq!(other(0.0, 1), None, "what does not count says nothing");
}

#[test]
fn a_job_is_the_window_or_no_number() {
    let check = |(from, to): (f64, f64), start: f64, end: f64, expect: Result<f64, &str>| {
        let window = Window { start: s(from), end: s(to) };
        let job = Job { id: "42".into(), start: s(start), end: s(end), joules: 300.0 * (end - start), nodes: Some(2) };
        let facts = EnergyFacts { job: Some(job), ..EnergyFacts::default() };
        match (measured(&facts, None, window, &[]).remove(0).1, expect) {
            (Ok(got), Ok(joules)) => assert!((got.joules - joules).abs() < 1e-9 && got.method == Method::Job, "{got:?}"),
            (Err(fault), Err(says)) => assert!(fault.to_string().contains(says), "{fault}"),
            (got, _) => panic!("{start} to {end}: {got:?}"),
        }
    };
    let long = (100.0, 300.0);
    check(long, 100.0, 300.0, Ok(60_000.0));
    check(long, 97.0, 303.0, Ok(60_000.0));
    check(long, 97.0, 303.1, Err("whole_job: the batch system tells 300 W, the mean of job 42 over 206 s, and the window is a part of it"));
    check(long, 101.0, 300.0, Err("does not lie in it"));
    // Of a window of forty seconds the two at its edges that nobody knows are all that may be unknown.
    check((100.0, 140.0), 100.0, 140.0, Ok(12_000.0));
    check((100.0, 140.0), 99.0, 140.0, Err("whole_job: "));
    check((10.0, 20.0), 8.0, 22.0, Err("whole_job: "));
    check((10.0, 10.0), 10.0, 11.0, Err("whole_job: "));
}

#[test]
fn the_method_in_words_has_the_limits_of_the_code() {
    // However its lines are broken.
    let words = include_str!("../../../../METHODOLOGY.md").split_whitespace().collect::<Vec<_>>().join(" ");
    let gap = MAX_GAP.as_secs_f64();
    for part in [
        format!("neighbouring readings at most {gap:.0} s apart"),
        format!("the window but for {gap:.0} s at either edge, and for {:.0} % of it", MAX_EDGES * 100.0),
        format!("both edges together, are at most {:.0} % of the window", MAX_EDGES * 100.0),
        format!("more than {MAX_WRAP_W:.0} W that way"),
        format!("integrated power and counter at most {:.0} % apart", MAX_DISAGREEMENT * 100.0),
    ] {
        assert!(words.contains(&part), "METHODOLOGY.md does not say: {part}");
    }
    let row = |fault: &Fault| format!("| `{}` |", fault.code());
    let device = String::new;
    let faults = [
        Fault::NotBracketed { device: device(), edge: Edge::Start, by: None },
        Fault::Gap { device: device(), gap: MAX_GAP },
        Fault::Devices { found: 1, expected: 2, scope: Scope::Board },
        Fault::Disagree { device: device(), counter: 1.0, power: 2.0 },
        Fault::Coarse { device: device(), tick: MAX_GAP, window: MAX_GAP },
        Fault::Fell { device: device(), from: 1.0, to: 0.0, wrapped_w: None },
        Fault::Still { meter: Meter::AmdSmi, devices: 1 },
        Fault::NotPower { device: device(), watts: -1.0 },
        Fault::WholeJob { job: device(), lasted: MAX_GAP, watts: 1.0, holds: true },
    ];
    assert!(faults.iter().all(|fault| words.contains(&row(fault))), "a reason is not in the table");
}
