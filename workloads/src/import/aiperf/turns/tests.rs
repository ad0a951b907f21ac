//! Conversations that branch, wait for each other and go round.

use crate::error::TraceError;
use crate::{ImportOptions, from_bytes};
use nomoat_core::prompt::Prompt;
use nomoat_core::request::{OutputLength, RequestId};
use nomoat_core::trace::{Cause, Edge, Moment, Trace};
use nomoat_core::units::Nanos;

fn read(lines: &[String]) -> Result<Trace, TraceError> {
    from_bytes("dir/turns.jsonl", (lines.join("\n") + "\n").as_bytes(), Some("aiperf"), &ImportOptions::default())
}

/// A conversation whose turns say `user: 1234` and have these further keys.
fn talk(name: &str, turns: &[&str]) -> String {
    let turns: Vec<_> = turns
        .iter()
        .map(|more| format!("{{\"messages\": [{{\"role\": \"user\", \"content\": \"1234\"}}], \"max_tokens\": 8{more}}}"))
        .collect();
    format!("{{\"session_id\": \"{name}\", \"turns\": [{}]}}", turns.join(", "))
}

/// Of each request its class, and the requests whose ends it waits for with the gaps in milliseconds.
fn shape(trace: &Trace) -> Vec<(u16, Vec<(u32, i64)>)> {
    let edges = |after: &[Edge]| after.iter().map(|e| (e.request.0, e.gap.0 / 1_000_000)).collect();
    trace.requests.iter().map(|r| (r.class, edges(&r.after))).collect()
}

#[test]
fn turns_follow_each_other_live() {
    let trace = read(&[
        "{\"session_id\": \"x\", \"turns\": [{\"text\": \"12345678\", \"timestamp\": 2000}, {\"texts\": [\"a\", \"b\"], \"delay\": 500, \"image\": \"i\"}]}".into(),
        "{\"text\": \"hello\", \"timestamp\": 500.25}".into(),
        "{\"session_id\": \"y\", \"turns\": [{\"text\": \"1\", \"timestamp\": 3000}, {\"text\": \"2\", \"timestamp\": 4000}]}".into(),
    ])
    .unwrap();
    let at: Vec<_> = trace.requests.iter().map(|r| r.at.map(|at| at.0 / 1_000)).collect();
    assert_eq!(at, [Some(0), Some(1_499_750), None, Some(2_499_750), Some(3_499_750)], "roots in order of arrival");
    assert_eq!(trace.requests[2].prompt, Prompt::Live { of: RequestId(1), add: Box::new(Prompt::Text("a\n\nb".into())) });
    assert_eq!((trace.requests[2].input_tokens, trace.requests[2].output_tokens), (2 + 256 + 1, 256));
    assert_eq!(trace.requests[2].after, [Edge::after_end(RequestId(1), Nanos::from_millis(500), Cause::Think)]);
    assert_eq!((trace.requests[4].after[0].on, trace.requests[4].after[0].gap), (Moment::Start, Nanos::from_secs(1)));
    assert!(trace.losses.iter().any(|l| l.starts_with("1 pictures")), "{:?}", trace.losses);
}

#[test]
fn forks_inherit_and_spawns_join() {
    let trace = read(&[
        talk("child", &["", ""]),
        talk(
            "root",
            &[", \"spawns\": [\"child\", {\"children\": [\"late\"], \"join_at\": 2}]", ", \"delay\": 7", ", \"forks\": [\"end\"]"],
        ),
        talk("late", &[""]),
        talk("end", &[", \"delay\": 3"]),
    ])
    .unwrap();
    assert_eq!(
        shape(&trace),
        [
            (0, vec![]),
            (2, vec![(0, 0)]),
            (2, vec![(1, 0)]),
            (2, vec![(0, 0)]),
            (0, vec![(0, 7), (2, 7)]),
            (0, vec![(4, 0), (3, 0)]),
            (1, vec![(5, 3)]),
        ]
    );
    assert_eq!(trace.classes, ["root", "fork", "spawn"]);
    assert!(trace.requests.iter().enumerate().all(|(i, r)| r.session.unwrap().0 == 0 && r.turn == i as u16));
    let live = |index: usize| match &trace.requests[index].prompt {
        Prompt::Live { of, .. } => Some(of.0),
        _ => None,
    };
    assert_eq!([1, 2, 4, 5, 6].map(live), [None, Some(1), Some(0), Some(4), Some(5)], "a spawn starts afresh, a fork goes on");
}

#[test]
fn orchestrators_go_round() {
    let fixed =
        "{\"session_id\": \"o\", \"orchestrator\": true, \"rounds\": 2, \"think_time_ms\": 100, \"spawns\": [\"a\", \"b\"]}".to_owned();
    let trace = read(&[fixed.clone(), talk("a", &["", ""]), talk("b", &[""])]).unwrap();
    let first: Vec<(u16, Vec<(u32, i64)>)> = vec![(2, vec![]), (2, vec![(0, 0)]), (2, vec![])];
    assert_eq!(shape(&trace)[..3], first);
    assert_eq!(shape(&trace)[3..], [(2, vec![(1, 100), (2, 100)]), (2, vec![(3, 0)]), (2, vec![(1, 100), (2, 100)])]);
    let listed =
        "{\"session_id\": \"o\", \"orchestrator\": true, \"rounds\": [{\"spawns\": [\"a\"], \"think_time_ms\": 5}, {\"spawns\": [\"b\"]}]}"
            .to_owned();
    let trace = read(&[listed, talk("a", &[""]), talk("b", &[""])]).unwrap();
    assert_eq!(shape(&trace), [(2, vec![]), (2, vec![(0, 5)])]);
    let drawn = fixed.replace("100", "100, \"think_time_sigma\": 1.0, \"think_time_min_ms\": 99, \"think_time_max_ms\": 101");
    let trace = read(&[drawn, talk("a", &[""]), talk("b", &[""])]).unwrap();
    assert!((99..=101).contains(&(trace.requests[2].after[0].gap.0 / 1_000_000)));
}

#[test]
fn whole_arrays_and_exact_lengths() {
    let turns = [", \"extra\": {\"ignore_eos\": true}", ", \"extra\": {\"min_tokens\": 8}", ", \"extra\": {\"min_tokens\": 2}"];
    let trace = read(&[talk("a", &turns).replace("\"turns\"", "\"context_mode\": \"message_array_with_responses\", \"turns\"")]).unwrap();
    assert!(trace.requests.iter().all(|r| matches!(&r.prompt, Prompt::Messages(m) if m.messages.len() == 1) && r.input_tokens == 1));
    let lengths: Vec<_> = trace.requests.iter().map(|r| r.length).collect();
    assert_eq!(lengths, [OutputLength::Exact, OutputLength::Exact, OutputLength::Cap]);
}

#[test]
fn errors_name_the_place_and_the_remedy() {
    let check = |lines: &[String], expect: &[&str]| {
        let error = read(lines).unwrap_err().to_string();
        assert!(expect.iter().all(|part| error.contains(part)), "{error}");
    };
    let fork = |name: &str| format!(", \"forks\": [\"{name}\"]");
    let spawn = |spawn: &str| format!(", \"spawns\": [{spawn}]");
    check(&[talk("a", &[""]), talk("a", &[""])], &[":2:", "`session_id`", "`a`"]);
    check(&[talk("a", &[&fork("b")])], &[":1:", "`b`", "no `session_id`"]);
    check(&[talk("a", &[&fork("b"), ""]), talk("b", &[""])], &["`turns[0].forks`", "last turn", "background"]);
    check(&[talk("a", &[&fork("c")]), talk("b", &[&fork("c")]), talk("c", &[""])], &[":2:", "`c`", "second time"]);
    check(&[talk("a", &[&fork("b")]), talk("b", &[&fork("a")])], &["every conversation is started by another"]);
    check(&[talk("r", &[&spawn("\"a\"")]), talk("a", &[&spawn("\"b\"")]), talk("b", &[&spawn("\"a\"")])], &["cycle"]);
    check(&[talk("a", &[&spawn("{\"children\": [\"b\"], \"join_at\": 1}")]), talk("b", &[""])], &["`turns[0].spawns`", "join_at"]);
    check(&[talk("a", &[&spawn("7")])], &["`turns[0].spawns`", "has 7"]);
    check(&[talk("a", &[&spawn("{\"children\": [\"b\"], \"join\": 1}")])], &["`turns[0].spawns`", "`join_at`"]);
    check(&[talk("a", &[", \"forks\": \"b\""])], &["`turns[0].forks`", "is \"b\"", "`child`"]);
    check(&[talk("a", &[", \"extra\": 5"])], &["`turns[0].extra`", "object"]);
    check(&["{\"session_id\": \"a\", \"turns\": []}".into()], &["`turns`", "empty"]);
    check(&["{\"session_id\": \"a\", \"turns\": [{\"max_tokens\": 4}]}".into()], &["`turns[0].messages`", "missing"]);
    check(&[talk("a", &[", \"delay\": -4"])], &["`turns[0].delay`", "-4", "milliseconds"]);
    check(&[talk("a", &[", \"max_token\": 4"])], &["`turns[0].max_token`", "unknown", "`max_tokens`"]);
    check(&["{\"session_id\": \"o\", \"orchestrator\": true}".into()], &["`spawns`", "missing"]);
    check(&["{\"session_id\": \"o\", \"orchestrator\": true, \"spawns\": [\"a\"], \"rounds\": 0}".into()], &["`rounds`", "is 0"]);
    check(&["{\"text\": \"a\", \"timestamp\": 1}".into(), "{\"text\": \"b\"}".into()], &[":2:", "`timestamp`", "missing"]);
    // Doubling conversations unfold without end; they are refused before memory is.
    let mut doubling: Vec<String> =
        (0..40).map(|i| talk(&format!("d{i}"), &[&spawn(&format!("\"d{}\", \"d{}\"", i + 1, i + 1))])).collect();
    doubling.push(talk("d40", &[""]));
    check(&doubling, &["too many requests"]);
    let mut deep: Vec<String> = (0..100).map(|i| talk(&format!("d{i}"), &[&spawn(&format!("\"d{}\"", i + 1))])).collect();
    deep.push(talk("d100", &[""]));
    check(&deep, &["64 deep"]);
}
