//! What came back, as far as it is recorded: counts, the first token, how it ended. No text is kept.

use crate::sse::Sse;
use nomoat_core::units::Nanos;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Most bytes of an answer that is not streamed.
const MAX_BODY: usize = 64 << 20;

/// An answer on its way.
#[derive(Default)]
pub struct Answer {
    form: Form,
    /// Events with content.
    pub chunks: u32,
    /// When the first of them was there.
    pub first: Option<Nanos>,
    pub input_tokens: Option<u32>,
    pub output_tokens: Option<u32>,
    pub cached_tokens: Option<u32>,
    /// It said that it is over.
    pub is_over: bool,
    /// It ended because it was as long as it might be.
    pub at_length: bool,
    /// It is an error, or ended in one.
    pub failed: bool,
    /// Nothing of it could be read: compressed, too large, or no JSON.
    pub is_opaque: bool,
}

#[derive(Default)]
enum Form {
    #[default]
    Nothing,
    Stream(Sse),
    Whole(Vec<u8>),
    Opaque,
}

/// A text of which only counts whether there is any.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct IsSaid(bool);

#[derive(Deserialize)]
struct Event {
    choices: Option<Vec<Choice>>,
    usage: Option<Usage>,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Choice {
    delta: Option<Delta>,
    message: Option<Delta>,
    text: Option<IsSaid>,
    finish_reason: Option<Reason>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Reason {
    Word(String),
    Other(IgnoredAny),
}

#[derive(Deserialize)]
struct Delta {
    content: Option<IsSaid>,
    reasoning: Option<IsSaid>,
    reasoning_content: Option<IsSaid>,
    thinking: Option<IsSaid>,
    refusal: Option<IsSaid>,
    tool_calls: Option<Vec<Call>>,
    function_call: Option<IsSaid>,
}

#[derive(Deserialize)]
struct Call {
    function: Option<IsSaid>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<u32>,
    completion_tokens: Option<u32>,
    prompt_tokens_details: Option<Details>,
    prompt_cache_hit_tokens: Option<u32>,
}

#[derive(Deserialize)]
struct Details {
    cached_tokens: Option<u32>,
}

impl Answer {
    /// Its head came.
    pub fn head(&mut self, status: u16, is_stream: bool, is_encoded: bool) {
        self.failed = !(200..300).contains(&status);
        self.form = match (is_encoded, is_stream) {
            (true, _) => Form::Opaque,
            (_, true) => Form::Stream(Sse::default()),
            _ => Form::Whole(vec![]),
        };
        self.is_opaque = is_encoded;
    }

    /// A piece of its body came, at `at`.
    pub fn feed(&mut self, at: Nanos, bytes: &[u8]) {
        match std::mem::replace(&mut self.form, Form::Opaque) {
            Form::Stream(mut sse) => {
                sse.feed(bytes, &mut |data| self.event(at, data));
                self.form = Form::Stream(sse);
            }
            Form::Whole(mut body) if body.len() + bytes.len() <= MAX_BODY => {
                body.extend_from_slice(bytes);
                self.form = Form::Whole(body);
            }
            Form::Whole(_) => self.is_opaque = true,
            other => self.form = other,
        }
    }

    /// No more of its body will come.
    pub fn finish(&mut self) {
        if let Form::Whole(body) = std::mem::take(&mut self.form) {
            match serde_json::from_slice::<Event>(&body) {
                // Nothing of it is timed: it was there all at once.
                Ok(event) => {
                    self.is_over = true;
                    self.take(event);
                }
                Err(_) => self.is_opaque = true,
            }
        }
    }

    fn event(&mut self, at: Nanos, data: &[u8]) {
        if data.trim_ascii() == b"[DONE]" {
            self.is_over = true;
            return;
        }
        // An event that is no JSON is none of ours; what lacks because of it is a loss of counts.
        if let Ok(event) = serde_json::from_slice::<Event>(data)
            && self.take(event)
        {
            self.chunks = self.chunks.saturating_add(1);
            self.first.get_or_insert(at);
        }
    }

    /// Whether there is content in it.
    fn take(&mut self, event: Event) -> bool {
        self.failed |= event.error.is_some();
        if let Some(usage) = event.usage {
            let cached = usage.prompt_tokens_details.and_then(|details| details.cached_tokens).or(usage.prompt_cache_hit_tokens);
            self.input_tokens = usage.prompt_tokens.or(self.input_tokens);
            self.output_tokens = usage.completion_tokens.or(self.output_tokens);
            self.cached_tokens = cached.or(self.cached_tokens);
        }
        let mut is_said = false;
        for choice in event.choices.iter().flatten() {
            let texts = [&choice.delta, &choice.message].into_iter().flatten().map(Delta::is_said);
            is_said |= texts.fold(false, |a, b| a | b) || choice.text.is_some_and(|text| text.0);
            match &choice.finish_reason {
                Some(Reason::Word(word)) => {
                    self.is_over = true;
                    self.at_length |= word == "length";
                    self.failed |= word == "error";
                }
                Some(Reason::Other(_)) | None => {}
            }
        }
        is_said
    }
}

impl Delta {
    fn is_said(&self) -> bool {
        let texts = [self.content, self.reasoning, self.reasoning_content, self.thinking, self.refusal, self.function_call];
        let calls = self.tool_calls.iter().flatten().map(|call| call.function);
        texts.into_iter().chain(calls).flatten().any(|text| text.0)
    }
}

impl<'de> Deserialize<'de> for IsSaid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Looking)
    }
}

/// Looks through whatever stands in a text's place.
struct Looking;

impl<'de> Visitor<'de> for Looking {
    type Value = IsSaid;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("anything")
    }

    fn visit_str<E>(self, text: &str) -> Result<IsSaid, E> {
        Ok(IsSaid(!text.is_empty()))
    }

    fn visit_unit<E>(self) -> Result<IsSaid, E> {
        Ok(IsSaid(false))
    }

    fn visit_bool<E>(self, _: bool) -> Result<IsSaid, E> {
        Ok(IsSaid(false))
    }

    fn visit_i64<E>(self, _: i64) -> Result<IsSaid, E> {
        Ok(IsSaid(false))
    }

    fn visit_u64<E>(self, _: u64) -> Result<IsSaid, E> {
        Ok(IsSaid(false))
    }

    fn visit_f64<E>(self, _: f64) -> Result<IsSaid, E> {
        Ok(IsSaid(false))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<IsSaid, A::Error> {
        let mut said = false;
        while let Some(IsSaid(one)) = list.next_element()? {
            said |= one;
        }
        Ok(IsSaid(said))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<IsSaid, A::Error> {
        let mut said = false;
        // A function's name, its arguments, a part's text: all of them are tokens of the answer. A part's type is not.
        while let Some(key) = map.next_key::<std::borrow::Cow<'_, str>>()? {
            let IsSaid(one) = map.next_value()?;
            said |= one && key != "type";
        }
        Ok(IsSaid(said))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streamed(events: &[&str], size: usize) -> Answer {
        let text = events.iter().flat_map(|event| ["data: ", event, "\n\n"]).collect::<String>();
        let mut answer = Answer::default();
        answer.head(200, true, false);
        for (at, piece) in text.as_bytes().chunks(size).enumerate() {
            answer.feed(Nanos(at as i64), piece);
        }
        answer.finish();
        answer
    }

    #[test]
    fn streams() {
        let events = [
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}"#,
            r#"{"choices":[{"delta":{"content":"a"}}]}"#,
            r#"{"choices":[{"delta":{"reasoning_content":"b","content":null}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"x","type":"function","function":{"name":"f","arguments":""}}]}}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"length"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":4}}}"#,
            "[DONE]",
        ];
        for size in [1, 7, 100_000] {
            let answer = streamed(&events, size);
            assert_eq!((answer.chunks, answer.input_tokens, answer.output_tokens, answer.cached_tokens), (3, Some(7), Some(3), Some(4)));
            assert!(answer.is_over && answer.at_length && !answer.failed && answer.first.is_some());
        }
        // The first token is there with the read that completes its event: its last line end is byte 105 + 45.
        let first = events[0].len() + 8 + events[1].len() + 8;
        assert_eq!(streamed(&events, 1).first, Some(Nanos(first as i64 - 1)));
        assert!(streamed(&[r#"{"error":{"message":"x"}}"#], 9).failed);
        let text = streamed(&[r#"{"choices":[{"text":"a"}]}"#, "nothing", r#"{"choices":[{"text":""}]}"#], 9);
        assert_eq!((text.chunks, text.is_over, text.output_tokens), (1, false, None));
    }

    #[test]
    fn bodies() {
        let read = |status, encoded, body: &str| {
            let mut answer = Answer::default();
            answer.head(status, false, encoded);
            answer.feed(Nanos(1), body.as_bytes());
            answer.finish();
            answer
        };
        let body = r#"{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":2,"completion_tokens":1}}"#;
        let answer = read(200, false, body);
        assert_eq!((answer.output_tokens, answer.first, answer.failed, answer.at_length), (Some(1), None, false, false));
        assert!(read(500, false, "{}").failed);
        assert!(read(200, true, body).is_opaque);
        assert!(read(200, false, "<html>").is_opaque);
        let half = read(200, false, &body[..40]);
        assert!(half.is_opaque && !half.is_over, "who left in the middle of it has left");
    }
}
