//! `/v1/responses`, OpenAI's second dialect: events with types. Its last event is its terminator, whether or not a `[DONE]` follows.

use super::body::{Body, json};
use super::chat::conversation;
use super::value::{Failure, Length, Text, count, keep, message_of, opens};
use super::{Ask, DecodeError, EncodeError, Fields, HoleKind, Input, Pieces, Protocol};
use crate::sse::Frame;
use nomoat_core::event::{TokenKind, Usage};
use nomoat_core::record::FinishReason;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::sync::LazyLock;

/// There is no way to ask for more than a cap, and counts come unasked.
static FIELDS: LazyLock<Fields> = LazyLock::new(|| Fields::new(&["max_output_tokens"], &[], json!({})));

/// OpenAI's responses: an input in, typed events out.
#[derive(Clone, Copy, Debug)]
pub struct Responses;

/// An event of a stream. The other members of errors are those of the chat dialect.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    logprobs: Option<&'a RawValue>,
    response: Option<&'a RawValue>,
    timings: Option<&'a RawValue>,
    metrics: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
    object: Option<&'a RawValue>,
    message: Option<&'a RawValue>,
    code: Option<&'a RawValue>,
}

/// A response, whole: the body of an answer that was not streamed, and what a stream ends with.
#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    status: Option<Text<'a>>,
    #[serde(borrow)]
    incomplete_details: Option<Incomplete<'a>>,
    #[serde(borrow)]
    output: Option<Vec<Item<'a>>>,
    #[serde(borrow)]
    usage: Option<Counts<'a>>,
    timings: Option<&'a RawValue>,
    metrics: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
    object: Option<&'a RawValue>,
    message: Option<&'a RawValue>,
    code: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Incomplete<'a> {
    #[serde(borrow)]
    reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    content: Option<Vec<Part<'a>>>,
    #[serde(borrow)]
    summary: Option<Vec<Part<'a>>>,
    #[serde(borrow)]
    arguments: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    refusal: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Counts<'a> {
    #[serde(borrow)]
    input_tokens: Option<&'a RawValue>,
    output_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    input_tokens_details: Option<InputDetails<'a>>,
    #[serde(borrow)]
    output_tokens_details: Option<OutputDetails<'a>>,
}

#[derive(Deserialize)]
struct InputDetails<'a> {
    #[serde(borrow)]
    cached_tokens: Option<&'a RawValue>,
    cache_write_tokens: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct OutputDetails<'a> {
    #[serde(borrow)]
    reasoning_tokens: Option<&'a RawValue>,
}

impl Protocol for Responses {
    fn name(&self) -> &'static str {
        "responses"
    }

    fn path(&self) -> &'static str {
        "/v1/responses"
    }

    fn fields(&self) -> &'static Fields {
        &FIELDS
    }

    fn takes_ids(&self) -> bool {
        false
    }

    fn names_are_spare(&self) -> bool {
        true
    }

    fn encode(&self, ask: &Ask<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if matches!(ask.prompt, Input::Ids(_)) {
            return Err(EncodeError::Ids { protocol: self.name() });
        }
        let mut body = Body::new(ask, &FIELDS, out);
        body.field("model", ask.model);
        body.with("input", |out| match ask.prompt {
            Input::Text(text) => json(out, text),
            Input::Messages(messages) => conversation(messages, out),
            Input::Ids(_) => {}
        });
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
        event(frame.data, pieces).map_err(|e| self.malformed(e))
    }

    fn decode_body(&self, body: &[u8], pieces: &mut Pieces) -> Result<(), DecodeError> {
        let response: Response<'_> = serde_json::from_slice(body.trim_ascii()).map_err(|e| self.malformed(e))?;
        if let Some(words) = response.failure() {
            pieces.error = Some(words);
            return Ok(());
        }
        let Some(output) = &response.output else { return Err(self.malformed("there is no `output`")) };
        pieces.choice = true;
        output.iter().for_each(|item| item.read(pieces));
        response.end(pieces).map_err(|e| self.malformed(e))
    }

    fn unread(&self, data: &[u8], pieces: &mut Pieces) {
        #[derive(Deserialize)]
        struct Event<'a> {
            #[serde(borrow)]
            item_id: Option<&'a RawValue>,
            sequence_number: Option<&'a RawValue>,
            /// Padding, so that nobody reads a text from the length of its packets.
            obfuscation: Option<&'a RawValue>,
        }
        let Ok(event) = serde_json::from_slice::<Event<'_>>(data) else { return };
        for (raw, kind) in
            [(event.item_id, HoleKind::Steady), (event.sequence_number, HoleKind::Unread), (event.obfuscation, HoleKind::Unread)]
        {
            if let Some(raw) = raw {
                pieces.push_hole(kind, raw.get().as_bytes(), data);
            }
        }
    }
}

impl Responses {
    fn malformed(self, reason: impl ToString) -> DecodeError {
        DecodeError::Malformed { protocol: self.name(), reason: reason.to_string() }
    }
}

fn event(data: &[u8], pieces: &mut Pieces) -> Result<(), serde_json::Error> {
    let event: Event<'_> = serde_json::from_slice(data)?;
    let kind = event.kind.as_ref().map_or("", |Text(kind)| kind);
    let Event { error, object, message, code, .. } = event;
    if kind == "error" {
        pieces.error = Some(error.or(message).map_or_else(|| "an error without a message".to_owned(), message_of));
        return Ok(());
    }
    if let Some(words) = (Failure { error, object, message, code }).words(!kind.is_empty()) {
        pieces.error = Some(words);
        return Ok(());
    }
    let Some(name) = kind.strip_prefix("response.") else { return Ok(()) };
    if let Some(what) = name.strip_suffix(".delta") {
        pieces.choice = true;
        // A text of one kind or another; sound is none, nor is what its transcript says twice.
        if let Some(raw) = event.delta.filter(|raw| raw.get().starts_with('"') && !what.starts_with("audio")) {
            let Text(text) = serde_json::from_str(raw.get())?;
            let kind = if what.starts_with("reasoning") { TokenKind::Reasoning } else { TokenKind::Visible };
            pieces.push_text(kind, &text, data);
        }
        // One for each token, where they were asked for.
        if let Some(raw) = event.logprobs {
            let Length(n) = serde_json::from_str(raw.get())?;
            if n > 0 {
                pieces.ids = Some(n);
                pieces.push_hole(HoleKind::Entries, raw.get().as_bytes(), data);
            }
        }
        return Ok(());
    }
    // The rest comes once in an answer.
    pieces.bound = true;
    match name {
        "completed" | "incomplete" | "failed" | "cancelled" => {
            let response: Option<Response<'_>> = event.response.map(|raw| serde_json::from_str(raw.get())).transpose()?;
            let words = response.as_ref().and_then(Response::failure);
            if words.is_some() || name == "failed" {
                pieces.error = Some(words.unwrap_or_else(|| "the response failed, without a message".to_owned()));
                return Ok(());
            }
            pieces.done = true;
            keep("timings", event.timings, pieces)?;
            keep("metrics", event.metrics, pieces)?;
            match response {
                Some(response) => response.end(pieces)?,
                None if name == "cancelled" => pieces.finish = Some(FinishReason::Abort),
                None => {}
            }
        }
        "created" | "queued" | "in_progress" => {}
        _ => pieces.choice = true,
    }
    Ok(())
}

impl Item<'_> {
    /// Reads the texts of a whole item.
    fn read(&self, pieces: &mut Pieces) {
        let is_reasoning = self.kind.as_ref().is_some_and(|Text(kind)| kind == "reasoning");
        let kind = if is_reasoning { TokenKind::Reasoning } else { TokenKind::Visible };
        for part in self.summary.iter().chain(&self.content).flatten() {
            for Text(text) in part.text.iter().chain(&part.refusal) {
                pieces.push_text(kind, text, &[]);
            }
        }
        if let Some(Text(arguments)) = &self.arguments {
            pieces.push_text(TokenKind::Visible, arguments, &[]);
        }
    }
}

impl Response<'_> {
    fn failure(&self) -> Option<String> {
        let Self { error, object, message, code, .. } = *self;
        let words = Failure { error, object, message, code }.words(self.output.is_some());
        let failed = self.status.as_ref().is_some_and(|Text(status)| status == "failed");
        words.or_else(|| failed.then(|| "the response failed, without a message".to_owned()))
    }

    /// Counts, numbers of the vendor, and why it ended.
    fn end(&self, pieces: &mut Pieces) -> Result<(), serde_json::Error> {
        if let Some(counts) = &self.usage {
            let input = counts.input_tokens_details.as_ref();
            pieces.usage = Some(Usage {
                input: counts.input_tokens.and_then(count),
                cache_read: input.and_then(|d| count(d.cached_tokens?)),
                cache_write: input.and_then(|d| count(d.cache_write_tokens?)),
                output: counts.output_tokens.and_then(count),
                reasoning: counts.output_tokens_details.as_ref().and_then(|d| count(d.reasoning_tokens?)),
            });
        }
        keep("timings", self.timings, pieces)?;
        keep("metrics", self.metrics, pieces)?;
        let word = |text: &Option<Text<'_>>| text.as_ref().map(|Text(word)| word.to_string()).unwrap_or_default();
        let reason = self.incomplete_details.as_ref().map(|d| word(&d.reason));
        let calls = self.output.iter().flatten().any(|item| word(&item.kind).ends_with("_call"));
        pieces.finish = Some(match (reason.as_deref(), word(&self.status).as_str()) {
            (Some("max_output_tokens" | "max_tokens"), _) => FinishReason::Length,
            (Some("content_filter"), _) => FinishReason::ContentFilter,
            (None, "completed") if calls => FinishReason::Tool,
            (None, "completed") => FinishReason::Stop,
            (None, "cancelled") => FinishReason::Abort,
            _ => FinishReason::Other,
        });
        Ok(())
    }
}
