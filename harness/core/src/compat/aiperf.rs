//! AIPerf. Clock and chunks are as ours, but for what comes before a request has its turn; its ITL is a mean of each request,
//! not a gap.

use super::steps::{
    CHUNKS, E2E_FROM_TURN, OUR_E2E, OUR_TPOT, OUR_TTFO, OUR_TTFT, QUEUE, TPOT_FIRST_IS_ONE, TTFT_FROM_TURN, begun, between, one,
    output_per_second, requests_per_second, total_per_second,
};
use super::{AVG, MAX, MIN, Metric, P50, P90, P99, Percentiles, Span, Step, Tool};

pub const TOOL: Tool = Tool {
    name: "aiperf",
    title: "AIPerf",
    source: "AIPerf 0.13.0, aiperf/transports/aiohttp_client.py and aiperf/metrics/types/",
    metrics: &[
        Metric {
            name: "Time to First Token",
            ours: Some("ttft"),
            about: "first_token − start: to the first chunk with text, reasoning included, from when the request has its turn",
            from: OUR_TTFT,
            walk: &[TTFT_FROM_TURN],
        },
        Metric {
            name: "Time to Second Token",
            ours: None,
            about: "the gap from the first chunk with text to the second",
            from: |r, push| one(r.chunk_gaps.get(1).map(|gap| *gap as f64), push),
            walk: &[],
        },
        Metric {
            name: "Time to First Output Token",
            ours: Some("ttfo"),
            about: "first_visible − start: to the first chunk that is not reasoning, from when the request has its turn",
            from: OUR_TTFO,
            walk: &[Step { cause: QUEUE, pick: |r, push| one(between(begun(r), r.at.first_visible), push) }],
        },
        Metric {
            name: "Request Latency",
            ours: Some("e2e"),
            about: "last_token − start: to the last chunk with text, from when the request has its turn",
            from: OUR_E2E,
            walk: &[E2E_FROM_TURN],
        },
        Metric {
            name: "Inter Token Latency",
            ours: Some("tpot"),
            about: "(last_token − first_token) / (N − 1) per request; undefined below two tokens. With --per-chunk-usage it is our TPOT",
            from: OUR_TPOT,
            walk: &[TPOT_FIRST_IS_ONE],
        },
        Metric {
            name: "Inter Chunk Latency",
            ours: Some("icl"),
            about: "gaps between chunks with text. Its percentiles are a t-digest's, these are exact",
            from: CHUNKS,
            walk: &[],
        },
    ],
    rates: &[
        requests_per_second("Request Throughput"),
        output_per_second("Output Token Throughput"),
        total_per_second("Total Token Throughput"),
    ],
    stats: &[AVG, MIN, MAX, P99, P90, P50],
    percentiles: Percentiles::Linear,
    span: Span {
        about: "from the first turn of an answered request to the last token of one, drain included",
        from: Some(begun),
        to: |r| r.at.last_token,
        failed: false,
    },
    cannot: &[
        "its lateness: a request is counted from when a worker takes it up",
        "its tokenizer's counts, which it uses unless told to take the endpoint's: the counts here are the endpoint's",
        "its error-adjusted percentiles, with failures as +∞: they are our population `all`",
    ],
};
