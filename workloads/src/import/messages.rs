//! Conversations in the messages of the chat interface, one object a line or a list of them: `{messages: […]}` as for fine-tuning, and
//! `{conversation: […]}` as LMSYS-Chat-1M and WildChat are exported.
//!
//! Every answer is a request with the recorded history before it (`conversation.rs`). Remarks of the data sets (language, moderation,
//! country, the one time a conversation has) are skipped.

use super::classes::Classes;
use super::conversation::{Said, TOKENIZER, Told, messages};
use super::records::{Records, has, keys};
use super::{ImportOptions, Importer, stem};
use crate::diagnose::{Field, Shape, explain, parse};
use crate::error::{Place, TraceError};
use crate::sink::Sink;
use crate::source::Source;
use nomoat_core::trace::Trace;
use serde_json::{Map, Value};
use std::sync::Arc;

/// The importer.
pub(crate) struct MessagesJson;

const MESSAGES: Shape = Shape::Objects(&[
    Field::required("role", Shape::Text),
    Field::optional("content", Shape::Any),
    Field::optional("name", Shape::Any),
    Field::optional("tool_calls", Shape::Any),
    Field::optional("tool_call_id", Shape::Any),
    Field::optional("function_call", Shape::Any),
    Field::optional("reasoning_content", Shape::Any),
    Field::optional("refusal", Shape::Any),
    Field::optional("annotations", Shape::Any),
    Field::optional("weight", Shape::Any),
    Field::optional("country", Shape::Any),
    Field::optional("hashed_ip", Shape::Any),
    Field::optional("header", Shape::Any),
    Field::optional("language", Shape::Any),
    Field::optional("redacted", Shape::Any),
    Field::optional("state", Shape::Any),
    Field::optional("timestamp", Shape::Any),
    Field::optional("toxic", Shape::Any),
    Field::optional("turn_identifier", Shape::Any),
]);

const FIELDS: &[Field] = &[
    Field::optional("messages", MESSAGES),
    Field::optional("conversation", MESSAGES),
    Field::optional("model", Shape::Text),
    Field::optional("tools", Shape::Any),
    Field::optional("id", Shape::Any),
    Field::optional("source", Shape::Any),
    Field::optional("prompt", Shape::Any),
    Field::optional("prompt_id", Shape::Any),
    Field::optional("conversation_id", Shape::Any),
    Field::optional("conversation_hash", Shape::Any),
    Field::optional("turn", Shape::Any),
    Field::optional("language", Shape::Any),
    Field::optional("timestamp", Shape::Any),
    Field::optional("openai_moderation", Shape::Any),
    Field::optional("detoxify_moderation", Shape::Any),
    Field::optional("toxic", Shape::Any),
    Field::optional("redacted", Shape::Any),
    Field::optional("state", Shape::Any),
    Field::optional("country", Shape::Any),
    Field::optional("hashed_ip", Shape::Any),
    Field::optional("header", Shape::Any),
    Field::optional("parallel_tool_calls", Shape::Any),
];

impl Importer for MessagesJson {
    fn name(&self) -> &'static str {
        "messages"
    }

    fn about(&self) -> &'static str {
        "conversations as chat messages (JSON): fine-tuning files, LMSYS-Chat-1M, WildChat; lengths are estimated"
    }

    fn sniff(&self, head: &[u8]) -> bool {
        let keys = keys(head);
        let timed = has(&keys, "timestamp") && has(&keys, "messages");
        (has(&keys, "messages") || has(&keys, "conversation")) && !timed && keys.iter().all(|key| FIELDS.iter().any(|field| field.is(key)))
    }

    fn import(&self, source: &mut Source<'_>, options: &ImportOptions, sink: &mut dyn Sink) -> Result<Trace, TraceError> {
        let file = source.name().to_owned();
        let mut records = Records::new(source, options)?;
        let (mut told, mut classes) = (Told::default(), Classes::default());
        while let Some(record) = records.next()? {
            let named = classes.len();
            let said = parse(record.bytes, record.place).and_then(|object| conversation(&object, &mut classes, record.place));
            let said = records.take(said)?;
            let requests = said.map_or_else(Vec::new, |(said, tools, class)| told.requests(&said, tools.as_ref(), class));
            if requests.is_empty() {
                classes.truncate(named);
            }
            requests.into_iter().try_for_each(|request| sink.request(request))?;
        }
        let (digest, skipped) = records.finish();
        let losses = told.losses().into_iter().chain(skipped).collect();
        let tokenizer = Some(TOKENIZER.to_owned());
        Ok(Trace { name: stem(&file), source: digest, tokenizer, classes: classes.names(), losses, ..Trace::default() })
    }
}

type Conversation = (Vec<Said>, Option<Arc<str>>, u16);

fn conversation(object: &Map<String, Value>, classes: &mut Classes, place: Place<'_>) -> Result<Conversation, TraceError> {
    if let Some(complaint) = explain(object, FIELDS) {
        return Err(complaint.at(place));
    }
    let list = |key| object.get(key).and_then(Value::as_array);
    let (key, list) = match (list("messages"), list("conversation")) {
        (Some(list), None) => ("messages", list),
        (None, Some(list)) => ("conversation", list),
        (Some(_), Some(_)) => return Err(place.field("conversation", "stands beside `messages`", "left out: one of the two is sent")),
        (None, None) => return Err(place.field("messages", "is missing", "a list of messages")),
    };
    let said = messages(list, key).map_err(|complaint| complaint.at(place))?;
    let tools = match object.get("tools") {
        None | Some(Value::Null) => None,
        Some(Value::Array(tools)) if tools.is_empty() => None,
        Some(tools @ Value::Array(_)) => Some(tools.to_string().into()),
        Some(_) => return Err(place.field("tools", "is no list", "a list of tools")),
    };
    let model = object.get("model").and_then(Value::as_str).unwrap_or("default");
    match classes.of(model) {
        Some(class) => Ok((said, tools, class)),
        None => Err(place.field("model", "is one too many", "one of at most 65535 models")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::from_bytes;
    use nomoat_core::prompt::Prompt;

    fn read(text: &str) -> Result<Trace, TraceError> {
        from_bytes("dir/chat.jsonl", text.as_bytes(), Some("messages"), &ImportOptions::default())
    }

    #[test]
    fn both_keys_and_tools() {
        let talk = "[{\"role\": \"user\", \"content\": \"12345\"}, {\"content\": \"ok\", \"role\": \"assistant\", \"toxic\": true}]";
        let trace = read(&format!(
            "{{\"messages\": {talk}, \"tools\": [{{\"type\": \"function\"}}]}}\n{{\"conversation_id\": 1, \"model\": \"m\", \"conversation\": {talk}, \"turn\": 1}}\n"
        ))
        .unwrap();
        assert_eq!(trace.classes, ["default", "m"]);
        let [first, second] = &trace.requests[..] else { panic!("two requests") };
        assert_eq!((first.class, second.class, first.session.unwrap().0, second.session.unwrap().0), (0, 1, 0, 1));
        let Prompt::Messages(messages) = &first.prompt else { panic!("messages") };
        assert_eq!(messages.tools.as_deref(), Some("[{\"type\":\"function\"}]"));
        assert_eq!((first.input_tokens, second.input_tokens, second.output_tokens), (7, 2, 1));
    }

    #[test]
    fn errors_name_the_place_and_the_remedy() {
        let check = |text: &str, expect: &[&str]| {
            let error = read(text).unwrap_err().to_string();
            assert!(expect.iter().all(|part| error.contains(part)), "{error}");
        };
        check("{\"messages\": []}\n", &["no request"]);
        check("{\"model\": \"m\"}\n", &[":1:", "`messages`", "missing"]);
        check("{\"messages\": [], \"conversation\": []}\n", &["`conversation`", "left out"]);
        check("{\"messages\": [{\"role\": \"human\", \"content\": \"\"}]}\n", &["`messages[0].role`", "`human`", "\"user\""]);
        check("{\"messages\": [{\"role\": \"user\", \"contents\": \"\"}]}\n", &["`messages[0].contents`", "unknown"]);
        check("{\"messages\": [], \"tools\": 5}\n", &["`tools`", "list"]);
        check("{\"messages\": []\n", &[":1:", "not JSON"]);
    }
}
