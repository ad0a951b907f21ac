//! `/v1/messages`, Anthropic's.
//!
//! Its prompt tokens come in three parts that exclude each other: those read from a cache, those written to one, and the rest. Its
//! counts run: of each, the last report counts.

use super::body::{Body, json};
use super::chat::conversation;
use super::value::{Failure, Text, count, message_of, opens};
use super::{Ask, DecodeError, EncodeError, Fields, Input, Message, Pieces, Protocol, Role};
use crate::sse::Frame;
use nomoat_core::event::{TokenKind, Usage};
use nomoat_core::record::FinishReason;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::sync::LazyLock;

/// There is no way to ask for more than a cap, and counts come unasked.
static FIELDS: LazyLock<Fields> = LazyLock::new(|| Fields::new(&["max_tokens"], &[], json!({})));

/// Anthropic's dialect: messages in, blocks of content out.
#[derive(Clone, Copy, Debug)]
pub struct Messages;

/// An event of a stream, or a whole answer.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    delta: Option<&'a RawValue>,
    content_block: Option<&'a RawValue>,
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    stop_reason: Option<Text<'a>>,
    usage: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
    object: Option<&'a RawValue>,
    code: Option<&'a RawValue>,
}

/// The message that an answer begins with.
#[derive(Deserialize)]
struct Start<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

/// A block of content, a piece of one, or what an answer ends with.
#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    thinking: Option<Text<'a>>,
    #[serde(borrow)]
    partial_json: Option<Text<'a>>,
    #[serde(borrow)]
    stop_reason: Option<Text<'a>>,
    /// The arguments of a tool, whole.
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Counts<'a> {
    #[serde(borrow, rename = "input_tokens")]
    input: Option<&'a RawValue>,
    #[serde(borrow, rename = "cache_read_input_tokens")]
    cache_read: Option<&'a RawValue>,
    #[serde(borrow, rename = "cache_creation_input_tokens")]
    cache_write: Option<&'a RawValue>,
    #[serde(borrow, rename = "output_tokens")]
    output: Option<&'a RawValue>,
}

impl Protocol for Messages {
    fn name(&self) -> &'static str {
        "messages"
    }

    fn path(&self) -> &'static str {
        "/v1/messages"
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[("anthropic-version", "2023-06-01")]
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
        let user;
        let messages = match ask.prompt {
            Input::Text(text) => {
                user = [Message { role: Role::User, text }];
                &user[..]
            }
            Input::Messages(messages) => messages,
            Input::Ids(_) => return Err(EncodeError::Ids { protocol: self.name() }),
        };
        // Instructions are no message here.
        let (system, turns): (Vec<Message<'_>>, Vec<Message<'_>>) = messages.iter().partition(|m| m.role == Role::System);
        let mut body = Body::new(ask, &FIELDS, out);
        body.field("model", ask.model);
        if !system.is_empty() {
            body.with("system", |out| json(out, &system.iter().map(|m| m.text).collect::<Vec<_>>().join("\n\n")));
        }
        body.with("messages", |out| conversation(&turns, out));
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
        let data = body.trim_ascii();
        let malformed = |e: serde_json::Error| self.malformed(e);
        let answer: Answer<'_> = serde_json::from_slice(data).map_err(malformed)?;
        if let Some(words) = answer.failure() {
            pieces.error = Some(words);
            return Ok(());
        }
        let Some(content) = answer.content else { return Err(self.malformed("there is no `content`")) };
        let blocks: Vec<&RawValue> = serde_json::from_str(content.get()).map_err(malformed)?;
        pieces.choice = true;
        for block in blocks {
            part(block, pieces, data).map_err(malformed)?;
        }
        usage(answer.usage, pieces).map_err(malformed)?;
        pieces.finish = answer.stop_reason.as_ref().map(|Text(reason)| finish(reason));
        Ok(())
    }
}

impl Messages {
    fn malformed(self, reason: impl ToString) -> DecodeError {
        DecodeError::Malformed { protocol: self.name(), reason: reason.to_string() }
    }
}

fn event(data: &[u8], pieces: &mut Pieces) -> Result<(), serde_json::Error> {
    let answer: Answer<'_> = serde_json::from_slice(data)?;
    if let Some(words) = answer.failure() {
        pieces.error = Some(words);
        return Ok(());
    }
    let kind = answer.kind.as_ref().map_or("", |Text(kind)| kind);
    // Deltas come again and again; the rest has counts that are sums, or comes once.
    pieces.bound = !matches!(kind, "content_block_delta" | "ping");
    match kind {
        "message_start" => {
            pieces.choice = true;
            let start: Option<Start<'_>> = answer.message.map(|raw| serde_json::from_str(raw.get())).transpose()?;
            usage(start.and_then(|s| s.usage), pieces)?;
        }
        "content_block_start" | "content_block_delta" | "content_block_stop" | "message_delta" => {
            pieces.choice = true;
            for raw in [answer.content_block, answer.delta].into_iter().flatten() {
                part(raw, pieces, data)?;
            }
            usage(answer.usage, pieces)?;
        }
        "message_stop" => pieces.done = true,
        _ => {}
    }
    Ok(())
}

impl Answer<'_> {
    fn failure(&self) -> Option<String> {
        let Self { error, object, message, code, .. } = *self;
        if self.kind.as_ref().is_some_and(|Text(kind)| kind == "error") {
            return Some(error.or(message).map_or_else(|| "an error without a message".to_owned(), message_of));
        }
        Failure { error, object, message, code }.words(self.kind.is_some())
    }
}

/// Reads texts, and why it ended.
fn part(raw: &RawValue, pieces: &mut Pieces, data: &[u8]) -> Result<(), serde_json::Error> {
    let part: Part<'_> = serde_json::from_str(raw.get())?;
    let texts = [(&part.thinking, TokenKind::Reasoning), (&part.text, TokenKind::Visible), (&part.partial_json, TokenKind::Visible)];
    for (text, kind) in texts {
        if let Some(Text(text)) = text {
            pieces.push_text(kind, text, data);
        }
    }
    // A block of a stream begins with empty arguments.
    if let Some(arguments) = part.input
        && arguments.get() != "{}"
    {
        pieces.push_text(TokenKind::Visible, arguments.get(), &[]);
    }
    if let Some(Text(reason)) = &part.stop_reason {
        pieces.finish = Some(finish(reason));
    }
    Ok(())
}

fn finish(reason: &str) -> FinishReason {
    match reason {
        "end_turn" | "stop_sequence" => FinishReason::Stop,
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_use" => FinishReason::Tool,
        "refusal" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    }
}

fn usage(raw: Option<&RawValue>, pieces: &mut Pieces) -> Result<(), serde_json::Error> {
    let Some(raw) = raw else { return Ok(()) };
    let counts: Counts<'_> = serde_json::from_str(raw.get())?;
    let parts = [counts.input, counts.cache_read, counts.cache_write];
    let so_far = &mut pieces.so_far;
    for (last, raw) in so_far.input.iter_mut().zip(parts) {
        *last = raw.and_then(count).or(*last);
    }
    let [_, cache_read, cache_write] = so_far.input;
    let input = so_far.prompt();
    pieces.usage = Some(Usage { input, cache_read, cache_write, output: counts.output.and_then(count), reasoning: None });
    Ok(())
}
