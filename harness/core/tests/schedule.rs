//! What a schedule is decided from decides it: digests, scaling, lanes, passes, windows, shards, and traces made to fit.

use nomoat_core::arrival::ArrivalProcess;
use nomoat_core::digest::Digest;
use nomoat_core::prompt::{Alphabet, BlockPrompt, BlockRange, Prompt};
use nomoat_core::request::{LaneId, OutputLength, RequestId, SessionId, ShardId};
use nomoat_core::schedule::{Due, Entry, Limit, Load, Rule, Schedule, Source, Totals, Warmup};
use nomoat_core::trace::{Cause, Edge, EdgeKind, Join, Moment, Overlong, Trace, TraceRequest};
use nomoat_core::units::Nanos;
use std::collections::HashSet;
use std::sync::Arc;

const POISSON: ArrivalProcess = ArrivalProcess::Poisson;

fn seconds(s: f64) -> Nanos {
    Nanos::from_secs_f64(s)
}

/// Fixed shape, Poisson 10/s for 5 s.
fn rule() -> Rule {
    Rule {
        source: Source::Fixed { input_tokens: 100, output_tokens: 20 },
        load: Load::Arrivals { process: POISSON, rate_per_s: 10.0 },
        speed: 1.0,
        warmup: Warmup::Time(Nanos::ZERO),
        limit: Limit { duration: Some(Nanos::from_secs(5)), requests: None },
        repeat: false,
        length: None,
        seed: 42,
    }
}

fn replay(trace: &Arc<Trace>) -> Rule {
    Rule { source: Source::Trace(trace.clone()), load: Load::Replay, limit: Limit::default(), ..rule() }
}

fn closed(trace: &Arc<Trace>, concurrency: u32) -> Rule {
    Rule { load: Load::Closed { concurrency, think: Nanos::from_millis(7) }, ..replay(trace) }
}

fn make(rule: Rule) -> Schedule {
    Schedule::new(rule).expect("a schedule")
}

/// All entries in the order of the schedule: one stream of an open loop, the lanes of a closed one by request id.
fn entries(rule: Rule) -> Vec<Entry> {
    let mut all: Vec<Entry> = make(rule).streams(ShardId(0), 1).into_iter().flatten().collect();
    all.sort_by_key(|e| e.request.id);
    all
}

fn dues(entries: &[Entry]) -> Vec<Option<f64>> {
    let due = |e: &Entry| if let Due::At(at) = e.due { Some(at.as_secs_f64()) } else { None };
    entries.iter().map(due).collect()
}

fn ids(entries: &[Entry]) -> Vec<u32> {
    entries.iter().map(|e| e.request.id.0).collect()
}

fn single(at: f64, blocks: &[(u64, u32)], tokens: u32) -> TraceRequest {
    let blocks = blocks.iter().map(|&(first, count)| BlockRange { first, count }).collect();
    let prompt = Prompt::Blocks(BlockPrompt { namespace: 0, block_tokens: 16, blocks, tokens, unshared: tokens.into() });
    TraceRequest { at: Some(seconds(at)), ..TraceRequest::new(prompt, tokens, 10) }
}

/// `request` waits for `of`, `gap` seconds after its end.
fn child(of: u32, gap: f64, request: TraceRequest) -> TraceRequest {
    let edge = Edge::after_end(RequestId(of), seconds(gap), Cause::Unsaid);
    TraceRequest { at: None, after: vec![edge], ..request }
}

fn turn(session: u32, turn: u16, request: TraceRequest) -> TraceRequest {
    TraceRequest { session: Some(SessionId(session)), turn, ..request }
}

fn trace(requests: Vec<TraceRequest>) -> Arc<Trace> {
    Arc::new(Trace { name: "t".into(), source: Digest::of(b"t"), requests, ..Trace::default() })
}

/// Five single requests in eight seconds, two of them behind a shared block.
fn chat() -> Arc<Trace> {
    trace(vec![
        single(2.0, &[(0, 2)], 40),
        single(3.0, &[], 9),
        single(3.0, &[(0, 2), (7, 1)], 48),
        single(7.0, &[], 120),
        single(10.0, &[(3, 1)], 17),
    ])
}

/// Two conversations, interleaved, and a single request.
fn conversations() -> Arc<Trace> {
    trace(vec![
        turn(1, 0, single(1.0, &[], 10)),
        turn(2, 0, single(2.0, &[], 11)),
        turn(1, 1, child(0, 4.0, single(0.0, &[], 12))),
        single(3.0, &[], 13),
        turn(2, 1, child(1, 6.0, single(0.0, &[], 14))),
        turn(1, 2, child(2, 2.0, single(0.0, &[], 15))),
    ])
}

#[test]
fn the_digest_covers_what_decides() {
    let digest = |rule: Rule| make(rule).digest();
    let base = digest(rule());
    assert_eq!(digest(rule()), base, "the same rule, the same digest");
    let others = [
        Rule { seed: 43, ..rule() },
        Rule { load: Load::Arrivals { process: POISSON, rate_per_s: 11.0 }, ..rule() },
        Rule { load: Load::Arrivals { process: ArrivalProcess::Gamma { cv: 1.0 }, rate_per_s: 10.0 }, ..rule() },
        Rule { load: Load::Arrivals { process: ArrivalProcess::Gamma { cv: 2.0 }, rate_per_s: 10.0 }, ..rule() },
        Rule { load: Load::Arrivals { process: ArrivalProcess::Constant, rate_per_s: 10.0 }, ..rule() },
        Rule { load: Load::Closed { concurrency: 8, think: Nanos::ZERO }, ..rule() },
        Rule { load: Load::Closed { concurrency: 9, think: Nanos::ZERO }, ..rule() },
        Rule { load: Load::Closed { concurrency: 8, think: Nanos(1) }, ..rule() },
        Rule { warmup: Warmup::Time(Nanos::from_secs(1)), ..rule() },
        Rule { warmup: Warmup::Requests(1), ..rule() },
        Rule { limit: Limit { duration: Some(Nanos::from_secs(4)), requests: None }, ..rule() },
        Rule { limit: Limit { duration: Some(Nanos::from_secs(5)), requests: Some(9) }, ..rule() },
        Rule { source: Source::Fixed { input_tokens: 101, output_tokens: 20 }, ..rule() },
        Rule { source: Source::Fixed { input_tokens: 100, output_tokens: 21 }, ..rule() },
        Rule { length: Some(OutputLength::Cap), ..rule() },
        Rule { source: Source::Trace(chat()), ..rule() },
        replay(&chat()),
        Rule { speed: 2.0, ..replay(&chat()) },
        Rule { load: Load::Rescaled { rate_per_s: 1.0 }, ..replay(&chat()) },
        replay(&conversations()),
    ];
    let mut seen = HashSet::from([base]);
    for other in others {
        let text = format!("{other:?}");
        assert!(seen.insert(digest(other)), "a digest repeats: {text}");
    }
}

#[test]
fn the_digest_knows_no_shards_and_no_names() {
    let schedule = make(rule());
    let before = schedule.digest();
    for shards in [1, 2, 7] {
        (0..shards).for_each(|shard| schedule.streams(ShardId(shard), shards).into_iter().flatten().for_each(drop));
        assert_eq!(schedule.digest(), before, "{shards} shards");
    }
    let renamed = Arc::new(Trace { name: "other".into(), source: Digest::of(b"other"), ..Trace::clone(&chat()) });
    assert_eq!(make(replay(&renamed)).digest(), make(replay(&chat())).digest(), "content decides, not where it came from");
}

/// The same on every platform and for ever: a change here is a change of the method and makes old tables incomparable.
#[test]
fn golden_digests() {
    let gamma = ArrivalProcess::Gamma { cv: 2.0 };
    for (name, rule, expect) in [
        ("fixed, Poisson 10/s, 5 s", rule(), "4b4a49763a62c7eace015df4809d3c5059b4a68de76ab92f8c832246e1ffc30d"),
        (
            "fixed, gamma cv 2, 10/s, 5 s",
            Rule { load: Load::Arrivals { process: gamma, rate_per_s: 10.0 }, ..rule() },
            "f5b7ed3ad34b04df5fe3f36b2b7f2fb16bc776836ec0d2fa0ccdb31e0fceacfb",
        ),
        (
            "fixed, closed 8, 5 s",
            Rule { load: Load::Closed { concurrency: 8, think: Nanos::ZERO }, ..rule() },
            "c1212476706c0e2d889f24e89c26f50d26dcf5fd750360b58d8e7b7c9aa547bf",
        ),
        (
            "chat, replay at speed 2",
            Rule { speed: 2.0, ..replay(&chat()) },
            "42b779ce672a5c19e46fa7059ee63d69e0bdc52e90315ec1d32f0da9f3147801",
        ),
        (
            "conversations, rescaled to 0.5/s",
            Rule { load: Load::Rescaled { rate_per_s: 0.5 }, ..replay(&conversations()) },
            "13e0b8fa06034d7272488b491c6ccce0f3ffa92a270230b6813ac78f18f06e62",
        ),
    ] {
        assert_eq!(make(rule).digest().to_string(), expect, "{name}");
    }
}

#[test]
fn recorded_arrivals_are_divided_rescaled_or_replaced() {
    let at = |rule: Rule| dues(&entries(rule)).into_iter().flatten().collect::<Vec<_>>();
    assert_eq!(at(replay(&chat())), [0.0, 1.0, 1.0, 5.0, 8.0], "counted from the first");
    assert_eq!(at(Rule { speed: 2.0, ..replay(&chat()) }), [0.0, 0.5, 0.5, 2.5, 4.0]);
    assert_eq!(at(Rule { speed: 0.5, ..replay(&chat()) }), [0.0, 2.0, 2.0, 10.0, 16.0]);
    // Four gaps in eight seconds are 0.5/s; at 2/s they take two.
    let rescaled = Rule { load: Load::Rescaled { rate_per_s: 2.0 }, speed: 3.0, ..replay(&chat()) };
    assert_eq!(at(rescaled.clone()), [0.0, 0.25, 0.25, 1.25, 2.0], "a rate is a rate, whatever the speed of gaps");
    let (recorded, scaled) = (entries(replay(&chat())), entries(rescaled));
    assert!(recorded.iter().zip(&scaled).all(|(a, b)| a.request == b.request), "order, lengths and prefixes stay");
    // Only three requests are wanted: the three gaps up to the fourth arrival take 5 s, and shall take 1.5.
    let part =
        Rule { load: Load::Rescaled { rate_per_s: 2.0 }, limit: Limit { duration: Some(seconds(1.5)), requests: None }, ..replay(&chat()) };
    assert_eq!(at(part), [0.0, 0.3, 0.3], "what is replayed has the mean that was asked for");
    let constant = Load::Arrivals { process: ArrivalProcess::Constant, rate_per_s: 4.0 };
    let replaced = entries(Rule { load: constant, ..replay(&chat()) });
    assert_eq!(dues(&replaced), [Some(0.0), Some(0.25), Some(0.5), Some(0.75), Some(1.0)]);
    assert!(recorded.iter().zip(&replaced).all(|(a, b)| a.request == b.request));
}

#[test]
fn a_rate_is_of_roots() {
    // Children carry their recorded times, which are no arrivals.
    let mut requests = conversations().requests.clone();
    for (index, at) in [(2, 6.0), (4, 9.0), (5, 20.0)] {
        requests[index].at = Some(seconds(at));
    }
    let trace = trace(requests);
    assert_eq!(trace.rate_per_s(), Some(1.0), "roots at 1, 2 and 3 s");
    assert_eq!(trace.span(), Some(seconds(19.0)));
    let rescaled = Rule { load: Load::Rescaled { rate_per_s: 2.0 }, ..replay(&trace) };
    assert_eq!(dues(&entries(rescaled)), [Some(0.0), Some(0.5), None, Some(1.0), None, None]);
}

#[test]
fn children_follow_their_parents_with_gaps_divided_by_speed() {
    for (load, speed) in [(Load::Replay, 2.0), (Load::Arrivals { process: POISSON, rate_per_s: 5.0 }, 2.0)] {
        let all = entries(Rule { load, speed, ..replay(&conversations()) });
        assert_eq!(ids(&all), [0, 1, 2, 3, 4, 5]);
        let edges: Vec<(u32, f64)> = all
            .iter()
            .filter_map(
                |e| if let Due::After { edges, .. } = &e.due { Some((edges[0].request.0, edges[0].gap.as_secs_f64())) } else { None },
            )
            .collect();
        assert_eq!(edges, [(0, 2.0), (1, 3.0), (2, 1.0)], "{load:?}");
        assert_eq!(all.iter().map(|e| e.dependents).collect::<Vec<_>>(), [1, 1, 1, 0, 0, 0]);
        let parents_first =
            |e: &Entry| if let Due::After { edges, .. } = &e.due { edges.iter().all(|p| p.request < e.request.id) } else { true };
        assert!(all.iter().all(parents_first));
    }
}

#[test]
fn lanes_take_every_cth_unit() {
    let rule = Rule {
        load: Load::Closed { concurrency: 3, think: Nanos::from_millis(7) },
        limit: Limit { duration: None, requests: Some(8) },
        ..rule()
    };
    let lanes: Vec<Vec<Entry>> = make(rule.clone()).streams(ShardId(0), 1).into_iter().map(Iterator::collect).collect();
    assert_eq!(lanes.iter().map(|l| ids(l)).collect::<Vec<_>>(), [vec![0, 3, 6], vec![1, 4, 7], vec![2, 5]]);
    for (index, lane) in lanes.iter().enumerate() {
        assert!(lane.iter().all(|e| e.lane == Some(LaneId(index as u32))));
        assert_eq!(lane[0].due, Due::At(Nanos::ZERO), "all lanes start at once");
        for pair in lane.windows(2) {
            let edge = Edge {
                request: pair[0].request.id,
                on: Moment::End,
                gap: Nanos::from_millis(7),
                kind: EdgeKind::Order,
                cause: Cause::Think,
            };
            assert_eq!(pair[1].due, Due::After { join: Join::All, edges: vec![edge] }, "a lane goes on after a failure");
        }
    }
    let shards: Vec<Vec<Option<LaneId>>> = (0..2)
        .map(|shard| make(rule.clone()).streams(ShardId(shard), 2).into_iter().map(|mut lane| lane.next().unwrap().lane).collect())
        .collect();
    assert_eq!(shards, [vec![Some(LaneId(0)), Some(LaneId(2))], vec![Some(LaneId(1))]], "lanes move whole");
}

#[test]
fn lanes_keep_what_a_session_forks_and_joins() {
    // 0 → 1 and 2 beside each other → 3 waits for both; another session follows in the same lane.
    let at = |request: TraceRequest| turn(1, 0, request);
    let join = TraceRequest { after: vec![edge_to(1), edge_to(2)], ..at(single(9.0, &[], 4)) };
    let requests = vec![
        at(single(0.0, &[], 1)),
        child(0, 5.0, at(single(1.0, &[], 2))),
        child(0, 1.0, at(single(1.0, &[], 3))),
        join,
        turn(2, 0, single(20.0, &[], 5)),
    ];
    let lane: Vec<Entry> = make(closed(&trace(requests), 1)).streams(ShardId(0), 1).remove(0).collect();
    let waits: Vec<(Vec<u32>, u32, bool)> = lane
        .iter()
        .map(|e| {
            let edges = if let Due::After { edges, .. } = &e.due { edges.iter().map(|e| e.request.0).collect() } else { vec![] };
            (edges, e.dependents, e.apart)
        })
        .collect();
    assert_eq!(
        waits,
        [
            (vec![], 2, false),
            (vec![0], 1, true), // the second branch is wanted while the first waits
            (vec![0], 1, false),
            (vec![1, 2], 1, false),
            (vec![3], 1, false),
        ]
    );
    let Due::After { edges, .. } = &lane[4].due else { panic!("the next unit waits for the lane") };
    assert_eq!(edges[0].kind, EdgeKind::Order);
}

fn edge_to(of: u32) -> Edge {
    Edge::after_end(RequestId(of), seconds(1.0), Cause::Tool)
}

#[test]
fn lanes_take_sessions_whole_and_count_in_their_order() {
    // Units: session 1 (positions 0, 2, 5), session 2 (1, 4), the single (3).
    let lanes = |rule: Rule| -> Vec<Vec<(u32, u32)>> {
        let lane = |lane: nomoat_core::schedule::EntryStream| lane.map(|e| (e.request.id.0, e.request.input_tokens)).collect();
        make(rule).streams(ShardId(0), 1).into_iter().map(lane).collect()
    };
    assert_eq!(lanes(closed(&conversations(), 2)), [vec![(0, 10), (1, 12), (2, 15), (5, 13)], vec![(3, 11), (4, 14)]]);
    let limited = Rule { limit: Limit { duration: None, requests: Some(4) }, ..closed(&conversations(), 2) };
    assert_eq!(lanes(limited), [vec![(0, 10), (1, 12), (2, 15)], vec![(3, 11)]], "four requests are four, whatever was interleaved");
    let all = entries(Rule { speed: 2.0, ..closed(&conversations(), 1) });
    let gap =
        |e: &Entry| if let Due::After { edges, .. } = &e.due { Some((edges[0].request.0, edges[0].gap, edges[0].kind)) } else { None };
    let think = Nanos::from_millis(7);
    assert_eq!(
        all.iter().map(gap).collect::<Vec<_>>(),
        [
            None,
            Some((0, seconds(2.0), EdgeKind::Needs)),
            Some((1, seconds(1.0), EdgeKind::Needs)),
            Some((2, think, EdgeKind::Order)),
            Some((3, seconds(3.0), EdgeKind::Needs)),
            Some((4, think, EdgeKind::Order)),
        ],
        "recorded gaps inside a session, think time between units"
    );
}

#[test]
fn a_live_conversation_keeps_its_parent_in_every_order() {
    let live = |of: u32| Prompt::Live { of: RequestId(of), add: Box::new(Prompt::Text("and then".into())) };
    let mut requests = conversations().requests.clone();
    requests[2].prompt = live(0);
    requests[5].prompt = live(2);
    let trace = trace(requests);
    let of = |e: &Entry| if let Prompt::Live { of, .. } = &e.request.prompt { Some(of.0) } else { None };
    let expect = |rule: Rule, expect: &[(u32, u32)]| {
        let found: Vec<_> = entries(rule).iter().filter_map(|e| of(e).map(|of| (e.request.id.0, of))).collect();
        assert_eq!(found, expect);
    };
    let twice = Limit { duration: None, requests: Some(12) };
    expect(Rule { repeat: true, limit: twice, ..replay(&trace) }, &[(2, 0), (5, 2), (8, 6), (11, 8)]);
    expect(Rule { repeat: true, limit: twice, ..closed(&trace, 2) }, &[(1, 0), (2, 1), (7, 6), (8, 7)]);
}

#[test]
fn each_pass_has_ids_and_prompts_of_its_own() {
    let limit = Limit { duration: None, requests: Some(12) };
    for rule in [Rule { repeat: true, limit, ..replay(&chat()) }, Rule { repeat: true, limit, ..closed(&chat(), 3) }] {
        let all = entries(rule);
        assert_eq!(ids(&all), (0..12).collect::<Vec<_>>());
        let expand = |e: &Entry| {
            let Prompt::Blocks(prompt) = &e.request.prompt else { panic!("blocks") };
            let mut tokens = vec![];
            prompt.expand(1, Alphabet { first: 0, size: 65_536 }, &mut tokens);
            tokens
        };
        for i in 0..5 {
            let (first, second) = (&all[i], &all[i + 5]);
            assert_eq!(first.request.input_tokens, second.request.input_tokens);
            assert_ne!(expand(first)[..4], expand(second)[..4], "request {i} repeats its prompt");
        }
        assert_eq!(expand(&all[5])[..32], expand(&all[7])[..32], "inside a pass what was shared is shared");
        assert_ne!(expand(&all[5])[..4], expand(&all[10])[..4]);
    }
    // 4 gaps in 8 s: the second pass begins 2 s after the last arrival of the first.
    let all = entries(Rule { repeat: true, limit, ..replay(&chat()) });
    assert_eq!(dues(&all)[4..7], [Some(8.0), Some(10.0), Some(11.0)]);
    assert_eq!(entries(replay(&chat())).len(), 5, "without repeat a trace ends");
    let edges: Vec<u32> = entries(Rule { repeat: true, limit, ..replay(&conversations()) })
        .iter()
        .filter_map(|e| if let Due::After { edges, .. } = &e.due { Some(edges[0].request.0) } else { None })
        .collect();
    assert_eq!(edges, [0, 1, 2, 6, 7, 8], "children wait for the parents of their own pass");
}

#[test]
fn warm_up_is_no_part_of_the_limits() {
    let constant = Load::Arrivals { process: ArrivalProcess::Constant, rate_per_s: 10.0 };
    let check = |warmup: Warmup, duration: Option<f64>, requests: Option<u32>, expect: u32| {
        let limit = Limit { duration: duration.map(seconds), requests };
        let all = entries(Rule { load: constant, warmup, limit, ..rule() });
        assert_eq!(ids(&all), (0..expect).collect::<Vec<_>>(), "{warmup:?} {limit:?}");
    };
    let (none, time, count) = (Warmup::Time(Nanos::ZERO), Warmup::Time(Nanos::from_secs(1)), Warmup::Requests(7));
    check(none, Some(2.0), None, 20);
    check(none, None, Some(15), 15);
    check(none, Some(2.0), Some(15), 15);
    check(none, Some(1.0), Some(15), 10);
    check(time, Some(2.0), None, 30);
    check(time, None, Some(15), 25);
    check(time, Some(2.0), Some(15), 25);
    check(count, Some(2.0), None, 27);
    check(count, None, Some(15), 22);
    check(count, Some(1.0), Some(15), 17);
    let closed = |warmup, n| {
        let load = Load::Closed { concurrency: 4, think: Nanos::ZERO };
        entries(Rule { load, warmup, limit: Limit { duration: None, requests: Some(n) }, ..rule() }).len()
    };
    assert_eq!((closed(none, 15), closed(count, 15)), (15, 22));
    // Which requests of a closed loop fall into a warm-up that is a time is known only while it runs: the run counts, the lanes go on.
    let load = Load::Closed { concurrency: 4, think: Nanos::ZERO };
    let endless = Schedule::new(Rule { load, warmup: time, limit: Limit { duration: None, requests: Some(15) }, ..rule() }).unwrap();
    assert_eq!(endless.streams(ShardId(0), 1)[0].by_ref().take(1000).count(), 1000);
    assert_eq!(endless.totals(Nanos::ZERO, Nanos::ZERO), None);
}

#[test]
fn a_counted_warm_up_may_end_with_a_child() {
    // Request 2 is the first measured one and a child: three measured requests are 2, 3 and 4.
    let rule = Rule { warmup: Warmup::Requests(2), limit: Limit { duration: None, requests: Some(3) }, ..replay(&conversations()) };
    assert_eq!(ids(&entries(rule)), [0, 1, 2, 3, 4]);
}

#[test]
fn the_end_leaves_out_roots_and_what_waits_for_them_only() {
    // Roots are due at 0, 1 and 2 s.
    let until =
        |end: f64| ids(&entries(Rule { limit: Limit { duration: Some(seconds(end)), requests: None }, ..replay(&conversations()) }));
    assert_eq!(until(2.5), [0, 1, 2, 3, 4, 5]);
    assert_eq!(until(1.5), [0, 1, 2, 4, 5], "conversations that began go on; their dues decide at run time");
    assert_eq!(until(0.5), [0, 2, 5]);
    let repeated = Rule { repeat: true, limit: Limit { duration: Some(seconds(3.5)), requests: None }, ..replay(&conversations()) };
    // Passes are 3 s apart (a span of 2 s and a mean gap of 1 s): of the second pass only its first root is in time.
    assert_eq!(ids(&entries(repeated)), [0, 1, 2, 3, 4, 5, 6, 8, 11]);
}

#[test]
fn what_hangs_together_shares_a_shard() {
    // A fan of children without a session, and a fork from one session into another.
    let mut requests = vec![];
    for group in 0..40_u32 {
        let base = requests.len() as u32;
        requests.push(turn(2 * group, 0, single(f64::from(group), &[], 10)));
        requests.push(child(base, 1.0, single(0.0, &[], 10)));
        requests.push(turn(2 * group + 1, 0, child(base, 1.0, single(0.0, &[], 10))));
        requests.push(turn(2 * group + 1, 1, child(base + 2, 1.0, single(0.0, &[], 10))));
    }
    let schedule = make(Rule { repeat: true, limit: Limit { duration: None, requests: Some(320) }, ..replay(&trace(requests)) });
    let whole: Vec<Entry> = schedule.streams(ShardId(0), 1).into_iter().flatten().collect();
    for shards in [2, 3, 7] {
        let mut union = vec![];
        for shard in 0..shards {
            let part: Vec<Entry> = schedule.streams(ShardId(shard), shards).into_iter().flatten().collect();
            let here: HashSet<RequestId> = part.iter().map(|e| e.request.id).collect();
            let parents = part.iter().filter_map(|e| if let Due::After { edges, .. } = &e.due { Some(edges) } else { None }).flatten();
            assert!(parents.into_iter().all(|e| here.contains(&e.request)), "a shard waits for another");
            assert!(!part.is_empty());
            union.extend(part);
        }
        union.sort_by_key(|e| e.request.id);
        assert_eq!(union, whole, "{shards} shards");
    }
}

#[test]
fn totals_add_up() {
    let (ttft, tpot) = (seconds(0.5), seconds(0.1));
    let totals = |rule: Rule| make(rule).totals(ttft, tpot);
    // Each takes 1.5 s: the first three overlap.
    let expect = Totals { requests: 5, input_tokens: 234, output_tokens: 50, last_due: seconds(8.0), peak_concurrency: 3 };
    assert_eq!(totals(replay(&chat())), Some(expect));
    let lanes = totals(closed(&chat(), 2)).unwrap();
    assert_eq!((lanes.requests, lanes.input_tokens, lanes.peak_concurrency), (5, 234, 2));
    assert_eq!(totals(closed(&chat(), 64)).unwrap().peak_concurrency, 5, "more lanes than units stay empty");
    let endless = Rule { load: Load::Closed { concurrency: 2, think: Nanos::ZERO }, ..rule() };
    assert_eq!(totals(endless.clone()), None, "only time ends it");
    let counted = totals(Rule { limit: Limit { duration: None, requests: Some(9) }, ..endless }).unwrap();
    assert_eq!((counted.requests, counted.input_tokens, counted.output_tokens), (9, 900, 180));
}

#[test]
fn overlong_requests_are_refused_skipped_or_clipped() {
    let mut requests = conversations().requests.clone();
    requests[1].input_tokens = 95;
    requests[1].prompt = Prompt::Blocks(BlockPrompt {
        namespace: 0,
        block_tokens: 16,
        blocks: [BlockRange { first: 0, count: 2 }, BlockRange { first: 9, count: 4 }].into(),
        tokens: 95,
        unshared: 0,
    });
    requests[3].prompt = Prompt::Live { of: RequestId(1), add: Box::new(Prompt::Text("more".into())) };
    let long = trace(requests);
    let fine = long.fit(105, Overlong::Refuse).unwrap();
    assert_eq!((fine.clipped, fine.skipped), (0, 0));
    assert!(Arc::ptr_eq(&fine.trace, &long), "nothing to do, nothing copied");

    let refused = long.fit(100, Overlong::Refuse).unwrap_err();
    for part in ["1 of 6", "`t`", "100 tokens", "request 1 with 95 + 10", "--overlong skip|clip"] {
        assert!(refused.contains(part), "{refused}");
    }

    // Request 1 goes, its child 4, and 3, which continues it; 2 and 5 hang on 0 and move up.
    let skipped = long.fit(100, Overlong::Skip).unwrap();
    assert_eq!((skipped.clipped, skipped.skipped), (0, 3));
    let tokens: Vec<u32> = skipped.trace.requests.iter().map(|r| r.input_tokens).collect();
    assert_eq!(tokens, [10, 12, 15]);
    assert_eq!(skipped.trace.requests[2].after[0].request, RequestId(1));

    let clipped = long.fit(100, Overlong::Clip).unwrap();
    assert_eq!((clipped.clipped, clipped.skipped), (1, 0));
    let cut = &clipped.trace.requests[1];
    assert_eq!((cut.input_tokens, cut.output_tokens), (90, 10));
    let Prompt::Blocks(prompt) = &cut.prompt else { panic!("blocks") };
    assert_eq!((prompt.tokens, prompt.blocks.len()), (90, 2));
    let Prompt::Blocks(prompt) = &long.fit(40, Overlong::Clip).unwrap().trace.requests[1].prompt else { panic!("blocks") };
    assert_eq!((prompt.tokens, &prompt.blocks[..]), (30, &[BlockRange { first: 0, count: 2 }][..]), "blocks that are cut off go");
    let tiny = long.fit(5, Overlong::Clip).unwrap();
    assert!(tiny.trace.requests.iter().all(|r| (r.input_tokens, r.output_tokens) == (1, 4)), "the answer is cut when it must be");
}

#[test]
fn what_cannot_be_scheduled_says_why() {
    let check = |rule: Rule, expect: &str| {
        let error = Schedule::new(rule).unwrap_err();
        assert!(error.contains(expect), "{error}");
    };
    let arrivals = |process, rate_per_s| Load::Arrivals { process, rate_per_s };
    check(Rule { load: arrivals(POISSON, 0.0), ..rule() }, "--rate must be a positive number, not 0");
    check(Rule { load: arrivals(POISSON, f64::NAN), ..rule() }, "--rate");
    check(Rule { load: arrivals(ArrivalProcess::Gamma { cv: -1.0 }, 1.0), ..rule() }, "--cv");
    check(Rule { speed: 0.0, ..rule() }, "--speed");
    check(Rule { load: Load::Closed { concurrency: 0, think: Nanos::ZERO }, ..rule() }, "--concurrency");
    check(Rule { load: Load::Replay, ..rule() }, "without a trace");
    check(Rule { limit: Limit::default(), ..rule() }, "--duration or --requests");
    check(Rule { repeat: true, ..replay(&chat()) }, "--duration or --requests");
    check(replay(&trace(vec![])), "no requests");
    check(replay(&trace(vec![TraceRequest { at: None, ..single(0.0, &[], 1) }])), "without arrival times");
    let together = trace(vec![single(1.0, &[], 1), single(1.0, &[], 1)]);
    check(Rule { load: Load::Rescaled { rate_per_s: 1.0 }, ..replay(&together) }, "no recorded rate");
    check(closed(&trace(vec![child(0, 1.0, single(0.0, &[], 1))]), 1), "request 0 of trace `t` waits for one that is not before it");
}
