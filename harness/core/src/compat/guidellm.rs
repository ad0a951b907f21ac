//! GuideLLM. Its clock starts when the first header is written; its TPOT is the whole latency by all tokens, and its per-token
//! numbers weigh each answer by its tokens.

use super::steps::{
    CONNECT, OUR_E2E, OUR_TPOT, OUR_TTFO, OUR_TTFT, STREAM_END, TPOT_FIRST_IS_ONE, TTFT_INSIDE, WEIGHTED, between, connected, ended,
    input_per_second, one, output_per_second, per_later_token, requests_per_second, tokens, total_per_second,
};
use super::{MEAN, MEDIAN, Metric, P95, Percentiles, Push, Span, Step, Tool};
use crate::record::RequestRecord;

pub const TOOL: Tool = Tool {
    name: "guidellm",
    title: "GuideLLM",
    source: "GuideLLM 0.8.1, backends/openai/http.py, schemas/base/request_stats.py and benchmark/schemas/metrics.py of guidellm",
    metrics: &[
        Metric {
            name: "Request Latency",
            ours: Some("e2e"),
            about: "end − conn_ready: to the end of the stream, from the first header written",
            from: OUR_E2E,
            walk: &[
                Step { cause: CONNECT, pick: |r, push| one(between(connected(r), r.at.last_token), push) },
                Step { cause: STREAM_END, pick: |r, push| one(between(connected(r), r.at.end), push) },
            ],
        },
        Metric {
            name: "TTFT",
            ours: Some("ttft"),
            about: "first_token − conn_ready: to the first text, reasoning included, from the first header written",
            from: OUR_TTFT,
            walk: &[Step { cause: CONNECT, pick: |r, push| one(between(connected(r), r.at.first_token), push) }],
        },
        Metric {
            name: "TTFOT",
            ours: Some("ttfo"),
            about: "first_visible − conn_ready: to the first text that is not reasoning, from the first header written",
            from: OUR_TTFO,
            walk: &[Step { cause: CONNECT, pick: |r, push| one(between(connected(r), r.at.first_visible), push) }],
        },
        Metric {
            name: "ITL",
            ours: Some("tpot"),
            about: "(last_token − first_token) / (N − 1) per request, each weighing N − 1; no gap is kept, so it has no tail of its own",
            from: OUR_TPOT,
            walk: &[TPOT_FIRST_IS_ONE, Step { cause: WEIGHTED, pick: itl }],
        },
        Metric {
            name: "TPOT",
            ours: Some("tpot"),
            about: "(last_token − conn_ready) / N per request, TTFT included, each weighing N",
            from: OUR_TPOT,
            walk: &[
                Step { cause: TTFT_INSIDE, pick: |r, push| one(tpot(r).map(|(value, _)| value), push) },
                Step {
                    cause: WEIGHTED,
                    pick: |r, push| {
                        if let Some((value, n)) = tpot(r) {
                            push(value, n);
                        }
                    },
                },
            ],
        },
    ],
    rates: &[
        requests_per_second("Requests per second"),
        input_per_second("Input tokens per second"),
        output_per_second("Output tokens per second"),
        total_per_second("Total tokens per second"),
    ],
    stats: &[MEAN, MEDIAN, P95],
    percentiles: Percentiles::Weighted,
    span: Span {
        about: "from the first connection to the end of the last stream, drain included",
        from: Some(connected),
        to: ended,
        failed: true,
    },
    cannot: &[
        "its clock: it takes differences of wall time, which may step",
        "its lateness, which it reports apart as its dispatch delay",
        "tokens of requests that failed, which its throughputs count where it has them",
    ],
};

fn itl(r: &RequestRecord, push: Push<'_>) {
    let n = tokens(r);
    if let (Some(value), Some(n)) = (per_later_token(between(r.at.first_token, r.at.last_token), n), n) {
        push(value, n - 1.0);
    }
}

/// Its TPOT and its weight.
fn tpot(r: &RequestRecord) -> Option<(f64, f64)> {
    let n = tokens(r).filter(|n| *n > 0.0)?;
    Some((between(connected(r), r.at.last_token)? / n, n))
}
