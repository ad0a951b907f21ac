//! What a request asks: its prompt, and how long the answer may be.

use serde_json::Value;
use std::borrow::Cow;

/// Which path a request takes. Its class in the trace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    Chat,
    Completions,
}

impl Kind {
    /// The kind of a POST to `target`; `None` for what is not recorded.
    pub fn of(target: &str) -> Option<Self> {
        let path = target.split(['?', '#']).next().unwrap_or_default();
        if path.ends_with("/chat/completions") {
            Some(Self::Chat)
        } else if path.ends_with("/completions") {
            Some(Self::Completions)
        } else {
            None
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
        }
    }
}

/// One prompt.
#[derive(Clone, PartialEq, Debug)]
pub enum Content {
    /// JSON without spaces, tools first.
    Chat {
        tools: Option<String>,
        messages: Vec<Message>,
    },
    Text(String),
    Ids(Vec<u32>),
}

/// One message.
#[derive(Clone, PartialEq, Debug)]
pub struct Message {
    pub role: Role,
    pub json: String,
}

/// Who speaks, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Assistant,
    Tool,
    Other,
}

/// A request's body, read.
#[derive(Clone, PartialEq, Debug)]
pub struct Ask {
    pub content: Content,
    pub max_tokens: Option<u32>,
    /// More than one answer is asked for.
    pub is_several: bool,
    /// Some of it is no text: images, audio.
    pub has_media: bool,
    pub model: Option<String>,
}

/// Why a body is not recorded. Never says what is in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Unread {
    /// It is no JSON object, or has no prompt of a known form.
    Unknown,
    /// It has several prompts.
    Batch,
}

impl Ask {
    /// Reads a body.
    pub fn read(kind: Kind, body: &[u8]) -> Result<Self, Unread> {
        let body: Value = serde_json::from_slice(body).map_err(|_| Unread::Unknown)?;
        let content = match kind {
            Kind::Chat => chat(&body)?,
            Kind::Completions => completion(body.get("prompt").ok_or(Unread::Unknown)?)?,
        };
        let number = |name: &str| body.get(name).and_then(Value::as_u64);
        let max = number("max_completion_tokens").or_else(|| number("max_tokens"));
        let media = |message: &Value| {
            let parts = message.get("content").and_then(Value::as_array);
            parts.is_some_and(|parts| parts.iter().any(|part| part.get("type").is_some_and(|kind| kind != "text")))
        };
        let has_media = body.get("messages").and_then(Value::as_array).is_some_and(|messages| messages.iter().any(media));
        Ok(Self {
            content,
            max_tokens: max.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0),
            is_several: number("n").is_some_and(|n| n > 1),
            has_media,
            model: body.get("model").and_then(Value::as_str).map(str::to_owned),
        })
    }
}

fn chat(body: &Value) -> Result<Content, Unread> {
    let messages = body.get("messages").and_then(Value::as_array).filter(|m| !m.is_empty()).ok_or(Unread::Unknown)?;
    let read = |message: &Value| {
        let role = match message.as_object()?.get("role").and_then(Value::as_str) {
            Some("assistant") => Role::Assistant,
            Some("tool" | "function") => Role::Tool,
            _ => Role::Other,
        };
        Some(Message { role, json: message.to_string() })
    };
    let messages = messages.iter().map(read).collect::<Option<Vec<_>>>().ok_or(Unread::Unknown)?;
    let tools = [body.get("tools"), body.get("functions")].into_iter().flatten().find(|tools| !tools.is_null());
    if tools.is_some_and(|tools| !tools.is_array()) {
        return Err(Unread::Unknown);
    }
    Ok(Content::Chat { tools: tools.map(Value::to_string), messages })
}

fn completion(prompt: &Value) -> Result<Content, Unread> {
    let ids = |values: &[Value]| {
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        values.iter().map(id).collect::<Option<Vec<u32>>>().map(Content::Ids)
    };
    match prompt {
        Value::String(text) => Ok(Content::Text(text.clone())),
        Value::Array(list) => match &list[..] {
            [] => Err(Unread::Unknown),
            [Value::Number(_), ..] => ids(list).ok_or(Unread::Unknown),
            // One prompt in a list is one prompt.
            [Value::String(text)] => Ok(Content::Text(text.clone())),
            [Value::Array(one)] if !one.is_empty() => ids(one).ok_or(Unread::Unknown),
            [Value::String(_) | Value::Array(_), _, ..] => Err(Unread::Batch),
            _ => Err(Unread::Unknown),
        },
        _ => Err(Unread::Unknown),
    }
}

impl Content {
    /// Its text, in pieces one after the other; nothing for token ids.
    pub fn texts(&self) -> Vec<Cow<'_, [u8]>> {
        match self {
            Self::Chat { tools, messages } => {
                let messages = messages.iter().map(|message| message.json.as_bytes());
                tools.iter().map(String::as_bytes).chain(messages).map(Cow::Borrowed).collect()
            }
            Self::Text(text) => vec![Cow::Borrowed(text.as_bytes())],
            Self::Ids(_) => vec![],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (target, kind) in [
            ("/v1/chat/completions", Some(Kind::Chat)),
            ("/openai/v1/chat/completions?api-version=1", Some(Kind::Chat)),
            ("/v1/completions", Some(Kind::Completions)),
            ("/completions", Some(Kind::Completions)),
            ("/v1/embeddings?a=/completions", None),
            ("/v1/models", None),
        ] {
            assert_eq!(Kind::of(target), kind, "{target}");
        }
    }

    #[test]
    fn bodies() {
        let read = |kind, body: &str| Ask::read(kind, body.as_bytes());
        let ask = read(
            Kind::Chat,
            r#"{ "model": "m", "messages": [ {"role": "user", "content": [{"type": "image_url"}]}, {"role":"tool","content":"x"} ], "tools": [ {"a": 1} ], "n": 2, "max_tokens": 7, "max_completion_tokens": 9 }"#,
        )
        .unwrap();
        let Content::Chat { tools, messages } = &ask.content else { panic!() };
        assert_eq!(tools.as_deref(), Some(r#"[{"a":1}]"#));
        assert_eq!(messages[0].json, r#"{"role":"user","content":[{"type":"image_url"}]}"#);
        assert_eq!((messages[1].role, ask.max_tokens, ask.is_several, ask.has_media), (Role::Tool, Some(9), true, true));
        let prompt = |json: &str| read(Kind::Completions, &format!(r#"{{"prompt":{json}}}"#)).map(|ask| ask.content);
        for (json, expect) in [
            (r#""a""#, Ok(Content::Text("a".into()))),
            (r#"["a"]"#, Ok(Content::Text("a".into()))),
            ("[1,2]", Ok(Content::Ids(vec![1, 2]))),
            ("[[1,2]]", Ok(Content::Ids(vec![1, 2]))),
            (r#"["a","b"]"#, Err(Unread::Batch)),
            ("[[1],[2]]", Err(Unread::Batch)),
            ("[]", Err(Unread::Unknown)),
            ("[[]]", Err(Unread::Unknown)),
            ("[1,-2]", Err(Unread::Unknown)),
            ("{}", Err(Unread::Unknown)),
        ] {
            assert_eq!(prompt(json), expect, "{json}");
        }
        for body in ["", "[]", "{}", r#"{"messages":[]}"#, r#"{"messages":["a"]}"#, r#"{"messages":[{}],"tools":{}}"#] {
            assert_eq!(read(Kind::Chat, body), Err(Unread::Unknown), "{body}");
        }
    }
}
