//! `vllm bench serve`. Its clock starts after its semaphore and stops at the first event with a choice, which on a chat endpoint
//! holds a role alone; every later event with a choice ends a gap.

use super::steps::{
    CHUNKS, E2E_FROM_TURN, FINISH, ITL_CHUNK_GAPS, OUR_E2E, OUR_ITL, OUR_TPOT, OUR_TTFT, ROLE, TPOT_FIRST_IS_ONE, TTFT_FROM_TURN,
    WINDOW_AND_DRAIN, begun, between, one, output_per_second, per_later_token, requests_per_second, tokens, total_per_second,
};
use super::{MEAN, MEDIAN, Metric, P99, Percentiles, Push, Step, Tool};
use crate::record::RequestRecord;

pub const TOOL: Tool = Tool {
    name: "vllm",
    title: "vllm bench serve",
    source: "vLLM 02cfb534, vllm/benchmarks/lib/endpoint_request_func.py and vllm/benchmarks/serve.py",
    metrics: &[
        Metric {
            name: "TTFT",
            ours: Some("ttft"),
            about: "first_choice − start: to the first event with a choice, with text or without, from when the request has its turn",
            from: OUR_TTFT,
            walk: &[TTFT_FROM_TURN, Step { cause: ROLE, pick: |r, push| one(between(begun(r), r.at.first_choice), push) }],
        },
        Metric {
            name: "TPOT",
            ours: Some("tpot"),
            about: "(last_choice − first_choice) / (N − 1), which is (E2EL − TTFT) / (N − 1); undefined below two tokens",
            from: OUR_TPOT,
            walk: &[
                TPOT_FIRST_IS_ONE,
                Step { cause: ROLE, pick: |r, push| one(per_later_token(between(r.at.first_choice, r.at.last_token), tokens(r)), push) },
                Step { cause: FINISH, pick: |r, push| one(per_later_token(between(r.at.first_choice, r.at.last_choice), tokens(r)), push) },
            ],
        },
        Metric {
            name: "ITL",
            ours: Some("itl"),
            about: "gaps between events with a choice, with text or without, however many tokens they hold",
            from: OUR_ITL,
            walk: &[ITL_CHUNK_GAPS, Step { cause: ROLE, pick: gaps_from_role }, Step { cause: FINISH, pick: gaps_of_choices }],
        },
        Metric {
            name: "E2EL",
            ours: Some("e2e"),
            about: "last_choice − start: to the last event with a choice, from when the request has its turn; printed when asked for",
            from: OUR_E2E,
            walk: &[E2E_FROM_TURN, Step { cause: FINISH, pick: |r, push| one(between(begun(r), r.at.last_choice), push) }],
        },
    ],
    rates: &[
        requests_per_second("Request throughput"),
        output_per_second("Output token throughput"),
        total_per_second("Total token throughput"),
    ],
    stats: &[MEAN, MEDIAN, P99],
    percentiles: Percentiles::Linear,
    span: WINDOW_AND_DRAIN,
    cannot: &[
        "its lateness: a request that leaves late is counted from when it leaves; its wait under --max-concurrency is a number apart",
        "its tokenizer's counts, used where the endpoint reports no usage: the counts here are the endpoint's or events",
        "streams that end without a terminator, which it takes for answers: they are failures here and left out",
    ],
};

/// The gap from a role to the first token, where they came apart, and those between chunks with text.
fn gaps_from_role(r: &RequestRecord, push: Push<'_>) {
    one(before(r), push);
    CHUNKS(r, push);
}

/// One gap less than events with a choice. The record holds the moments of the first and the last of them and of all with text; an
/// event in between without text has an unknown place, so its gap counts as zero: sum and number are right, only a
/// percentile can be off.
fn gaps_of_choices(r: &RequestRecord, push: Push<'_>) {
    gaps_from_role(r, push);
    let after = between(r.at.last_token, r.at.last_choice).filter(|gap| *gap > 0.0);
    one(after, push);
    let placed = u32::from(before(r).is_some()) + u32::from(after.is_some());
    let elsewhere = r.empty_choices.saturating_sub(placed);
    if elsewhere > 0 {
        push(0.0, f64::from(elsewhere));
    }
}

fn before(r: &RequestRecord) -> Option<f64> {
    between(r.at.first_choice, r.at.first_token).filter(|gap| *gap > 0.0)
}
