//! Folds computed by hand, and the order-freeness of the fold.

mod energy;
mod rules;

use nomoat_core::cost::{Pricing, TokenPrices};
use nomoat_core::fold::fold;
use nomoat_core::kv::{KvGeometry, Mixer};
use nomoat_core::metric::{METRICS, MetricDef};
use nomoat_core::record::{Connection, CountSource, ErrorCode, Moments, Phase, RequestRecord, Status, Tokens};
use nomoat_core::report::{MetricRow, Population, RunFacts, RunReport, Scope, Stat};
use nomoat_core::request::{LaneId, RequestId};
use nomoat_core::sample::{RunEvent, Sample, SampleSource, names};
use nomoat_core::schedule::{Limit, Warmup};
use nomoat_core::slo::Slo;
use nomoat_core::units::Nanos;
use proptest::prelude::*;
use std::collections::HashSet;

const fn ms(ms: i64) -> Nanos {
    Nanos::from_millis(ms)
}

fn limited(duration_s: i64) -> RunFacts {
    RunFacts { limit: Limit { duration: Some(Nanos::from_secs(duration_s)), requests: None }, ..RunFacts::default() }
}

/// An answer of single-token chunks: due, then the milliseconds from due to each chunk. It starts 10 µs after due.
fn answer(id: u32, due: Nanos, chunks: &[i64]) -> RequestRecord {
    let first = due + ms(chunks[0]);
    let last = due + ms(chunks[chunks.len() - 1]);
    let n = chunks.len() as u32;
    let tokens = Tokens {
        input: Some(10),
        output: Some(n),
        wanted: n,
        wanted_input: 10,
        input_source: CountSource::Usage,
        output_source: CountSource::Usage,
        chunk_source: CountSource::Usage,
        ..Tokens::default()
    };
    let start = due + Nanos(10_000);
    let at = Moments {
        due,
        start: Some(start),
        conn_ready: Some(start),
        sent: Some(start),
        headers: Some(first),
        first_byte: Some(first),
        first_token: Some(first),
        first_visible: Some(first),
        last_token: Some(last),
        end: Some(last),
        ..Moments::default()
    };
    let gaps = chunks.iter().scan(chunks[0], |before, at| Some(ms(at - std::mem::replace(before, *at)).0)).collect();
    RequestRecord { request: RequestId(id), at, chunk_gaps: gaps, chunk_tokens: vec![1; chunks.len()], tokens, ..RequestRecord::default() }
}

fn failed(record: RequestRecord, status: Status, error: ErrorCode) -> RequestRecord {
    RequestRecord { status, error: Some(error), ..record }
}

/// A request that was never sent.
fn unsent(id: u32, due: Nanos, status: Status) -> RequestRecord {
    let at = Moments { due, end: Some(due), ..Moments::default() };
    RequestRecord { request: RequestId(id), at, status, error: Some(ErrorCode::InFlightBound), ..RequestRecord::default() }
}

fn report(facts: &RunFacts, records: &[RequestRecord]) -> RunReport {
    fold(&RunFacts { scheduled: records.len() as u64, ..facts.clone() }, records, &[], &[])
}

fn row(report: &RunReport, name: &str, stat: Stat, population: Population) -> MetricRow {
    report.get(name, stat, population).unwrap_or_else(|| panic!("no row for {name} {stat:?} {population:?}")).clone()
}

fn single(report: &RunReport, name: &str) -> (Option<f64>, String) {
    let row = report.single(name).unwrap_or_else(|| panic!("no row for {name}"));
    (row.value, row.reason.clone().unwrap_or_default())
}

#[test]
fn distributions_by_hand() {
    let records: Vec<_> = (0..40).map(|i| answer(i, ms(i64::from(i) * 100), &[i64::from(i) + 1, i64::from(i) + 11])).collect();
    let report = report(&limited(10), &records);
    let check = |name: &str, stat, expect: Option<f64>| {
        let row = row(&report, name, stat, Population::Ok);
        assert_eq!((row.value, row.n), (expect, 40), "{name} {stat:?}: {row:?}");
        assert_eq!(report.get(name, stat, Population::All).map(|r| r.value), (name != "itl").then_some(expect), "nothing failed");
    };
    check("ttft", Stat::P50, Some(20e6));
    check("ttft", Stat::P90, Some(36e6));
    check("ttft", Stat::P95, None);
    check("ttft", Stat::P99, None);
    check("ttft", Stat::Mean, Some(20.5e6));
    check("ttft", Stat::Max, Some(40e6));
    check("ttft_service", Stat::P50, Some(20e6 - 10_000.0));
    check("e2e", Stat::P50, Some(30e6));
    check("tpot", Stat::Max, Some(10e6));
    check("itl", Stat::P50, Some(10e6));
    check("dispatch_lag", Stat::P50, Some(10e3));
    assert_eq!(row(&report, "ttft", Stat::P99, Population::Ok).reason.as_deref(), Some("needs n ≥ 368, has 40"));
    assert_eq!(row(&report, "interactivity", Stat::P50, Population::Ok).value, Some(100.0));
    assert_eq!(row(&report, "interactivity", Stat::P99, Population::Ok).reason.as_deref(), Some("needs n ≥ 368, has 40"));
    let p50 = row(&report, "tpot", Stat::P50, Population::Ok);
    assert_eq!((p50.n_eff, p50.ci.map(|ci| (ci.lo, ci.hi))), (Some(40.0), Some((10e6, Some(10e6)))));
}

#[test]
fn a_stall_is_seen_in_full() {
    // 100 requests/s for 100 s, 50 ms of service, nothing served from 50 s to 60 s: latency counts from due.
    let served = |i: u32| {
        let due = i64::from(i) * 10;
        if (50_000..60_000).contains(&due) { 60_050 - due } else { 50 }
    };
    let records: Vec<_> = (0..10_000).map(|i| answer(i, ms(i64::from(i) * 10), &[served(i)])).collect();
    let report = report(&limited(100), &records);
    for (stat, seconds) in [(Stat::P50, 0.05), (Stat::P90, 0.05), (Stat::P95, 5.05), (Stat::P99, 9.05), (Stat::Max, 10.05)] {
        assert_eq!(row(&report, "ttft", stat, Population::Ok).value, Some(seconds * 1e9), "{stat:?}");
    }
    assert_eq!(single(&report, "request_rate").0, Some(99.95), "the last five answers come after the window");
}

#[test]
fn failures_are_beyond_every_number() {
    let mut records: Vec<_> = (0..90).map(|i| answer(i, ms(i64::from(i)), &[5])).collect();
    records.extend((90..95).map(|i| failed(answer(i, ms(i64::from(i)), &[5, 6]), Status::Truncated, ErrorCode::NoTerminator)));
    records.extend((95..100).map(|i| unsent(i, ms(i64::from(i)), Status::Dropped)));
    let report = report(&limited(1), &records);
    let check = |name, stat, population, expect: Result<f64, &str>| {
        let row = row(&report, name, stat, population);
        assert_eq!(row.value.ok_or(row.reason.as_deref().unwrap_or_default()), expect, "{name} {stat:?} {population:?}");
    };
    check("ttft", Stat::P95, Population::Ok, Ok(5e6));
    check("ttft", Stat::P90, Population::All, Ok(5e6));
    check("ttft", Stat::P95, Population::All, Err("not reached: 10 of 100 requests failed"));
    check("ttft", Stat::Mean, Population::All, Err("not reached: 10 of 100 requests failed"));
    check("ttft", Stat::Max, Population::All, Err("not reached: 10 of 100 requests failed"));
    check("ttft", Stat::P99, Population::All, Err("needs n ≥ 368, has 100"));
    // The harness's own share is known of the requests that failed later.
    check("dispatch_lag", Stat::P95, Population::All, Ok(10e3));
    check("dispatch_lag", Stat::Max, Population::All, Err("not reached: 5 of 100 requests failed"));
    let counts = &report.counts;
    assert_eq!((counts.measured, counts.ok, counts.failed, counts.sent), (100, 90, 10, 95));
    assert_eq!(counts.by_status, [(Status::Ok, 90), (Status::Truncated, 5), (Status::Dropped, 5)]);
    assert_eq!(counts.by_error, [(ErrorCode::NoTerminator, 5), (ErrorCode::InFlightBound, 5)]);
}

#[test]
fn undefined_values_are_left_out_and_counted() {
    let mut records: Vec<_> = (0..10).map(|i| answer(i, ms(i64::from(i)), &[5, 7])).collect();
    records.extend((10..13).map(|i| answer(i, ms(i64::from(i)), &[5])));
    let report = report(&limited(1), &records);
    for population in [Population::Ok, Population::All] {
        let row = row(&report, "tpot", Stat::P50, population);
        assert_eq!((row.value, row.n), (Some(2e6), 10));
        assert_eq!(row.reason.as_deref(), Some("3 answered requests have none and are left out"));
    }
}

#[test]
fn tokens_belong_by_arrival() {
    let facts = RunFacts { start: ms(1_000), warmup: Warmup::Time(ms(1_000)), accelerators: Some(4), ..limited(10) };
    let phase = |phase, record| RequestRecord { phase, ..record };
    let records = [
        // Due in the warm-up; its second and third token and its end are in the window.
        phase(Phase::Warmup, answer(0, ms(1_500), &[400, 500, 600])),
        answer(1, ms(2_000), &[0, 100]),
        // Due in the window; one token before its end, one at it, one after it.
        answer(2, ms(11_000), &[999, 1_000, 2_000]),
        // A failure whose first token came.
        failed(answer(3, ms(5_000), &[100, 200]), Status::Truncated, ErrorCode::NoTerminator),
        phase(Phase::Drain, answer(4, ms(12_500), &[100])),
    ];
    let report = report(&facts, &records);
    assert_eq!((report.window.start, report.window.end), (ms(2_000), ms(12_000)));
    let check = |name, expect: f64| assert_eq!(single(&report, name), (Some(expect), String::new()), "{name}");
    check("output_tput", 0.7);
    check("input_tput", 3.0);
    check("total_tput", 3.7);
    check("request_rate", 0.2);
    check("output_tput_per_accel", 0.175);
    check("total_tput_per_accel", 0.925);
    check("drain_seconds", 1.0);
    assert_eq!((report.counts.warmup, report.counts.drain, report.counts.measured), (1, 1, 3));
}

#[test]
fn numbers_that_do_not_exist_say_why() {
    let one = [answer(0, ms(5), &[5, 6])];
    let facts = RunFacts { pricing: Some(Pricing::Pool { usd_per_hour: 1.0 }), warmup: Warmup::Requests(0), ..RunFacts::default() };
    let check = |report: &RunReport, name: &str, part: &str| {
        let (value, reason) = single(report, name);
        assert!(value.is_none() && reason.contains(part), "{name}: {value:?} {reason}");
    };
    let no_window = report(&facts, &one);
    for name in ["output_tput", "input_tput", "total_tput", "request_rate", "usd_total", "usd_per_mtok_out"] {
        check(&no_window, name, "give --duration");
    }
    check(&no_window, "goodput_rate", "--slo");
    let bare = report(&limited(1), &one);
    for name in ["usd_total", "usd_per_mtok_out", "usd_per_mtok_total", "usd_per_mtok_good_out", "usd_per_request"] {
        check(&bare, name, "--usd-per-hour");
    }
    check(&bare, "output_tput_per_accel", "--accelerators NAME:COUNT");
    check(&bare, "goodput_share", "--slo ttft=…,tpot=…");
    check(&bare, "kv_bytes_per_token", "config.json");
    check(&bare, "kv_allocated_bytes", "no KV gauge");
    check(&bare, "kv_occupied_mean_bytes", "no KV gauge");
    let strict = RunFacts { slo: Slo { ttft: Some(Nanos(1)), ..Slo::default() }, pricing: facts.pricing, ..limited(1) };
    check(&report(&strict, &one), "usd_per_mtok_good_out", "no token of a request that met the service level");
    let ends_by_due = report(&RunFacts::default(), &one);
    assert_eq!(single(&ends_by_due, "output_tput"), (Some(0.0), "the window ends at the last due".into()));
    let unknown = RequestRecord { tokens: Tokens { input: None, ..one[0].tokens }, ..one[0].clone() };
    check(&report(&limited(1), &[unknown]), "input_tput", "reports no prompt tokens");
}

#[test]
fn classes_and_connections_are_scopes() {
    let facts = RunFacts { classes: vec!["chat".into(), "code".into()], slo: Slo { ttft: Some(ms(10)), ..Slo::default() }, ..limited(1) };
    let of = |i: u32, class, connection, ttft| RequestRecord { class, connection, ..answer(i, ms(i64::from(i)), &[ttft, ttft + 2]) };
    let mut records: Vec<_> = (0..10).map(|i| of(i, 0, Connection::New, 5)).collect();
    records.extend((10..20).map(|i| of(i, 1, Connection::Reused, 50)));
    let report = report(&facts, &records);
    let check = |scope: Scope, name: &str, stat, expect: Option<f64>| {
        let found = report.metrics.iter().find(|r| r.scope == scope && r.name == name && r.stat == stat && r.population != Population::All);
        let found = found.or(report.metrics.iter().find(|r| r.scope == scope && r.name == name && r.stat == stat));
        assert_eq!(found.and_then(|r| r.value), expect, "{scope:?} {name}");
    };
    let class = |name: &str| Scope { class: Some(name.into()), ..Scope::default() };
    let on = |connection| Scope { connection: Some(connection), ..Scope::default() };
    for (scope, ttft, share) in [(Scope::default(), 5e6, 0.5), (class("chat"), 5e6, 1.0), (class("code"), 50e6, 0.0)] {
        check(scope.clone(), "ttft", Stat::P50, Some(ttft));
        check(scope.clone(), "itl", Stat::P50, Some(2e6));
        check(scope.clone(), "interactivity", Stat::P50, Some(500.0));
        check(scope, "goodput_share", Stat::Rate, Some(share));
    }
    check(on(Connection::New), "ttft", Stat::P50, Some(5e6));
    check(on(Connection::Reused), "ttft", Stat::P50, Some(50e6));
    check(on(Connection::Reused), "tpot", Stat::P50, None);
    assert_eq!(single(&report, "goodput_rate").0, Some(10.0));
    check(class("code"), "output_tput", Stat::Rate, None);
}

#[test]
fn endpoints_are_told_apart() {
    let facts = RunFacts { endpoints: 3, ..limited(1) };
    let to = |i: u32, endpoint, ttft| RequestRecord { endpoint, ..answer(i, ms(i64::from(i)), &[ttft, ttft + 2]) };
    let mut records: Vec<_> = (0..20).map(|i| to(i, (i % 2) as u16, if i % 2 == 0 { 5 } else { 50 })).collect();
    records[19] = failed(records[19].clone(), Status::Http, ErrorCode::Http5xx);
    records.push(to(20, 9, 1)); // an index that no endpoint has is in the whole only
    let report = report(&facts, &records);
    let counts: Vec<_> = report.counts.by_endpoint.iter().map(|c| (c.measured, c.ok, c.failed, c.output_tokens)).collect();
    assert_eq!(counts, [(10, 10, 0, 20), (10, 9, 1, 18), (0, 0, 0, 0)]);
    let ttft = |endpoint, population| {
        let scope = Scope { endpoint: Some(endpoint), ..Scope::default() };
        report.metrics.iter().find(|r| r.scope == scope && r.name == "ttft" && r.stat == Stat::P50 && r.population == population).cloned()
    };
    assert_eq!(ttft(0, Population::Ok).map(|r| (r.value, r.n)), Some((Some(5e6), 10)));
    assert_eq!(ttft(1, Population::Ok).map(|r| (r.value, r.n)), Some((Some(50e6), 9)));
    assert_eq!(ttft(2, Population::Ok).map(|r| (r.value, r.n)), Some((None, 0)));
    assert_eq!(ttft(3, Population::Ok), None);
    let alone = fold(&RunFacts { endpoints: 1, ..facts }, &records, &[], &[]);
    assert!(alone.counts.by_endpoint.is_empty() && alone.metrics.iter().all(|r| r.scope.endpoint.is_none()));
}

#[test]
fn cost_by_hand() {
    // 8 accelerators at 1.60 USD per hour, 600 s, 2.4 M output and 19.2 M input tokens.
    let tokens =
        |input, output, cache_read| Tokens { input: Some(input), output: Some(output), cache_read, ..answer(0, ms(0), &[1]).tokens };
    let big = |id, tokens: Tokens| RequestRecord {
        tokens,
        chunk_tokens: vec![tokens.output.unwrap_or(0)],
        ..answer(id, ms(i64::from(id)), &[5])
    };
    let slo = Slo { ttft: Some(ms(10)), ..Slo::default() };
    let check = |pricing, records: &[RequestRecord], expect: [f64; 5]| {
        let report = report(&RunFacts { pricing: Some(pricing), slo, ..limited(600) }, records);
        let names = ["usd_total", "usd_per_mtok_out", "usd_per_mtok_total", "usd_per_mtok_good_out", "usd_per_request"];
        for (name, expect) in names.into_iter().zip(expect) {
            let (value, reason) = single(&report, name);
            assert!(value.is_some_and(|v| (v - expect).abs() < 1e-9), "{name}: {value:?} for {expect}, {reason}");
        }
    };
    let half = tokens(9_600_000, 1_200_000, None);
    let late = RequestRecord { at: Moments { first_token: Some(ms(50)), ..big(1, half).at }, ..big(1, half) };
    let total = 12.8 / 6.0;
    check(Pricing::Pool { usd_per_hour: 12.8 }, &[big(0, half), late], [total, total / 2.4, total / 21.6, total / 1.2, total / 2.0]);
    let request = tokens(10_000, 1_000, Some(8_000));
    let broken = failed(big(1, request), Status::Truncated, ErrorCode::NoTerminator);
    let api = per_token(0.66, Some(0.022), 1.98);
    let usd = 0.003_476;
    check(api, &[big(0, request)], [usd, usd * 1e3, usd / 0.011, usd * 1e3, usd]);
    // What failed and was billed is paid for by what was answered.
    check(api, &[big(0, request), broken], [2.0 * usd, usd * 1e3, usd / 0.011, 2.0 * usd * 1e3, 2.0 * usd]);
}

/// Tokens of requests that met the service level are counted by the same rule as all tokens.
#[test]
fn good_tokens_of_a_pool_belong_by_arrival() {
    let slo = Slo { ttft: Some(ms(500)), ..Slo::default() };
    let facts = RunFacts { slo, pricing: Some(Pricing::Pool { usd_per_hour: 3.6 }), warmup: Warmup::Time(ms(1_000)), ..limited(10) };
    let records = [
        RequestRecord { phase: Phase::Warmup, ..answer(0, ms(500), &[400, 600, 700]) }, // two tokens in the window
        answer(1, ms(10_800), &[100, 300, 400]),                                        // one in it, two after it
        answer(2, ms(5_000), &[600]),                                                   // too late
    ];
    let report = report(&facts, &records);
    let usd = |name| single(&report, name).0.expect("there are tokens");
    assert_eq!((usd("usd_total"), usd("usd_per_mtok_out"), usd("usd_per_mtok_good_out")), (0.01, 0.01 / 4.0 * 1e6, 0.01 / 3.0 * 1e6));
}

/// Four requests are due in the window and one of them is answered in it: the pool was paid for one answer, whatever came later.
#[test]
fn a_queue_makes_answers_of_a_pool_dearer() {
    let facts = RunFacts { pricing: Some(Pricing::Pool { usd_per_hour: 3.6 }), warmup: Warmup::Time(ms(0)), ..limited(10) };
    let records: Vec<RequestRecord> = (0..4).map(|i| answer(i, ms(9_000 + i64::from(i)), &[400 + 1_000 * i64::from(i)])).collect();
    let report = report(&facts, &records);
    assert_eq!(single(&report, "usd_per_request").0, Some(0.01));
    let api = RunFacts { pricing: Some(per_token(1.0, None, 2.0)), ..facts };
    let report = fold(&api, &records, &[], &[]);
    let total = single(&report, "usd_total").0.expect("it is billed");
    assert_eq!(single(&report, "usd_per_request").0, Some(total / 4.0), "an API bills all of them");
}

#[test]
fn events_say_why_they_are_events() {
    let events = |record: RequestRecord| RequestRecord {
        tokens: Tokens { output_source: CountSource::Chunks, chunk_source: CountSource::Chunks, ..record.tokens },
        ..record
    };
    let broken = || failed(events(answer(1, ms(1), &[5, 6, 7])), Status::Truncated, ErrorCode::NoTerminator);
    let check = |records: &[RequestRecord], note: &str| assert_eq!(single(&report(&limited(1), records), "output_tput").1, note);
    check(&[answer(0, ms(0), &[5])], "");
    check(&[answer(0, ms(0), &[5]), broken()], "3 of them are events of streams that broke off before their token count");
    let unreported = "2 of them are events, because the endpoint reports no token counts";
    check(&[events(answer(0, ms(0), &[5, 6]))], unreported);
    let both = format!("{unreported}; 3 of them are events of streams that broke off before their token count");
    check(&[events(answer(0, ms(0), &[5, 6])), broken()], &both);
}

/// Characters make costs comparable between tokenizers; an answer whose tokens were only events has no ratio.
#[test]
fn costs_by_the_character() {
    let source = CountSource::Usage;
    let counted = |id, chars, output| {
        let record = answer(id, ms(5), &[5, 6]);
        let tokens = Tokens { output: Some(output), input_source: source, output_source: source, ..record.tokens };
        RequestRecord { output_chars: chars, tokens, ..record }
    };
    let facts = RunFacts { pricing: Some(per_token(0.0, None, 2.0)), warmup: Warmup::Requests(0), ..RunFacts::default() };
    let report = report(&facts, &[counted(0, Some(30), 10), counted(1, Some(50), 10), counted(2, None, 10)]);
    assert_eq!(single(&report, "chars_per_token").0, Some(4.0));
    assert_eq!(single(&report, "usd_per_mchar_out").0, Some(0.5));
    let none = fold(&facts, &[counted(0, None, 10)], &[], &[]);
    assert!(single(&none, "usd_per_mchar_out").1.contains("token ids"), "{:?}", single(&none, "usd_per_mchar_out"));
}

#[test]
fn an_api_costs_the_same_whatever_the_window() {
    let api = per_token(1.0, None, 2.0);
    let facts = RunFacts { pricing: Some(api), warmup: Warmup::Requests(0), ..RunFacts::default() };
    assert_eq!(single(&report(&facts, &[answer(0, ms(5), &[5, 6])]), "usd_total").0, Some(14e-6));
}

#[test]
fn an_api_that_does_not_bill_its_failures_is_a_lower_bound() {
    let api = per_token(1.0, None, 2.0);
    let facts = RunFacts { pricing: Some(api), warmup: Warmup::Requests(0), ..RunFacts::default() };
    let good = answer(0, ms(5), &[5, 6]);
    let mut broken = failed(answer(1, ms(6), &[5, 6]), Status::Truncated, ErrorCode::NoTerminator);
    broken.tokens = Tokens { output_source: CountSource::Chunks, ..broken.tokens };
    let (usd, note) = single(&report(&facts, &[good.clone(), broken]), "usd_total");
    assert_eq!(usd, Some(14e-6));
    assert!(note.contains("lower bound: 1 failed"), "{note}");
    let (usd, note) = single(&report(&facts, &[good, unsent(1, ms(6), Status::Dropped)]), "usd_total");
    assert_eq!((usd, note.as_str()), (Some(14e-6), ""), "what was never sent costs nothing");
}

fn sample(source: SampleSource, metric: &str, at: Nanos, value: f64) -> Sample {
    Sample { at, source, metric: metric.into(), labels: String::new(), value }
}

#[test]
fn kv_memory_by_hand() {
    let engine = |metric, at_s, value| sample(SampleSource::Engine, metric, Nanos::from_secs(at_s), value);
    let geometry = KvGeometry { layers: 32, mixer: Mixer::Grouped { kv_heads: 8, key_dim: 128, value_dim: 128 }, bytes_per_element: 2.0 };
    let facts = RunFacts { start: Nanos::from_secs(10), geometry: Some(geometry), scheduled: 1, ..limited(10) };
    let records = [answer(0, Nanos::from_secs(12), &[5])];
    let check = |samples: &[Sample], expect: [Option<f64>; 5]| {
        let report = fold(&facts, &records, samples, &[]);
        let names =
            ["kv_bytes_per_token", "kv_allocated_bytes", "kv_occupied_mean_bytes", "kv_occupied_peak_bytes", "kv_occupied_peak_frac"];
        assert_eq!(names.map(|name| single(&report, name).0), expect, "{samples:?}");
    };
    let token = 131_072.0;
    check(&[], [Some(token), None, None, None, None]);
    let bytes = [
        engine(names::KV_CAPACITY_BYTES, 0, 1000.0),
        engine(names::KV_USED_BYTES, 0, 100.0),
        engine(names::KV_USED_BYTES, 15, 300.0),
        engine(names::KV_USED_BYTES, 21, 900.0),
    ];
    check(&bytes, [Some(token), Some(1000.0), Some(200.0), Some(300.0), Some(0.3)]);
    let shares = [engine(names::KV_USED_FRACTION, 15, 0.5), engine(names::KV_USED_FRACTION, 5, 0.25)];
    check(&shares, [Some(token), None, None, None, Some(0.5)]);
    let tokens = [&shares[..], &[engine(names::KV_CAPACITY_TOKENS, 30, 100.0)]].concat();
    check(&tokens, [Some(token), Some(100.0 * token), Some(37.5 * token), Some(50.0 * token), Some(0.5)]);
    let reasons = |facts: &RunFacts, samples: &[Sample], expect: [&str; 3]| {
        let report = fold(facts, &records, samples, &[]);
        let names = ["kv_allocated_bytes", "kv_occupied_mean_bytes", "kv_occupied_peak_frac"];
        for (name, part) in names.into_iter().zip(expect) {
            let (_, reason) = single(&report, name);
            assert!(if part.is_empty() { reason.is_empty() } else { reason.contains(part) }, "{name}: {reason} for {samples:?}");
        }
    };
    let bare = RunFacts { geometry: None, ..facts.clone() };
    reasons(&facts, &[], ["no KV gauge"; 3]);
    reasons(&facts, &shares, ["does not say how large", "does not say how large", ""]);
    reasons(&bare, &tokens, ["--model-config FILE", "--model-config FILE", ""]);
    let after = [engine(names::KV_USED_FRACTION, 25, 0.5)];
    reasons(&facts, &after, ["does not say how large", "held for any part of the window", "held for any part of the window"]);
    reasons(&bare, &tokens[2..], ["--model-config FILE", "no KV gauge", "no KV gauge"]);
    let failed = [RunEvent { at: ms(1), code: "telemetry_failed", detail: "404".into() }];
    assert!(single(&fold(&facts, &records, &[], &failed), "kv_allocated_bytes").1.contains("404"));
}

/// Every metric has its rows, every row is of a metric, and a row has a number or a reason.
#[test]
fn rows_and_metrics_are_the_same_set() {
    let (mut facts, records, samples) = rules::good();
    facts.classes = vec!["a".into(), "b".into()];
    for (records, samples) in [(&records[..], &samples[..]), (&[], &[])] {
        let report = fold(&facts, records, samples, &[]);
        let mut seen = HashSet::new();
        for row in &report.metrics {
            let metric = MetricDef::find(row.name).unwrap_or_else(|| panic!("{} is in no list", row.name));
            assert_eq!(row.unit, metric.unit);
            assert!(metric.numbers().contains(&(row.stat, row.population)), "{row:?}");
            assert!(row.value.is_some() || row.reason.is_some(), "{row:?}");
            assert!(row.value.is_none_or(f64::is_finite), "{row:?}");
            let key = (row.name, row.stat, row.population, row.scope.class.clone(), row.scope.connection.map(|c| c as u8));
            assert!(seen.insert(key), "twice: {row:?}");
        }
        for metric in METRICS {
            for (stat, population) in metric.numbers() {
                assert!(report.get(metric.name, stat, population).is_some(), "{} {stat:?} {population:?}", metric.name);
            }
        }
    }
}

/// Rows of one request that differ only in what came back are put into one order too.
#[test]
fn twins_are_ordered_by_what_they_hold() {
    let ttfts = [3, 9, 1, 8, 2, 7, 4, 6, 5, 10];
    let twins: Vec<_> = ttfts.iter().map(|ttft| answer(0, ms(0), &[*ttft])).collect();
    let sorted: Vec<_> = (1..=10).map(|ttft| answer(0, ms(0), &[ttft])).collect();
    let n_eff = |records: &[RequestRecord]| row(&report(&limited(1), records), "ttft", Stat::P50, Population::Ok).n_eff;
    assert_eq!(n_eff(&twins), n_eff(&sorted));
    assert!(n_eff(&sorted).is_some_and(|n| n < 9.0), "in order they are correlated");
}

prop_compose! {
    fn any_record()(
        id in 0_u32..60,
        due in 0_i64..2_000,
        waits in prop::array::uniform5(prop::option::weighted(0.9, 0_i64..50)),
        chunks in prop::collection::vec((-1_i64..30, 0_u32..4), 0..5),
        phase in 0_u8..10,
        status in 0_usize..14,
        class in 0_u16..4,
        lane in prop::option::of(0_u32..3),
        connection in 0_u8..3,
        counts in (prop::option::of(0_u32..50), prop::option::of(0_u32..50), prop::option::of(0_u32..9)),
        source in 0_u8..4,
    ) -> RequestRecord {
        let after = |i: usize| waits[i].map(|wait| ms(due + wait + 10 * i as i64));
        let span: i64 = chunks.iter().map(|c| c.0).sum();
        let source = [CountSource::Usage, CountSource::Chunks, CountSource::PerChunk, CountSource::Unknown][source as usize];
        RequestRecord {
            request: RequestId(id),
            phase: [Phase::Warmup, Phase::Drain, Phase::Measure][usize::from(phase.min(2))],
            class,
            lane: lane.map(LaneId),
            connection: [Connection::None, Connection::New, Connection::Reused][connection as usize],
            status: Status::ALL.get(status).copied().unwrap_or_default(),
            error: (status > 9).then_some(ErrorCode::Short),
            at: Moments {
                due: ms(due),
                start: after(0),
                conn_ready: after(1),
                sent: after(2),
                first_token: after(3),
                last_token: after(3).map(|t| t + ms(span)),
                end: after(4),
                ..Moments::default()
            },
            chunk_gaps: chunks.iter().map(|c| ms(c.0).0).collect(),
            chunk_tokens: chunks.iter().map(|c| c.1).collect(),
            tokens: Tokens {
                input: counts.0,
                output: counts.1,
                cache_read: counts.2,
                wanted: 2,
                input_source: source,
                output_source: source,
                chunk_source: source,
                ..Tokens::default()
            },
            ..RequestRecord::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// The same records give the same bits in any order, whatever they hold, even when a request has two of them.
    #[test]
    fn the_fold_is_order_free(
        (sorted, shuffled) in prop::collection::vec(any_record(), 0..120).prop_flat_map(|records| {
            let mut sorted = records.clone();
            sorted.sort_by_key(|r| r.request);
            (Just(sorted), Just(records).prop_shuffle())
        }),
        warmup in prop_oneof![(0_i64..500).prop_map(|t| Warmup::Time(ms(t))), (0_u32..5).prop_map(Warmup::Requests)],
        duration in prop::option::of(1_i64..2_000),
        requests in prop::option::of(1_u32..100),
        closed in any::<bool>(),
        cached in prop::option::of(Just(0.1)),
        pool in any::<bool>(),
    ) {
        let facts = RunFacts {
            warmup,
            limit: Limit { duration: duration.map(ms), requests },
            concurrency: closed.then_some(3),
            scheduled: sorted.len() as u64,
            classes: vec!["a".into(), "b".into(), "c".into()],
            slo: Slo { ttft: Some(ms(60)), tpot: Some(ms(9)), e2e: None },
            pricing: Some(if pool { Pricing::Pool { usd_per_hour: 8.0 } } else { per_token(0.3, cached, 0.7) }),
            accelerators: Some(8),
            exact_length: true,
            ..RunFacts::default()
        };
        let a = fold(&facts, &sorted, &[], &[]);
        let b = fold(&facts, shuffled, &[], &[]);
        prop_assert_eq!(format!("{a:?}"), format!("{b:?}"));
        if let (Some(all), Some(good)) = (single(&a, "usd_per_mtok_out").0, single(&a, "usd_per_mtok_good_out").0) {
            prop_assert!(good >= all, "good tokens are some of all tokens: {good} against {all}");
        }
    }
}

/// Prices of input, cached input and output.
fn per_token(input: f64, cache_read: Option<f64>, output: f64) -> Pricing {
    Pricing::PerToken(TokenPrices { input, cache_read, cache_write: None, output, reasoning: None })
}

/// 2,048 bytes a token: one head of 64 dimensions in each of eight layers, two bytes each.
fn small() -> KvGeometry {
    KvGeometry { layers: 8, mixer: Mixer::Grouped { kv_heads: 1, key_dim: 64, value_dim: 64 }, bytes_per_element: 2.0 }
}

#[test]
fn what_the_engine_says_of_the_window() {
    let s = Nanos::from_secs;
    // The window is from 0 s to 10 s: the limit of ten seconds without a warm-up.
    let records: Vec<_> = (0..100).map(|i| answer(i, ms(i64::from(i) * 100), &[5, 7])).collect();
    let reading = |metric: &str, labels: &str, at: i64, value: f64| Sample {
        labels: labels.into(),
        ..sample(SampleSource::Engine, metric, s(at), value)
    };
    let mut samples = vec![];
    for (metric, labels, values) in [
        // Two replicas behind a frontend, whose own word is not added to theirs.
        (names::RUNNING, "page=0", vec![(-1, 1.0), (5, 3.0)]),
        (names::RUNNING, "page=1", vec![(-1, 1.0), (5, 5.0)]),
        (names::RUNNING, "layer=gateway,page=2", vec![(-1, 100.0)]),
        (names::PREFIX_HITS, "page=0", vec![(-1, 100.0), (9, 130.0)]),
        (names::PREFIX_HITS, "page=1", vec![(-1, 100.0), (9, 110.0)]),
        (names::PREFIX_QUERIES, "page=0", vec![(-1, 1_000.0), (9, 1_100.0), (11, 9_000.0)]),
        (names::PREFIX_QUERIES, "page=1", vec![(-1, 1_000.0), (9, 1_060.0)]),
        (names::PREEMPTIONS, "", vec![(-1, 7.0), (4, 9.0)]),
        (names::GENERATION_TOKENS, "", vec![(-1, 50.0), (9, 240.0), (12, 250.0)]),
        ("engine.ttft_seconds_bucket", "le=0.1", vec![(-1, 10.0), (6, 14.0)]),
        ("engine.ttft_seconds_bucket", "le=0.3", vec![(-1, 10.0), (6, 20.0)]),
        ("engine.ttft_seconds_bucket", "le=+Inf", vec![(-1, 10.0), (6, 20.0)]),
        // The engine's own series stand beside its readings and are none.
        ("vllm:num_requests_running", "page=0", vec![(-1, 77.0)]),
    ] {
        samples.extend(values.into_iter().map(|(at, value)| reading(metric, labels, at, value)));
    }
    let facts = RunFacts { scheduled: 100, geometry: Some(small()), ..limited(10) };
    let report = fold(&facts, &records, &samples, &[]);
    let value = |name: &str| single(&report, name).0;
    assert_eq!((value("server_running_mean"), value("server_running_peak")), (Some(5.0), Some(8.0)), "two for half the time, eight then");
    assert_eq!(value("prefix_hit_rate"), Some(40.0 / 160.0));
    assert_eq!((value("preemptions"), value("server_generation_tokens")), (Some(2.0), Some(190.0)));
    assert_eq!((value("kv_transfer_bytes"), value("server_waiting_mean")), (None, None), "absent is not zero");
    let ttft = row(&report, "server_ttft", Stat::P50, Population::All);
    let p50 = 0.1 + 0.2 / 6.0;
    assert!(ttft.value.is_some_and(|v| (v - p50 * 1e9).abs() < 1.0) && ttft.n == 10, "{ttft:?}");
    assert!(ttft.reason.is_some_and(|r| r.contains("200 ms wide")) && ttft.method == "bucket");
    // Ten tokens of prompt for 2 ms, and of two generated ones the first for 2 ms.
    assert!(value("kv_request_byte_seconds").is_some_and(|v| (v - 11.0 * 0.002 * 2_048.0).abs() < 1e-9));
    // A restart in the window leaves no number of a counter, and says why.
    let event = RunEvent { at: s(5), code: "counter_fell", detail: String::new() };
    let fell = fold(&facts, &records, &samples, &[event]);
    let (none, why) = single(&fell, "preemptions");
    assert!(none.is_none() && why.contains("restarted"), "{why}");
    assert_eq!(single(&fell, "server_running_peak").0, Some(8.0), "a gauge is still one");
}
