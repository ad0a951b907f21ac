use super::*;
use crate::from_bytes;
use nomoat_core::trace::Moment;

const SAMPLE: &str = include_str!("../../../samples/otel.json");

fn read(text: &str, gaps: Gaps) -> Result<Trace, TraceError> {
    from_bytes("dir/o.json", text.as_bytes(), Some("otel"), &ImportOptions { gaps, ..ImportOptions::default() })
}

fn edges(trace: &Trace) -> Vec<Vec<(u32, Moment, i64)>> {
    trace.requests.iter().map(|r| r.after.iter().map(|e| (e.request.0, e.on, e.gap.0 / 1_000_000)).collect()).collect()
}

#[test]
fn spans_become_a_graph_of_messages() {
    use Moment::{End, Start};
    let trace = read(SAMPLE, Gaps::Think).unwrap();
    assert_eq!(trace.classes, ["made-up-large", "made-up-small"]);
    let at: Vec<_> = trace.requests.iter().map(|r| (r.at.unwrap().0 / 1_000_000, r.session.unwrap().0, r.turn)).collect();
    assert_eq!(at, [(0, 0, 0), (2_500, 0, 1), (3_000, 0, 2), (7_000, 0, 3)]);
    assert_eq!(edges(&trace), [vec![], vec![(0, End, 500)], vec![(0, End, 1_000)], vec![(1, End, 1_000), (2, End, 1_000)]]);
    assert_eq!(edges(&read(SAMPLE, Gaps::Recorded).unwrap())[3], [(1, Start, 4_500), (2, Start, 4_000)]);
    let lengths: Vec<_> = trace.requests.iter().map(|r| (r.input_tokens, r.output_tokens, r.length)).collect();
    assert_eq!(lengths[0], (20, 9, OutputLength::Exact));
    assert_eq!((lengths[1].1, lengths[1].2), (64, OutputLength::Cap));
    let Prompt::Messages(first) = &trace.requests[0].prompt else { panic!("messages") };
    let Prompt::Messages(last) = &trace.requests[3].prompt else { panic!("messages") };
    assert_eq!(&*first.messages[0], "{\"role\":\"user\",\"content\":\"Compare two rivers.\"}");
    assert!(std::sync::Arc::ptr_eq(&first.messages[0], &last.messages[0]), "kept once");
    assert_eq!(first.tools.as_deref(), Some("[{\"type\":\"function\",\"function\":{\"name\":\"search\"}}]"));
    let recorded = trace.requests[0].recorded.as_deref().unwrap();
    assert_eq!((recorded.e2e, recorded.failed, recorded.cached_tokens), (Some(Nanos::from_millis(2_000)), Some(false), Some(16)));
    assert_eq!(trace.requests[3].recorded.as_deref().unwrap().failed, Some(true));
    for told in ["inferred", "1 spans are no calls", "2 prompts have no count", "1 answers have no count"] {
        assert!(trace.losses.iter().any(|loss| loss.contains(told)), "{told}: {:?}", trace.losses);
    }
}

#[test]
fn objects_of_lines_are_sessions() {
    let line = serde_json::from_str::<Value>(SAMPLE).unwrap().to_string();
    let later = line.replace("T10:00", "T10:01");
    let trace = read(&format!("{later}\n{line}\n"), Gaps::Think).unwrap();
    let sessions: Vec<_> = trace.requests.iter().map(|r| r.session.unwrap().0).collect();
    assert_eq!(sessions, [1, 1, 1, 1, 0, 0, 0, 0], "in order of time");
    assert_eq!(trace.requests[4].at, Some(Nanos::from_secs(60)));
    assert_eq!(edges(&trace)[7].iter().map(|e| e.0).collect::<Vec<_>>(), [5, 6]);
}

#[test]
fn errors_name_the_place_and_the_remedy() {
    let check = |from: &str, to: &str, expect: &[&str]| {
        assert!(SAMPLE.contains(from), "{from}");
        let error = read(&SAMPLE.replacen(from, to, 1), Gaps::Think).unwrap_err().to_string();
        assert!(expect.iter().all(|part| error.contains(part)), "{error}");
    };
    check("10:00:00.000000", "10:00", &["dir/o.json:1:", "`spans[0].start_time`", "moment such as"]);
    check("10:00:02.000000", "09:00:02.000000", &["`spans[0].end_time`", "before `start_time`"]);
    check("\"span_id\": \"s2\"", "\"span_id\": \"s1\"", &["`spans[1].span_id`", "twice"]);
    check("\"span_id\"", "\"spanid\"", &["spans[0].spanid", "unknown", "`span_id`"]);
    check(
        "\"[{\\\"role\\\": \\\"user\\\"",
        "\"[{\\\"rolle\\\": \\\"user\\\"",
        &["`spans[0].attributes.gen_ai.input.messages`", "position 0", "`role`"],
    );
    check("\"[{\\\"role\\\": \\\"user\\\"", "\"{\\\"role\\\": \\\"user\\\"", &["gen_ai.input.messages", "not JSON"]);
    check(
        "\"gen_ai.usage.input_tokens\": 20",
        "\"gen_ai.usage.input_tokens\": -20",
        &["gen_ai.usage.input_tokens` is -20", "tokens from 0"],
    );
    check("\"spans\": [", "\"spans\": 7, \"x\": [", &["`spans` is 7"]);
    assert!(read(&SAMPLE[..SAMPLE.len() / 2], Gaps::Think).unwrap_err().to_string().contains("not JSON"));
}
