//! Every validity rule, both ways.

use super::{answer, limited, ms, report, sample, unsent};
use nomoat_core::conform::Repeats;
use nomoat_core::fold::fold;
use nomoat_core::record::{CountSource, Phase, RequestRecord, Status, Tokens};
use nomoat_core::report::RunFacts;
use nomoat_core::request::{LaneId, RequestId};
use nomoat_core::sample::{RunEvent, Sample, SampleSource, names};
use nomoat_core::units::Nanos;
use nomoat_core::validity::{Finding, Severity};

/// A valid run of 200 requests in 2 s, answers of two tokens, with the engine's counter.
pub fn good() -> (RunFacts, Vec<RequestRecord>, Vec<Sample>) {
    let records: Vec<_> = (0..200).map(|i| answer(i, ms(i64::from(i) * 10), &[5, 7])).collect();
    let counter = |at, value| sample(SampleSource::Engine, names::GENERATION_TOKENS, at, value);
    let busy = sample(SampleSource::Harness, names::HARNESS_THREAD, ms(500), 0.2);
    (RunFacts { scheduled: 200, exact_length: true, ..limited(2) }, records, vec![counter(ms(0), 1000.0), counter(ms(3_000), 1400.0), busy])
}

#[test]
fn every_rule_both_ways() {
    use Finding::{Fail, NotChecked, Pass};
    type Change = fn(&mut RunFacts, &mut Vec<RequestRecord>, &mut Vec<Sample>);
    let check = |what: &str, change: Change, rule: (&str, &str), expect: Option<Finding>, valid: bool| {
        let (mut facts, mut records, mut samples) = good();
        change(&mut facts, &mut records, &mut samples);
        let code = match what {
            "clock" => Some("clock_step"),
            "a counter that fell in between" => Some("counter_fell"),
            _ => None,
        };
        let events: Vec<RunEvent> = code.map(|code| RunEvent { at: ms(1), code, detail: String::new() }).into_iter().collect();
        let validity = fold(&facts, &records, &samples, &events).validity;
        let found: Vec<_> = validity.rules.iter().filter(|r| r.code == rule.0 && r.rule.contains(rule.1)).collect();
        assert_eq!(found.first().map(|r| r.finding), expect, "{what}: {found:?}");
        assert_eq!(validity.is_valid(), valid, "{what}: {:?}", validity.broken(Severity::Invalid).collect::<Vec<_>>());
        for rule in &validity.rules {
            assert_eq!(rule.remedy.is_empty(), rule.finding == Pass, "a remedy when and only when it is needed: {rule:?}");
        }
    };
    let fail = |what, rule, change: Change| check(what, change, rule, Some(Fail), false);
    let flag = |what, rule, change: Change| check(what, change, rule, Some(Fail), true);
    let not_checked = |what, rule, change: Change| check(what, change, rule, Some(NotChecked), true);
    let pass = |what, rule, change: Change| check(what, change, rule, Some(Pass), true);

    for rule in [
        ("V02", ""),
        ("V03", ""),
        ("V04", ""),
        ("V05", "on time"),
        ("V05", "thread"),
        ("V06", "rate"),
        ("V07", "answers have the length"),
        ("V07", "prompts have the length"),
        ("V07", "counter"),
        ("V08", "first tokens"),
        ("V19", ""),
    ] {
        pass("good", rule, |_, _, _| {});
    }
    not_checked("good", ("V07", "tokenizer"), |_, _, _| {});

    fail("all failed", ("V02", ""), |_, r, _| r.iter_mut().for_each(|r| r.status = Status::Http));
    fail("nothing measured", ("V02", ""), |_, r, _| r.iter_mut().for_each(|r| r.phase = Phase::Warmup));
    fail("3 of 200", ("V03", ""), |_, r, _| r.iter_mut().take(3).for_each(|r| r.status = Status::Http));
    pass("2 of 200", ("V03", ""), |f, r, s| {
        f.exact_length = false;
        r.iter_mut().take(2).for_each(|r| r.status = Status::Http);
        s.clear();
    });
    fail("one lost", ("V04", ""), |_, r, s| {
        r.pop();
        s.clear();
    });
    fail("one twice", ("V04", ""), |_, r, _| r[1].request = RequestId(0));
    fail("late", ("V05", "on time"), |_, r, _| r.iter_mut().take(6).for_each(|r| r.at.start = Some(r.at.due + ms(2))));
    pass("late, and slow to answer", ("V05", "on time"), |_, r, s| {
        for r in r {
            r.at.first_token = Some(r.at.due + ms(300));
            r.at.start = Some(r.at.due + ms(2));
        }
        s.clear();
    });
    fail("saturated", ("V05", "thread"), |_, _, s| s[2].value = 0.9);
    check("no thread samples", |_, _, s| drop(s.pop()), ("V05", "thread"), None, true);
    flag("shared", ("V05", "cores"), |f, _, _| f.shares_host = true);
    fail("slow to start", ("V06", "rate"), |_, r, s| {
        r[199].at.start = Some(ms(2_100));
        s.clear();
    });
    fail("dropped", ("V06", "rate"), |_, r, _| {
        (0..10).for_each(|i| r[i * 20] = unsent(i as u32 * 20, ms(i as i64 * 200), Status::Dropped));
    });
    fail("ran dry", ("V06", "rate"), |f, _, s| {
        f.limit.duration = Some(Nanos::from_secs(10));
        f.offered_rate_per_s = Some(100.0);
        s.clear();
    });
    pass("chance", ("V06", "rate"), |f, _, _| f.offered_rate_per_s = Some(110.0));
    not_checked("one request", ("V06", "rate"), |f, r, s| {
        r.truncate(1);
        s.clear();
        (f.scheduled, f.limit.duration) = (1, None);
    });
    fail("short answers", ("V07", "answers have"), |_, r, s| {
        r.iter_mut().for_each(|r| r.tokens.wanted = 3);
        s.clear();
    });
    flag("long prompts", ("V07", "prompts have"), |_, r, _| r.iter_mut().for_each(|r| r.tokens.input = Some(11)));
    pass("prompts 5 % longer", ("V07", "prompts have"), |_, r, _| r.iter_mut().take(100).for_each(|r| r.tokens.input = Some(11)));
    not_checked("prompts nobody counted", ("V07", "prompts have"), |_, r, _| r.iter_mut().for_each(|r| r.tokens.input = None));
    not_checked("prompts of no asked length", ("V07", "prompts have"), |_, r, _| r.iter_mut().for_each(|r| r.tokens.wanted_input = 0));
    flag("merged", ("V08", "first tokens"), |_, r, _| r.iter_mut().take(21).for_each(|r| r.first_coalesced = true));
    pass("a tenth merged", ("V08", "first tokens"), |_, r, _| r.iter_mut().take(20).for_each(|r| r.first_coalesced = true));
    not_checked("free lengths", ("V07", "answers have"), |f, _, _| f.exact_length = false);
    fail("somebody else's tokens", ("V07", "counter"), |_, _, s| s[1].value = 1410.0);
    pass("nearly", ("V07", "counter"), |_, _, s| s[1].value = 1403.0);
    not_checked("no counter", ("V07", "counter"), |_, _, s| s.clear());
    not_checked("read too late", ("V07", "counter"), |_, _, s| s[0].at = ms(1));
    not_checked("read too early", ("V07", "counter"), |_, _, s| s[1].at = ms(1_990));
    not_checked("restarted", ("V07", "counter"), |_, _, s| s[1].value = 3.0);
    not_checked("a timeout", ("V07", "counter"), |_, r, _| r[7].status = Status::Timeout);
    not_checked("a counter that fell in between", ("V07", "counter"), |_, _, _| {});
    pass("a refusal generates nothing", ("V07", "counter"), |_, r, s| {
        r[7] = RequestRecord { status: Status::Http, tokens: Tokens::default(), ..r[7].clone() };
        s[1].value = 1398.0;
    });
    flag("events", ("V07", "events"), |_, r, s| {
        r.iter_mut().for_each(|r| r.tokens.output_source = CountSource::Chunks);
        s.clear();
    });
    flag("clock", ("V08", "clock"), |_, _, _| {});
    fail("inaccurate", ("V05", "own error"), |f, _, _| f.instrument_error = Some(Nanos::from_millis(60_000)));
    flag("insecure", ("V13", ""), |f, _, _| f.insecure = true);
    for (what, rule, name, few, many) in [
        ("stolen cores", "cores for itself", names::HOST_STEAL, [0.01, 0.01], [0.01, 0.012]),
        ("a quota", "quota", names::HARNESS_THROTTLED, [7.0, 7.0], [7.0, 8.0]),
        ("heat", "heat", names::HOST_THERMAL, [7.0, 7.0], [7.0, 9.0]),
    ] {
        for (values, finding) in [(few, Finding::Pass), (many, Finding::Fail)] {
            let (facts, records, mut samples) = good();
            samples.extend((1..).zip(values).map(|(s, value)| sample(SampleSource::Host, name, Nanos::from_secs(s), value)));
            let rules = fold(&facts, &records, &samples, &[]).validity;
            let found: Vec<_> = rules.rules.iter().filter(|r| r.code == "V14").collect();
            assert!(matches!(found[..], [r] if r.finding == finding && r.rule.contains(rule)), "{what}: {found:?}");
            assert!(rules.is_valid(), "{what}: the rule flags");
        }
    }
    check("nobody tells", |_, _, _| {}, ("V14", ""), None, true);
    fail("stopped", ("V19", ""), |f, _, _| f.interrupted = true);
}

/// 200 prompts of 10 tokens, counted by the engine too, from before the first request to after the last.
#[test]
fn prompts_are_held_against_the_engines_counter() {
    let check = |readings: &[(i64, f64)], change: fn(&mut Vec<RequestRecord>), expect: Option<Finding>| {
        let (facts, mut records, mut samples) = good();
        change(&mut records);
        samples.extend(readings.iter().map(|(at, value)| sample(SampleSource::Engine, names::PROMPT_TOKENS, ms(*at), *value)));
        let rules = fold(&facts, &records, &samples, &[]).validity.rules;
        let found = rules.iter().find(|r| r.rule.contains("usage of prompts"));
        assert_eq!(found.map(|r| r.finding), expect, "{readings:?}: {found:?}");
    };
    use Finding::{Fail, NotChecked, Pass};
    check(&[], |_| {}, None);
    check(&[(0, 50.0), (3_000, 2_050.0)], |_| {}, Some(Pass));
    check(&[(0, 50.0), (3_000, 2_069.0)], |_| {}, Some(Pass));
    check(&[(0, 50.0), (3_000, 2_150.0)], |_| {}, Some(Fail)); // somebody else's
    check(&[(0, 50.0), (1_500, 2_050.0)], |_| {}, Some(NotChecked)); // requests in flight at the end are not in it
    check(&[(0, 50.0), (3_000, 2_050.0)], |r| r[3].tokens.input = None, Some(NotChecked));
    check(&[(0, 50.0), (3_000, 2_050.0)], |r| r[3].status = Status::Timeout, Some(NotChecked));
}

#[test]
fn a_prefix_cache_finds_no_more_than_the_workload_shares() {
    let check = |hits: [f64; 2], queries: [f64; 2], shared: Option<f64>, input: u32, expect: Option<Finding>, says: &str| {
        let (mut facts, mut records, mut samples) = good();
        facts.shared_prefix = shared;
        records.iter_mut().for_each(|r| r.tokens.input = Some(input));
        for (name, values) in [(names::PREFIX_HITS, hits), (names::PREFIX_QUERIES, queries)] {
            samples.extend([0, 3_000].into_iter().zip(values).map(|(at, value)| sample(SampleSource::Engine, name, ms(at), value)));
        }
        let validity = fold(&facts, &records, &samples, &[]).validity;
        let found = validity.rules.iter().find(|r| r.code == "V16");
        assert_eq!(found.map(|r| r.finding), expect, "{hits:?} {queries:?} {shared:?}: {found:?}");
        assert!(found.is_none_or(|r| format!("{} {}", r.value, r.limit).contains(says)), "{says}: {found:?}");
        assert!(validity.is_valid(), "it keeps a run from being published and does not make it none");
    };
    use Finding::{Fail, NotChecked, Pass};
    check([0.0, 0.0], [0.0, 2_000.0], Some(0.0), 10, Some(Pass), "0.00 % of the prompt tokens");
    check([7.0, 27.0], [7.0, 2_007.0], Some(0.0), 10, Some(Pass), "1.00 %");
    check([0.0, 500.0], [0.0, 2_000.0], Some(0.0), 10, Some(Fail), "the workload shares 0.00 %");
    check([0.0, 500.0], [0.0, 2_000.0], Some(0.25), 10, Some(Pass), "25.00 %");
    check([0.0, 100.0], [0.0, 2_000.0], Some(0.25), 10, Some(Pass), "5.00 %"); // less is the engine's own affair
    check([0.0, 500.0], [0.0, 2_600.0], Some(0.0), 13, Some(Pass), "at most 24.08 %"); // three of 13 are a template's
    check([0.0, 500.0], [0.0, 2_000.0], None, 10, Some(NotChecked), "is not known");
    check([0.0, 0.0], [5.0, 5.0], Some(0.0), 10, Some(NotChecked), "looked nothing up");
    check([9.0, 2.0], [9.0, 2_000.0], Some(0.0), 10, Some(NotChecked), "backwards");
}

/// With few requests one late one is chance; with many the percentile decides.
#[test]
fn late_requests() {
    let check = |n: u32, late: usize, finding, value: &str, limit: &str| {
        let mut records: Vec<_> = (0..n).map(|i| answer(i, ms(i64::from(i)), &[5])).collect();
        records.iter_mut().take(late).for_each(|r| r.at.start = Some(r.at.due + Nanos(2_900_000)));
        let report = report(&limited(1), &records);
        let rule = report.validity.rules.into_iter().find(|r| r.rule.contains("on time")).expect("it is always there");
        assert_eq!(rule.finding, finding, "{late} of {n}: {rule:?}");
        assert!(rule.value.contains(value) && rule.limit.starts_with(limit), "{late} of {n}: {rule:?}");
    };
    use Finding::{Fail, NotChecked, Pass};
    check(0, 0, NotChecked, "no measured request", "p99 at most 1.00 ms");
    check(5, 1, Fail, "1 of 5 requests", "at most 0 later than 1.00 ms"); // 1 − 0.99⁵ = 4.9 %
    check(6, 1, Pass, "1 of 6 requests", "at most 1 later than 1.00 ms"); // 1 − 0.99⁶ = 5.9 %
    check(26, 0, Pass, "the largest dispatch lag is 10.0 µs", "at most 1 later");
    check(26, 1, Pass, "1 of 26 requests started later than 1.00 ms, the largest dispatch lag is 2.90 ms", "at most 1 later");
    check(26, 2, Fail, "2 of 26 requests", "at most 1 later");
    check(367, 7, Pass, "7 of 367 requests", "at most 7 later");
    check(367, 8, Fail, "8 of 367 requests", "at most 7 later");
    check(368, 3, Pass, "dispatch lag p99 10.0 µs; 3 of 368 requests", "p99 at most 1.00 ms");
    check(368, 4, Fail, "dispatch lag p99 2.90 ms; 4 of 368 requests", "p99 at most 1.00 ms");
}

#[test]
fn prompts_are_shown_against_what_was_asked() {
    let check = |counted: u32, severity: Severity, value: &str| {
        let tokens = Tokens { input: Some(counted), wanted_input: 4_625, ..answer(0, ms(0), &[5]).tokens };
        let unknown = RequestRecord { tokens: Tokens { input: None, ..tokens }, ..answer(1, ms(1), &[5]) };
        let report = report(&limited(1), &[RequestRecord { tokens, ..answer(0, ms(0), &[5]) }, unknown]);
        let rule = report.validity.broken(severity).find(|r| r.code == "V07").expect("it is broken");
        assert_eq!(rule.value, value);
    };
    check(5_088, Severity::Flag, "asked 4,625, counted 5,088 (110.0 %)");
    check(13_990, Severity::Invalid, "asked 4,625, counted 13,990 (302.5 %)");
}

#[test]
fn closed_loops_hold_their_lanes() {
    // Two lanes of back-to-back requests of 100 ms over 2 s.
    let lanes = || -> Vec<RequestRecord> {
        let of = |lane: u32, i: u32| RequestRecord { lane: Some(LaneId(lane)), ..answer(i * 2 + lane, ms(i64::from(i) * 100), &[50, 100]) };
        (0..20).flat_map(|i| [of(0, i), of(1, i)]).collect()
    };
    let check = |change: fn(&mut Vec<RequestRecord>), expect: [Finding; 2]| {
        let mut records = lanes();
        change(&mut records);
        let report = report(&RunFacts { concurrency: Some(2), ..limited(2) }, &records);
        let found: Vec<_> = report.validity.rules.into_iter().filter(|r| r.code == "V06").collect();
        assert_eq!(found.iter().map(|r| r.finding).collect::<Vec<_>>(), expect, "{found:?}");
    };
    check(|_| {}, [Finding::Pass, Finding::Pass]);
    check(|r| r.iter_mut().for_each(|r| r.at.start = Some(r.at.due + ms(5))), [Finding::Fail, Finding::Pass]);
    check(|r| r.retain(|r| r.lane == Some(LaneId(0)) || r.at.due < ms(1_000)), [Finding::Pass, Finding::Fail]);
}

#[test]
fn answers_that_repeat_alone_repeat_under_load() {
    let check = |same_alone, same_under_load, degenerate, expect: Finding| {
        let (mut facts, records, samples) = good();
        facts.repeats = Some(Repeats { prompts: 20, same_alone, same_under_load, degenerate, empty: 0 });
        let validity = fold(&facts, &records, &samples, &[]).validity;
        let found = validity.rules.iter().find(|r| r.code == "V15").unwrap();
        assert_eq!(found.finding, expect, "{found:?}");
        assert!(validity.is_valid(), "it keeps a run from being published and does not make it none");
    };
    check(20, 20, 0, Finding::Pass);
    check(20, 18, 10, Finding::Pass);
    check(20, 17, 0, Finding::Fail);
    check(10, 9, 0, Finding::Pass); // what does not repeat alone is not load's doing
    check(20, 20, 11, Finding::Fail);
    let (facts, records, samples) = good();
    assert!(fold(&facts, &records, &samples, &[]).validity.rules.iter().all(|r| r.code != "V15"), "nobody asked");
}
