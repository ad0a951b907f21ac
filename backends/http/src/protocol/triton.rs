//! `/v2/models/MODEL/generate_stream`, the generate extension of Triton and of KServe's open inference protocol.
//!
//! The model stands in the path and not in the body. There is no terminator, and a reason of the end only where the backend behind it
//! can be asked for one: the end of the body is the end of the answer. Output counts are of the event, where vLLM's
//! backend tells them.

use super::body::Body;
use super::value::{Failure, Text, count, opens};
use super::{Ask, Count, DecodeError, EncodeError, Fields, HoleKind, Input, Pieces, Protocol};
use crate::sse::Frame;
use nomoat_core::event::{TokenKind, Usage};
use nomoat_core::record::FinishReason;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::sync::LazyLock;

/// Names as vLLM's and TensorRT-LLM's backends have them. The first tells what it is asked for by `return_…`; the second takes those for
/// parameters that nobody reads.
static FIELDS: LazyLock<Fields> = LazyLock::new(|| {
    let told = || json!({"return_finish_reason": true, "return_num_input_tokens": true, "return_num_output_tokens": true});
    Fields::new(&["max_tokens"], &["min_tokens"], json!({"ignore_eos": true})).with_usage(told(), told())
});

/// The dialect of Triton's generate extension: a text in, texts out.
#[derive(Clone, Copy, Debug)]
pub struct Triton;

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    text_output: Option<Text<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
    #[serde(borrow)]
    num_input_tokens: Option<&'a RawValue>,
    num_output_tokens: Option<&'a RawValue>,
    details: Option<Details<'a>>,
    error: Option<&'a RawValue>,
    object: Option<&'a RawValue>,
    message: Option<&'a RawValue>,
    code: Option<&'a RawValue>,
}

/// Where KServe has the reason.
#[derive(Deserialize)]
struct Details<'a> {
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
}

impl Protocol for Triton {
    fn name(&self) -> &'static str {
        "triton"
    }

    fn path(&self) -> &'static str {
        "/v2/models/{model}/generate_stream"
    }

    fn fields(&self) -> &'static Fields {
        &FIELDS
    }

    fn takes_ids(&self) -> bool {
        false
    }

    fn encode(&self, ask: &Ask<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if matches!(ask.prompt, Input::Ids(_)) {
            return Err(EncodeError::Ids { protocol: self.name() });
        }
        let mut body = Body::new(ask, &FIELDS, out);
        body.prompt("text_input");
        body.nested("parameters", |body| {
            body.length();
            body.temperature();
            body.stream();
        });
        body.finish();
        Ok(())
    }

    fn decode(&self, frame: Frame<'_>, pieces: &mut Pieces) -> Result<(), DecodeError> {
        if opens(frame, pieces) { self.read(frame.data, pieces) } else { Ok(()) }
    }

    fn decode_body(&self, body: &[u8], pieces: &mut Pieces) -> Result<(), DecodeError> {
        self.read(body.trim_ascii(), pieces)?;
        let is_answer = pieces.choice || pieces.error.is_some();
        if is_answer { Ok(()) } else { Err(self.malformed("there is no `text_output`")) }
    }

    /// The body has its own end, by its framing; nothing inside it says so for every backend.
    fn is_complete(&self, _done: bool, _finish: Option<FinishReason>) -> bool {
        true
    }
}

impl Triton {
    fn malformed(self, reason: impl ToString) -> DecodeError {
        DecodeError::Malformed { protocol: self.name(), reason: reason.to_string() }
    }

    fn read(self, data: &[u8], pieces: &mut Pieces) -> Result<(), DecodeError> {
        let answer: Answer<'_> = serde_json::from_slice(data).map_err(|e| self.malformed(e))?;
        let Answer { error, object, message, code, .. } = answer;
        if let Some(words) = (Failure { error, object, message, code }).words(answer.text_output.is_some()) {
            pieces.error = Some(words);
            return Ok(());
        }
        pieces.choice = answer.text_output.is_some();
        pieces.ids = answer.num_output_tokens.and_then(count);
        if let Some(input) = answer.num_input_tokens.and_then(count) {
            pieces.usage = Some(Usage { input: Some(input), ..Usage::default() });
            pieces.push_hole(HoleKind::Count(Count::Input), answer.num_input_tokens.map_or("", RawValue::get).as_bytes(), data);
        }
        if let Some(Text(text)) = &answer.text_output {
            pieces.push_text(TokenKind::Visible, text, data);
        }
        let reason = answer.finish_reason.or(answer.details.and_then(|details| details.finish_reason));
        // vLLM's backend writes Python's word for nothing until the last event.
        if let Some(Text(reason)) = reason.filter(|Text(reason)| !matches!(reason.as_ref(), "None" | "")) {
            pieces.bound = true;
            pieces.finish = Some(match reason.as_ref() {
                "length" => FinishReason::Length,
                "stop" | "eos_token" | "stop_sequence" => FinishReason::Stop,
                "abort" => FinishReason::Abort,
                _ => FinishReason::Other,
            });
        }
        Ok(())
    }
}
