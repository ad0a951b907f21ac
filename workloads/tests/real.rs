//! The published traces, where they are at hand: what is read has the statistics that the literature reports.

use nomoat_core::prompt::{BlockRange, Prompt};
use nomoat_core::units::Nanos;
use nomoat_workloads::{ImportOptions, SharingOptions, open, stats, write_canonical};
use std::path::PathBuf;

/// A file of the trace collection beside the workspace, or `None` with a word about it.
fn shared(path: &str) -> Option<PathBuf> {
    let full = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/traces")).join(path);
    if !full.exists() {
        eprintln!("skipped: {} is not here", full.display());
        return None;
    }
    Some(full)
}

fn near(what: &str, value: f64, expect: f64, tolerance: f64) {
    assert!((value - expect).abs() <= tolerance, "{what}: {value}, not {expect}");
}

#[test]
fn azure_conversation() {
    let Some(path) = shared("azure-llm-2023/AzureLLMInferenceTrace_conv.csv") else { return };
    let trace = open(&path, None, &ImportOptions::default()).unwrap();
    let stats = stats(&trace, &SharingOptions::default());
    assert_eq!((stats.rows, trace.origin.licence.as_deref()), (19_366, Some("CC-BY-4.0")));
    assert_eq!(trace.source.short(), "2f1e5b666d4e");
    assert_eq!(trace.requests[1].at, Some(Nanos(4_314_579_000)));
    near("span", stats.arrivals.span.unwrap().as_secs_f64(), 3_501.7, 0.05);
    near("rate", stats.arrivals.rate_per_s.unwrap(), 5.530, 0.0005);
    near("gap CV", stats.arrivals.gap_cv.unwrap(), 1.09, 0.005);
    near("input mean", stats.input.mean, 1_154.7, 0.05);
    near("output mean", stats.output.mean, 211.1, 0.05);
    assert_eq!((stats.input.p50, stats.input.p95, stats.input.max), (1_020, 4_083, 14_050));
    assert_eq!((stats.output.p50, stats.output.p95, stats.output.p99, stats.output.max), (129, 451, 601, 1_000));
    assert_eq!(stats.sharing, None);
    near("dispersion in seconds", stats.arrivals.dispersion_1s.unwrap(), 1.39, 0.01);
    // The last window is not whole: counted as if it were, it would be 20.6.
    near("dispersion in minutes", stats.arrivals.dispersion_60s.unwrap(), 16.13, 0.01);
    near("busiest minute", stats.arrivals.peak_per_s.unwrap(), 8.45, 0.001);
    assert!(trace.losses[0].contains("unique"));

    let mut written = vec![];
    write_canonical(&trace, &mut written).unwrap();
    let path = std::env::temp_dir().join(format!("nomoat-azure-{}.jsonl", std::process::id()));
    std::fs::write(&path, written).unwrap();
    let again = open(&path, None, &ImportOptions::default());
    std::fs::remove_file(&path).unwrap();
    assert!(again.unwrap() == trace, "the canonical copy reads back the same");
}

#[test]
fn mooncake_conversation() {
    let Some(path) = shared("mooncake/conversation_trace.jsonl") else { return };
    let options = ImportOptions { seed: 1, ..ImportOptions::default() };
    let trace = open(&path, None, &options).unwrap();
    let stats = stats(&trace, &SharingOptions { engine_blocks: vec![16, 64, 128], ..SharingOptions::default() });
    assert_eq!((stats.rows, trace.origin.licence.as_deref()), (12_031, Some("Apache-2.0")));
    near("input mean", stats.input.mean, 12_035.1, 0.05);
    near("output mean", stats.output.mean, 342.6, 0.05);
    assert_eq!((stats.input.p50, stats.input.max), (6_909, 126_195));
    let blocks = stats.sharing.unwrap();
    assert_eq!((blocks.refs, blocks.unique), (288_500, 182_790));
    near("leading reuse, %", 100.0 * blocks.of_refs(blocks.leading).unwrap(), 36.64, 0.005);
    assert_eq!((blocks.seen, blocks.tokens, blocks.cold), (blocks.leading, 144_793_823, 1), "chained, behind one first block");
    near("leading tokens, %", 100.0 * blocks.of_tokens(blocks.leading_tokens).unwrap(), 37.36, 0.01);
    let published = [(1_000, 4.45), (5_000, 11.18), (10_000, 21.16), (20_000, 28.78), (50_000, 35.46), (100_000, 36.37)];
    for ((size, found), (expect, share)) in blocks.caches.iter().zip(published) {
        assert_eq!(*size, expect);
        near(&format!("LRU of {size} blocks, %"), 100.0 * blocks.of_refs(*found).unwrap(), share, 0.005);
    }
    assert_eq!(blocks.engine, [(16, 54_097_440), (64, 54_093_952), (128, 54_089_728)]);
    // Spread inside its ticks it is the Poisson stream that the recording clock hid.
    near("gap CV", stats.arrivals.gap_cv.unwrap(), 1.0, 0.05);
    near("rate", stats.arrivals.rate_per_s.unwrap(), 3.402, 0.005);
    assert!(trace.losses[0].contains("1180 distinct times in 12031 rows"), "{:?}", trace.losses);
    assert!(trace.requests.iter().all(|r| matches!(&r.prompt, Prompt::Blocks(b) if b.blocks[0].first == 0)), "one shared first block");
    assert!(matches!(&trace.requests[0].prompt, Prompt::Blocks(b) if b.blocks[..] == [BlockRange { first: 0, count: 14 }]));

    let raw = open(&path, Some("mooncake-jsonl"), &ImportOptions { spread_ticks: false, ..options }).unwrap();
    near("gap CV of raw ticks", nomoat_workloads::stats(&raw, &SharingOptions::default()).arrivals.gap_cv.unwrap(), 3.03, 0.005);
    for (spread, raw) in trace.requests.iter().zip(&raw.requests) {
        let inside = spread.at.unwrap() - raw.at.unwrap();
        assert!((Nanos::ZERO..Nanos::from_millis(3_004)).contains(&inside));
        assert_eq!((&spread.prompt, spread.output_tokens), (&raw.prompt, raw.output_tokens));
    }

    let mut written = vec![];
    write_canonical(&trace, &mut written).unwrap();
    let original = std::fs::metadata(&path).unwrap().len() as usize;
    assert!(written.len() * 2 < original, "{} of {original} bytes", written.len());
}

/// A prefix cache that knows token ids and nothing of where they came from: a chain of hashes of every 16 of them.
#[derive(Default)]
struct TokenCache {
    seen: std::collections::HashSet<u64>,
}

impl TokenCache {
    fn look_up(&mut self, ids: &[u32]) -> u64 {
        let mut chain = 0xcbf2_9ce4_8422_2325_u64;
        let mut hashes = Vec::with_capacity(ids.len() / 16);
        for block in ids.chunks_exact(16) {
            for id in block {
                chain = (chain ^ u64::from(*id)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
            }
            hashes.push(chain);
        }
        let found = hashes.iter().take_while(|hash| self.seen.contains(hash)).count() as u64;
        self.seen.extend(hashes);
        // One token must be computed, so a prompt that is found whole computes its last block again.
        if found * 16 == ids.len() as u64 { (found - 1) * 16 } else { found * 16 }
    }
}

#[test]
fn synthesised_token_ids_are_cached_as_predicted() {
    for (file, expect) in [("mooncake/conversation_trace.jsonl", Some(54_097_440)), ("weka-agentic/trace_0016.json.gz", None)] {
        let Some(path) = shared(file) else { return };
        let trace = open(&path, None, &ImportOptions::default()).unwrap();
        let sharing = stats(&trace, &SharingOptions::default()).sharing.unwrap();
        let predicted = sharing.engine[0].1;
        assert!(expect.is_none_or(|tokens| tokens == predicted));
        let (mut cache, mut ids, mut found) = (TokenCache::default(), vec![], 0);
        for request in &trace.requests {
            ids.clear();
            assert!(request.prompt.expand(7, nomoat_core::prompt::Alphabet { first: 300, size: 1_024 }, &mut ids));
            assert_eq!(ids.len(), request.input_tokens as usize);
            found += cache.look_up(&ids);
        }
        assert_eq!(found, predicted, "{file}");
    }
}
