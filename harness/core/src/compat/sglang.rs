//! SGLang's `bench_serving` on its OpenAI backends. A role alone does not stop its clock; whatever line comes last does, `[DONE]`
//! included.

use super::steps::{
    E2E_FROM_TURN, ITL_CHUNK_GAPS, OUR_E2E, OUR_ITL, OUR_TPOT, OUR_TTFT, TERMINATOR, TPOT_FIRST_IS_ONE, TTFT_FROM_TURN, USAGE,
    WINDOW_AND_DRAIN, begun, between, input_per_second, one, per_later_token, requests_per_second,
};
use super::{MEAN, MEDIAN, Metric, P90, P95, P99, Percentiles, Rate, Step, Tool};
use crate::record::{CountSource, RequestRecord};
use crate::units::Nanos;

pub const TOOL: Tool = Tool {
    name: "sglang",
    title: "SGLang bench_serving",
    source: "SGLang 0.5.23, sglang/benchmark/serving.py (async_request_openai_chat_completions, calculate_metrics)",
    metrics: &[
        Metric {
            name: "E2E Latency",
            ours: Some("e2e"),
            about: "terminator − start: to the last line of the stream, usage and [DONE] included, from when the request has its turn",
            from: OUR_E2E,
            walk: &[
                E2E_FROM_TURN,
                Step { cause: USAGE, pick: |r, push| one(between(begun(r), r.at.last_event), push) },
                Step { cause: TERMINATOR, pick: |r, push| one(between(begun(r), last_line(r)), push) },
            ],
        },
        Metric {
            name: "TTFT",
            ours: Some("ttft"),
            about: "first_token − start: to the first text, reasoning included, from when the request has its turn",
            from: OUR_TTFT,
            walk: &[TTFT_FROM_TURN],
        },
        Metric {
            name: "TPOT",
            ours: Some("tpot"),
            about: "(terminator − first_token) / (N − 1), which is (E2E − TTFT) / (N − 1); undefined below two tokens",
            from: OUR_TPOT,
            walk: &[
                TPOT_FIRST_IS_ONE,
                Step {
                    cause: "length asked for, where no usage came",
                    pick: |r, push| one(per_later_token(between(r.at.first_token, r.at.last_token), counted(r)), push),
                },
                Step { cause: USAGE, pick: |r, push| one(per_later_token(between(r.at.first_token, r.at.last_event), counted(r)), push) },
                Step { cause: TERMINATOR, pick: |r, push| one(per_later_token(between(r.at.first_token, last_line(r)), counted(r)), push) },
            ],
        },
        Metric {
            name: "ITL",
            ours: Some("itl"),
            about: "gaps between chunks with text, however many tokens they hold",
            from: OUR_ITL,
            walk: &[ITL_CHUNK_GAPS],
        },
    ],
    rates: &[
        requests_per_second("Request throughput"),
        input_per_second("Input token throughput"),
        Rate { name: "Output token throughput", unit: "tokens/s", ours: Some("output_tput"), adds: counted },
        Rate {
            name: "Total token throughput",
            unit: "tokens/s",
            ours: Some("total_tput"),
            adds: |r| Some(f64::from(r.tokens.input?) + counted(r)?),
        },
    ],
    stats: &[MEAN, MEDIAN, P90, P95, P99],
    percentiles: Percentiles::Linear,
    span: WINDOW_AND_DRAIN,
    cannot: &[
        "its lateness: at a rate it sleeps each gap after handing out the request before, so it drifts, and no table says how far",
        "its re-tokenised counts, and its ITL by them under speculative decoding",
        "a connection of its own for every request: where ours was kept, its connecting is missing here",
        "tool calls: their arguments are text here and not there",
    ],
};

/// Its clock is read at every line that is not empty, before it looks whether that is `[DONE]`.
fn last_line(r: &RequestRecord) -> Option<Nanos> {
    r.at.terminator.max(r.at.last_event)
}

/// The count of the usage; without one it keeps the length that was asked for.
fn counted(r: &RequestRecord) -> Option<f64> {
    match r.tokens.output_source {
        CountSource::Chunks | CountSource::Unknown => Some(f64::from(r.tokens.wanted)),
        _ => r.tokens.output.map(f64::from),
    }
}
