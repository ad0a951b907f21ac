//! Every tool's numbers of records that were worked out by hand, and that causes sum to differences for any records.

use super::*;
use crate::fold::fold;
use crate::record::{Connection, CountSource, Moments, Phase, Status, Tokens};
use crate::report::RunFacts;
use crate::schedule::Limit;
use proptest::prelude::*;

#[expect(clippy::unnecessary_wraps, reason = "every moment of a record may be absent")]
fn ms(ms: i64) -> Option<Nanos> {
    Some(Nanos::from_millis(ms))
}

/// Milliseconds from due: start 1, connection 3, sent 4, role 10, text at 20 and 30 (reasoning), 40, 60 (three tokens) and 70, finish
/// 75, usage 80, `[DONE]` 81, end 90. Seven tokens, two of them reasoning.
fn answer() -> RequestRecord {
    RequestRecord {
        at: Moments {
            due: Nanos::ZERO,
            start: ms(1),
            conn_ready: ms(3),
            sent: ms(4),
            headers: ms(9),
            first_byte: ms(9),
            first_choice: ms(10),
            first_token: ms(20),
            first_visible: ms(40),
            last_token: ms(70),
            last_choice: ms(75),
            last_event: ms(80),
            terminator: ms(81),
            end: ms(90),
        },
        chunk_gaps: [0, 10, 10, 20, 10].map(|gap| gap * 1_000_000).to_vec(),
        chunk_tokens: vec![1, 1, 1, 3, 1],
        empty_choices: 2,
        tokens: Tokens {
            input: Some(100),
            output: Some(7),
            reasoning: Some(2),
            wanted: 7,
            output_source: CountSource::Usage,
            chunk_source: CountSource::PerChunk,
            ..Tokens::default()
        },
        connection: Connection::New,
        ..RequestRecord::default()
    }
}

fn reconcile(tool: &str, records: &[RequestRecord]) -> Reconciliation {
    let facts = RunFacts { limit: Limit { duration: ms(50), requests: None }, ..RunFacts::default() };
    let mut reconciler = Reconciler::new(Tool::find(tool).expect("a tool"));
    records.iter().for_each(|r| reconciler.add(r));
    reconciler.finish(&fold(&facts, records, &[], &[]))
}

/// Milliseconds to four digits, which is what hands can compute.
fn four(ns: f64) -> f64 {
    (ns / 100.0).round() / 1e4
}

type Row = (&'static str, f64, Option<f64>, &'static [(&'static str, f64)]);

/// Name, their mean, our mean and the causes of each metric, in ms; causes worth nothing are left out.
fn check(tool: &str, records: &[RequestRecord], expect: &[Row]) {
    let found = reconcile(tool, records);
    assert_eq!(found.metrics.len(), expect.len(), "{tool}");
    for (found, (name, theirs, ours, causes)) in found.metrics.iter().zip(expect) {
        let of = found.causes.iter().map(|c| (c.name, four(c.ns))).filter(|(_, ms)| *ms != 0.0).collect::<Vec<_>>();
        assert_eq!(
            (found.metric.name, found.theirs.map(four), found.ours.map(four), of.as_slice()),
            (*name, Some(*theirs), *ours, *causes),
            "{tool}"
        );
        assert!(found.rest.abs() < 2.0, "{tool} {name}: {}", found.rest);
    }
}

#[test]
fn vllm() {
    check(
        "vllm",
        &[answer()],
        &[
            ("TTFT", 9.0, Some(20.0), &[("queueing before send", -1.0), ("role chunk", -10.0)]),
            // 65/6, from 50/6.
            ("TPOT", 10.8333, Some(8.3333), &[("role chunk", 1.6667), ("finish chunk", 0.8333)]),
            // 10, 10, 3 × 20/3, 10 → 10, 10, 20, 10 → and 10 before → and 5 after.
            ("ITL", 10.8333, Some(8.3333), &[("gaps of chunks, not of tokens", 4.1667), ("role chunk", -0.5), ("finish chunk", -1.1667)]),
            ("E2EL", 74.0, Some(70.0), &[("queueing before send", -1.0), ("finish chunk", 5.0)]),
        ],
    );
}

#[test]
fn vllm_with_events_of_unknown_place() {
    // Five events without text, two of them placed: three gaps of zero, so the sum stays.
    let record = RequestRecord { empty_choices: 5, ..answer() };
    let found = reconcile("vllm", &[record]);
    assert_eq!((found.metrics[2].theirs.map(four), found.metrics[2].n), (Some(four(65e6 / 9.0)), 9));
    // Role and text in one read: the gap is there, and is zero.
    let mut record = RequestRecord { empty_choices: 1, ..answer() };
    (record.at.first_choice, record.at.last_choice) = (record.at.first_token, record.at.last_token);
    let found = reconcile("vllm", &[record]);
    assert_eq!((found.metrics[2].theirs.map(four), found.metrics[2].n), (Some(10.0), 5));
}

#[test]
fn sglang() {
    check(
        "sglang",
        &[answer()],
        &[
            ("E2E Latency", 80.0, Some(70.0), &[("queueing before send", -1.0), ("usage chunk", 10.0), ("[DONE]", 1.0)]),
            ("TTFT", 19.0, Some(20.0), &[("queueing before send", -1.0)]),
            ("TPOT", 10.1667, Some(8.3333), &[("usage chunk", 1.6667), ("[DONE]", 0.1667)]),
            ("ITL", 12.5, Some(8.3333), &[("gaps of chunks, not of tokens", 4.1667)]),
        ],
    );
    // No usage: five events counted, eleven tokens asked for; 50/10 instead of 50/4.
    let mut record = answer();
    record.tokens = Tokens { output: Some(5), wanted: 11, output_source: CountSource::Chunks, ..Tokens::default() };
    record.chunk_tokens = vec![1; 5];
    let found = reconcile("sglang", &[record]);
    let causes: Vec<_> = found.metrics[2].causes.iter().map(|c| (c.name, four(c.ns))).filter(|(_, ms)| *ms != 0.0).collect();
    assert_eq!(causes, [("length asked for, where no usage came", -7.5), ("usage chunk", 1.0), ("[DONE]", 0.1)]);
}

#[test]
fn aiperf() {
    check(
        "aiperf",
        &[answer()],
        &[
            ("Time to First Token", 19.0, Some(20.0), &[("queueing before send", -1.0)]),
            ("Time to Second Token", 10.0, None, &[]),
            ("Time to First Output Token", 39.0, Some(40.0), &[("queueing before send", -1.0)]),
            ("Request Latency", 69.0, Some(70.0), &[("queueing before send", -1.0)]),
            ("Inter Token Latency", 8.3333, Some(8.3333), &[]),
            ("Inter Chunk Latency", 12.5, Some(12.5), &[]),
        ],
    );
    // Three tokens in the first chunk: 50/8 instead of 50/6.
    let mut record = answer();
    (record.tokens.output, record.chunk_tokens) = (Some(9), vec![3, 1, 1, 3, 1]);
    let found = reconcile("aiperf", &[record]);
    let itl = &found.metrics[4];
    assert_eq!((itl.theirs.map(four), itl.ours.map(four)), (Some(6.25), Some(8.3333)));
    assert_eq!((itl.causes[1].name, four(itl.causes[1].ns)), ("first chunk taken for one token", -2.0833));
}

/// Sixteen tokens, 100 ms to the first and 10 ms for each later one, on a kept connection that had to be waited for until 5.
fn long_answer() -> RequestRecord {
    let at = Moments {
        start: ms(2),
        conn_ready: ms(5),
        first_choice: ms(100),
        first_token: ms(100),
        first_visible: ms(100),
        last_token: ms(250),
        last_choice: ms(250),
        last_event: ms(250),
        terminator: ms(250),
        end: ms(250),
        ..answer().at
    };
    RequestRecord {
        at,
        chunk_gaps: (0..16).map(|i| if i == 0 { 0 } else { 10_000_000 }).collect(),
        chunk_tokens: vec![1; 16],
        empty_choices: 0,
        tokens: Tokens { output: Some(16), reasoning: None, wanted: 16, ..answer().tokens },
        connection: Connection::Reused,
        ..answer()
    }
}

#[test]
fn guidellm() {
    check(
        "guidellm",
        &[answer()],
        &[
            ("Request Latency", 87.0, Some(70.0), &[("queueing and connecting before send", -3.0), ("end of the stream", 20.0)]),
            ("TTFT", 17.0, Some(20.0), &[("queueing and connecting before send", -3.0)]),
            ("TTFOT", 37.0, Some(40.0), &[("queueing and connecting before send", -3.0)]),
            ("ITL", 8.3333, Some(8.3333), &[]),
            // 67/7.
            ("TPOT", 9.5714, Some(8.3333), &[("TTFT counted in", 1.2381)]),
        ],
    );
    // (50 + 150)/(6 + 15) instead of (50/6 + 10)/2; (67 + 245)/(7 + 16) instead of (67/7 + 245/16)/2.
    let found = reconcile("guidellm", &[answer(), long_answer()]);
    let last = |i: usize| found.metrics[i].causes.last().map(|c| (c.name, four(c.ns)));
    assert_eq!((found.metrics[3].theirs.map(four), last(3)), (Some(9.5238), Some(("long answers weigh more", 0.3571))));
    assert_eq!((found.metrics[4].theirs.map(four), last(4)), (Some(13.5652), Some(("long answers weigh more", 1.1233))));
    // By weight, the median of the first is the longer answer's.
    assert_eq!(found.metrics[3].stats[1], (MEDIAN, Some(10e6)));
    assert_eq!(found.metrics[3].n, 2);
}

#[test]
fn inference_perf() {
    check(
        "inference-perf",
        &[answer()],
        &[
            ("Request Latency", 89.0, Some(70.0), &[("queueing before send", -1.0), ("end of the stream", 20.0)]),
            // 50/6 → 69/7 → 89/7 → 89/5.
            (
                "Norm. Time per Output Token",
                17.8,
                Some(8.3333),
                &[("TTFT counted in", 1.5238), ("end of the stream", 2.8571), ("reasoning left out", 5.0857)],
            ),
            // (70 − 40)/4.
            ("Time per Output Token", 7.5, Some(8.3333), &[("reasoning left out", -0.8333)]),
            ("Time to First Token", 39.0, Some(20.0), &[("queueing before send", -1.0), ("reasoning left out", 20.0)]),
            // 10, 10, 20, 0, 0, 10 → 20, 0, 0, 10.
            ("Inter Token Latency", 7.5, Some(8.3333), &[("reasoning left out", -0.8333)]),
        ],
    );
    // Without a count of reasoning, by its chunks: the same.
    let mut record = answer();
    record.tokens.reasoning = None;
    assert_eq!(reconcile("inference-perf", &[record]).metrics[1].theirs.map(four), Some(17.8));
    // All of it reasoning: no first token, no tokens.
    let mut record = answer();
    (record.tokens.reasoning, record.at.first_visible) = (Some(7), None);
    let found = reconcile("inference-perf", &[record]);
    let theirs: Vec<Option<f64>> = found.metrics.iter().map(|m| m.theirs.map(four)).collect();
    assert_eq!(theirs, [Some(89.0), Some(0.0), None, None, None]);
    // One token: left out of TTFT.
    let mut one = long_answer();
    (one.tokens.output, one.chunk_tokens, one.chunk_gaps, one.at.last_token) = (Some(1), vec![1], vec![0], one.at.first_token);
    let found = reconcile("inference-perf", &[answer(), one]);
    let ttft = &found.metrics[3];
    assert_eq!((ttft.theirs.map(four), ttft.n, ttft.ours.map(four)), (Some(39.0), 1, Some(60.0)));
    assert_eq!(ttft.causes.last().map(|c| (c.name, four(c.ns))), Some(("answers of one token left out", -28.0)));
}

#[test]
fn a_kept_connection_ends_the_queueing() {
    // Waited until 5, then 95 to the first token; a new one is counted from its start at 2.
    let mut opened = long_answer();
    opened.connection = Connection::New;
    for (record, theirs) in [(long_answer(), 95.0), (opened, 98.0)] {
        assert_eq!(reconcile("sglang", &[record]).metrics[1].theirs.map(four), Some(theirs));
    }
}

#[test]
fn short_answers_are_answers_there_and_failures_are_not() {
    let short = RequestRecord { status: Status::Short, ..long_answer() };
    let failed = RequestRecord { status: Status::Timeout, ..long_answer() };
    let warm = RequestRecord { phase: Phase::Warmup, ..long_answer() };
    let found = reconcile("vllm", &[answer(), short, failed, warm]);
    assert_eq!((found.measured, found.answered), (3, 2));
    let ttft = &found.metrics[0];
    // (9 + 95)/2; ours 20, with the short one (20 + 100)/2.
    assert_eq!((ttft.theirs.map(four), ttft.ours.map(four), ttft.n), (Some(52.0), Some(20.0), 2));
    let causes: Vec<_> = ttft.causes.iter().map(|c| (c.name, four(c.ns))).collect();
    assert_eq!(causes, [("short answers counted", 40.0), ("queueing before send", -3.0), ("role chunk", -5.0)]);
}

#[test]
fn throughput_is_by_the_span_of_the_tool() {
    // The window is 0 to 50 ms; the last request ends at 250, the last answer at 90.
    let failed = RequestRecord { status: Status::Timeout, ..long_answer() };
    let check = |tool: &str, seconds: f64, totals: &[f64]| {
        let found = reconcile(tool, &[answer(), failed.clone()]);
        assert_eq!(found.seconds, Some(seconds), "{tool}");
        let of: Vec<f64> = found.rates.iter().map(|r| r.total.expect("counted")).collect();
        assert_eq!(of, totals, "{tool}");
        for rated in &found.rates {
            assert_eq!(rated.theirs, rated.total.map(|t| t / seconds), "{tool} {}", rated.rate.name);
        }
        assert!((found.window_seconds - 0.05).abs() < 1e-12);
    };
    check("vllm", 0.25, &[1.0, 7.0, 107.0]);
    check("sglang", 0.25, &[1.0, 100.0, 7.0, 107.0]);
    check("aiperf", 0.069, &[1.0, 7.0, 107.0]);
    check("guidellm", 0.247, &[1.0, 100.0, 7.0, 107.0]);
    check("inference-perf", 0.249, &[1.0, 100.0, 5.0, 105.0]);
    // A count that is missing is missing in the sum.
    let mut unknown = answer();
    unknown.tokens.input = None;
    let found = reconcile("vllm", &[answer(), unknown]);
    assert_eq!(found.rates.iter().map(|r| r.total).collect::<Vec<_>>(), [Some(2.0), Some(14.0), None]);
}

#[test]
fn nothing_answered_gives_nothing() {
    for tool in TOOLS {
        let found = reconcile(tool.name, &[RequestRecord { status: Status::Timeout, ..answer() }]);
        assert!(found.metrics.iter().all(|m| m.theirs.is_none() && m.causes.is_empty() && m.n == 0), "{}", tool.name);
        assert!(found.seconds.is_none() && found.rates.iter().all(|r| r.theirs.is_none()), "{}", tool.name);
    }
}

#[test]
fn tools_are_well_formed() {
    for (i, tool) in TOOLS.iter().enumerate() {
        assert!(TOOLS[..i].iter().all(|t| t.name != tool.name));
        assert_eq!(tool.stats[0].of, StatOf::Mean, "{}", tool.name);
        let ours = tool.metrics.iter().map(|m| m.ours).chain(tool.rates.iter().map(|r| r.ours));
        for name in ours.flatten() {
            assert!(crate::metric::MetricDef::find(name).is_some(), "{}: {name}", tool.name);
        }
    }
}

/// Any record whose moments are in order, or not.
fn any_record() -> impl Strategy<Value = RequestRecord> {
    let chunks = prop::collection::vec((0_i64..30_000_000, 0_u32..5), 1..8);
    let moments = prop::array::uniform10(prop::option::weighted(0.9, 0_i64..300_000_000));
    let counts = (prop::option::of(0_u32..20), prop::option::of(0_u32..10), 0_u32..20, 0_u32..4);
    (chunks, moments, counts, 0_u8..4, any::<bool>(), 0_i64..50_000_000).prop_map(|(chunks, m, counts, kind, reused, due)| {
        let m = m.map(|m| m.map(Nanos));
        let (output, reasoning, wanted, empty_choices) = counts;
        let first = Nanos(due + 1_000_000);
        let last = first + Nanos(chunks.iter().skip(1).map(|c| c.0).sum());
        RequestRecord {
            at: Moments {
                due: Nanos(due),
                start: m[0],
                conn_ready: m[1],
                sent: m[2],
                headers: m[3],
                first_byte: m[4],
                first_choice: m[5],
                first_token: Some(first),
                first_visible: m[6],
                last_token: Some(last),
                last_choice: m[7],
                last_event: m[8],
                terminator: m[9],
                end: Some(last + Nanos(5)),
            },
            chunk_gaps: chunks.iter().enumerate().map(|(i, c)| if i == 0 { 0 } else { c.0 }).collect(),
            chunk_tokens: chunks.iter().map(|c| c.1).collect(),
            empty_choices,
            tokens: Tokens { input: output, output, reasoning, wanted, output_source: CountSource::Usage, ..Tokens::default() },
            status: [Status::Ok, Status::Ok, Status::Short, Status::Timeout][usize::from(kind)],
            connection: if reused { Connection::Reused } else { Connection::New },
            ..RequestRecord::default()
        }
    })
}

proptest! {
    /// The report's mean and the causes come from different code; they must still lead to the tool's mean.
    #[test]
    fn causes_sum_to_the_difference(records in prop::collection::vec(any_record(), 0..12)) {
        for tool in TOOLS {
            let found = reconcile(tool.name, &records);
            for metric in &found.metrics {
                let Some(difference) = metric.difference() else { continue };
                let causes: f64 = metric.causes.iter().map(|c| c.ns).sum();
                // Ours is rounded to whole ns per value in the report.
                prop_assert!((difference - causes - metric.rest).abs() < 1e-3);
                prop_assert!(metric.rest.abs() < 2.0, "{} {}: rest {}", tool.name, metric.metric.name, metric.rest);
                prop_assert!(metric.causes.iter().all(|c| c.ns.is_finite()));
            }
        }
    }

    /// Order changes nothing but the last bits of sums.
    #[test]
    fn order_free(records in prop::collection::vec(any_record(), 0..12)) {
        let backwards: Vec<RequestRecord> = records.iter().rev().cloned().collect();
        for tool in TOOLS {
            let (a, b) = (reconcile(tool.name, &records), reconcile(tool.name, &backwards));
            for (a, b) in a.metrics.iter().zip(&b.metrics) {
                prop_assert_eq!(a.n, b.n);
                for ((_, a), (_, b)) in a.stats.iter().zip(&b.stats) {
                    prop_assert!((a.unwrap_or(-1.0) - b.unwrap_or(-1.0)).abs() < 1e-3, "{:?} {:?}", a, b);
                }
            }
        }
    }
}
