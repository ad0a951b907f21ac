//! Published tables of lengths and arrivals, where they are at hand: what is read has the statistics that the literature reports.

use nomoat_core::request::RequestId;
use nomoat_core::trace::{Moment, Trace};
use nomoat_core::units::Nanos;
use nomoat_workloads::{ImportOptions, ServeGenOptions, SharingOptions, TraceStats, open, servegen, stats};
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

fn read(path: &str) -> Option<(Trace, TraceStats)> {
    let trace = open(&shared(path)?, None, &ImportOptions::default()).expect("a published trace reads");
    let stats = stats(&trace, &SharingOptions::default());
    Some((trace, stats))
}

#[test]
fn burstgpt_first_rows() {
    if let Some((trace, _)) = read("burstgpt/BurstGPT_1_head3.csv") {
        let rows: Vec<_> = trace.requests.iter().map(|r| (r.at.unwrap().0 / 1_000_000_000, r.input_tokens, r.output_tokens)).collect();
        assert_eq!(rows, [(0, 472, 18), (40, 1_087, 230), (113, 417, 276)]);
        assert_eq!(trace.classes, ["ChatGPT, Conversation log", "GPT-4, Conversation log"]);
        assert_eq!(trace.requests[2].session, None);
    }
    if let Some((trace, _)) = read("burstgpt/BurstGPT_3_head4.csv") {
        let at: Vec<_> = trace.requests.iter().map(|r| r.at.unwrap()).collect();
        assert_eq!(at, [0, 51, 82, 144].map(Nanos::from_secs));
        assert!(trace.requests.iter().enumerate().all(|(i, r)| r.session.map(|s| s.0) == Some(i as u32) && r.after.is_empty()));
        assert_eq!(trace.requests[0].recorded.as_ref().unwrap().e2e, Some(Nanos::from_secs(43)));
    }
}

#[test]
fn burstgpt_conversations() {
    let Some((trace, stats)) = read("burstgpt/burstgpt3_head105_derived.csv") else { return };
    assert_eq!((stats.rows, trace.span()), (105, Some(Nanos::from_secs(32_700))));
    near("input mean", stats.input.mean, 1_180.0, 0.5);
    near("output mean", stats.output.mean, 201.0, 0.5);
    assert_eq!((stats.input.p50, stats.input.max, stats.output.p50, stats.output.max), (384, 25_085, 98, 879));
    let sessions: std::collections::HashSet<_> = trace.requests.iter().map(|r| r.session.unwrap()).collect();
    let longest = trace.requests.iter().map(|r| r.turn).max().unwrap() + 1;
    assert_eq!((sessions.len(), longest), (37, 24));
    // All arrivals taken for themselves, as the literature does, not only those of first turns.
    let at: Vec<f64> = trace.requests.iter().map(|r| r.at.unwrap().as_secs_f64()).collect();
    let gaps: Vec<f64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let sd = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
    near("gap CV of all", sd / mean, 1.87, 0.005);
    let [start, end] = &trace.requests[4].after[..] else { panic!("the first second turn") };
    assert_eq!((start.request, start.on, start.gap), (RequestId(0), Moment::Start, Nanos::from_secs(191)));
    assert_eq!((end.on, end.gap), (Moment::End, Nanos::ZERO));
}

#[test]
fn length_tables() {
    for (file, rows, input, output) in [
        ("sharegpt_8k_filtered_stats_llama2_tokenizer.csv", 30_731, (2_340.0, 1_730, 6_563, 7_434), (438.7, 415, 920, 998)),
        ("arxiv_summarization_stats_llama2_tokenizer_filtered_v2.csv", 28_257, (2_588.1, 2_730, 3_813, 3_933), (291.4, 167, 736, 3_271)),
        ("bwb_stats_llama2_tokenizer_filtered_v2.csv", 33_768, (1_067.2, 1_037, 1_584, 1_800), (1_612.8, 1_601, 2_342, 2_533)),
    ] {
        let Some((trace, stats)) = read(&format!("length-distributions/{file}")) else { continue };
        assert_eq!((stats.rows, trace.span(), trace.origin.licence.as_deref()), (rows, None, Some("Apache-2.0")), "{file}");
        assert_eq!(trace.tokenizer.as_deref(), Some("Llama-2"));
        for (what, seen, (mean, p50, p95, p99)) in [("input", stats.input, input), ("output", stats.output, output)] {
            near(&format!("{file} {what} mean"), seen.mean, mean, 0.05);
            // Here percentiles are lengths that occur, there they are interpolated between neighbours.
            for (seen, expect) in [(seen.p50, p50), (seen.p95, p95), (seen.p99, p99)] {
                near(&format!("{file} {what}"), f64::from(seen), f64::from(expect), 3.0);
            }
        }
    }
}

/// A quarter of a day's requests of a set of clients.
fn made(path: &str) -> Option<(Trace, TraceStats)> {
    let options = ServeGenOptions { span: Nanos::from_secs(86_400), rate_scale: 0.25, ..ServeGenOptions::default() };
    let trace = servegen(&shared(path)?, &options).expect("published parameters read");
    let stats = stats(&trace, &SharingOptions::default());
    assert_eq!(trace.origin.licence.as_deref(), Some("Apache-2.0"), "{path}");
    Some((trace, stats))
}

/// Values within so many per cent of what is expected.
fn close(what: &str, values: &[(f64, f64)], percent: f64) {
    for (value, expect) in values {
        near(what, *value, *expect, expect * percent / 100.0);
    }
}

#[test]
fn servegen_reasoning() {
    let Some((trace, stats)) = made("servegen/reason/deepseek-r1") else { return };
    assert_eq!(trace.classes.len(), 73);
    close("rate", &[(trace.requests.len() as f64 / 86_400.0, 16.0 / 4.0)], 1.0);
    let of = |l: nomoat_workloads::LengthStats| [l.mean, l.p50.into(), l.p95.into(), l.p99.into()];
    let pairs = |seen: [f64; 4], expect: [f64; 4]| seen.into_iter().zip(expect).collect::<Vec<_>>();
    // Clients are bursty: over seeds the 95th percentile of prompts is anywhere from 6420 to 6970.
    close("input", &pairs(of(stats.input), [1_268.0, 208.0, 6_714.0, 23_423.0]), 5.0);
    close("output", &pairs(of(stats.output), [1_527.0, 792.0, 5_701.0, 12_607.0]), 3.0);
    // The largest of the clients sends 29 % of all requests, the ten largest 68 %.
    let mut by_client = vec![0_u32; 73];
    trace.requests.iter().for_each(|r| by_client[usize::from(r.class)] += 1);
    by_client.sort_unstable_by(|a, b| b.cmp(a));
    let share = |n: usize| 100.0 * f64::from(by_client[..n].iter().sum::<u32>()) / trace.requests.len() as f64;
    near("largest", share(1), 29.0, 1.0);
    near("ten largest", share(10), 68.0, 1.0);
    assert!(trace.losses.iter().any(|l| l.contains("are reasoning for")), "{:?}", trace.losses);
}

#[test]
fn servegen_pictures() {
    let Some((trace, stats)) = made("servegen/multimodal/mm-image") else { return };
    assert_eq!(trace.classes.len(), 35);
    close("rate", &[(trace.requests.len() as f64 / 86_400.0, 9.5 / 4.0)], 1.0);
    let (input, output) = (stats.input, stats.output);
    close("text", &[(input.mean, 572.0), (input.p50.into(), 106.0), (input.p95.into(), 2_346.0), (input.p99.into(), 3_064.0)], 3.0);
    close("output", &[(output.mean, 130.0), (output.p50.into(), 100.0), (output.p95.into(), 336.0), (output.p99.into(), 587.0)], 3.0);
    assert!(trace.losses.iter().any(|l| l.contains("pictures")), "{:?}", trace.losses);
}

#[test]
fn servegen_fourteen_days() {
    for (set, clients) in [("language/m-large", 4), ("language/m-small", 4)] {
        let Some(path) = shared(&format!("servegen/{set}")) else { continue };
        let start = Nanos::from_secs(13 * 86_400);
        let trace = servegen(&path, &ServeGenOptions { start, rate_scale: 0.1, ..ServeGenOptions::default() }).expect("parameters read");
        assert_eq!(trace.classes.len(), clients);
        assert!(trace.requests.len() > 1_000, "{set}: {}", trace.requests.len());
    }
}
