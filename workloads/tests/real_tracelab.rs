//! TraceLab's examples, where they are at hand: every round is there, and its prefix is the one recorded.

use nomoat_core::prompt::{Part, Prompt};
use nomoat_core::trace::{Moment, Trace};
use nomoat_core::units::Nanos;
use nomoat_workloads::{ImportOptions, open};
use std::path::PathBuf;

fn shared(file: &str) -> Option<Trace> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/traces/tracelab")).join(file);
    if !path.exists() {
        eprintln!("skipped: {} is not here", path.display());
        return None;
    }
    Some(open(&path, None, &ImportOptions::default()).expect("a published file reads"))
}

fn parts(trace: &Trace, index: usize) -> &[Part] {
    let Prompt::Parts(prompt) = &trace.requests[index].prompt else { panic!("parts") };
    assert_eq!(prompt.tokens(), u64::from(trace.requests[index].input_tokens));
    &prompt.parts
}

/// Tokens two prompts share from their start.
fn common(a: &[Part], b: &[Part]) -> u64 {
    let mut shared = 0;
    for (a, b) in a.iter().zip(b) {
        if a.id != b.id {
            break;
        }
        shared += u64::from(a.tokens.min(b.tokens));
        if a.tokens != b.tokens {
            break;
        }
    }
    shared
}

#[test]
fn session_files() {
    for (file, rounds, sessions) in
        [("multi_session_example.csv", 8, 3), ("multi_session_large.csv", 303, 48), ("session_workload_example.csv", 11, 1)]
    {
        let Some(trace) = shared(file) else { return };
        assert_eq!((trace.requests.len(), trace.origin.licence.as_deref()), (rounds, Some("Apache-2.0")), "{file}");
        assert_eq!(trace.requests.iter().filter(|r| r.after.is_empty()).count(), sessions, "{file}");
        assert_eq!(trace.requests.last().unwrap().session.unwrap().0 as usize, sessions - 1);
        assert!((0..rounds).all(|index| !parts(&trace, index).is_empty()));
        let roots: Vec<_> = trace.requests.iter().filter(|r| r.after.is_empty()).map(|r| r.at).collect();
        assert!(roots.is_sorted() && roots.iter().all(|at| at.is_some() == (sessions > 1)), "{file}: {roots:?}");
    }
    let Some(trace) = shared("multi_session_example.csv") else { return };
    // Rounds 1 and 2 of the first session keep the whole prompt and answer before them: 512 + 64, then 576 + 128 + 64.
    let ids = |index| parts(&trace, index).iter().map(|part| part.tokens).collect::<Vec<_>>();
    assert_eq!((ids(0), ids(1), ids(2)), (vec![512], vec![512, 64, 128], vec![512, 64, 128, 64, 128]));
    assert_eq!(common(parts(&trace, 1), parts(&trace, 2)), 704);
    assert_eq!(trace.requests[3].at, Some(Nanos::from_millis(200)));
    assert_eq!((trace.requests[4].after[0].gap, trace.requests[4].after[0].on), (Nanos::from_millis(80), Moment::End));

    let Some(trace) = shared("session_workload_example.csv") else { return };
    assert_eq!(trace.requests.iter().map(|r| r.input_tokens).max(), Some(57_904));
    // The last round goes back to 48 060 tokens: what came after is gone.
    assert_eq!(common(parts(&trace, 9), parts(&trace, 10)), 48_060);

    let Some(trace) = shared("multi_session_large.csv") else { return };
    let mean = trace.requests.iter().map(|r| u64::from(r.input_tokens)).sum::<u64>() as f64 / 303.0;
    assert!((mean - 3_797.0).abs() < 0.5, "{mean}");
    let kept: u64 = (1..303)
        .filter(|index| trace.requests[*index].session == trace.requests[index - 1].session)
        .map(|index| {
            let answer = u64::from(trace.requests[index - 1].output_tokens);
            let before = parts(&trace, index - 1);
            let all = before.iter().map(|part| u64::from(part.tokens)).sum::<u64>();
            // What is shared with the prompt before, and the answer between where all of it is kept.
            let shared = common(before, parts(&trace, index));
            if shared == all { shared + answer } else { shared }
        })
        .sum();
    let planned = kept as f64 / trace.requests.iter().map(|r| u64::from(r.input_tokens)).sum::<u64>() as f64;
    assert!((planned - 0.817).abs() < 0.0005, "{planned}");
}

#[test]
fn rounds() {
    let Some(trace) = shared("round_trace.sanitized.jsonl") else { return };
    assert_eq!((trace.requests.len(), &trace.classes[..]), (19, &["claude".to_owned(), "codex".to_owned()][..]));
    assert_eq!(trace.origin.licence.as_deref(), Some("Apache-2.0"));
    let roots: Vec<_> = (0..19).filter(|index| trace.requests[*index].after.is_empty()).collect();
    assert_eq!(roots.len(), 2);
    for index in 1..19 {
        let (request, before) = (&trace.requests[index], &trace.requests[index - 1]);
        if request.after.is_empty() {
            continue;
        }
        assert_eq!(request.after[0].on, Moment::End, "no round of the example overlaps");
        let end = before.at.unwrap() + before.recorded.as_deref().unwrap().e2e.unwrap();
        assert_eq!(Some(end + request.after[0].gap), request.at);
        let cached = request.recorded.as_deref().unwrap().cached_tokens.unwrap();
        let (prompt, shared) = (u64::from(before.input_tokens), common(parts(&trace, index - 1), parts(&trace, index)));
        assert_eq!(shared, u64::from(cached).min(prompt), "round {index}");
    }
    let claude = trace.requests.iter().position(|r| r.input_tokens == 35_740).unwrap();
    // The tool result at 05:40:50.938 came 19.291 s after the last call of the round before.
    assert_eq!(trace.requests[claude].after[0].gap, Nanos::from_millis(19_291));
    assert_eq!(trace.requests[claude - 1].recorded.as_deref().unwrap().e2e, Some(Nanos::from_millis(11_496)));
}
