use super::*;
use crate::from_bytes;
use crate::import::Gaps;
use nomoat_core::prompt::Prompt;
use nomoat_core::request::RequestId;
use nomoat_core::trace::{Cause, Moment};

const SAMPLE: &str = include_str!("../../../samples/weka.json");

fn read(text: &str, options: &ImportOptions) -> Result<Trace, TraceError> {
    from_bytes("dir/weka.json", text.as_bytes(), Some("weka"), options)
}

/// Edges as (request, moment, gap in milliseconds).
fn edges(trace: &Trace) -> Vec<Vec<(u32, Moment, i64)>> {
    trace.requests.iter().map(|r| r.after.iter().map(|e| (e.request.0, e.on, e.gap.0 / 1_000_000)).collect()).collect()
}

fn one_line() -> String {
    serde_json::from_str::<serde_json::Value>(SAMPLE).unwrap().to_string()
}

#[test]
fn sub_agents_begin_after_their_spawner_and_are_waited_for() {
    use Moment::{End, Start};
    let trace = read(SAMPLE, &ImportOptions::default()).unwrap();
    assert_eq!(trace.classes, ["main", "Explore"]);
    assert_eq!(trace.requests.iter().map(|r| r.class).collect::<Vec<_>>(), [0, 0, 1, 1, 1, 0, 0, 0]);
    assert_eq!(trace.requests.iter().map(|r| r.turn).collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
    assert!(trace.requests.iter().all(|r| r.session == Some(SessionId(0))));
    // The two sub-agents took 8.5 and 10.2 seconds until 18.5 and 20.2: both began at the end of the request at 5 s, which is 10.0.
    let at: Vec<i64> = trace.requests.iter().map(|r| r.at.unwrap().0 / 1_000_000).collect();
    assert_eq!(at, [0, 5_000, 10_000, 14_000, 10_000, 22_000, 30_000, 41_000]);
    assert_eq!(
        edges(&trace),
        [
            vec![],
            vec![(0, End, 2_000)],
            vec![(1, End, 0)],
            vec![(2, End, 3_000)],
            vec![(1, End, 0)],
            // The last of the sub-agents ended at 20.0: two seconds of the client's own, after both.
            vec![(1, End, 0), (3, End, 2_000), (4, End, 2_000)],
            vec![(5, End, 5_500)],
            // Neither think time nor the duration before: the recorded distance, and not before the answer.
            vec![(6, Start, 11_000), (6, End, 0)],
        ]
    );
    assert_eq!(trace.requests[1].after[0].cause, Cause::Tool);
    assert_eq!(trace.requests[6].after[0].cause, Cause::Think);
    for told in ["2 sub-agents began", "1 requests follow one whose", "1 answers of no token"] {
        assert!(trace.losses.iter().any(|loss| loss.starts_with(told)), "{told}: {:?}", trace.losses);
    }
    let recorded = trace.requests[0].recorded.as_deref().unwrap();
    assert_eq!((recorded.e2e, recorded.ttft), (Some(Nanos::from_millis(3_000)), Some(Nanos::from_millis(500))));

    let recorded = read(SAMPLE, &ImportOptions { gaps: Gaps::Recorded, ..ImportOptions::default() }).unwrap();
    assert_eq!(edges(&recorded)[5], [(1, Start, 17_000), (3, Start, 8_000), (4, Start, 12_000)]);
    assert!(edges(&recorded).iter().flatten().all(|edge| edge.1 == Start));
}

#[test]
fn blocks_are_full_ones_of_their_session() {
    let trace = read(SAMPLE, &ImportOptions::default()).unwrap();
    let Prompt::Blocks(b) = &trace.requests[1].prompt else { panic!("blocks") };
    assert_eq!((b.namespace, b.block_tokens, b.tokens, b.unshared), (1, 64, 330, 1));
    assert_eq!(b.blocks.iter().map(|r| (r.first, r.count)).collect::<Vec<_>>(), [(1, 5)]);
    let global = read(&SAMPLE.replace("\"local\"", "\"global\""), &ImportOptions::default()).unwrap();
    assert!(matches!(&global.requests[0].prompt, Prompt::Blocks(b) if b.namespace == 0));
    let partial = read(&SAMPLE.replace("[1, 2, 3, 4, 5]", "[1, 2, 3, 4, 5, 6]"), &ImportOptions::default()).unwrap();
    assert!(matches!(&partial.requests[1].prompt, Prompt::Blocks(b) if b.blocks[0].count == 6), "the partial block has an id too");
}

#[test]
fn sessions_of_lines_stand_apart() {
    let one = one_line();
    let single = read(&one, &ImportOptions::default()).unwrap();
    assert_eq!(single.requests, read(SAMPLE, &ImportOptions::default()).unwrap().requests, "one line or many");
    let both = read(&format!("{one}\n{one}\n"), &ImportOptions::default()).unwrap();
    assert_eq!(both.requests.len(), 16);
    assert!(both.requests.iter().all(|r| r.at.is_none()));
    assert!(both.losses.iter().any(|loss| loss.contains("2 sessions were recorded apart")), "{:?}", both.losses);
    assert_eq!((both.requests[8].session, both.requests[8].turn), (Some(SessionId(1)), 0));
    assert_eq!(both.requests[9].after[0].request, RequestId(8));
    assert!(matches!(&both.requests[9].prompt, Prompt::Blocks(b) if b.namespace == 2 && b.unshared == 9));

    let wrong = one.replace("\"Explore\"", "\"Other\"").replace("\"t\":41", "\"t\":1");
    let lenient = ImportOptions { lenient: true, ..ImportOptions::default() };
    let trace = read(&format!("{one}\n{wrong}\n{one}\n"), &lenient).unwrap();
    assert_eq!((trace.requests.len(), trace.classes.len()), (16, 2), "a wrong session leaves nothing behind");
    assert_eq!(trace.requests[15].session, Some(SessionId(1)));
    assert!(trace.losses.iter().any(|loss| loss.contains("1 wrong rows")), "{:?}", trace.losses);
}

#[test]
fn a_folder_is_read_in_order_of_names() {
    let folder = std::env::temp_dir().join(format!("nomoat-weka-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["trace_2.json", "trace_1.json"] {
        std::fs::write(folder.join(name), SAMPLE).unwrap();
    }
    std::fs::write(folder.join("README.md"), "hello").unwrap();
    let trace = crate::open(&folder, None, &ImportOptions::default());
    std::fs::remove_dir_all(&folder).unwrap();
    let trace = trace.unwrap();
    assert_eq!((trace.requests.len(), trace.requests[8].session), (16, Some(SessionId(1))));
    assert_eq!(trace.origin.licence, None);
}

#[test]
fn a_sub_agent_whose_duration_does_not_fit_began_at_its_t() {
    let text = SAMPLE.replace("\"duration_ms\": 8500", "\"duration_ms\": 12000");
    let trace = read(&text, &ImportOptions::default()).unwrap();
    assert_eq!(trace.requests[2].at, Some(Nanos::from_millis(18_500)));
    // So it ended at 24.0, after the parent's request at 22; the one at 30 waits for it.
    assert_eq!(edges(&trace)[5].iter().map(|e| e.0).collect::<Vec<_>>(), [1, 4]);
    assert_eq!(edges(&trace)[6].iter().map(|e| e.0).collect::<Vec<_>>(), [5, 3]);
    assert!(trace.losses.iter().any(|loss| loss.starts_with("1 sub-agents ended after the next request")), "{:?}", trace.losses);
}

#[test]
fn errors_name_the_place_and_the_remedy() {
    let check = |from: &str, to: &str, expect: &[&str]| {
        assert!(SAMPLE.contains(from), "{from}");
        let error = read(&SAMPLE.replacen(from, to, 1), &ImportOptions::default()).unwrap_err().to_string();
        assert!(expect.iter().all(|part| error.contains(part)), "{error}");
    };
    check("\"in\": 330", "\"in\": 900", &["dir/weka.json:1:", "`requests[1].hash_ids`", "5 ids for 900 tokens", "14 ids"]);
    check("\"in\": 330", "\"in\": 0", &["`requests[1].in`", "is 0", "from 1"]);
    check("\"in\": 330, ", "", &["`requests[1].in`", "missing"]);
    check("\"t\": 5.0", "\"t\": -5.0", &["`requests[1].t`", "-5.0", "number of seconds"]);
    check("\"t\": 41.0", "\"t\": 4.0", &["`requests[6].t`", "earlier", "order"]);
    check("\"think_time\": 2.0", "\"think_time\": -2.0", &["`requests[1].think_time`", "-2.0"]);
    check("\"think_time\"", "\"thinktime\"", &["thinktime", "unknown", "`think_time`"]);
    check("\"local\"", "\"galactic\"", &["`hash_id_scope`", "\"global\""]);
    check("\"block_size\": 64", "\"block_size\": 0", &["`block_size`", "from 1"]);
    check("[1, 2, 3, 4, 5]", "[1, 2, 3, 4, -5]", &["`requests[1].hash_ids`", "-5 at position 4"]);
    check("\"type\": \"subagent\"", "\"type\": \"robot\"", &["`requests[2].type`", "\"subagent\""]);
    check("\"requests\": [", "\"requests\": 7, \"x\": [", &["`requests` is 7", "a list of objects"]);
    let empty = "{\"id\": 1, \"block_size\": 64, \"hash_id_scope\": \"local\", \"requests\": []}";
    assert!(read(empty, &ImportOptions::default()).unwrap_err().to_string().contains("has no request"));
    assert!(read(&SAMPLE[..SAMPLE.len() / 2], &ImportOptions::default()).unwrap_err().to_string().contains("not JSON"));
}
