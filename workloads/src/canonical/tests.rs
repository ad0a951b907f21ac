//! The canonical format: round trips, refusals with their places, and no input that panics.

use crate::error::TraceError;
use crate::{ChatOptions, IMPORTERS, ImportOptions, chat, from_bytes, write_canonical};
use nomoat_core::digest::Digest;
use nomoat_core::prompt::{BlockPrompt, BlockRange, Messages, Part, PartPrompt, Prompt};
use nomoat_core::request::{Cancel, OutputLength, RequestId, SessionId};
use nomoat_core::trace::{Cause, Edge, EdgeKind, Join, Moment, Origin, Recorded, Trace, TraceRequest};
use nomoat_core::units::Nanos;
use proptest::prelude::*;
use std::sync::Arc;

fn written(trace: &Trace) -> Vec<u8> {
    let mut out = vec![];
    write_canonical(trace, &mut out).unwrap();
    out
}

fn reread(bytes: &[u8]) -> Result<Trace, TraceError> {
    from_bytes("dir/t.jsonl", bytes, Some("canonical"), &ImportOptions::default())
}

/// Closes `body` (a head and records, one a line) with an `end` that agrees with it.
fn closed(body: &str, sess: u64, req: u64, input: u64, out: u64, at: Option<u64>) -> String {
    let at = at.map_or_else(String::new, |at| format!("\"at\":{at},"));
    let end = format!(
        "{{\"k\":\"end\",\"n\":{{\"sess\":{sess},\"req\":{req}}},\"in\":{input},\"out\":{out},{at}\"sha256\":\"{}\"}}\n",
        Digest::of(body.as_bytes())
    );
    format!("{body}{end}")
}

const HEAD: &str = "{\"k\":\"head\",\"v\":1,\"name\":\"t\",\"time\":{\"unit\":\"us\"},\"blocks\":{\"size\":16,\"tail\":\"partial\"}}\n";

#[test]
fn reads_what_a_person_may_write() {
    let body = concat!(
        "{\"k\":\"head\",\"v\":1,\"name\":\"agents\",\"x-note\":\"made up\",\"source\":{\"repo\":\"a/b\",\"license\":\"MIT\"},",
        "\"importer\":{\"name\":\"hand\",\"version\":\"1\",\"options\":{}},\"time\":{\"unit\":\"us\",\"tick_us\":1,\"epoch\":null},",
        "\"tokens\":{\"tokenizer\":\"unknown\",\"exact\":false},\"blocks\":{\"size\":16,\"id\":\"chained\",\"scope\":\"session\",\"tail\":\"full_only\"},",
        "\"classes\":[\"chat\",\"batch\"],\"has\":[\"sess\"],\"order\":\"arrival\"}\n",
        "{\"k\":\"sess\",\"id\":7,\"class\":\"batch\",\"x-who\":[1.5]}\n",
        "{\"k\":\"req\",\"id\":10,\"s\":7,\"turn\":0,\"at\":1500,\"in\":{\"n\":40,\"b\":{\"add\":[[3,2]]}},\"out\":{\"n\":5,\"how\":\"exact\"}}\n",
        "{ \"id\":20, \"k\":\"req\", \"s\":7,\"turn\":1,\"after\":[{\"r\":10,\"on\":\"end\",\"gap\":250,\"why\":\"think\"},",
        "{\"r\":10,\"on\":\"first\",\"gap\":0,\"why\":\"order\",\"x-a\":0}],\"join\":\"any\",",
        "\"in\":{\"n\":64,\"b\":{\"of\":10,\"keep\":2,\"add\":[[5,1],[90,1]]}},\"out\":{\"n\":6,\"how\":\"free\"},\"class\":\"ch\\u0061t\",\"prio\":-3}\n",
        "{\"k\":\"req\",\"id\":21,\"in\":{\"ids\":[5,6,7]},\"out\":{\"n\":1,\"how\":\"cap\"}}\n",
        "{\"k\":\"req\",\"id\":22,\"at\":1500,\"in\":{\"n\":9},\"out\":{\"n\":1,\"how\":\"cap\"}}\n",
    );
    let trace = reread(closed(body, 1, 4, 116, 13, Some(1500)).as_bytes()).unwrap();
    assert_eq!((trace.name.as_str(), trace.origin.licence.as_deref()), ("agents", Some("MIT")));
    assert_eq!(trace.losses.len(), 1, "free lengths: {:?}", trace.losses);
    let edge = |on, gap, kind, cause| Edge { request: RequestId(0), on, gap: Nanos(gap), kind, cause };
    let block = |ranges: &[(u64, u32)], tokens, unshared| {
        let blocks = ranges.iter().map(|&(first, count)| BlockRange { first, count }).collect();
        Prompt::Blocks(BlockPrompt { namespace: 8, block_tokens: 16, blocks, tokens, unshared })
    };
    let base = TraceRequest { length: OutputLength::Cap, ..TraceRequest::new(Prompt::Ids([5, 6, 7].into()), 3, 1) };
    let expect = vec![
        TraceRequest {
            at: Some(Nanos::from_micros(1500)),
            session: Some(SessionId(7)),
            class: 1,
            prompt: block(&[(3, 2)], 40, 10),
            input_tokens: 40,
            output_tokens: 5,
            length: OutputLength::Exact,
            ..base.clone()
        },
        TraceRequest {
            after: vec![
                edge(Moment::End, 250_000, EdgeKind::Needs, Cause::Think),
                edge(Moment::FirstToken, 0, EdgeKind::Order, Cause::Unsaid),
            ],
            join: Join::Any,
            session: Some(SessionId(7)),
            turn: 1,
            class: 0,
            priority: -3,
            prompt: block(&[(3, 3), (90, 1)], 64, 20),
            input_tokens: 64,
            output_tokens: 6,
            ..base.clone()
        },
        base.clone(),
        TraceRequest { at: Some(Nanos::from_micros(1500)), prompt: Prompt::Blocks(BlockPrompt::unique(0, 22, 9)), input_tokens: 9, ..base },
    ];
    assert_eq!(trace.requests, expect);
    assert_eq!(reread(&written(&trace)).unwrap(), trace);
}

#[test]
fn errors_name_the_place_and_the_remedy() {
    let check = |body: &str, expect: &[&str]| {
        let error = reread(body.as_bytes()).unwrap_err().to_string();
        assert!(expect.iter().all(|part| error.contains(part)), "{error}\n{body}");
    };
    let req = |fields: &str| format!("{HEAD}{{\"k\":\"req\",{fields}}}\n");
    let tail = "\"in\":{\"n\":9},\"out\":{\"n\":1,\"how\":\"cap\"}";
    let one = format!("{{\"k\":\"req\",\"id\":0,\"at\":5,{tail}}}\n");
    check("", &["dir/t.jsonl", "empty", "head"]);
    check(&one, &["t.jsonl:1:", "`k`", "should be one of \"head\""]);
    check(
        "{\"k\":\"head\",\"v\":2,\"name\":\"t\",\"time\":{\"unit\":\"us\"}}\n",
        &["`v`", "is 2", "1: other format versions are not read"],
    );
    check("{\"k\":\"head\",\"v\":1,\"name\":\"t\",\"time\":{\"unit\":\"ms\"}}\n", &["`time.unit`", "\"ms\"", "\"us\", \"ns\""]);
    check("{\"k\":\"head\",\"v\":1,\"name\":\"t\",\"time\":{\"unit\":\"us\"},\"classes\":[]}\n", &["`classes`", "0 names"]);
    check(
        "{\"k\":\"head\",\"v\":1,\"name\":\"t\",\"time\":{\"unit\":\"us\"},\"source\":{\"sha256\":\"ab\"}}\n",
        &["`source.sha256`", "64"],
    );
    check(HEAD, &["after line 1", "truncated", "import"]);
    check(&format!("{HEAD}{one}"), &["after line 2", "`end`", "truncated"]);
    check(&format!("{HEAD}{HEAD}"), &[":2:", "second \"head\""]);
    for (record, field) in
        [("text\",\"h\":\"00\"", "`json` is missing"), ("chunk\",\"id\":1,\"n\":0", "`n` is 0"), ("tool\",\"r\":3", "`r` is 3")]
    {
        check(&format!("{HEAD}{{\"k\":\"{record}}}\n"), &[":2:", field]);
    }
    check(&format!("{HEAD}{{\"k\":\"text\",\"h\":\"00\",\"json\":1}}\n"), &["`h` is 00", "digest is 6b86b273ff34fce19d6b804eff5a3f57"]);
    check(&format!("{HEAD}{{\"k\":\"request\"}}\n"), &[":2:", "no kind of record"]);
    check(&format!("{HEAD}{{\"id\":1}}\n"), &[":2:", "`k` is missing"]);
    check(&format!("{HEAD}\n"), &[":2:", "not JSON"]);
    check(&req(&format!("\"id\":-1,{tail}")), &[":2:", "`id`", "-1"]);
    check(&req(tail), &["`id` is missing"]);
    check(&req(&format!("\"id\":0,\"id\":1,{tail}")), &["`id` stands twice"]);
    check(&req(&format!("\"id\":0,\"at\":1.0,{tail}")), &["`at`", "1.0", "whole number"]);
    check(&req(&format!("\"id\":0,\"at\":null,{tail}")), &["`at`", "null"]);
    check(&req(&format!("\"id\":0,\"att\":1,{tail}")), &["`att`", "unknown", "`at`", "x-"]);
    check(&req(&format!("\"id\":0,\"hist\":\"live\",{tail}")), &["`hist`", "\"recorded\""]);
    check(&req(&format!("\"id\":0,\"lora\":\"a\",{tail}")), &["`lora`", "`a`", "`adapters`"]);
    check(&req(&format!("\"id\":0,\"cancel\":{{}},{tail}")), &["`cancel`", "does not say when"]);
    check(&req(&format!("\"id\":0,\"cancel\":{{\"tok\":1,\"first\":true}},{tail}")), &["`cancel`", "one of"]);
    check(&req(&format!("\"id\":0,\"obs\":{{\"failed\":1}},{tail}")), &["`obs.failed` is 1", "true or false"]);
    check(&req(&format!("\"id\":0,\"s\":1,{tail}")), &["`s`", "no `sess` record"]);
    check(&req(&format!("\"id\":0,\"turn\":1,{tail}")), &["`turn`", "no session"]);
    check(&req(&format!("\"id\":0,\"join\":\"all\",{tail}")), &["`join`", "joins nothing"]);
    check(&req(&format!("\"id\":0,\"class\":\"x\",{tail}")), &["`class`", "`x`", "`default`"]);
    check(&req(&format!("\"id\":0,\"prio\":3000000000,{tail}")), &["`prio`", "32 bits"]);
    check(&req(&format!("\"id\":0,\"at\":99999999999999999,{tail}")), &["`at`", "century"]);
    check(&req(&format!("\"id\":0,\"after\":[{{\"r\":0,\"on\":\"end\",\"gap\":0}}],{tail}")), &["`after[0].r`", "no earlier request"]);
    check(&req(&format!("\"id\":0,\"after\":[{{\"r\":0,\"on\":\"end\",\"gap\":-1}}],{tail}")), &["`after[0].gap`", "-1"]);
    check(&req(&format!("\"id\":0,\"after\":[{{\"r\":0,\"on\":\"last\",\"gap\":1}}],{tail}")), &["`after[0].on`", "\"first\""]);
    let input = |input: &str| req(&format!("\"id\":0,\"in\":{input},\"out\":{{\"n\":1,\"how\":\"cap\"}}"));
    check(&input("{}"), &["`in.n` is missing"]);
    check(&input("{\"n\":0}"), &["`in.n`", "is 0", "from 1"]);
    check(&input("{\"n\":99999999}"), &["`in.n`", "99999999"]);
    check(&input("{\"ids\":[]}"), &["`in.ids`"]);
    check(&input("{\"ids\":[1],\"n\":1}"), &["`in`", "more than `ids`"]);
    check(&input("{\"n\":1,\"m\":[\"ab\"]}"), &["`in.m` names ab", "no `text` record"]);
    check(&input("{\"n\":1,\"m\":[\"ab\"],\"c\":[1]}"), &["`in` has `m` and `c`", "one way"]);
    check(&input("{\"c\":[1]}"), &["`in.c` has 1", "no `chunk` record"]);
    check(&input("{\"keep\":1,\"add\":1}"), &["`in.of` is missing"]);
    check(&input("{\"n\":1,\"of\":0}"), &["`in.of` continues nothing"]);
    check(&input("{\"n\":9,\"size\":4}"), &["`in.size`", "no blocks"]);
    check(&input("{\"n\":17,\"b\":{\"add\":[[0,1]]}}"), &["`in.b`", "1 blocks", "2 blocks for 17"]);
    check(&input("{\"n\":17,\"b\":{\"add\":[[0,1],[4,0]]}}"), &["`in.b.add[1]`", "[4,0]", "count from 1"]);
    check(&input("{\"n\":17,\"b\":{\"add\":[[0,1],[4,-1]]}}"), &["`in.b.add`", "[4,-1] at position 1", "[first, count]"]);
    check(&input("{\"n\":17,\"b\":{\"keep\":1,\"add\":[[0,2]]}}"), &["`in.b.of` is missing"]);
    check(&input("{\"n\":17,\"b\":{\"of\":0,\"keep\":1,\"add\":[]}}"), &["`in.b.of`", "no earlier request"]);
    check(&input("{\"n\":17,\"b\":{}}"), &["`in.b.add` is missing", "[first, count]"]);
    let first = req("\"id\":0,\"at\":9,\"in\":{\"n\":17,\"b\":{\"add\":[[0,2]]}},\"out\":{\"n\":1,\"how\":\"cap\"}");
    check(&format!("{first}{one}"), &[":3:", "`id` is 0", "larger"]);
    check(&format!("{first}{}", one.replace("\"id\":0", "\"id\":1")), &[":3:", "`at`", "4.00 µs earlier", "sort"]);
    check(
        &format!(
            "{first}{{\"k\":\"req\",\"id\":1,\"in\":{{\"n\":99,\"b\":{{\"of\":0,\"keep\":3,\"add\":[]}}}},\"out\":{{\"n\":1,\"how\":\"cap\"}}}}\n"
        ),
        &[":3:", "`in.b.keep`", "2 blocks"],
    );
    check(&req("\"id\":0,\"in\":{\"n\":9},\"out\":{\"n\":1}"), &["`out.how` is missing", "\"exact\""]);
}

#[test]
fn the_end_proves_that_all_is_there() {
    let body = format!("{HEAD}{{\"k\":\"req\",\"id\":0,\"at\":5,\"in\":{{\"n\":9}},\"out\":{{\"n\":1,\"how\":\"cap\"}}}}\n");
    assert!(reread(closed(&body, 0, 1, 9, 1, Some(5)).as_bytes()).is_ok());
    assert!(reread(closed(&body, 0, 1, 9, 1, Some(5)).trim_end().as_bytes()).is_ok(), "the last line feed may be missing");
    let check = |text: String, expect: &str| {
        let error = reread(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    check(closed(&body, 1, 1, 9, 1, Some(5)), "`n.sess`");
    check(closed(&body, 0, 2, 9, 1, Some(5)), "`n.req` is 2, but the file before it gives 1");
    check(closed(&body, 0, 1, 8, 1, Some(5)), "`in`");
    check(closed(&body, 0, 1, 9, 2, Some(5)), "`out`");
    check(closed(&body, 0, 1, 9, 1, None), "`at` is absent");
    check(closed(&body, 0, 1, 9, 1, Some(5)).replace("\"n\":9}", "\"n\":9 }"), "`sha256`");
    check(closed(&body, 0, 1, 9, 1, Some(5)) + "\n", ":4: there is a line after");
}

#[test]
fn tail_rules() {
    let prompt = |tail: &str, n: u32, count: u32| {
        let head = HEAD.replace("partial", tail);
        let body = format!(
            "{head}{{\"k\":\"req\",\"id\":0,\"in\":{{\"n\":{n},\"b\":{{\"add\":[[4,{count}]]}}}},\"out\":{{\"n\":1,\"how\":\"cap\"}}}}\n"
        );
        reread(closed(&body, 0, 1, n.into(), 1, None).as_bytes()).ok().map(|trace| match &trace.requests[0].prompt {
            Prompt::Blocks(b) => b.blocks.iter().map(|r| r.count).sum::<u32>(),
            _ => panic!("blocks"),
        })
    };
    for (tail, n, count, expect) in [
        ("partial", 33, 3, Some(3)),
        ("partial", 33, 2, None),
        ("full_only", 33, 2, Some(2)),
        ("full_only", 33, 3, None),
        ("unshared", 33, 3, Some(2)),
        ("unshared", 32, 2, Some(2)),
        ("unshared", 33, 2, None),
        ("open", 33, 1, Some(1)),
        ("open", 33, 4, None),
    ] {
        assert_eq!(prompt(tail, n, count), expect, "{tail} {n} {count}");
    }
}

#[test]
fn long_common_beginnings_are_written_once() {
    let request = |at: i64, ranges: &[(u64, u32)]| {
        let blocks: Vec<_> = ranges.iter().map(|&(first, count)| BlockRange { first, count }).collect();
        let tokens = 16 * blocks.iter().map(|r| r.count).sum::<u32>();
        let prompt = BlockPrompt { namespace: 0, block_tokens: 16, blocks: blocks.into(), tokens, unshared: at as u64 };
        TraceRequest { at: Some(Nanos::from_micros(at)), input_tokens: tokens, prompt: Prompt::Blocks(prompt), ..plain() }
    };
    let trace = Trace {
        requests: vec![
            request(0, &[(0, 1), (5, 2), (9, 4), (20, 3)]),
            request(1, &[(0, 1), (5, 2), (9, 4), (20, 5), (30, 1)]),
            request(2, &[(0, 1), (5, 2), (9, 4), (20, 1)]),
            request(3, &[(0, 1), (5, 2), (9, 4), (20, 5), (30, 1), (31, 1)]),
        ],
        ..empty()
    };
    let text = String::from_utf8(written(&trace)).unwrap();
    assert!(text.contains("\"b\":{\"of\":0,\"keep\":10,\"add\":[[23,2],[30,1]]}"), "{text}");
    assert!(text.contains("\"b\":{\"of\":1,\"keep\":8,\"add\":[]}"), "{text}");
    assert!(!text.contains("\"of\":3"), "{text}");
    assert_eq!(reread(text.as_bytes()).unwrap(), trace);
}

#[test]
fn conversations_are_written_as_what_they_add() {
    let session = |n: u32, prompt: Prompt| {
        let tokens = length(&prompt);
        TraceRequest { session: Some(SessionId(4)), turn: n as u16, ..TraceRequest::new(prompt, tokens, 1) }
    };
    let all: Vec<Arc<str>> = SAID.iter().map(|message| Arc::from(*message)).collect();
    let said = |n: usize| Prompt::Messages(Messages { messages: all[..n].into(), tools: Some("[]".into()) });
    let parts = |parts: &[(u64, u32)]| {
        let parts: Vec<_> = parts.iter().map(|&(id, tokens)| Part { id, tokens }).collect();
        Prompt::Parts(PartPrompt { namespace: 5, parts: parts.into() })
    };
    let requests = vec![
        session(0, said(2)),
        session(1, said(4)),
        session(2, parts(&[(2, 30)])),
        session(3, parts(&[(2, 30), (3, 9)])),
        session(4, parts(&[(2, 20), (4, 5)])),
        session(5, parts(&[(2, 20), (4, 5), (2, 7)])),
    ];
    let trace = Trace { requests, ..empty() };
    let text = String::from_utf8(written(&trace)).unwrap();
    assert!(text.contains("\"append\":["), "{text}");
    assert_eq!(text.matches("\"k\":\"text\"").count(), 4, "three different messages and the tools: {text}");
    assert!(text.contains("\"in\":{\"keep\":0,\"add\":30}"), "{text}");
    assert!(text.contains("\"in\":{\"of\":2,\"keep\":30,\"add\":9}"), "{text}");
    assert!(text.contains("\"in\":{\"of\":3,\"keep\":20,\"add\":5}"), "{text}");
    assert!(text.contains("\"in\":{\"space\":5,\"c\":[2,4,[2,7]]}"), "{text}");
    assert_eq!(reread(text.as_bytes()).unwrap(), trace);
}

#[test]
fn reads_what_it_does_not_keep_and_says_so() {
    let body = format!(
        "{HEAD}{{\"k\":\"sess\",\"id\":1,\"tenant\":\"t\"}}\n{{\"k\":\"req\",\"id\":0,\"s\":1,\"in\":{{\"n\":9}},\"out\":{{\"n\":3,\"how\":\"cap\",\"reason\":2}},\"samp\":{{\"temperature\":0}}}}\n{{\"k\":\"tool\",\"r\":0,\"name\":\"ls\",\"us\":5}}\n"
    );
    let closed = closed(&body, 1, 1, 9, 3, None).replace("\"req\":1}", "\"req\":1,\"tool\":1}");
    let trace = reread(closed.as_bytes()).unwrap();
    assert_eq!(trace.losses, ["read and not kept: `out.reason` (1), `samp` (1), `sess.tenant` (1), `tool` (1)"]);
}

#[test]
fn refuses_to_write_what_it_cannot_say() {
    let check = |request: TraceRequest, expect: &str| {
        let trace = Trace { requests: vec![request], ..empty() };
        let mut out = vec![];
        let error = write_canonical(&trace, &mut out).unwrap_err().to_string();
        assert!((error.contains("request 0") || error.contains("class 1")) && error.contains(expect), "{error}");
        assert!(out.is_empty(), "nothing is written of a trace that is refused");
    };
    check(TraceRequest { prompt: messages(&["{\"role\": 1}"]), ..plain() }, "have spaces");
    check(TraceRequest { prompt: messages(&["7"]), ..plain() }, "no JSON");
    check(TraceRequest { prompt: Prompt::Live { of: RequestId(0), add: Box::new(Prompt::Text("hi".into())) }, ..plain() }, "live");
    check(TraceRequest { input_tokens: 4, ..plain() }, "4 input tokens");
    check(TraceRequest { output_tokens: 0, ..plain() }, "length");
    check(TraceRequest { at: Some(Nanos(-1)), ..plain() }, "negative");
    check(TraceRequest { class: 1, ..plain() }, "class 1");
    check(TraceRequest { turn: 1, ..plain() }, "no session");
    let edge = Edge::after_end(RequestId(0), Nanos::ZERO, Cause::Unsaid);
    check(TraceRequest { after: vec![edge], ..plain() }, "not before it");
    let long = BlockPrompt { namespace: 0, block_tokens: 1, blocks: [BlockRange { first: 0, count: 4 }].into(), tokens: 3, unshared: 0 };
    check(TraceRequest { prompt: Prompt::Blocks(long), ..plain() }, "4 blocks for 3");
}

fn empty() -> Trace {
    Trace { name: "t".into(), source: Digest::of(b"t"), ..Trace::default() }
}

fn plain() -> TraceRequest {
    TraceRequest::new(Prompt::Blocks(BlockPrompt::unique(0, 0, 3)), 3, 1)
}

/// A prompt of any kind the format has; blocks come from few ids, so that prompts share beginnings.
fn prompts() -> impl Strategy<Value = Prompt> {
    let ranges = prop::collection::vec((0_u64..6, 1_u32..4), 0..8);
    let space = prop_oneof![4 => Just(0_u64), 1 => any::<u64>()];
    let size = prop_oneof![4 => Just(16_u32), 1 => 1_u32..40];
    let blocks =
        (ranges, space.clone(), size, 0_u32..100, any::<Option<u64>>()).prop_map(|(ranges, namespace, block_tokens, more, key)| {
            let blocks: Vec<_> = ranges.into_iter().map(|(first, count)| BlockRange { first, count }).collect();
            let count: u32 = blocks.iter().map(|r| r.count).sum();
            // From one token into the last block to some way beyond it.
            let tokens = (count.saturating_sub(1) * block_tokens + 1 + more).max(1);
            Prompt::Blocks(BlockPrompt { namespace, block_tokens, blocks: blocks.into(), tokens, unshared: key.unwrap_or(3) })
        });
    prop_oneof![
        8 => blocks,
        2 => (space, any::<u64>(), 1_u32..5_000).prop_map(|(space, key, n)| Prompt::Blocks(BlockPrompt::unique(space, key, n))),
        1 => prop::collection::vec(any::<u32>(), 1..20).prop_map(|ids| Prompt::Ids(ids.into())),
        2 => (0_u64..3, prop::collection::vec((0_u64..40, 1_u32..30), 1..6)).prop_map(|(namespace, parts)| {
            let parts: Vec<_> = parts.into_iter().map(|(id, tokens)| Part { id, tokens }).collect();
            Prompt::Parts(PartPrompt { namespace, parts: parts.into() })
        }),
        1 => ".{0,9}".prop_map(|text| Prompt::Text(text.into())),
        2 => (1_usize..5, any::<bool>()).prop_map(|(n, tools)| {
            let Prompt::Messages(messages) = messages(&SAID[..n]) else { unreachable!("made just now") };
            Prompt::Messages(Messages { tools: tools.then(|| "[{\"name\":\"f\"}]".into()), ..messages })
        }),
    ]
}

const SAID: [&str; 4] =
    ["{\"role\":\"system\",\"content\":\"ü\"}", "{\"role\":\"user\"}", "{\"role\":\"assistant\",\"n\":[1.5,null]}", "{\"role\":\"user\"}"];

fn messages(said: &[&str]) -> Prompt {
    Prompt::Messages(Messages { messages: said.iter().map(|message| Arc::from(*message)).collect(), tools: None })
}

fn length(prompt: &Prompt) -> u32 {
    match prompt {
        Prompt::Blocks(b) => b.tokens,
        Prompt::Ids(ids) => ids.len() as u32,
        Prompt::Parts(parts) => parts.tokens() as u32,
        Prompt::Messages(_) | Prompt::Text(_) => 77,
        Prompt::Live { .. } => 0,
    }
}

prop_compose! {
    /// A request but for its place in the trace: gap to the root before, how far back its edges go.
    fn requests()(
        prompt in prompts(),
        gap in prop::option::weighted(0.8, 0_i64..5_000_000_000),
        edges in prop::collection::vec((1_u32..4, 0_u8..3, 0_i64..1_000_000_000, any::<bool>()), 0..3),
        any_join in any::<bool>(),
        session in prop::option::of((0_u32..3, any::<u16>())),
        class in 0_u16..3,
        priority in prop_oneof![Just(0), any::<i32>()],
        output_tokens in 1_u32..2_000,
        exact in any::<bool>(),
        adapter in prop_oneof![3 => Just(0_u16), 1 => 1_u16..3],
        cancel in prop::option::of(prop_oneof![
            (0_i64..1 << 40).prop_map(|t| Cancel::After(Nanos(t * 1_000))),
            Just(Cancel::FirstToken),
            (1_u32..9).prop_map(Cancel::Tokens),
        ]),
        recorded in prop::option::of((any::<Option<u16>>(), any::<Option<bool>>())),
    ) -> (TraceRequest, Option<i64>) {
        let after: Vec<Edge> = edges.into_iter().map(|(back, on, gap, needs)| Edge {
            request: RequestId(back),
            on: [Moment::Start, Moment::FirstToken, Moment::End][usize::from(on)],
            gap: Nanos(gap),
            kind: if needs { EdgeKind::Needs } else { EdgeKind::Order },
            cause: if needs { [Cause::Unsaid, Cause::Think, Cause::Tool, Cause::Queue][(gap % 4) as usize] } else { Cause::Unsaid },
        }).collect();
        let input_tokens = length(&prompt);
        let request = TraceRequest {
            after,
            join: if any_join { Join::Any } else { Join::All },
            session: session.map(|s| SessionId(s.0)),
            turn: session.map_or(0, |s| s.1),
            class,
            priority,
            length: if exact { OutputLength::Exact } else { OutputLength::Cap },
            adapter,
            cancel,
            recorded: recorded.map(|(n, failed)| {
                let time = n.map(|n| Nanos::from_micros(n.into()));
                Box::new(Recorded { ttft: time, e2e: time, cached_tokens: n.map(u32::from), failed })
            }),
            ..TraceRequest::new(prompt, input_tokens, output_tokens)
        };
        (request, gap)
    }
}

prop_compose! {
    fn traces()(
        name in ".{0,12}",
        source in any::<[u8; 32]>(),
        licence in prop::option::of("[A-Za-z0-9. -]{1,20}"),
        named_classes in any::<bool>(),
        losses in prop::collection::vec(".{0,20}", 0..3),
        requests in prop::collection::vec(requests(), 1..30),
        whole_us in any::<bool>(),
    ) -> Trace {
        let mut now = 0;
        let requests = requests.into_iter().enumerate().map(|(index, (mut r, gap))| {
            r.after.retain(|e| e.request.0 as usize <= index);
            r.after.iter_mut().for_each(|e| e.request.0 = index as u32 - e.request.0);
            if r.after.is_empty() {
                r.join = Join::All;
            }
            now += gap.unwrap_or(0);
            r.at = gap.map(|_| Nanos(now));
            if whole_us {
                let round = |t: Nanos| Nanos(t.0 / 1_000 * 1_000);
                r.at = r.at.map(round);
                r.after.iter_mut().for_each(|e| e.gap = round(e.gap));
            }
            if !named_classes {
                r.class = 0;
            }
            r
        }).collect();
        let classes = if named_classes { vec!["a".into(), "default".into(), "ü\"".into()] } else { vec!["default".into()] };
        let origin = Origin { licence, commit: losses.first().cloned(), ..Origin::default() };
        let tick = whole_us.then(|| Nanos::from_millis(3_000));
        Trace { name, source: Digest(source), origin, tick, tokenizer: None, classes, adapters: vec!["x".into(), "y".into()], losses, requests }
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back_the_same(trace in traces()) {
        let bytes = written(&trace);
        prop_assert_eq!(reread(&bytes).unwrap(), trace.clone());
        prop_assert_eq!(bytes, written(&trace));
    }

    #[test]
    fn a_truncated_file_is_an_error(trace in traces(), cut in any::<prop::sample::Index>()) {
        let bytes = written(&trace);
        // The last line feed may be missing, nothing else.
        let cut = cut.index(bytes.len() - 1);
        prop_assert!(reread(&bytes[..cut]).is_err());
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for importer in IMPORTERS {
            importer.sniff(&bytes);
            prop_assert!(from_bytes("f", &bytes, Some(importer.name()), &ImportOptions::default()).is_err(), "random bytes are no trace");
        }
    }

    #[test]
    fn no_mutation_panics(
        which in 0_usize..4,
        edits in prop::collection::vec((any::<prop::sample::Index>(), edit()), 1..4),
        seal in any::<bool>(),
    ) {
        let mut bytes = match which {
            0 => include_bytes!("../../samples/azure.csv").to_vec(),
            1 => include_bytes!("../../samples/mooncake.jsonl").to_vec(),
            2 => written(&chat(&ChatOptions { requests: 4, ..ChatOptions::default() }).unwrap()),
            _ => rich().to_vec(),
        };
        for (at, edit) in edits {
            let at = at.index(bytes.len());
            bytes.splice(at..(at + edit.0).min(bytes.len()), edit.1);
        }
        // A mutated canonical file fails at its digest at the latest; sealed again, what is behind the digest is reached too.
        if seal && which >= 2 {
            let body = bytes.iter().enumerate().rev().filter(|(_, b)| **b == b'\n').nth(1).map_or(0, |(at, _)| at + 1);
            let digest = Digest::of(&bytes[..body]).to_string();
            if let Some(at) = bytes.windows(10).rposition(|w| w == b"\"sha256\":\"").filter(|at| *at >= body && at + 74 <= bytes.len()) {
                bytes[at + 10..at + 74].copy_from_slice(digest.as_bytes());
            }
        }
        for importer in IMPORTERS {
            if let Ok(trace) = from_bytes("f", &bytes, Some(importer.name()), &ImportOptions::default()) {
                // What is accepted can be written, read again and measured.
                prop_assert_eq!(reread(&written(&trace)).unwrap(), trace.clone());
                crate::stats(&trace, &crate::SharingOptions::default());
            }
        }
    }
}

/// How many bytes go, and what stands there instead.
fn edit() -> impl Strategy<Value = (usize, Vec<u8>)> {
    let tokens = ["-", "0", "9", "99999999999999999999", "null", "[]", "{}", "\"", ",", "\n", "1e9", ".5", "x-", "\u{0}", "true"];
    let new =
        prop_oneof![prop::sample::select(tokens.to_vec()).prop_map(|t| t.as_bytes().to_vec()), prop::collection::vec(any::<u8>(), 0..4),];
    (0_usize..6, new)
}

/// A small file with every kind of record and key that is read.
fn rich() -> &'static [u8] {
    static RICH: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    RICH.get_or_init(|| {
        let mut requests = vec![];
        for i in 0..4_u32 {
            let blocks: Vec<_> = (0..=u64::from(i) + 2).map(|j| BlockRange { first: j * 10, count: 2 }).collect();
            let tokens = 32 * blocks.len() as u32 - 3;
            let edge = |back: u32| Edge::after_end(RequestId(i - back), Nanos::from_millis(3), Cause::Tool);
            requests.push(TraceRequest {
                at: Some(Nanos::from_millis(i.into())),
                after: (1..=i.min(2)).map(edge).collect(),
                join: if i > 1 { Join::Any } else { Join::All },
                session: Some(SessionId(i / 2)),
                turn: (i % 2) as u16,
                class: (i % 2) as u16,
                priority: -1,
                prompt: Prompt::Blocks(BlockPrompt { namespace: 1, block_tokens: 16, blocks: blocks.into(), tokens, unshared: 77 }),
                input_tokens: tokens,
                ..plain()
            });
        }
        requests.push(TraceRequest { prompt: Prompt::Ids([1, 2].into()), input_tokens: 2, ..plain() });
        written(&Trace { classes: vec!["a".into(), "b".into()], losses: vec!["l".into()], requests, ..empty() })
    })
}
