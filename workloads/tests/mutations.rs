//! Files that were damaged: an importer refuses them or reads something whole, and never panics.

use nomoat_core::prompt::Prompt;
use nomoat_core::trace::{Join, Trace};
use nomoat_core::units::Nanos;
use nomoat_workloads::{Gaps, ImportOptions, from_bytes, open, write_canonical};
use proptest::prelude::*;
use std::collections::HashMap;

/// Samples of formats whose prompts the canonical format cannot say, or whose requests wait for each other.
const SAMPLES: [(&str, &[u8]); 5] = [
    ("bailian", include_bytes!("../samples/bailian.jsonl")),
    ("otel", include_bytes!("../samples/otel.json")),
    ("tracelab-csv", include_bytes!("../samples/tracelab.csv")),
    ("tracelab-jsonl", include_bytes!("../samples/tracelab.jsonl")),
    ("weka", include_bytes!("../samples/weka.json")),
];

/// How many bytes go, and what stands there instead.
fn edit() -> impl Strategy<Value = (usize, Vec<u8>)> {
    let tokens = [
        "-",
        "0",
        "9",
        "99999999999999999999",
        "null",
        "[]",
        "{}",
        "\"",
        ",",
        "\n",
        "1e9",
        ".5",
        "\u{0}",
        "true",
        "Z",
        ":",
        "16777216",
        "4294967295",
    ];
    let new =
        prop_oneof![prop::sample::select(tokens.to_vec()).prop_map(|t| t.as_bytes().to_vec()), prop::collection::vec(any::<u8>(), 0..4)];
    (0_usize..9, new)
}

/// What holds of every trace.
fn check(trace: &Trace) {
    assert!(!trace.requests.is_empty());
    let mut latest_root = Nanos::ZERO;
    let mut turns = HashMap::new();
    for (index, request) in trace.requests.iter().enumerate() {
        assert!(request.after.iter().all(|e| (e.request.0 as usize) < index && e.gap >= Nanos::ZERO), "{index}: {:?}", request.after);
        assert!(request.input_tokens > 0 && request.output_tokens > 0 && usize::from(request.class) < trace.classes.len());
        assert!(request.at.is_none_or(|at| at >= Nanos::ZERO));
        if request.after.is_empty() {
            assert!(request.join == Join::All);
            let at = request.at.unwrap_or(latest_root);
            assert!(at >= latest_root, "root {index} at {at} after one at {latest_root}");
            latest_root = at;
        }
        if let Some(session) = request.session {
            let last = turns.insert(session, request.turn);
            assert!(last.is_none_or(|last| last < request.turn), "turns of {session:?}");
        }
        match &request.prompt {
            Prompt::Blocks(b) => {
                let blocks: u64 = b.blocks.iter().map(|range| u64::from(range.count)).sum();
                assert!(b.tokens == request.input_tokens && blocks <= u64::from(b.tokens.div_ceil(b.block_tokens)));
            }
            Prompt::Parts(p) => assert_eq!(p.tokens(), u64::from(request.input_tokens)),
            Prompt::Messages(m) => assert!(m.messages.iter().all(|text| text.starts_with('{'))),
            other => panic!("{other:?}"),
        }
    }
    let mut written = vec![];
    write_canonical(trace, &mut written).expect("what is read can be written");
    assert!(
        from_bytes("f", &written, Some("canonical"), &ImportOptions::default()).expect("and read") == *trace,
        "the canonical copy reads back the same"
    );
}

fn mutate(mut bytes: Vec<u8>, edits: Vec<(prop::sample::Index, (usize, Vec<u8>))>) -> Vec<u8> {
    for (at, edit) in edits {
        if bytes.is_empty() {
            break;
        }
        let at = at.index(bytes.len());
        bytes.splice(at..(at + edit.0).min(bytes.len()), edit.1);
    }
    bytes
}

#[test]
fn samples_hold_what_every_trace_does() {
    for (format, bytes) in SAMPLES {
        check(&from_bytes("f", bytes, Some(format), &ImportOptions::default()).unwrap());
    }
}

proptest! {
    #[test]
    fn no_mutation_panics(
        which in 0..SAMPLES.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), edit()), 1..4),
        lenient in any::<bool>(),
        recorded in any::<bool>(),
    ) {
        let (format, bytes) = SAMPLES[which];
        let bytes = mutate(bytes.to_vec(), edits);
        let gaps = if recorded { Gaps::Recorded } else { Gaps::Think };
        let options = ImportOptions { lenient, gaps, ..ImportOptions::default() };
        if let Ok(trace) = from_bytes("f", &bytes, Some(format), &options) {
            check(&trace);
        }
    }

    #[test]
    fn no_truncation_panics(which in 0..SAMPLES.len(), cut in any::<prop::sample::Index>(), lenient in any::<bool>()) {
        let (format, bytes) = SAMPLES[which];
        let options = ImportOptions { lenient, ..ImportOptions::default() };
        if let Ok(trace) = from_bytes("f", &bytes[..cut.index(bytes.len())], Some(format), &options) {
            check(&trace);
        }
    }
}

proptest! {
    // Each case writes six files.
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_mutation_of_a_folder_panics(
        which in 0_usize..6,
        edits in prop::collection::vec((any::<prop::sample::Index>(), edit()), 1..4),
        lenient in any::<bool>(),
    ) {
        let folder = std::env::temp_dir().join(format!("nomoat-mutations-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let names =
            ["0_trace.jsonl", "1_sys_prompt.jsonl", "2_passages.jsonl", "3_history.jsonl", "4_user_input.jsonl", "5_web_search.jsonl"];
        for (index, name) in names.iter().enumerate() {
            let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/samples/ragpulse/").to_owned() + name).unwrap();
            let bytes = if index == which { mutate(bytes, edits.clone()) } else { bytes };
            std::fs::write(folder.join(name), bytes).unwrap();
        }
        let read = open(&folder, Some("ragpulse"), &ImportOptions { lenient, ..ImportOptions::default() });
        std::fs::remove_dir_all(&folder).unwrap();
        if let Ok(trace) = read {
            check(&trace);
        }
    }
}
