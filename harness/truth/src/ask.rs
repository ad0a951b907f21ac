//! What a generation request asks, read from its body. Only fields that change the answer are looked at; sampling is ignored.

use crate::script::Script;
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Which of the two generation routes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Endpoint {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Completion,
}

/// A request, understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ask {
    /// The route.
    pub endpoint: Endpoint,
    /// Whether the answer is a stream.
    pub stream: bool,
    /// Whether the stream ends with a usage chunk.
    pub usage: bool,
    /// Whether every chunk carries the usage so far.
    pub continuous: bool,
    /// Prompt tokens: ids, or words between white space.
    pub prompt_tokens: u32,
    /// Tokens of the answer.
    pub tokens: u32,
    /// Whether the answer ends because the asked maximum is reached.
    pub at_limit: bool,
    /// Whether a length was forced by `ignore_eos` or `min_tokens`.
    pub forced: bool,
}

/// Why a request is refused, in OpenAI's terms.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// The field at fault.
    pub param: Option<&'static str>,
    /// For people.
    pub message: String,
}

impl Refusal {
    fn bad(param: &'static str, message: String) -> Self {
        Self { status: 400, param: Some(param), message }
    }
}

#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    messages: Option<Messages>,
    prompt: Option<PromptSize>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    min_tokens: Option<u64>,
    ignore_eos: Option<bool>,
    n: Option<u64>,
}

#[derive(Deserialize, Default)]
struct StreamOptions {
    include_usage: Option<bool>,
    continuous_usage_stats: Option<bool>,
}

impl Ask {
    /// Reads the body of a request to `endpoint` of a server that plays `script`.
    pub fn read(endpoint: Endpoint, body: &[u8], script: &Script) -> Result<Self, Refusal> {
        let body: Body = serde_json::from_slice(body).map_err(|error| Refusal {
            status: 400,
            param: None,
            message: format!("the body cannot be read: {error}"),
        })?;
        if let Some(model) = body.model.filter(|model| *model != script.model) {
            let message = format!("The model `{model}` does not exist; this server has `{}`.", script.model);
            return Err(Refusal { status: 404, param: Some("model"), message });
        }
        if body.n.is_some_and(|n| n != 1) {
            return Err(Refusal::bad("n", "only one choice per request".to_owned()));
        }
        let prompt = match endpoint {
            Endpoint::Chat => body.messages.map(|m| m.0).ok_or_else(|| Refusal::bad("messages", "messages are missing".to_owned()))?,
            Endpoint::Completion => body.prompt.map(|p| p.0).ok_or_else(|| Refusal::bad("prompt", "prompt is missing".to_owned()))?,
        };
        let asked = match endpoint {
            Endpoint::Chat => body.max_completion_tokens.or(body.max_tokens).map(|n| ("max_completion_tokens", n)),
            Endpoint::Completion => body.max_tokens.map(|n| ("max_tokens", n)),
        };
        let room = u64::from(script.max_model_len).saturating_sub(prompt);
        if room == 0 {
            let message = format!("the prompt has {prompt} tokens, and the longest context is {}", script.max_model_len);
            return Err(Refusal::bad(if endpoint == Endpoint::Chat { "messages" } else { "prompt" }, message));
        }
        let most = match asked {
            Some((param, 0)) => return Err(Refusal::bad(param, "at least one token must be allowed".to_owned())),
            Some((param, n)) if n > room => {
                let message =
                    format!("{n} output tokens and {prompt} prompt tokens exceed the longest context of {}", script.max_model_len);
                return Err(Refusal::bad(param, message));
            }
            Some((_, n)) => n,
            None => room,
        };
        let least = body.min_tokens.unwrap_or(0);
        if least > most {
            return Err(Refusal::bad("min_tokens", format!("min_tokens is {least}, but at most {most} tokens may come")));
        }
        let ignore_eos = body.ignore_eos.unwrap_or(false);
        // Without a maximum, ignoring the end would fill the context; the scripted length is the sensible end then.
        let own = if ignore_eos && asked.is_some() { most } else { u64::from(script.output_tokens) };
        let tokens = own.clamp(least, most).max(1);
        let options = body.stream_options.unwrap_or_default();
        let usage = options.include_usage.unwrap_or(false);
        // Both fit: they are at most `max_model_len`, which is a `u32`.
        Ok(Self {
            endpoint,
            stream: body.stream.unwrap_or(false),
            usage,
            continuous: usage && options.continuous_usage_stats.unwrap_or(false),
            prompt_tokens: prompt as u32,
            tokens: tokens as u32,
            at_limit: tokens == most,
            forced: ignore_eos || least > 0,
        })
    }
}

fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

/// The size of a completion's prompt, counted while reading: the prompt itself is never kept.
struct PromptSize(u64);

impl<'de> Deserialize<'de> for PromptSize {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Size;
        impl<'de> Visitor<'de> for Size {
            type Value = PromptSize;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of token ids")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<PromptSize, E> {
                Ok(PromptSize(words(text)))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut ids: A) -> Result<PromptSize, A::Error> {
                let mut count = 0;
                while ids.next_element::<u32>()?.is_some() {
                    count += 1;
                }
                Ok(PromptSize(count))
            }
        }
        from.deserialize_any(Size)
    }
}

/// The size of all messages' contents.
struct Messages(u64);

impl<'de> Deserialize<'de> for Messages {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Message {
            #[serde(rename = "role")]
            _role: String,
            #[serde(default)]
            content: Option<Content>,
        }
        let messages = Vec::<Message>::deserialize(from)?;
        if messages.is_empty() {
            return Err(de::Error::custom("messages are empty"));
        }
        Ok(Self(messages.iter().filter_map(|m| m.content.as_ref()).map(|c| c.0).sum()))
    }
}

/// The size of one message's content: a text, or parts of which those with text count.
struct Content(u64);

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Size;
        impl<'de> Visitor<'de> for Size {
            type Value = Content;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of parts")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Content, E> {
                Ok(Content(words(text)))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Content, A::Error> {
                let mut sum = 0;
                while let Some(Part(size)) = parts.next_element()? {
                    sum += size;
                }
                Ok(Content(sum))
            }
        }
        from.deserialize_any(Size)
    }
}

struct Part(u64);

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Size;
        impl<'de> Visitor<'de> for Size {
            type Value = Part;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a content part")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Part, A::Error> {
                let mut size = 0;
                while let Some(key) = fields.next_key::<String>()? {
                    if key == "text" {
                        size = words(&fields.next_value::<String>()?);
                    } else {
                        fields.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Part(size))
            }
        }
        from.deserialize_map(Size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Endpoint::{Chat, Completion};

    fn read(endpoint: Endpoint, body: &str) -> Result<Ask, Refusal> {
        let script = Script { output_tokens: 10, max_model_len: 100, ..Script::default() };
        Ask::read(endpoint, body.as_bytes(), &script)
    }

    #[test]
    fn prompts_are_counted() {
        let check = |endpoint, body: &str, expected: u32| assert_eq!(read(endpoint, body).unwrap().prompt_tokens, expected, "{body}");
        check(Completion, r#"{"prompt":"three little words"}"#, 3);
        check(Completion, r#"{"prompt":"  tabs\tand\nlines "}"#, 3);
        check(Completion, r#"{"prompt":"esc\"aped \u00e9 x"}"#, 3);
        check(Completion, r#"{"prompt":[1,2,4294967295]}"#, 3);
        check(Completion, r#"{"prompt":""}"#, 0);
        check(
            Chat,
            r#"{"messages":[{"role":"user","content":"a b"},{"role":"assistant","content":null},{"role":"user","content":"c"}]}"#,
            3,
        );
        check(
            Chat,
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a b"},{"type":"image_url","image_url":{"url":"x y"}}]}]}"#,
            2,
        );
    }

    #[test]
    fn lengths_follow_the_rules() {
        let check = |fields: &str, tokens: u32, at_limit: bool, forced: bool| {
            let ask = read(Completion, &format!(r#"{{"prompt":"x"{fields}}}"#)).unwrap();
            assert_eq!((ask.tokens, ask.at_limit, ask.forced), (tokens, at_limit, forced), "{fields}");
        };
        check("", 10, false, false);
        check(r#","max_tokens":4"#, 4, true, false);
        check(r#","max_tokens":10"#, 10, true, false);
        check(r#","max_tokens":40"#, 10, false, false);
        check(r#","max_tokens":40,"ignore_eos":true"#, 40, true, true);
        check(r#","max_tokens":40,"min_tokens":20"#, 20, false, true);
        check(r#","max_tokens":40,"min_tokens":40"#, 40, true, true);
        check(r#","ignore_eos":true"#, 10, false, true);
        check(r#","max_tokens":null,"min_tokens":null,"ignore_eos":false"#, 10, false, false);
        let chat = read(Chat, r#"{"messages":[{"role":"user","content":"x"}],"max_tokens":3,"max_completion_tokens":5}"#).unwrap();
        assert_eq!(chat.tokens, 5, "the newer name wins");
    }

    #[test]
    fn stream_options() {
        let check = |fields: &str, expected: (bool, bool, bool)| {
            let ask = read(Completion, &format!(r#"{{"prompt":"x"{fields}}}"#)).unwrap();
            assert_eq!((ask.stream, ask.usage, ask.continuous), expected, "{fields}");
        };
        check("", (false, false, false));
        check(r#","stream":true"#, (true, false, false));
        check(r#","stream":true,"stream_options":{"include_usage":true}"#, (true, true, false));
        check(r#","stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}"#, (true, true, true));
        check(r#","stream":true,"stream_options":{"continuous_usage_stats":true}"#, (true, false, false));
    }

    #[test]
    fn refusals_name_the_field() {
        let check = |endpoint, body: &str, status: u16, needle: &str| {
            let refusal = read(endpoint, body).unwrap_err();
            assert_eq!(refusal.status, status, "{body}");
            assert!(refusal.message.contains(needle) || refusal.param == Some(needle), "{body}: {refusal:?}");
        };
        check(Completion, "{", 400, "EOF");
        check(Completion, "[]", 400, "cannot be read");
        check(Completion, "\u{1}", 400, "expected value");
        check(Completion, "{}", 400, "prompt");
        check(Chat, r#"{"prompt":"x"}"#, 400, "messages");
        check(Chat, r#"{"messages":[]}"#, 400, "empty");
        check(Chat, r#"{"messages":[{"content":"x"}]}"#, 400, "role");
        check(Completion, r#"{"prompt":["a","b"]}"#, 400, "invalid type");
        check(Completion, r#"{"prompt":[-1]}"#, 400, "invalid value");
        check(Completion, r#"{"prompt":7}"#, 400, "a text or a list of token ids");
        check(Completion, r#"{"model":"gpt","prompt":"x"}"#, 404, "model");
        check(Completion, r#"{"prompt":"x","n":2}"#, 400, "n");
        check(Completion, r#"{"prompt":"x","max_tokens":0}"#, 400, "max_tokens");
        check(Completion, r#"{"prompt":"x","max_tokens":-1}"#, 400, "invalid value");
        check(Completion, r#"{"prompt":"x","max_tokens":100}"#, 400, "longest context");
        check(Completion, r#"{"prompt":"x","max_tokens":5,"min_tokens":6}"#, 400, "min_tokens");
        check(Completion, &format!(r#"{{"prompt":"{}"}}"#, "w ".repeat(100)), 400, "100 tokens");
    }
}
