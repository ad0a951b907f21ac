//! The moments and counts that the definitions of several tools share, and the names of what differs.

use super::{Pick, Push, Rate, Span, Step};
use crate::fold::gaps;
use crate::record::{Connection, RequestRecord};
use crate::units::Nanos;

/// Complete answers with fewer tokens than asked for: failures here, answers elsewhere. The first step of every walk.
pub const SHORT: &str = "short answers counted";
pub const QUEUE: &str = "queueing before send";
pub const CONNECT: &str = "queueing and connecting before send";
pub const ROLE: &str = "role chunk";
pub const FINISH: &str = "finish chunk";
pub const USAGE: &str = "usage chunk";
pub const TERMINATOR: &str = "[DONE]";
pub const STREAM_END: &str = "end of the stream";
pub const FIRST_IS_ONE: &str = "first chunk taken for one token";
pub const CHUNK_GAPS: &str = "gaps of chunks, not of tokens";
pub const REASONING: &str = "reasoning left out";
pub const TTFT_INSIDE: &str = "TTFT counted in";
pub const WEIGHTED: &str = "long answers weigh more";

/// When tools begin that start their clock once a request has its turn, before a connection is taken or opened: queueing is over,
/// connecting is not. On a kept connection that is when it was there, because nothing but waiting for it comes before.
pub fn begun(r: &RequestRecord) -> Option<Nanos> {
    match r.connection {
        Connection::Reused | Connection::H2 => r.at.conn_ready.or(r.at.start),
        Connection::New | Connection::None => r.at.start,
    }
}

/// When tools begin that start their clock as the request is written: there is a connection.
pub fn connected(r: &RequestRecord) -> Option<Nanos> {
    r.at.conn_ready.or(r.at.start)
}

/// When the stream was over.
pub fn ended(r: &RequestRecord) -> Option<Nanos> {
    r.at.end
}

/// The span of tools whose clock for throughput starts with the load.
pub const WINDOW_AND_DRAIN: Span =
    Span { about: "from the start of the window to the end of its last request, drain included", from: None, to: ended, failed: true };

/// From one moment to another, where both came.
pub fn between(from: Option<Nanos>, to: Option<Nanos>) -> Option<f64> {
    Some((to? - from?).0 as f64)
}

/// Adds one value of weight one, if there is one.
pub fn one(value: Option<f64>, push: Push<'_>) {
    if let Some(value) = value {
        push(value, 1.0);
    }
}

/// Generated tokens.
pub fn tokens(r: &RequestRecord) -> Option<f64> {
    r.tokens.output.map(f64::from)
}

/// A time by the tokens after the first; undefined for fewer than two.
pub fn per_later_token(time: Option<f64>, tokens: Option<f64>) -> Option<f64> {
    let tokens = tokens.filter(|n| *n > 1.0)?;
    Some(time? / (tokens - 1.0))
}

fn of(value: Option<Nanos>, push: Push<'_>) {
    one(value.map(|v| v.0 as f64), push);
}

pub const OUR_TTFT: Pick = |r, push| of(r.ttft(), push);
pub const OUR_TTFO: Pick = |r, push| of(r.ttfo(), push);
pub const OUR_TPOT: Pick = |r, push| of(r.tpot(), push);
pub const OUR_E2E: Pick = |r, push| of(r.e2e(), push);
pub const OUR_ITL: Pick = |r, push| gaps::itl(r, |value, count| push(value as f64, f64::from(count)));
/// The gaps between chunks with text.
pub const CHUNKS: Pick = |r, push| gaps::icl(r, |gap| push(gap as f64, 1.0));

/// From the turn to the first token.
pub const TTFT_FROM_TURN: Step = Step { cause: QUEUE, pick: |r, push| one(between(begun(r), r.at.first_token), push) };
/// From the turn to the last token.
pub const E2E_FROM_TURN: Step = Step { cause: QUEUE, pick: |r, push| one(between(begun(r), r.at.last_token), push) };
/// From the first token to the last by N − 1.
pub const TPOT_FIRST_IS_ONE: Step =
    Step { cause: FIRST_IS_ONE, pick: |r, push| one(per_later_token(between(r.at.first_token, r.at.last_token), tokens(r)), push) };
pub const ITL_CHUNK_GAPS: Step = Step { cause: CHUNK_GAPS, pick: CHUNKS };

/// Answers, tokens and prompt tokens per second, by the names several tools give them.
pub const fn requests_per_second(name: &'static str) -> Rate {
    Rate { name, unit: "1/s", ours: Some("request_rate"), adds: |_| Some(1.0) }
}

pub const fn output_per_second(name: &'static str) -> Rate {
    Rate { name, unit: "tokens/s", ours: Some("output_tput"), adds: tokens }
}

pub const fn input_per_second(name: &'static str) -> Rate {
    Rate { name, unit: "tokens/s", ours: Some("input_tput"), adds: |r| r.tokens.input.map(f64::from) }
}

pub const fn total_per_second(name: &'static str) -> Rate {
    Rate { name, unit: "tokens/s", ours: Some("total_tput"), adds: |r| Some(f64::from(r.tokens.input?) + f64::from(r.tokens.output?)) }
}
