//! RAGPulse, where it is at hand: the published statistics.

use nomoat_core::prompt::Prompt;
use nomoat_core::trace::Trace;
use nomoat_core::units::Nanos;
use nomoat_workloads::{ImportOptions, SharingOptions, open, stats};
use std::collections::HashSet;
use std::path::PathBuf;

fn near(what: &str, value: f64, expect: f64, tolerance: f64) {
    assert!((value - expect).abs() <= tolerance, "{what}: {value}, not {expect}");
}

/// Tokens of pieces seen before anywhere, and from the start of the prompt only, over all tokens of pieces.
fn shares(trace: &Trace) -> (f64, f64) {
    let (mut anywhere, mut prefixes) = (HashSet::new(), HashSet::new());
    let (mut seen, mut leading, mut tokens) = (0, 0, 0);
    for request in &trace.requests {
        let Prompt::Parts(prompt) = &request.prompt else { panic!("parts") };
        // The last part is the template's few tokens, which the catalogue's figures leave out.
        let parts = &prompt.parts[..prompt.parts.len() - 1];
        let mut prefix = vec![];
        for part in parts {
            prefix.push(part.id);
            tokens += u64::from(part.tokens);
            leading += if prefixes.contains(&prefix) { u64::from(part.tokens) } else { 0 };
            seen += if anywhere.contains(&part.id) { u64::from(part.tokens) } else { 0 };
        }
        prefixes.extend((1..=prefix.len()).map(|n| prefix[..n].to_vec()));
        anywhere.extend(prefix);
    }
    (seen as f64 / tokens as f64, leading as f64 / tokens as f64)
}

#[test]
fn a_week_of_questions() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/traces/ragpulse"));
    if !folder.exists() {
        eprintln!("skipped: {} is not here", folder.display());
        return;
    }
    let trace = open(&folder, None, &ImportOptions { spread_ticks: false, ..ImportOptions::default() }).unwrap();
    let s = stats(&trace, &SharingOptions::default());
    assert_eq!((s.rows, trace.origin.licence.as_deref()), (7_106, Some("MIT")));
    assert_eq!(s.arrivals.span, Some(Nanos::from_secs(604_603)));
    near("rate", s.arrivals.rate_per_s.unwrap(), 0.01175, 0.000_005);
    near("gap CV", s.arrivals.gap_cv.unwrap(), 3.06, 0.005);
    near("input mean", s.input.mean, 2_943.6, 0.05);
    near("output mean", s.output.mean, 283.2, 0.05);
    // Nearest-rank; the catalogue interpolates and has 3 140.
    assert_eq!((s.input.p50, s.input.p95, s.input.max), (3_139, 4_425, 7_712));
    assert_eq!((s.output.p50, s.output.p95, s.output.max), (234, 670, 2_183));
    let sessions: HashSet<_> = trace.requests.iter().filter_map(|r| r.session).collect();
    assert_eq!((sessions.len(), trace.requests.iter().map(|r| r.turn).max()), (3_990, Some(24)));
    let (seen, leading) = shares(&trace);
    near("seen anywhere, %", 100.0 * seen, 72.0, 0.05);
    near("leading, %", 100.0 * leading, 31.5, 0.05);
    assert!(trace.losses.iter().any(|loss| loss.contains("backwards 1 times")), "{:?}", trace.losses);

    let spread = open(&folder.join("0_trace.jsonl"), None, &ImportOptions::default()).unwrap();
    assert!(spread.requests.iter().map(|r| r.at).is_sorted());
    for (spread, raw) in spread.requests.iter().zip(&trace.requests) {
        let inside = spread.at.unwrap() - raw.at.unwrap();
        assert!((Nanos::ZERO..Nanos::from_secs(1)).contains(&inside));
        assert_eq!((&spread.prompt, spread.session, spread.turn), (&raw.prompt, raw.session, raw.turn));
    }
}
