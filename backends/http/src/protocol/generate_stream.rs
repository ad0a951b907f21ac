//! `/generate_stream`, of Text Generation Inference.
//!
//! One event is one token, also where its text is empty; special tokens (the end of the text) count, and are no text. Parameters are
//! members of an object of their own.

use super::body::Body;
use super::value::{Failure, Text, count, opens};
use super::{Ask, DecodeError, EncodeError, Fields, HoleKind, Input, Pieces, Protocol};
use crate::sse::Frame;
use nomoat_core::event::{TokenKind, Usage};
use nomoat_core::record::FinishReason;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::sync::LazyLock;

/// There is no way to ask for more than a cap.
static FIELDS: LazyLock<Fields> = LazyLock::new(|| Fields::new(&["max_new_tokens"], &[], json!({})));

/// The dialect of Text Generation Inference: a text in, tokens out.
#[derive(Clone, Copy, Debug)]
pub struct GenerateStream;

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    token: Option<Token<'a>>,
    /// The whole text, with the last event.
    #[serde(borrow)]
    generated_text: Option<Text<'a>>,
    #[serde(borrow)]
    details: Option<Details<'a>>,
    error: Option<&'a RawValue>,
    object: Option<&'a RawValue>,
    message: Option<&'a RawValue>,
    code: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Token<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    special: Option<bool>,
}

#[derive(Deserialize)]
struct Details<'a> {
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
    #[serde(borrow)]
    generated_tokens: Option<&'a RawValue>,
    input_length: Option<&'a RawValue>,
}

impl Protocol for GenerateStream {
    fn name(&self) -> &'static str {
        "generate_stream"
    }

    fn path(&self) -> &'static str {
        "/generate_stream"
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
        body.prompt("inputs");
        body.nested("parameters", |body| {
            body.length();
            // It refuses a temperature of zero; greedy is asked for by another name.
            match ask.temperature {
                Some(0.0) => body.field("do_sample", &false),
                _ => body.temperature(),
            }
            body.field("details", &true);
        });
        body.finish();
        Ok(())
    }

    fn decode(&self, frame: Frame<'_>, pieces: &mut Pieces) -> Result<(), DecodeError> {
        if !opens(frame, pieces) {
            return Ok(());
        }
        let Some(answer) = self.read(frame.data, pieces)? else { return Ok(()) };
        pieces.choice = answer.token.is_some();
        if let Some(token) = &answer.token {
            pieces.ids = Some(1);
            if let (Some(Text(text)), false) = (&token.text, token.special == Some(true)) {
                pieces.push_text(TokenKind::Visible, text, frame.data);
            }
        }
        pieces.done = answer.generated_text.is_some();
        Ok(())
    }

    fn decode_body(&self, body: &[u8], pieces: &mut Pieces) -> Result<(), DecodeError> {
        let Some(answer) = self.read(body.trim_ascii(), pieces)? else { return Ok(()) };
        let Some(Text(text)) = &answer.generated_text else { return Err(self.malformed("there is no `generated_text`")) };
        pieces.choice = true;
        pieces.push_text(TokenKind::Visible, text, &[]);
        Ok(())
    }

    fn unread(&self, data: &[u8], pieces: &mut Pieces) {
        #[derive(Deserialize)]
        struct Event<'a> {
            #[serde(borrow)]
            index: Option<&'a RawValue>,
            token: Option<Token<'a>>,
        }
        #[derive(Deserialize)]
        struct Token<'a> {
            #[serde(borrow)]
            id: Option<&'a RawValue>,
            logprob: Option<&'a RawValue>,
        }
        let Ok(event) = serde_json::from_slice::<Event<'_>>(data) else { return };
        let (id, logprob) = event.token.map_or((None, None), |t| (t.id, t.logprob));
        for raw in [event.index, id, logprob].into_iter().flatten() {
            pieces.push_hole(HoleKind::Unread, raw.get().as_bytes(), data);
        }
    }
}

impl GenerateStream {
    fn malformed(self, reason: impl ToString) -> DecodeError {
        DecodeError::Malformed { protocol: self.name(), reason: reason.to_string() }
    }

    /// Reads an object, and what its details say; nothing if it is an error.
    fn read<'a>(self, data: &'a [u8], pieces: &mut Pieces) -> Result<Option<Answer<'a>>, DecodeError> {
        let answer: Answer<'a> = serde_json::from_slice(data).map_err(|e| self.malformed(e))?;
        let Answer { error, object, message, code, .. } = answer;
        let is_answer = answer.token.is_some() || answer.generated_text.is_some();
        if let Some(words) = (Failure { error, object, message, code }).words(is_answer) {
            pieces.error = Some(words);
            return Ok(None);
        }
        if let Some(details) = &answer.details {
            let (input, output) = (details.input_length.and_then(count), details.generated_tokens.and_then(count));
            pieces.usage = Some(Usage { input, output, ..Usage::default() });
            pieces.finish = details.finish_reason.as_ref().map(|Text(reason)| match reason.as_ref() {
                "length" => FinishReason::Length,
                "eos_token" | "stop_sequence" => FinishReason::Stop,
                _ => FinishReason::Other,
            });
            pieces.bound = true;
        }
        Ok(Some(answer))
    }
}
