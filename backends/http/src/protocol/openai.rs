//! The JSON that the chat and completions dialects share: chunks, usage, errors.
//!
//! Field names are those of the recorded engines and of the public API; unknown ones are ignored, because every engine adds its own.

use super::fields::Fields;
use super::value::{Failure, Length, Text, count, keep, message_of, opens};
use super::{Count, DecodeError, HoleKind, Pieces};
use crate::sse::Frame;
use nomoat_core::event::{TokenKind, Usage};
use nomoat_core::record::FinishReason;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::sync::LazyLock;

/// How the engines that speak these dialects are asked for a length and for counts; the first three are vLLM's names, which most took over.
pub(super) static FIELDS: LazyLock<Fields> = LazyLock::new(|| {
    let usage = json!({"stream_options": {"include_usage": true}});
    let continuous = json!({"stream_options": {"include_usage": true, "continuous_usage_stats": true}});
    Fields::new(&["max_tokens"], &["min_tokens"], json!({"ignore_eos": true})).with_usage(usage, continuous)
});

/// Where a dialect keeps its text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// `delta` in a stream, `message` in a body.
    Message,
    /// `text`.
    Text,
}

/// An event of a stream, or a whole answer.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    usage: Option<&'a RawValue>,
    object: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
    message: Option<&'a RawValue>,
    code: Option<&'a RawValue>,
    time_info: Option<&'a RawValue>,
    timings: Option<&'a RawValue>,
    metrics: Option<&'a RawValue>,
    nvext: Option<&'a RawValue>,
    x_groq: Option<&'a RawValue>,
    sglext: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    index: Option<u32>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    message: Option<Delta<'a>>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
    token_ids: Option<&'a RawValue>,
    logprobs: Option<&'a RawValue>,
}

/// Log probabilities: one entry for each token, under another name in each dialect.
#[derive(Deserialize)]
struct LogProbs<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    tokens: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning_content: Option<Text<'a>>,
    #[serde(borrow)]
    thinking: Option<Text<'a>>,
    #[serde(borrow)]
    refusal: Option<Text<'a>>,
    #[serde(borrow)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
    #[serde(borrow)]
    function_call: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow)]
    function: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    arguments: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Counts<'a> {
    #[serde(borrow)]
    prompt_tokens: Option<&'a RawValue>,
    completion_tokens: Option<&'a RawValue>,
    prompt_tokens_details: Option<InputDetails<'a>>,
    completion_tokens_details: Option<OutputDetails<'a>>,
    /// SGLang keeps it beside the details.
    reasoning_tokens: Option<&'a RawValue>,
    /// DeepSeek's name for the cached part.
    prompt_cache_hit_tokens: Option<&'a RawValue>,
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

#[derive(Deserialize)]
struct Dynamo<'a> {
    #[serde(borrow)]
    timing: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Groq<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
}

/// Reads an event of a stream.
pub(super) fn decode(protocol: &'static str, place: Place, frame: Frame<'_>, pieces: &mut Pieces) -> Result<(), DecodeError> {
    if !opens(frame, pieces) {
        return Ok(());
    }
    read(place, frame.data, pieces).map_err(|e| DecodeError::Malformed { protocol, reason: e.to_string() })?;
    Ok(())
}

/// Reads an answer that was not streamed.
pub(super) fn decode_body(protocol: &'static str, place: Place, body: &[u8], pieces: &mut Pieces) -> Result<(), DecodeError> {
    let malformed = |reason: String| DecodeError::Malformed { protocol, reason };
    let has_choices = read(place, body.trim_ascii(), pieces).map_err(|e| malformed(e.to_string()))?;
    if has_choices || pieces.error.is_some() { Ok(()) } else { Err(malformed("there are no `choices`".into())) }
}

/// Reads an object; tells whether it has choices.
fn read(place: Place, data: &[u8], pieces: &mut Pieces) -> Result<bool, serde_json::Error> {
    let answer: Answer<'_> = serde_json::from_slice(data)?;
    if let Some(message) = failure(&answer) {
        pieces.error = Some(message);
        return Ok(answer.choices.is_some());
    }
    if let Some(raw) = answer.usage {
        pieces.usage = Some(usage(raw, data, pieces)?);
    }
    vendor(&answer, pieces)?;
    let choices = answer.choices.as_deref().unwrap_or_default();
    pieces.choice = !choices.is_empty();
    pieces.several = choices.len() > 1 || choices.iter().any(|c| c.index.is_some_and(|i| i > 0));
    for choice in choices {
        if let Some(raw) = choice.token_ids {
            let Length(n) = serde_json::from_str(raw.get())?;
            pieces.ids = Some(pieces.ids.unwrap_or(0).saturating_add(n));
            pieces.push_hole(HoleKind::Ids, raw.get().as_bytes(), data);
        } else if let Some((n, raw)) = choice.logprobs.and_then(entries) {
            pieces.ids = Some(pieces.ids.unwrap_or(0).saturating_add(n));
            pieces.push_hole(HoleKind::Entries, raw.get().as_bytes(), data);
        }
        match place {
            Place::Text => add(choice.text.as_ref(), TokenKind::Visible, data, pieces),
            Place::Message => {
                for content in [&choice.delta, &choice.message].into_iter().flatten() {
                    content.read(data, pieces);
                }
            }
        }
        if let Some(Text(reason)) = &choice.finish_reason {
            // An engine that gives up in the middle says so here.
            if reason == "error" {
                pieces.error = Some("the engine ended the answer with the finish reason `error`".into());
            }
            pieces.finish = Some(finish(reason));
        }
    }
    Ok(answer.choices.is_some())
}

impl Delta<'_> {
    fn read(&self, data: &[u8], pieces: &mut Pieces) {
        // One text under several names, never several texts: servers in transition send both.
        let names = [&self.reasoning, &self.reasoning_content, &self.thinking];
        let reasoning = names.into_iter().flatten().find(|Text(t)| !t.is_empty());
        add(reasoning, TokenKind::Reasoning, data, pieces);
        add(self.content.as_ref(), TokenKind::Visible, data, pieces);
        add(self.refusal.as_ref(), TokenKind::Visible, data, pieces);
        let calls = self.tool_calls.iter().flatten().filter_map(|c| c.function.as_ref());
        for function in calls.chain(&self.function_call) {
            add(function.arguments.as_ref(), TokenKind::Visible, data, pieces);
        }
    }
}

fn add(text: Option<&Text<'_>>, kind: TokenKind, data: &[u8], pieces: &mut Pieces) {
    if let Some(Text(text)) = text {
        pieces.push_text(kind, text, data);
    }
}

/// How many tokens have log probabilities, and where; nothing if none has, or if they come in a shape that nobody knows.
fn entries(logprobs: &RawValue) -> Option<(u32, &RawValue)> {
    let LogProbs { content, tokens } = serde_json::from_str(logprobs.get()).ok()?;
    let raw = content.or(tokens)?;
    let Length(n) = serde_json::from_str(raw.get()).ok()?;
    (n > 0).then_some((n, raw))
}

fn finish(reason: &str) -> FinishReason {
    match reason {
        "stop" => FinishReason::Stop,
        "length" | "max_tokens" => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::Tool,
        "content_filter" => FinishReason::ContentFilter,
        "abort" => FinishReason::Abort,
        _ => FinishReason::Other,
    }
}

fn usage(raw: &RawValue, data: &[u8], pieces: &mut Pieces) -> Result<Usage, serde_json::Error> {
    let counts: Counts<'_> = serde_json::from_str(raw.get())?;
    let (input, output) = (counts.prompt_tokens_details, counts.completion_tokens_details);
    // A count, and a hole where it stands. Of two places that may hold one, the first that does.
    let mut one_of = |kind: Count, places: [Option<&RawValue>; 2]| {
        let (raw, number) = places.into_iter().flatten().find_map(|raw| Some((raw, count(raw)?)))?;
        pieces.push_hole(HoleKind::Count(kind), raw.get().as_bytes(), data);
        Some(number)
    };
    Ok(Usage {
        input: one_of(Count::Input, [counts.prompt_tokens, None]),
        cache_read: one_of(Count::CacheRead, [input.as_ref().and_then(|d| d.cached_tokens), counts.prompt_cache_hit_tokens]),
        cache_write: one_of(Count::CacheWrite, [input.as_ref().and_then(|d| d.cache_write_tokens), None]),
        output: one_of(Count::Output, [counts.completion_tokens, None]),
        reasoning: one_of(Count::Reasoning, [output.and_then(|d| d.reasoning_tokens), counts.reasoning_tokens]),
    })
}

/// The error an answer holds instead of being one.
fn failure(answer: &Answer<'_>) -> Option<String> {
    let Answer { error, object, message, code, .. } = *answer;
    if let Some(words) = (Failure { error, object, message, code }).words(answer.choices.is_some()) {
        return Some(words);
    }
    let groq: Option<Groq<'_>> = answer.x_groq.and_then(|raw| serde_json::from_str(raw.get()).ok());
    groq?.error.map(message_of)
}

/// Keeps the numbers of allow-listed vendor objects.
fn vendor(answer: &Answer<'_>, pieces: &mut Pieces) -> Result<(), serde_json::Error> {
    let dynamo: Option<Dynamo<'_>> = answer.nvext.map(|raw| serde_json::from_str(raw.get())).transpose()?;
    let groq: Option<Groq<'_>> = answer.x_groq.map(|raw| serde_json::from_str(raw.get())).transpose()?;
    let groq_usage = groq.and_then(|g| g.usage);
    if let Some(raw) = groq_usage
        && pieces.usage.is_none()
    {
        pieces.usage = Some(usage(raw, &[], pieces)?);
    }
    keep("time_info", answer.time_info, pieces)?;
    keep("timings", answer.timings, pieces)?;
    keep("metrics", answer.metrics, pieces)?;
    keep("nvext.timing", dynamo.and_then(|d| d.timing), pieces)?;
    keep("sglext", answer.sglext, pieces)?;
    keep("x_groq.usage", groq_usage, pieces)
}
