//! The published example spans, where they are at hand: their graphs are the ones their texts describe.

use nomoat_core::prompt::Prompt;
use nomoat_core::trace::Trace;
use nomoat_core::units::Nanos;
use nomoat_workloads::{ImportOptions, open};
use std::path::PathBuf;

fn shared(file: &str) -> Option<Trace> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/traces/otel-genai")).join(file);
    if !path.exists() {
        eprintln!("skipped: {} is not here", path.display());
        return None;
    }
    Some(open(&path, None, &ImportOptions::default()).expect("a published file reads"))
}

#[test]
fn every_example_has_its_graph() {
    let files: [(&str, &[&[u32]]); 7] = [
        ("simple_chain.json", &[&[], &[0], &[1]]),
        ("simple_chain_alt.json", &[&[], &[0], &[1]]),
        ("fan_in_dependencies.json", &[&[], &[0], &[0], &[1, 2]]),
        ("parallel_requests.json", &[&[], &[0], &[0], &[1, 2], &[3]]),
        ("multi_agent_research.json", &[&[], &[0], &[0], &[0], &[1, 2, 3], &[4], &[5], &[5], &[5], &[6, 7, 8], &[9], &[10]]),
        ("prefix_sharing_example.json", &[&[], &[0], &[1], &[2], &[3], &[4], &[5]]),
        // Calls 9 and 13 speak of their colleagues' results without quoting them, so only the quoted answers are causes.
        (
            "software_architecture_review.json",
            &[&[], &[0], &[0], &[0], &[0], &[1, 2, 3, 4], &[5], &[5], &[5], &[5], &[9], &[10], &[10], &[10], &[13]],
        ),
    ];
    for (file, expect) in files {
        let Some(trace) = shared(file) else { return };
        let edges: Vec<Vec<u32>> = trace.requests.iter().map(|r| r.after.iter().map(|e| e.request.0).collect()).collect();
        assert_eq!(edges, expect, "{file}");
        assert_eq!(trace.origin.licence.as_deref(), Some("Apache-2.0"));
        for request in &trace.requests {
            assert!(matches!(&request.prompt, Prompt::Messages(m) if !m.messages.is_empty()));
            let ends = request.after.iter().map(|e| {
                let before = &trace.requests[e.request.0 as usize];
                before.at.unwrap() + before.recorded.as_deref().unwrap().e2e.unwrap()
            });
            if let (Some(last), Some(edge)) = (ends.max(), request.after.first()) {
                assert_eq!(Some(last + edge.gap), request.at, "{file}");
            }
        }
    }
    let Some(trace) = shared("prefix_sharing_example.json") else { return };
    let lengths: Vec<_> = trace.requests.iter().map(|r| (r.input_tokens, r.output_tokens)).collect();
    assert_eq!(lengths, [(50, 20), (45, 15), (100, 50), (180, 60), (270, 70), (380, 55), (40, 10)]);
    assert_eq!(trace.requests[2].at, Some(Nanos::from_secs(4)));
    let Some(trace) = shared("fan_in_dependencies.json") else { return };
    assert_eq!(trace.requests[3].after.iter().map(|e| e.gap).collect::<Vec<_>>(), [Nanos::from_secs(1); 2]);
}
