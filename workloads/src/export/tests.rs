//! What is exported reads back with the same lengths and the same sharing.

use super::exporter;
use crate::{ImportOptions, from_bytes};
use nomoat_core::prompt::{BlockPrompt, BlockRange, Part, PartPrompt, Prompt};
use nomoat_core::request::{Cancel, RequestId, SessionId};
use nomoat_core::reuse::{Unbounded, pieces};
use nomoat_core::trace::{Cause, Edge, Trace, TraceRequest};
use nomoat_core::units::Nanos;

fn blocks(size: u32, ids: &[(u64, u32)], tokens: u32, unshared: u64) -> Prompt {
    let blocks = ids.iter().map(|&(first, count)| BlockRange { first, count }).collect();
    Prompt::Blocks(BlockPrompt { namespace: 0, block_tokens: size, blocks, tokens, unshared })
}

fn trace() -> Trace {
    let at =
        |ms: i64, prompt: Prompt, tokens: u32| TraceRequest { at: Some(Nanos::from_millis(ms)), ..TraceRequest::new(prompt, tokens, 9) };
    let parts = |parts: &[(u64, u32)]| {
        let parts: Vec<_> = parts.iter().map(|&(id, tokens)| Part { id, tokens }).collect();
        Prompt::Parts(PartPrompt { namespace: 1, parts: parts.into() })
    };
    let second = TraceRequest {
        after: vec![Edge::after_end(RequestId(3), Nanos::from_millis(250), Cause::Think)],
        session: Some(SessionId(1)),
        turn: 1,
        ..at(900, parts(&[(1, 1_100), (2, 400)]), 1_500)
    };
    let requests = vec![
        at(0, blocks(64, &[(0, 20)], 1_300, 1), 1_300),
        at(5, blocks(64, &[(0, 16), (70, 8)], 1_536, 2), 1_536),
        at(7, blocks(64, &[(0, 16), (70, 8)], 1_536, 3), 1_536),
        TraceRequest { session: Some(SessionId(1)), cancel: Some(Cancel::FirstToken), ..at(8, parts(&[(1, 1_100)]), 1_100) },
        second,
    ];
    Trace { name: "t".into(), requests, ..Trace::default() }
}

fn found(trace: &Trace) -> u64 {
    let mut cache = Unbounded::new(512);
    trace.requests.iter().map(|r| cache.look_up(&pieces(trace, &r.prompt).unwrap())).sum()
}

#[test]
fn mooncake_reads_back() {
    let mut out = vec![];
    let losses = exporter("mooncake").unwrap().export(&trace(), &mut out).unwrap();
    let all = losses.join("; ");
    for expect in ["1 requests are not cancelled", "1 requests that wait for others", "sessions are not named", "blocks of 512"] {
        assert!(all.contains(expect), "{all}");
    }
    let again = from_bytes("t.jsonl", &out, Some("mooncake-jsonl"), &ImportOptions::default()).unwrap();
    let lengths = |trace: &Trace| trace.requests.iter().map(|r| (r.at, r.input_tokens, r.output_tokens)).collect::<Vec<_>>();
    assert_eq!(lengths(&again), lengths(&trace()));
    // Two whole blocks, then two of three (the last must be computed), then two.
    assert_eq!((found(&again), found(&trace())), (1_024 + 1_024 + 1_024, 3_072));
    let ids = |line: usize| String::from_utf8(out.clone()).unwrap().lines().nth(line).unwrap().to_owned();
    assert!(ids(1).contains("\"hash_ids\":[0,1,3]") && ids(2).contains("[0,1,3]"), "{} {}", ids(1), ids(2));
}

#[test]
fn aiperf_keeps_sessions_and_delays() {
    let mut out = vec![];
    let mut trace = trace();
    trace.requests[0].at = None;
    let losses = exporter("aiperf").unwrap().export(&trace, &mut out).unwrap();
    assert!(losses.iter().any(|l| l.contains("512")));
    let rows: Vec<serde_json::Value> = String::from_utf8(out).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!((&rows[4]["session_id"], &rows[4]["delay"], &rows[4]["timestamp"]), (&"1".into(), &250.into(), &serde_json::Value::Null));
    assert_eq!(rows[3]["timestamp"], 8);
    let refused = exporter("mooncake").unwrap().export(&trace, &mut vec![]).unwrap_err().to_string();
    assert!(refused.contains("1 requests have no recorded arrival") && refused.contains("aiperf"), "{refused}");
    trace.requests[0].prompt = Prompt::Text("x".into());
    assert!(exporter("aiperf").unwrap().export(&trace, &mut vec![]).unwrap_err().to_string().contains("request 0"));
    assert!(exporter("moon").err().unwrap().to_string().contains("did you mean `mooncake`"));
}
