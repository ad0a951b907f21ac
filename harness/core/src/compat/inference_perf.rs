//! inference-perf. It sees `delta.content` only, so reasoning is time before the first token; all tokens of a chunk but one
//! have a gap of zero.

use super::steps::{
    E2E_FROM_TURN, OUR_E2E, OUR_ITL, OUR_TPOT, OUR_TTFT, REASONING, STREAM_END, TPOT_FIRST_IS_ONE, TTFT_FROM_TURN, TTFT_INSIDE, begun,
    between, ended, input_per_second, one, per_later_token, requests_per_second, tokens,
};
use super::{MAX, MEAN, MEDIAN, MIN, Metric, P90, P99, Percentiles, Push, Rate, Span, Step, Tool};
use crate::record::RequestRecord;
use crate::units::Nanos;

pub const TOOL: Tool = Tool {
    name: "inference-perf",
    title: "inference-perf",
    source: "inference-perf 0.7.0, reportgen/base.py, apis/ and client/modelserver/openai_client.py of inference_perf",
    metrics: &[
        Metric {
            name: "Request Latency",
            ours: Some("e2e"),
            about: "end − start: to the end of the stream, from when the request has its turn",
            from: OUR_E2E,
            walk: &[E2E_FROM_TURN, Step { cause: STREAM_END, pick: |r, push| one(between(begun(r), r.at.end), push) }],
        },
        Metric {
            name: "Norm. Time per Output Token",
            ours: Some("tpot"),
            about: "(end − start) / N per request, N without reasoning; zero where N is",
            from: OUR_TPOT,
            walk: &[
                Step { cause: TTFT_INSIDE, pick: |r, push| one(per_token(between(begun(r), r.at.last_token), tokens(r)), push) },
                Step { cause: STREAM_END, pick: |r, push| one(per_token(between(begun(r), r.at.end), tokens(r)), push) },
                Step { cause: REASONING, pick: |r, push| one(per_token(between(begun(r), r.at.end), visible_tokens(r)), push) },
            ],
        },
        Metric {
            name: "Time per Output Token",
            ours: Some("tpot"),
            about: "(last_token − first_visible) / (N − 1), N without reasoning; undefined below two tokens",
            from: OUR_TPOT,
            walk: &[
                TPOT_FIRST_IS_ONE,
                Step {
                    cause: REASONING,
                    pick: |r, push| {
                        if streamed(r) {
                            one(per_later_token(between(r.at.first_visible, r.at.last_token), visible_tokens(r)), push);
                        }
                    },
                },
            ],
        },
        Metric {
            name: "Time to First Token",
            ours: Some("ttft"),
            about: "first_visible − start: to the first text that is not reasoning; undefined for fewer than two such tokens",
            from: OUR_TTFT,
            walk: &[
                TTFT_FROM_TURN,
                Step { cause: REASONING, pick: |r, push| one(between(begun(r), r.at.first_visible), push) },
                Step {
                    cause: "answers of one token left out",
                    pick: |r, push| {
                        if streamed(r) {
                            one(between(begun(r), r.at.first_visible), push);
                        }
                    },
                },
            ],
        },
        Metric {
            name: "Inter Token Latency",
            ours: Some("itl"),
            about: "gaps between tokens that are not reasoning; all tokens of a chunk arrive at once, so all but one have a gap of zero",
            from: OUR_ITL,
            walk: &[
                Step { cause: "tokens of a chunk have no gap", pick: |r, push| token_gaps(r, 0, push) },
                Step { cause: REASONING, pick: |r, push| token_gaps(r, first_visible_chunk(r), push) },
            ],
        },
    ],
    rates: &[
        requests_per_second("Requests per second"),
        input_per_second("Input tokens per second"),
        Rate { name: "Output tokens per second", unit: "tokens/s", ours: Some("output_tput"), adds: visible_tokens },
        Rate {
            name: "Total tokens per second",
            unit: "tokens/s",
            ours: Some("total_tput"),
            adds: |r| Some(f64::from(r.tokens.input?) + visible_tokens(r)?),
        },
    ],
    stats: &[MEAN, MIN, MAX, MEDIAN, P90, P99],
    percentiles: Percentiles::Linear,
    span: Span { about: "from the first turn to the end of the last request, drain included", from: Some(begun), to: ended, failed: true },
    cannot: &[
        "its tokenizing of the whole answer, which is inside its request latency and normalized time per output token",
        "its tokenizer's counts: the counts here are the endpoint's, less reasoning where it tells, else less the chunks of reasoning",
        "tool calls: their arguments are text here and not there",
        "its schedule delay, which it does print: ours is the dispatch lag of the report",
    ],
};

fn per_token(time: Option<f64>, tokens: Option<f64>) -> Option<f64> {
    let (time, tokens) = (time?, tokens?);
    Some(if tokens > 0.0 { time / tokens } else { 0.0 })
}

/// Which chunk is the first that is not reasoning; the number of chunks where all are.
fn first_visible_chunk(r: &RequestRecord) -> usize {
    let (Some(mut at), Some(visible)) = (r.at.first_token, r.at.first_visible) else { return r.chunk_gaps.len() };
    let reached = r.chunk_gaps.iter().position(|gap| {
        at += Nanos(*gap);
        at >= visible
    });
    reached.unwrap_or(r.chunk_gaps.len())
}

fn tokens_from(r: &RequestRecord, chunk: usize) -> u64 {
    r.chunk_tokens.iter().skip(chunk).map(|n| u64::from(*n)).sum()
}

/// Tokens that are not reasoning: by the endpoint's count of reasoning, else by where it ended.
fn visible_tokens(r: &RequestRecord) -> Option<f64> {
    let all = r.tokens.output?;
    if let Some(reasoning) = r.tokens.reasoning {
        return Some(f64::from(all.saturating_sub(reasoning)));
    }
    let first = first_visible_chunk(r);
    Some(if first == 0 { f64::from(all) } else { tokens_from(r, first) as f64 })
}

/// Whether it has more than one moment of a token, which its TTFT and TPOT need.
fn streamed(r: &RequestRecord) -> bool {
    tokens_from(r, first_visible_chunk(r)) > 1
}

fn token_gaps(r: &RequestRecord, from: usize, push: Push<'_>) {
    let (mut open, mut begun) = (0_i64, false);
    for (index, (gap, tokens)) in r.chunk_gaps.iter().zip(&r.chunk_tokens).enumerate().skip(from) {
        // The way to the first chunk that counts is no gap.
        open = if index == from { 0 } else { open.saturating_add(*gap) };
        if *tokens == 0 {
            continue;
        }
        if begun {
            push(open as f64, 1.0);
        }
        if *tokens > 1 {
            push(0.0, f64::from(*tokens - 1));
        }
        (open, begun) = (0, true);
    }
}
