//! The one public row of the Bailian traces, where it is at hand.

use nomoat_core::prompt::{BlockRange, Prompt};
use nomoat_workloads::{ImportOptions, open};
use std::path::PathBuf;

#[test]
fn the_first_row_of_the_thinking_trace() {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/traces/bailian-format/thinking_first_row.jsonl"));
    if !path.exists() {
        eprintln!("skipped: {} is not here", path.display());
        return;
    }
    let trace = open(&path, None, &ImportOptions::default()).unwrap();
    let request = &trace.requests[0];
    assert_eq!((trace.requests.len(), request.input_tokens, request.output_tokens), (1, 502, 1_494));
    assert_eq!(trace.classes, ["thinking"]);
    // 502 tokens are 31 full blocks and a partial one, whose id nobody shares.
    assert!(matches!(&request.prompt, Prompt::Blocks(b) if b.blocks[..] == [BlockRange { first: 0, count: 31 }] && b.tokens == 502));
    assert_eq!(trace.origin.licence, None, "one row is not the published file");
}
