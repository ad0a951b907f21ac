//! Tables and pages that are right, and every way in which one is not.

use super::*;
use nomoat_core::energy::Scope;
use nomoat_core::report::Window;
use proptest::prelude::*;

/// A clock whose run's clock is at 5 s when the wall shows `unix_s`.
fn clock(unix_s: i64) -> WallClock {
    let anchor = |s: i64| WallAnchor { mono_ns: (5 + s) * 1_000_000_000, unix_ns: (unix_s + s) * 1_000_000_000 };
    WallClock::new(&[anchor(0), anchor(100)]).unwrap()
}

#[test]
fn times() {
    let s = 1_000_000_000;
    for (text, expect) in [
        ("1970-01-01T00:00:00Z", Ok(0)),
        ("2024-02-29T23:59:59.25Z", Ok(1_709_251_199 * s + s / 4)),
        ("2024-03-01 00:59:59.250+01:00", Ok(1_709_251_199 * s + s / 4)),
        ("2023-12-31t19:00:00-05:30", Ok(1_704_069_000 * s)),
        ("1709251199", Ok(1_709_251_199 * s)),
        (" 1709251199.000000001 ", Ok(1_709_251_199 * s + 1)),
        ("1709251199.0000000019", Ok(1_709_251_199 * s + 1)),
        ("2024-02-29T23:59:59", Err("no zone")),
        ("2024-02-30T00:00:00Z", Err("no such day")),
        ("2023-02-29T00:00:00Z", Err("no such day")),
        ("2024-13-01T00:00:00Z", Err("no such day")),
        ("2024-01-01T24:00:00Z", Err("no such day or hour")),
        ("9999-01-01T00:00:00Z", Err("not of this age")),
        ("9999999999", Err("no number of seconds")),
        ("2024-01-01T00:00:00.Z", Err("shape")),
        ("2024-01-01T00:00:00+1:00", Err("shape")),
        ("2024/01/01 00:00:00Z", Err("no such day")),
        ("1709251199000", Err("no number of seconds")),
        ("1.2.3", Err("no number of seconds")),
        (".", Err("no number of seconds")),
        ("", Err("no number of seconds")),
        ("yesterday", Err("shape")),
        ("2024-01-01T00:00:0é", Err("shape")),
    ] {
        match (time::parse(text), expect) {
            (Ok(got), Ok(expect)) => assert_eq!(got.unix_ns, expect, "{text}"),
            (Err(got), Err(says)) => assert!(got.contains(says), "{text}: {got}"),
            (got, _) => panic!("{text}: {got:?}"),
        }
    }
}

#[test]
fn the_step_of_a_clock_is_in_what_it_writes() {
    let window = Window { start: Nanos::ZERO, end: Nanos::from_secs(1000) };
    let check = |times: &[&str], expect: Option<&str>| {
        let rows: Vec<String> = times.iter().map(|time| format!("{time},a,5\n")).collect();
        let table = table(&format!("time,device,watts\n{}100.25,other,5\n", rows.concat())).unwrap();
        let samples = table.samples(Scope::Wall, &clock(0), window);
        let of = |device: &str| samples.iter().filter(|s| s.label("device") == Some(device)).map(|s| s.label("step")).collect::<Vec<_>>();
        assert_eq!(of("a"), vec![expect; times.len()], "{times:?}");
        assert_eq!(of("other"), [None], "each device has a clock of its own");
    };
    check(&["10", "11", "12"], Some("1"));
    check(&["1970-01-01T00:00:10Z", "1970-01-01 01:00:11+01:00"], Some("1"));
    check(&["10.0", "11.0"], Some("0.1"));
    check(&["1970-01-01T00:00:10.5Z", "11"], Some("0.1"));
    check(&["10.00", "11.00"], None);
    check(&["10", "11.000", "12"], None);
    check(&["1970-01-01T00:00:10.250Z", "1970-01-01T00:00:11Z"], None);
}

#[test]
fn wall_times_are_placed_between_the_anchors() {
    let clock = clock(1_000);
    assert_eq!(clock.place(1_003 * 1_000_000_000), Nanos::from_secs(8));
    assert_eq!(clock.place(900 * 1_000_000_000), Nanos::from_secs(-95));
    let anchor = |mono_ns, unix_ns| WallAnchor { mono_ns, unix_ns };
    // The wall gained 10 ms over 100 s: half of it in the middle, all of it after the end, none before the start.
    let s = 1_000_000_000;
    let slewed = WallClock::new(&[anchor(0, 0), anchor(100 * s, 100 * s + 10_000_000)]).unwrap();
    assert_eq!(slewed.place(-s), Nanos(-s));
    assert!((slewed.place(50 * s + 5_000_000).0 - 50 * s).abs() < 1_000);
    assert_eq!(slewed.place(200 * s), Nanos(200 * s - 10_000_000));
    let set = WallClock::new(&[anchor(0, 0), anchor(s, 3 * s)]).unwrap_err();
    assert!(set.contains("set by 2.00 s"), "{set}");
    assert!(WallClock::new(&[]).is_err());
}

#[test]
fn a_table_is_read_or_its_line_is_named() {
    let check = |text: &str, expect: Result<usize, &str>| {
        let window = Window { start: Nanos::ZERO, end: Nanos::from_secs(1000) };
        match (table(text).map(|t| t.samples(Scope::Wall, &clock(0), window).len()), expect) {
            (Ok(got), Ok(expect)) => assert_eq!(got, expect, "{text}"),
            (Err(got), Err(says)) => assert!(got.contains(says), "{text}: {got}"),
            (got, _) => panic!("{text}: {got:?}"),
        }
    };
    check("time,device,watts\n10,pdu,100\n11,pdu,101.5\n", Ok(2));
    check("\u{feff}Time , Device,Watts\r\n\r\n10,\"pdu\",100\r\n", Ok(1));
    check("watts,time\n5,10\n", Ok(1));
    check("time,device,watts,joules_total\n10,a,5,50\n11,a,,55\n12,a,5,\n", Ok(4));
    check("time,device,joules_total\n1970-01-01T00:00:10Z,a,0\n", Ok(1));
    check("", Err("it is empty"));
    check("time,device,watts\n", Err("no reading"));
    check("10,pdu,100\n", Err("line 1: `10` is no column"));
    check("time,device,power\n1,a,2\n", Err("`power` is no column; its first line names the columns"));
    check("device,watts\na,1\n", Err("no column `time`"));
    check("time,device\n1,a\n", Err("neither `watts` nor `joules_total`"));
    check("time,watts,watts\n1,1,1\n", Err("`watts` is there twice"));
    check("time,device,watts\n10,pdu,100\n\n11,pdu\n", Err("line 4: it has 2 cells for 3 columns"));
    check("time,device,watts\n2024-01-01T00:00:00,pdu,100\n", Err("line 2: `2024-01-01T00:00:00` is no time: it has no zone"));
    check("time,device,watts\n10,pdu,1O0\n", Err("line 2: `1O0` is no number of watts"));
    check("time,device,watts\n10,pdu,-1\n", Err("line 2: `-1` is no number of watts"));
    check("time,device,watts\n10,pdu,NaN\n", Err("no number of watts"));
    check("time,device,joules_total\n10,pdu,inf\n", Err("no number of joules"));
    check("time,device,watts\n10,,1\n", Err("names no device"));
    check("time,device,watts\n10,a,\n", Err("neither watts nor joules"));
}

#[test]
fn of_a_long_table_the_run_keeps_what_it_needs() {
    let rows: Vec<String> = (0..10_000).map(|at| format!("{at},a,{at}\n")).collect();
    let table = table(&format!("time,device,watts\n{}50,b,1\n9000,b,1\n9500,b,1\n", rows.concat())).unwrap();
    let window = Window { start: Nanos::from_secs(105), end: Nanos::from_secs(110) };
    let samples = table.samples(Scope::Node, &clock(0), window);
    let of = |device: &str| {
        let of_device = samples.iter().filter(|s| s.label("device") == Some(device));
        of_device.map(|s| s.at.as_secs_f64()).collect::<Vec<_>>()
    };
    assert_eq!(of("a"), (101..=114).map(f64::from).collect::<Vec<_>>(), "three seconds and one reading on either side");
    assert_eq!(of("b"), [55.0, 9005.0], "the nearest on either side, however far");
    assert!(samples.iter().all(|s| s.label("scope") == Some("node") && s.label("meter") == Some("csv")));
    assert_eq!(table.told_until(&clock(0)), Some(Nanos::from_secs(9505)));
}

#[test]
fn a_job_is_read_or_says_why_not() {
    let header = "JobID|Start|End|NNodes|ConsumedEnergyRaw\n";
    let read = |rows: &str| job(&format!("{header}{rows}")).map(|job| job.placed(&clock(1_000)));
    let whole = read("42|1010|1110|2|60000\n42.batch|1010|1110|1|30000\n42.0|1020|1100|2|25000\n").unwrap();
    assert_eq!((whole.id.as_str(), whole.start, whole.end), ("42", Nanos::from_secs(15), Nanos::from_secs(115)));
    assert_eq!((whole.joules, whole.nodes), (60_000.0, Some(2)));
    assert_eq!(read("42|1010|1110|2|\n42.0|1020|1100|2|25000\n").unwrap().id, "42.0", "only a step has one");
    let check = |text: &str, says: &str| {
        let why = job(text).unwrap_err();
        assert!(why.contains(says), "{text}: {why}");
    };
    check("", "it is empty; record it with SLURM_TIME_FORMAT=%s sacct");
    check("JobID|Start|End\n1|1|2\n", "no column ConsumedEnergyRaw");
    check(&format!("{header}42|2026-11-28T01:00:00|2026-11-28T02:00:00|1|5\n"), "line 2: `2026-11-28T01:00:00` is no number of seconds");
    check(&format!("{header}42|10|20|1\n"), "line 2: it has 4 cells for 5 columns");
    check(&format!("{header}42|10|20|1|5K\n"), "`5K` is no energy in joules");
    check(&format!("{header}42|10|Unknown|1|5\n"), "`Unknown`");
    check(&format!("{header}42|20|20|1|5\n"), "no length");
    check(&format!("{header}42|10|20|1|0\n"), "gathers none");
    check(&format!("{header}42|10|20|1|\n"), "no energy is told");
    check(&format!("{header}42|10|20|1|18446744073709551614\n"), "no energy is told");
}

proptest! {
    #[test]
    fn no_text_breaks_a_reader(text in ".{0,200}", cells in prop::collection::vec("[0-9a-zT:.,|\"-]{0,30}", 0..6)) {
        // Neither panics, and what is taken has only readings that are numbers.
        let lines = cells.join("\n");
        for text in [text.clone(), format!("time,device,watts\n{lines}"), format!("JobID|Start|End|ConsumedEnergyRaw\n{lines}"), lines.clone()] {
            let _ = job(&text);
            let _ = time::parse(&text);
            if let Ok(table) = table(&text) {
                let window = Window { start: Nanos(i64::MIN), end: Nanos::MAX };
                prop_assert!(table.samples(Scope::Wall, &clock(0), window).iter().all(|s| s.value.is_finite() && s.value >= 0.0));
            }
        }
    }
}
