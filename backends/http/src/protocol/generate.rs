//! `/generate`, SGLang's own.
//!
//! Its events carry the text and the token ids *so far*, each time whole, so that what is new in one is told by what came before. A
//! server that was started to stream only what is new (`--stream-output`) is told by its ids: fewer than it counts.

use super::body::Body;
use super::value::{Failure, Length, Text, count, keep_but, opens};
use super::{Ask, DecodeError, EncodeError, Fields, Input, Pieces, Protocol};
use crate::sse::Frame;
use nomoat_core::event::{TokenKind, Usage};
use nomoat_core::record::FinishReason;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::LazyLock;

static FIELDS: LazyLock<Fields> = LazyLock::new(|| Fields::new(&["max_new_tokens"], &["min_new_tokens"], json!({"ignore_eos": true})));

/// SGLang's own dialect: a text or token ids in, the text so far out.
#[derive(Clone, Copy, Debug)]
pub struct Generate;

#[derive(Deserialize)]
struct Answer<'a> {
    index: Option<u32>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    output_ids: Option<&'a RawValue>,
    meta_info: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
    object: Option<&'a RawValue>,
    message: Option<&'a RawValue>,
    code: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
    prompt_tokens: Option<&'a RawValue>,
    completion_tokens: Option<&'a RawValue>,
    cached_tokens: Option<&'a RawValue>,
    reasoning_tokens: Option<&'a RawValue>,
}

impl Protocol for Generate {
    fn name(&self) -> &'static str {
        "generate"
    }

    fn path(&self) -> &'static str {
        "/generate"
    }

    fn fields(&self) -> &'static Fields {
        &FIELDS
    }

    fn takes_ids(&self) -> bool {
        true
    }

    fn encode(&self, ask: &Ask<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut body = Body::new(ask, &FIELDS, out);
        match ask.prompt {
            Input::Ids(_) => body.prompt("input_ids"),
            Input::Text(_) | Input::Messages(_) => body.prompt("text"),
        }
        body.nested("sampling_params", |body| {
            body.length();
            body.temperature();
        });
        body.stream();
        body.finish();
        Ok(())
    }

    fn decode(&self, frame: Frame<'_>, pieces: &mut Pieces) -> Result<(), DecodeError> {
        if !opens(frame, pieces) {
            return Ok(());
        }
        self.read(frame.data, pieces).map(|_| ())
    }

    fn decode_body(&self, body: &[u8], pieces: &mut Pieces) -> Result<(), DecodeError> {
        if self.read(body.trim_ascii(), pieces)? || pieces.error.is_some() {
            return Ok(());
        }
        Err(self.malformed("there is neither `text` nor `output_ids`"))
    }
}

impl Generate {
    fn malformed(self, reason: impl ToString) -> DecodeError {
        DecodeError::Malformed { protocol: self.name(), reason: reason.to_string() }
    }

    /// Reads an object; tells whether it is a part of an answer.
    fn read(self, data: &[u8], pieces: &mut Pieces) -> Result<bool, DecodeError> {
        let malformed = |e: serde_json::Error| self.malformed(e);
        let answer: Answer<'_> = serde_json::from_slice(data).map_err(malformed)?;
        // The text of the same bytes depends on where it stands in the answer.
        pieces.bound = true;
        let is_answer = answer.text.is_some() || answer.output_ids.is_some();
        let Answer { error, object, message, code, .. } = answer;
        if let Some(words) = (Failure { error, object, message, code }).words(is_answer) {
            pieces.error = Some(words);
            return Ok(is_answer);
        }
        pieces.choice = is_answer;
        let meta: Option<Meta<'_>> = answer.meta_info.map(|raw| serde_json::from_str(raw.get())).transpose().map_err(malformed)?;
        let ids: Option<Length> = answer.output_ids.map(|raw| serde_json::from_str(raw.get())).transpose().map_err(malformed)?;
        let output = meta.as_ref().and_then(|m| count(m.completion_tokens?));
        let Some(choice) = pieces.so_far.choice(answer.index.unwrap_or(0)) else {
            return Err(self.malformed("it has more choices than can be told apart"));
        };
        choice.output = output.or(choice.output);
        choice.reasoning = meta.as_ref().and_then(|m| count(m.reasoning_tokens?)).or(choice.reasoning);
        if let Some(Text(text)) = &answer.text {
            // Only what is new: fewer ids than are counted.
            let is_whole = ids.is_none_or(|Length(n)| output.is_none_or(|output| n >= output));
            let from = if is_whole { choice.bytes } else { 0 };
            choice.bytes = if is_whole { choice.bytes.max(text.len()) } else { choice.bytes.saturating_add(text.len()) };
            // A text that was taken back (a stop word, at the end) is none. One that changed in the middle of a character goes on with
            // the next whole one.
            let from = (from..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
            pieces.push_text(TokenKind::Visible, &text[from..], &[]);
        }
        if let Some(meta) = meta {
            let (output, reasoning) = pieces.so_far.output();
            let (input, cache_read) = (meta.prompt_tokens.and_then(count), meta.cached_tokens.and_then(count));
            pieces.usage = Some(Usage { input, cache_read, cache_write: None, output, reasoning });
            if let Some(reason) = meta.finish_reason {
                finish(reason, pieces);
                // The numbers of the last event hold those of the ones before.
                if let Some(raw) = answer.meta_info {
                    let lists = |name: &str| name.contains("logprobs") || name.contains("hidden_states");
                    keep_but("meta_info", raw, lists, pieces).map_err(malformed)?;
                }
            }
        }
        Ok(is_answer)
    }
}

/// `{"type":"length","length":8}`, or the word alone.
fn finish(reason: &RawValue, pieces: &mut Pieces) {
    let (word, message) = match serde_json::from_str(reason.get()) {
        Ok(Value::String(word)) => (word, None),
        Ok(Value::Object(object)) => {
            let text = |key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
            (text("type").unwrap_or_default(), text("message"))
        }
        _ => return,
    };
    pieces.finish = Some(match word.as_str() {
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        "abort" => FinishReason::Abort,
        _ => FinishReason::Other,
    });
    // An engine that gives up says why here; an abort without words is one that was asked for.
    if word == "abort" {
        pieces.error = message;
    }
}
