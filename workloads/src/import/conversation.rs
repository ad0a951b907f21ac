//! Recorded conversations as requests: each answer of the assistant is one request, whose prompt is everything said before it.
//!
//! There is no tokenizer here. Lengths are estimated from bytes of text, and the trace says so; answers are therefore capped at their length
//! and not forced to it.

use super::MAX_TOKENS;
use crate::diagnose::Complaint;
use nomoat_core::prompt::{Messages, Prompt};
use nomoat_core::request::{OutputLength, RequestId, SessionId};
use nomoat_core::trace::{Cause, Edge, TraceRequest};
use nomoat_core::units::Nanos;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Most messages of a conversation: prompts of one conversation grow with the square of it.
pub(crate) const MAX_MESSAGES: usize = 4_096;

/// What counted the tokens of a trace of estimated lengths.
pub(crate) const TOKENIZER: &str = "estimated: 4 bytes a token";

/// The loss that goes with it.
pub(crate) const ESTIMATED: &str = "texts were not tokenized: lengths are estimated at four bytes a token";

/// Tokens of a text of that many bytes, as estimated.
pub(crate) fn tokens(bytes: u64) -> u32 {
    bytes.div_ceil(4).clamp(1, MAX_TOKENS) as u32
}

/// A message.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Said {
    /// As it is sent: a JSON object with a role.
    pub json: Arc<str>,
    /// Bytes of its text.
    pub bytes: u64,
    /// Whether the assistant said it.
    pub answer: bool,
    /// Whether a tool did.
    pub tool: bool,
    /// Whether there is more in it than text.
    pub media: bool,
}

impl Said {
    /// A plain text said by `role`, a name of the chat interface.
    pub fn text(role: &str, text: &str) -> Self {
        let json = json!({"role": role, "content": text}).to_string().into();
        Self { json, bytes: text.len() as u64, answer: role == "assistant", tool: role == "tool", media: false }
    }

    /// A message of the chat interface, of which only what can be sent is kept.
    pub fn message(message: &Map<String, Value>, path: &str) -> Result<Self, Complaint> {
        let complain =
            |key: &str, problem: String, should: &str| Complaint { field: format!("{path}.{key}"), problem, should: should.into() };
        let Some(role) = message.get("role").and_then(Value::as_str) else {
            return Err(complain("role", "is missing".into(), ROLES));
        };
        if !["system", "developer", "user", "assistant", "tool", "function"].contains(&role) {
            return Err(complain("role", format!("is `{}`", role.chars().take(40).collect::<String>()), ROLES));
        }
        let (bytes, media) = match message.get("content") {
            None | Some(Value::Null) => (0, false),
            Some(Value::String(text)) => (text.len() as u64, false),
            Some(Value::Array(parts)) => {
                let text = |part: &Value| part.get("text").and_then(Value::as_str).map(|text| text.len() as u64);
                (parts.iter().filter_map(text).sum(), parts.iter().any(|part| text(part).is_none()))
            }
            Some(_) => return Err(complain("content", "is neither a text nor a list of parts".into(), "a text")),
        };
        let sent: Map<String, Value> =
            message.iter().filter(|(key, _)| SENT.contains(&key.as_str())).map(|(key, value)| (key.clone(), value.clone())).collect();
        let calls: u64 = ["tool_calls", "function_call", "reasoning_content"]
            .iter()
            .filter_map(|key| message.get(*key).filter(|value| !value.is_null()))
            .map(|value| value.as_str().map_or_else(|| value.to_string().len(), str::len) as u64)
            .sum();
        let json = Value::Object(sent).to_string().into();
        Ok(Self { json, bytes: bytes + calls, answer: role == "assistant", tool: role == "tool" || role == "function", media })
    }
}

const ROLES: &str = "one of \"system\", \"developer\", \"user\", \"assistant\", \"tool\", \"function\"";

/// Keys of a message that belong to the chat interface; others are remarks of data sets.
const SENT: [&str; 7] = ["role", "content", "name", "tool_calls", "tool_call_id", "function_call", "reasoning_content"];

/// The messages of a list of objects.
pub(crate) fn messages(list: &[Value], path: &str) -> Result<Vec<Said>, Complaint> {
    if list.len() > MAX_MESSAGES {
        let problem = format!("has {} messages", list.len());
        return Err(Complaint { field: path.into(), problem, should: format!("a list of at most {MAX_MESSAGES}") });
    }
    let message = |(index, value): (usize, &Value)| match value {
        Value::Object(object) => Said::message(object, &format!("{path}[{index}]")),
        _ => Err(Complaint { field: format!("{path}[{index}]"), problem: "is no object".into(), should: "a message with a `role`".into() }),
    };
    list.iter().enumerate().map(message).collect()
}

/// What is said of conversations as they are read.
#[derive(Default)]
pub(crate) struct Told {
    /// Sessions so far.
    pub sessions: u32,
    /// Requests so far.
    pub requests: u32,
    silent: u64,
    unasked: u64,
    media: u64,
}

impl Told {
    /// The requests of one conversation: the turns of a session, one straight after the other.
    pub fn requests(&mut self, said: &[Said], tools: Option<&Arc<str>>, class: u16) -> Vec<TraceRequest> {
        let mut requests: Vec<TraceRequest> = vec![];
        let mut bytes = tools.map_or(0, |tools| tools.len() as u64);
        for (index, message) in said.iter().enumerate() {
            if message.answer && index == 0 {
                self.unasked += 1;
            } else if message.answer {
                let turn = requests.len() as u32;
                let after = (turn > 0).then(|| Edge::after_end(RequestId(self.requests + turn - 1), Nanos::ZERO, Cause::Think));
                requests.push(TraceRequest {
                    after: after.into_iter().collect(),
                    session: Some(SessionId(self.sessions)),
                    turn: turn as u16,
                    class,
                    length: OutputLength::Cap,
                    ..TraceRequest::new(prompt(&said[..index], tools), tokens(bytes), tokens(message.bytes))
                });
            }
            self.media += u64::from(message.media);
            bytes += message.bytes;
        }
        self.silent += u64::from(requests.is_empty());
        self.sessions += u32::from(!requests.is_empty());
        self.requests += requests.len() as u32;
        requests
    }

    /// What could not be kept.
    pub fn losses(&self) -> Vec<String> {
        let mut losses = vec![ESTIMATED.to_owned(), "arrivals are not recorded: choose an arrival law or lanes".to_owned()];
        let counts = [
            (self.silent, "conversations without an answer to something said before were left out"),
            (self.unasked, "first messages are by the assistant; they are sent as history"),
            (self.media, "messages hold more than text; it is sent as recorded, and not a part of the estimated lengths"),
        ];
        losses.extend(counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
        losses
    }
}

/// The prompt of these messages.
pub(crate) fn prompt(said: &[Said], tools: Option<&Arc<str>>) -> Prompt {
    Prompt::Messages(Messages { messages: said.iter().map(|message| message.json.clone()).collect(), tools: tools.cloned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_a_request() {
        let said = ["system", "user", "assistant", "user", "assistant", "assistant"]
            .iter()
            .zip(["s", "12345678", "", "you", "a", "b"])
            .map(|(role, text)| Said::text(role, text))
            .collect::<Vec<_>>();
        let mut told = Told { sessions: 4, requests: 10, ..Told::default() };
        let requests = told.requests(&said, None, 2);
        let lengths: Vec<_> = requests.iter().map(|r| (r.input_tokens, r.output_tokens, r.turn, r.session.unwrap().0, r.class)).collect();
        assert_eq!(lengths, [(3, 1, 0, 4, 2), (3, 1, 1, 4, 2), (4, 1, 2, 4, 2)]);
        assert_eq!(requests[0].after, []);
        assert_eq!(requests[2].after, [Edge::after_end(RequestId(11), Nanos::ZERO, Cause::Think)]);
        let Prompt::Messages(messages) = &requests[0].prompt else { panic!("messages") };
        assert_eq!(messages.messages[..], [said[0].json.clone(), said[1].json.clone()]);
        assert!(Arc::ptr_eq(&messages.messages[0], &said[0].json));
        assert_eq!(&*said[1].json, "{\"role\":\"user\",\"content\":\"12345678\"}");
        assert_eq!((told.sessions, told.requests), (5, 13));
        assert_eq!(told.requests(&said[2..3], None, 0), []);
        assert_eq!((told.sessions, told.silent, told.unasked), (5, 1, 1));
    }

    #[test]
    fn messages_keep_what_can_be_sent() {
        let check = |text: &str, expect: Result<(&str, u64, bool), &str>| {
            let list: Vec<Value> = serde_json::from_str(text).unwrap();
            match (messages(&list, "m"), expect) {
                (Ok(said), Ok((json, bytes, media))) => assert_eq!((&*said[0].json, said[0].bytes, said[0].media), (json, bytes, media)),
                (Err(complaint), Err(expect)) => {
                    let text = format!("{} {}; {}", complaint.field, complaint.problem, complaint.should);
                    assert!(text.contains(expect), "{text}");
                }
                (seen, expect) => panic!("{:?} {expect:?}", seen.map_err(|c| c.problem)),
            }
        };
        check("[{\"content\":\"hey\",\"role\":\"user\",\"toxic\":false}]", Ok(("{\"content\":\"hey\",\"role\":\"user\"}", 3, false)));
        check(
            "[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"a\"}]}]",
            Ok(("{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"a\"}]}", 12, false)),
        );
        let parts = "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"four\"},{\"type\":\"image_url\"}]}";
        check(&format!("[{parts}]"), Ok((parts, 4, true)));
        check("[{\"content\":\"hey\"}]", Err("m[0].role is missing; one of \"system\""));
        check("[{\"role\":\"bot\"}]", Err("m[0].role is `bot`"));
        check("[{\"role\":\"user\",\"content\":5}]", Err("m[0].content"));
        check("[7]", Err("m[0] is no object"));
    }
}
