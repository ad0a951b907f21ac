//! The JSON that the OpenAI dialects share: chunks, usage, errors, and how a body is put together.
//!
//! Field names are those of the recorded engines and of the public API; unknown ones are ignored, because every engine adds its own.

use super::{Ask, Count, DecodeError, HoleKind, MAX_VENDOR, Pieces};
use crate::sse::Frame;
use nomoat_core::event::{TokenKind, Usage};
use nomoat_core::record::FinishReason;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The longest message kept of an error.
const MAX_MESSAGE: usize = 500;
/// The deepest vendor number kept.
const MAX_VENDOR_DEPTH: usize = 8;

/// Where a dialect keeps its text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// `delta` in a stream, `message` in a body.
    Message,
    /// `text`.
    Text,
}

/// A JSON string that stays a slice of the input where it has no escapes. (`Option<Cow<str>>` alone would always copy.)
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Reader)
    }
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

/// Counts the elements of an array.
struct Length(u32);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Length;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of token ids")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Length, A::Error> {
                let mut n = 0;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    n += 1;
                }
                Ok(Length(n))
            }
        }
        deserializer.deserialize_seq(Reader)
    }
}

/// Reads an event of a stream.
pub(super) fn decode(protocol: &'static str, place: Place, frame: Frame<'_>, pieces: &mut Pieces) -> Result<(), DecodeError> {
    let data = frame.data.trim_ascii();
    if data == b"[DONE]" {
        pieces.done = true;
        return Ok(());
    }
    if frame.event == b"error" {
        pieces.error = Some(error_message(data).unwrap_or_else(|| shorten(&String::from_utf8_lossy(data))));
        return Ok(());
    }
    // Keep-alives with empty data, and named annotations that are no JSON object.
    if data.is_empty() || (!frame.event.is_empty() && data[0] != b'{') {
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
            pieces.ids = Some(pieces.ids.unwrap_or(0) + n);
            pieces.push_hole(HoleKind::Ids, raw.get().as_bytes(), data);
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

/// A count; anything that is no whole number of 32 bits is not one.
fn count(raw: &RawValue) -> Option<u32> {
    raw.get().parse().ok()
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
    if let Some(error) = answer.error {
        return Some(message_of(error));
    }
    // vLLM and SGLang: {"object":"error","message":…}; Dynamo: {"message":…,"code":…}.
    let named = answer.object.is_some_and(|o| o.get() == "\"error\"");
    if named || (answer.choices.is_none() && answer.code.is_some()) {
        return answer.message.map(message_of).or_else(|| named.then(|| "an error without a message".to_owned()));
    }
    let groq: Option<Groq<'_>> = answer.x_groq.and_then(|raw| serde_json::from_str(raw.get()).ok());
    groq?.error.map(message_of)
}

/// The words of an error: a text, the `message` of an object, or the JSON itself.
fn message_of(raw: &RawValue) -> String {
    let words = match serde_json::from_str(raw.get()) {
        Ok(Value::String(text)) => Some(text),
        Ok(Value::Object(mut object)) => match object.remove("message") {
            Some(Value::String(text)) => Some(text),
            _ => None,
        },
        _ => None,
    };
    shorten(words.as_deref().unwrap_or(raw.get()))
}

/// What an error body says, in the shapes of the known engines: `error` (an object with a `message`, or a text), a bare
/// `message`, or FastAPI's `detail`. Nothing if it is none of them. For people: free text never enters a record.
pub fn error_message(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        error: Option<&'a RawValue>,
        message: Option<&'a RawValue>,
        detail: Option<&'a RawValue>,
    }
    let body: Body<'_> = serde_json::from_slice(body.trim_ascii()).ok()?;
    body.error.or(body.message).or(body.detail).map(message_of)
}

fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE).collect()
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
    let listed = [
        ("time_info", answer.time_info),
        ("timings", answer.timings),
        ("metrics", answer.metrics),
        ("nvext.timing", dynamo.and_then(|d| d.timing)),
        ("x_groq.usage", groq_usage),
    ];
    for (key, raw) in listed {
        if let Some(raw) = raw
            && raw.get().len() <= MAX_VENDOR
        {
            let mut kept = String::new();
            numbers(raw, MAX_VENDOR_DEPTH, &mut kept)?;
            if !kept.is_empty() {
                pieces.vendor.push((key, kept));
            }
        }
    }
    Ok(())
}

/// An object whose values are not looked into yet; of two of one name the later counts.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = vec![];
                while let Some((Text(key), value)) = map.next_entry()? {
                    members.retain(|(k, _)| *k != key);
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// Appends the numbers of a value in their places, with the digits they came with; nothing if it has none, or none that another
/// reader can hold. Texts of a vendor do not enter a record.
fn numbers(raw: &RawValue, depth: usize, out: &mut String) -> Result<(), serde_json::Error> {
    let json = raw.get();
    let before = out.len();
    match json.as_bytes()[0] {
        b'-' | b'0'..=b'9' if json.parse().is_ok_and(f64::is_finite) => out.push_str(json),
        b'{' if depth > 0 => {
            let Members(members) = serde_json::from_str(json)?;
            for (key, value) in members {
                let start = out.len();
                out.push(if start == before { '{' } else { ',' });
                out.push_str(&serde_json::to_string(&key)?);
                out.push(':');
                let colon = out.len();
                numbers(value, depth - 1, out)?;
                if out.len() == colon {
                    out.truncate(start);
                }
            }
            out.push_str(if out.len() == before { "" } else { "}" });
        }
        b'[' if depth > 0 => {
            let values: Vec<&RawValue> = serde_json::from_str(json)?;
            for value in values {
                let start = out.len();
                out.push(if start == before { '[' } else { ',' });
                let comma = out.len();
                numbers(value, depth - 1, out)?;
                if out.len() == comma {
                    out.truncate(start);
                }
            }
            out.push_str(if out.len() == before { "" } else { "]" });
        }
        _ => {}
    }
    Ok(())
}

/// Writes a body field by field, in order; the ask's extra fields replace those of the same name and come last.
pub(super) struct Body<'a> {
    ask: &'a Ask<'a>,
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Body<'a> {
    pub(super) fn new(ask: &'a Ask<'a>, out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { ask, out, first: true }
    }

    /// A field of any JSON value.
    pub(super) fn field<T: serde::Serialize + ?Sized>(&mut self, key: &str, value: &T) {
        self.with(key, |out| json(out, value));
    }

    /// A field whose value `write` appends.
    pub(super) fn with(&mut self, key: &str, write: impl FnOnce(&mut Vec<u8>)) {
        if self.ask.extra.is_some_and(|extra| extra.contains_key(key)) {
            return;
        }
        self.key(key);
        write(self.out);
    }

    fn key(&mut self, key: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        json(self.out, key);
        self.out.push(b':');
    }

    /// The fields that do not depend on how a prompt is written, then the extra ones.
    pub(super) fn finish(mut self) {
        let ask = self.ask;
        self.field("max_tokens", &ask.max_tokens);
        if ask.exact {
            self.field("min_tokens", &ask.max_tokens);
            self.field("ignore_eos", &true);
        }
        if let Some(temperature) = ask.temperature {
            self.field("temperature", &temperature);
        }
        self.field("stream", &ask.stream);
        if ask.stream && (ask.include_usage || ask.continuous_usage) {
            self.with("stream_options", |out| {
                out.extend_from_slice(b"{\"include_usage\":true");
                if ask.continuous_usage {
                    out.extend_from_slice(b",\"continuous_usage_stats\":true");
                }
                out.push(b'}');
            });
        }
        for (key, value) in ask.extra.into_iter().flatten() {
            self.key(key);
            json(self.out, value);
        }
        self.out.push(b'}');
    }
}

/// Appends a value as compact JSON.
pub(super) fn json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("numbers, texts and JSON values serialize, and a Vec takes any bytes");
}
