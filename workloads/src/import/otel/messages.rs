//! Messages inside attributes: JSON, mostly as a text.

use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

/// Why a value is not what it should be, and what that is.
pub(super) type Wrong = (String, &'static str);

const SHOULD: &str = "a list of OpenAI messages, each with a `role` and a `content`, as JSON or as its text";

/// Texts that many prompts share, kept once.
#[derive(Default)]
pub(super) struct Interner(HashSet<Arc<str>>);

impl Interner {
    /// The JSON text of `value`.
    pub fn json(&mut self, value: &Value) -> Arc<str> {
        let text = value.to_string();
        if let Some(known) = self.0.get(text.as_str()) {
            return known.clone();
        }
        let text: Arc<str> = text.into();
        self.0.insert(text.clone());
        text
    }
}

/// A value for a message, cut to a readable length.
pub(super) fn shown(value: &Value) -> String {
    value.to_string().chars().take(40).collect()
}

/// A value, or what a text of JSON means.
fn parsed(value: &Value) -> Result<Cow<'_, Value>, Wrong> {
    match value {
        Value::String(text) => {
            serde_json::from_str(text).map(Cow::Owned).map_err(|error| (format!("is a text that is not JSON: {error}"), SHOULD))
        }
        value => Ok(Cow::Borrowed(value)),
    }
}

/// The messages of a prompt.
pub(super) fn list(value: &Value) -> Result<Vec<Value>, Wrong> {
    let Value::Array(list) = parsed(value)?.into_owned() else { return Err((format!("is {}", shown(value)), SHOULD)) };
    if list.is_empty() {
        return Err(("is empty".into(), SHOULD));
    }
    for (index, message) in list.iter().enumerate() {
        if message.get("role").and_then(Value::as_str).is_none() {
            return Err((format!("has {} at position {index}", shown(message)), SHOULD));
        }
        if message.get("content").is_none() && message.get("parts").is_some() {
            return Err((format!("has a message of `parts` at position {index}, which is not read"), SHOULD));
        }
    }
    Ok(list)
}

/// The JSON text of a list of tools.
pub(super) fn tools(value: &Value, texts: &mut Interner) -> Result<Arc<str>, Wrong> {
    match parsed(value)?.as_ref() {
        list @ Value::Array(_) => Ok(texts.json(list)),
        other => Err((format!("is {}", shown(other)), "a list of tools, as JSON or as its text")),
    }
}

/// The text of a message: its content, or the texts of its content's parts.
fn text(message: &Value) -> Option<String> {
    match message.get("content")? {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => Some(parts.iter().filter_map(|part| part.get("text")?.as_str()).collect()),
        _ => None,
    }
}

/// Texts of the assistant's messages among `list`.
pub(super) fn assistant_texts(list: &[Value]) -> Vec<String> {
    let by_assistant = list.iter().filter(|message| message.get("role").and_then(Value::as_str) == Some("assistant"));
    by_assistant.filter_map(text).filter(|text| !text.is_empty()).collect()
}

/// Texts of a span's answer, from the attributes that may hold it.
pub(super) fn answers(attributes: &Map<String, Value>) -> Result<Vec<String>, Wrong> {
    if let Some(Value::String(text)) = attributes.get("gen_ai.output.text") {
        return Ok(vec![text.clone()]);
    }
    let Some(value) = attributes.get("gen_ai.output.messages") else { return Ok(vec![]) };
    match parsed(value)?.as_ref() {
        Value::Array(list) => Ok(list.iter().filter_map(text).collect()),
        other => Err((format!("is {}", shown(other)), SHOULD)),
    }
}
