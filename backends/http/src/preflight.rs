//! Real generations outside the records: is it the dialect, does it generate, which settings does it accept and keep.

use crate::control::{Answer, ControlError, exchange};
use crate::encoder::HttpEncoder;
use crate::protocol::Input;
use crate::said::said;
use crate::stream::StreamDecoder;
use crate::transport::Route;
use nomoat_core::event::{EventSink, RequestError};
use nomoat_core::record::{CountSource, RequestRecord};
use std::sync::Arc;
use std::time::Duration;

/// Most bytes that a few tokens may take.
const LIMIT: usize = 1 << 20;
/// How many tokens are asked for to see whether a forced length is kept.
pub(crate) const PROBE_TOKENS: u32 = 8;

/// What is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Trial {
    pub tokens: u32,
    pub exact: bool,
}

/// How an attempt went.
pub(crate) enum Attempt {
    Accepted(Box<Answered>),
    Refused { status: u16, said: String, retry_after: Option<String> },
}

/// A complete answer. Of its moments those of tokens and bytes are real: each is the arrival of the read that brought it, over HTTP/2 of
/// the whole answer.
pub(crate) struct Answered {
    pub record: RequestRecord,
    /// The headers it came with.
    pub headers: Vec<(String, String)>,
    pub notes: Vec<String>,
}

impl Answered {
    /// Whether the number of output tokens is the endpoint's word.
    pub fn counts_by_usage(&self) -> bool {
        self.record.tokens.output_source != CountSource::Chunks
    }
}

/// One token.
pub(crate) async fn preflight(route: &Route, encoder: &HttpEncoder, timeout: Duration) -> Result<Attempt, ControlError> {
    trial(route, encoder, Trial { tokens: 1, exact: true }, timeout).await
}

/// Sends one request as `encoder` would and decodes what comes as the measured path would.
pub(crate) async fn trial(route: &Route, encoder: &HttpEncoder, asked: Trial, timeout: Duration) -> Result<Attempt, ControlError> {
    let ids = HttpEncoder::probe_ids();
    let prompt = if encoder.token_ids { Input::Ids(&ids) } else { Input::Text(" hello") };
    ask(route, encoder, prompt, asked, timeout).await
}

/// As [`trial`], with a prompt.
pub(crate) async fn ask(
    route: &Route,
    encoder: &HttpEncoder,
    prompt: Input<'_>,
    asked: Trial,
    timeout: Duration,
) -> Result<Attempt, ControlError> {
    let body = encoder.body(prompt, asked.tokens, asked.exact).map_err(ControlError::Garbled)?;
    let (request, _) = encoder.wire("POST", &encoder.path, "nomoat-probe", &body);
    let answer = exchange(route, &request, LIMIT, timeout).await?;
    if answer.status != 200 {
        let to = answer.head.location.as_deref().map_or(String::new(), |to| format!(": it redirects to {to}"));
        let retry_after = answer.head.retry_after.clone();
        return Ok(Attempt::Refused { status: answer.status, said: format!("{to}{}", said(&answer.body)), retry_after });
    }
    if let Some(encoding) = answer.head.encoding.as_deref().filter(|e| !["", "identity"].contains(e)) {
        return Ok(Attempt::Refused {
            status: 200,
            said: format!(": it compresses ({encoding}) although identity was asked for, and holds tokens back to do so"),
            retry_after: None,
        });
    }
    let mut sink = EventSink::new(route.clock.clone(), Arc::default());
    sink.begin(RequestRecord::default(), false);
    let mut decoder = StreamDecoder::new(encoder.protocol);
    let outcome = replay(&answer, &mut decoder, &mut sink).and_then(|()| decoder.end(&mut sink));
    let (record, _) = sink.finish(outcome, false);
    if let Err(error) = outcome {
        let words = decoder.message().map_or_else(|| said(&answer.body), |m| format!(": {m}"));
        return Ok(Attempt::Refused { status: 200, said: format!("{words} ({})", error.code.name()), retry_after: None });
    }
    let mut notes = vec![];
    if record.at.first_token.is_none() && record.tokens.output.unwrap_or(0) == 0 {
        return Ok(Attempt::Refused { status: 200, said: ": a complete stream without a token".into(), retry_after: None });
    }
    if answer.head.is_type("application/json") {
        notes.push("the endpoint answered a streaming request in one piece: TTFT is its whole time".into());
    }
    if record.tokens.output_source == CountSource::Chunks {
        notes.push("the endpoint reports no usage: output tokens are counted in events".into());
    }
    Ok(Attempt::Accepted(Box::new(Answered { record, headers: answer.headers, notes })))
}

/// Decodes an answer read by read, as it came.
fn replay(answer: &Answer, decoder: &mut StreamDecoder, sink: &mut EventSink) -> Result<(), RequestError> {
    let mut from = 0;
    let whole = (answer.body.len(), None);
    let reads = answer.reads.iter().map(|(to, arrival)| (*to, Some(*arrival))).chain([whole]);
    for (to, arrival) in reads {
        if to > from {
            let piece = &answer.body[from..to];
            let stamp = sink.arrived(piece.len(), arrival);
            decoder.feed(piece, stamp, sink)?;
            from = to;
        }
    }
    Ok(())
}
