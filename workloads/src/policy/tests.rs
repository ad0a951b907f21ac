//! Policies on a small trace: two sessions and a request that stands alone.

use super::*;
use nomoat_core::prompt::{BlockPrompt, Messages, Part, PartPrompt, Prompt};
use nomoat_core::request::{RequestId, SessionId};
use nomoat_core::reuse::{Unbounded, pieces};
use nomoat_core::trace::{Cause, Edge, TraceRequest};
use nomoat_core::units::Nanos;

/// Sessions 3 (at 0 s, three turns, gaps of 10 s and 400 s) and 5 (at 50 s, two turns), and one request alone at 20 s.
fn trace() -> Trace {
    let seconds = |s: i64| Nanos::from_secs(s);
    let parts = |session: u32, n: u64| {
        let parts: Vec<_> = (0..=n).map(|id| Part { id, tokens: 100 }).collect();
        Prompt::Parts(PartPrompt { namespace: u64::from(session) + 1, parts: parts.into() })
    };
    let turn = |session: u32, turn: u16, at: i64, after: Option<(u32, i64)>| TraceRequest {
        at: Some(seconds(at)),
        session: Some(SessionId(session)),
        turn,
        after: after.map(|(of, gap)| Edge::after_end(RequestId(of), seconds(gap), Cause::Think)).into_iter().collect(),
        ..TraceRequest::new(parts(session, turn.into()), 100 * (u32::from(turn) + 1), 30)
    };
    let alone = TraceRequest { at: Some(seconds(20)), ..TraceRequest::new(Prompt::Blocks(BlockPrompt::unique(0, 9, 7)), 7, 1) };
    let requests = vec![
        turn(3, 0, 0, None),
        turn(3, 1, 12, Some((0, 10))),
        alone,
        turn(5, 0, 50, None),
        turn(5, 1, 60, Some((3, 9))),
        turn(3, 2, 420, Some((1, 400))),
    ];
    Trace { name: "small".into(), requests, ..Trace::default() }
}

/// Session, turn, arrival in seconds, parents.
type Row = (Option<u32>, u16, Option<i64>, Vec<u32>);

fn rows(trace: &Trace) -> Vec<Row> {
    let row = |r: &TraceRequest| {
        (r.session.map(|s| s.0), r.turn, r.at.map(|at| at.0 / 1_000_000_000), r.after.iter().map(|e| e.request.0).collect())
    };
    trace.requests.iter().map(row).collect()
}

fn apply(policy: &Policy) -> Trace {
    let applied = policy.apply(&trace()).unwrap().into_owned();
    assert!(!applied.losses.is_empty(), "what was done is said");
    applied
}

#[test]
fn nothing_is_nothing() {
    let trace = trace();
    assert!(matches!(Policy { seed: 9, ..Policy::default() }.apply(&trace).unwrap(), Cow::Borrowed(_)));
}

#[test]
fn slices_take_whole_sessions() {
    let slice =
        |from, span, sessions| apply(&Policy { slice: Slice { from: Nanos::from_secs(from), span, sessions }, ..Policy::default() });
    assert_eq!(rows(&slice(15, None, None)), [(None, 0, Some(5), vec![]), (Some(5), 0, Some(35), vec![]), (Some(5), 1, Some(45), vec![1])]);
    let first = slice(0, Some(Nanos::from_secs(20)), None);
    assert_eq!(rows(&first), [(Some(3), 0, Some(0), vec![]), (Some(3), 1, Some(12), vec![0]), (Some(3), 2, Some(420), vec![1])]);
    assert_eq!(slice(0, None, Some(2)).requests.len(), 4);
    let empty = Policy { slice: Slice { from: Nanos::from_secs(900), ..Slice::default() }, ..Policy::default() };
    assert!(empty.apply(&trace()).unwrap_err().contains("nothing of trace `small`"));
    let wrong = Policy { slice: Slice { sessions: Some(0), ..Slice::default() }, ..Policy::default() };
    assert!(wrong.apply(&trace()).unwrap_err().contains("slice"));
}

#[test]
fn sessions_are_entered_inside() {
    let entered = apply(&Policy { enter: Some((0.5, 0.6)), ..Policy::default() });
    // One of three turns, and one of two, is left out; a session still begins when it began, with the whole history as its prompt.
    assert_eq!(
        rows(&entered),
        [(Some(3), 1, Some(0), vec![]), (None, 0, Some(20), vec![]), (Some(5), 1, Some(50), vec![]), (Some(3), 2, Some(420), vec![0])]
    );
    assert_eq!(entered.requests[0].input_tokens, 200);
    assert!(Policy { enter: Some((0.7, 0.2)), ..Policy::default() }.apply(&trace()).is_err());
}

#[test]
fn thinning_keeps_gaps_and_superposition_shares_nothing() {
    let half = |seed| Policy { thin: 0.5, seed, ..Policy::default() }.apply(&trace()).map(|t| rows(&t));
    let sizes: Vec<usize> = (0..40).filter_map(|seed| half(seed).ok()).map(|rows| rows.len()).collect();
    assert!(sizes.iter().all(|n| [1, 2, 3, 4, 5, 6].contains(n)) && sizes.contains(&3) && sizes.contains(&2), "{sizes:?}");
    assert_eq!(half(7), half(7));
    assert!(Policy { thin: 0.0, ..Policy::default() }.apply(&trace()).is_err());

    let three = apply(&Policy { superpose: 3, ..Policy::default() });
    assert_eq!(three.requests.len(), 18);
    let roots: Vec<_> = three.requests.iter().filter(|r| r.after.is_empty()).filter_map(|r| r.at).collect();
    assert!(roots.is_sorted() && roots.iter().all(|at| *at <= Nanos::from_secs(420)));
    assert!(three.requests.iter().enumerate().all(|(i, r)| r.after.iter().all(|e| (e.request.0 as usize) < i)));
    let gaps: Vec<_> = three.requests.iter().flat_map(|r| &r.after).map(|e| e.gap.0 / 1_000_000_000).collect();
    assert_eq!(gaps.iter().filter(|gap| **gap == 400).count(), 3, "gaps stay: {gaps:?}");
    // As much is found in a cache as by three runs of their own.
    let found = |trace: &Trace| {
        let mut cache = Unbounded::new(10);
        trace.requests.iter().map(|r| cache.look_up(&pieces(trace, &r.prompt).unwrap())).sum::<u64>()
    };
    assert_eq!(found(&three), 3 * found(&trace()));
}

#[test]
fn arrivals_and_gaps_scale_apart() {
    let fast = apply(&Policy { arrival_scale: 0.5, ..Policy::default() });
    assert_eq!(rows(&fast)[3], (Some(5), 0, Some(25), vec![]));
    assert_eq!(fast.requests[1].after[0].gap, Nanos::from_secs(10));
    let gaps = GapPolicy { scale: 2.0, cap: Some(Nanos::from_secs(300)) };
    let cut = apply(&Policy { gaps, ..Policy::default() });
    let seen: Vec<_> = cut.requests.iter().flat_map(|r| &r.after).map(|e| e.gap.0 / 1_000_000_000).collect();
    assert_eq!(seen, [20, 18, 300]);
    assert!(cut.losses.iter().any(|l| l.contains("1 of 3 gaps")), "{:?}", cut.losses);
    assert!(Policy { arrival_scale: -1.0, ..Policy::default() }.apply(&trace()).is_err());
}

#[test]
fn history_may_be_live() {
    let live = apply(&Policy { live: true, ..Policy::default() });
    let of = |index: usize| match &live.requests[index].prompt {
        Prompt::Live { of, add } => match &**add {
            Prompt::Blocks(add) => Some((of.0, add.tokens)),
            other => panic!("{other:?}"),
        },
        _ => None,
    };
    // 200 tokens after 100 + 30: 70 are new.
    assert_eq!([of(0), of(1), of(2), of(4), of(5)], [None, Some((0, 70)), None, Some((3, 70)), Some((1, 70))]);

    let said = |texts: &[&str]| {
        let roles = ["user", "assistant"].iter().cycle();
        let messages = texts.iter().zip(roles).map(|(text, role)| format!("{{\"role\":\"{role}\",\"content\":\"{text}\"}}").into());
        Prompt::Messages(Messages { messages: messages.collect(), tools: None })
    };
    let mut talk = trace();
    talk.requests.truncate(2);
    (talk.requests[0].prompt, talk.requests[1].prompt) = (said(&["hi"]), said(&["hi", "hello", "more"]));
    let live = Policy { live: true, ..Policy::default() }.apply(&talk).unwrap().into_owned();
    assert_eq!(live.requests[0].prompt, Prompt::Text("hi".into()));
    assert_eq!(live.requests[1].prompt, Prompt::Live { of: RequestId(0), add: Box::new(Prompt::Text("more".into())) });
    talk.requests.truncate(1);
    assert!(Policy { live: true, ..Policy::default() }.apply(&talk).unwrap_err().contains("no turn"));
}
