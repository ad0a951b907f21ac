//! `/completion`, llama.cpp's own.
//!
//! It has no terminator: the last event says `stop`. `tokens_cached` is what the slot's cache holds afterwards, prompt and answer
//! together; what was read from it is `timings.cache_n`.

use super::body::Body;
use super::value::{Failure, Text, count, keep, opens};
use super::{Ask, DecodeError, EncodeError, Fields, Pieces, Protocol};
use crate::sse::Frame;
use nomoat_core::event::{TokenKind, Usage};
use nomoat_core::record::FinishReason;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::sync::LazyLock;

static FIELDS: LazyLock<Fields> = LazyLock::new(|| Fields::new(&["n_predict"], &[], json!({"ignore_eos": true})));

/// llama.cpp's own dialect: a text or token ids in, `content` out.
#[derive(Clone, Copy, Debug)]
pub struct Completion;

#[derive(Deserialize)]
struct Answer<'a> {
    index: Option<u32>,
    #[serde(borrow)]
    content: Option<Text<'a>>,
    stop: Option<bool>,
    #[serde(borrow)]
    stop_type: Option<Text<'a>>,
    /// What said why before there was a `stop_type`.
    #[serde(default)]
    stopped_limit: bool,
    #[serde(default)]
    stopped_eos: bool,
    #[serde(default)]
    stopped_word: bool,
    tokens_predicted: Option<&'a RawValue>,
    tokens_evaluated: Option<&'a RawValue>,
    timings: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
    object: Option<&'a RawValue>,
    message: Option<&'a RawValue>,
    code: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Timings<'a> {
    #[serde(borrow)]
    cache_n: Option<&'a RawValue>,
}

impl Protocol for Completion {
    fn name(&self) -> &'static str {
        "completion"
    }

    fn path(&self) -> &'static str {
        "/completion"
    }

    fn fields(&self) -> &'static Fields {
        &FIELDS
    }

    fn takes_ids(&self) -> bool {
        true
    }

    fn encode(&self, ask: &Ask<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut body = Body::new(ask, &FIELDS, out);
        // Only a server that holds several models looks at it.
        body.field("model", ask.model);
        body.prompt("prompt");
        body.length();
        body.temperature();
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
        Err(self.malformed("there is no `content`"))
    }
}

impl Completion {
    fn malformed(self, reason: impl ToString) -> DecodeError {
        DecodeError::Malformed { protocol: self.name(), reason: reason.to_string() }
    }

    /// Reads an object; tells whether it is a part of an answer.
    fn read(self, data: &[u8], pieces: &mut Pieces) -> Result<bool, DecodeError> {
        let malformed = |e: serde_json::Error| self.malformed(e);
        let answer: Answer<'_> = serde_json::from_slice(data).map_err(malformed)?;
        // Counts are those of a choice, and those of the answer depend on the events of the other choices.
        pieces.bound = true;
        let is_answer = answer.content.is_some();
        let Answer { error, object, message, code, .. } = answer;
        if let Some(words) = (Failure { error, object, message, code }).words(is_answer) {
            pieces.error = Some(words);
            return Ok(is_answer);
        }
        pieces.choice = is_answer;
        let Some(choice) = pieces.so_far.choice(answer.index.unwrap_or(0)) else {
            return Err(self.malformed("it has more choices than can be told apart"));
        };
        choice.output = answer.tokens_predicted.and_then(count).or(choice.output);
        let timings: Option<Timings<'_>> = answer.timings.map(|raw| serde_json::from_str(raw.get())).transpose().map_err(malformed)?;
        let cache_read = timings.and_then(|t| count(t.cache_n?));
        let (output, _) = pieces.so_far.output();
        let input = answer.tokens_evaluated.and_then(count);
        let usage = Usage { input, cache_read, cache_write: None, output, reasoning: None };
        pieces.usage = (usage != Usage::default()).then_some(usage);
        if let Some(Text(text)) = &answer.content {
            pieces.push_text(TokenKind::Visible, text, data);
        }
        if answer.stop == Some(true) {
            pieces.finish = Some(answer.finish());
        }
        keep("timings", answer.timings, pieces).map_err(malformed)?;
        Ok(is_answer)
    }
}

impl Answer<'_> {
    fn finish(&self) -> FinishReason {
        match self.stop_type.as_ref().map(|Text(word)| word.as_ref()) {
            Some("limit") => FinishReason::Length,
            Some("eos" | "word") => FinishReason::Stop,
            None if self.stopped_limit => FinishReason::Length,
            None if self.stopped_eos || self.stopped_word => FinishReason::Stop,
            _ => FinishReason::Other,
        }
    }
}
