//! A conversation whose answers are not recorded: what the user says is, and the model's answers have to come while it runs.
//!
//! Where a conversation is plain text by the user it continues live, with the answers that the engine gave. Where it is not (a system
//! message, tools, pictures), only what was written can be sent: the answers in between are missing from its history.

use super::conversation::{MAX_MESSAGES, Said, prompt, tokens};
use nomoat_core::prompt::Prompt;
use nomoat_core::request::RequestId;
use serde_json::Value;
use std::sync::Arc;

/// What the length of an answer is capped at where the source does not say; as the other benchmarks' default for own prompts.
pub(crate) const UNSAID_OUTPUT: u32 = 256;

/// The conversation so far.
#[derive(Clone, Default)]
pub(crate) struct Thread {
    said: Vec<Said>,
    /// Whether something was said that cannot be continued live.
    rich: bool,
    last: Option<RequestId>,
    so_far: u64,
}

/// The next prompt of a conversation.
pub(crate) struct Next {
    pub prompt: Prompt,
    /// Its length in tokens, as estimated.
    pub input: u64,
    /// Whether answers are missing from it.
    pub gappy: bool,
}

impl Thread {
    /// What is sent when `new` is said; `plain` is the same as one text by the user, where it is that. `None` when the conversation is longer
    /// than any.
    pub fn say(&mut self, new: Vec<Said>, plain: Option<String>, tools: Option<&Arc<str>>) -> Option<Next> {
        let bytes: u64 = new.iter().map(|said| said.bytes).sum();
        self.said.extend(new);
        self.rich |= plain.is_none() || tools.is_some();
        match plain.filter(|_| !self.rich) {
            _ if self.said.len() > MAX_MESSAGES => None,
            Some(text) => {
                let add = Prompt::Text(text.into());
                let prompt = self.last.map_or_else(|| add.clone(), |of| Prompt::Live { of, add: Box::new(add.clone()) });
                Some(Next { prompt, input: self.so_far + u64::from(tokens(bytes)), gappy: false })
            }
            None => {
                let all: u64 = self.said.iter().map(|said| said.bytes).sum::<u64>() + tools.map_or(0, |tools| tools.len() as u64);
                Some(Next { prompt: prompt(&self.said, tools), input: tokens(all).into(), gappy: self.last.is_some() })
            }
        }
    }

    /// Notes that it was sent as request `id`.
    pub fn sent(&mut self, id: u32, input: u32, output: u32) {
        self.last = Some(RequestId(id));
        self.so_far = u64::from(input) + u64::from(output);
    }
}

/// Messages as one text by the user, if that is what they are.
pub(crate) fn plain(list: &[Value]) -> Option<String> {
    let text = |message: &Value| {
        let by_user = message.get("role").and_then(Value::as_str) == Some("user");
        message.get("content").and_then(Value::as_str).filter(|_| by_user).map(str::to_owned)
    };
    let texts: Option<Vec<_>> = list.iter().map(text).collect();
    texts.map(|texts| texts.join("\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_conversations_go_on_live_and_others_as_written() {
        let mut thread = Thread::default();
        let said = |text: &str| (vec![Said::text("user", text)], Some(text.to_owned()));
        let say = |thread: &mut Thread, (new, plain), id| {
            let next = thread.say(new, plain, None).unwrap();
            thread.sent(id, next.input as u32, 10);
            (next.prompt, next.input, next.gappy)
        };
        assert_eq!(say(&mut thread, said("12345678"), 4), (Prompt::Text("12345678".into()), 2, false));
        let add = Box::new(Prompt::Text("four".into()));
        assert_eq!(say(&mut thread, said("four"), 6), (Prompt::Live { of: RequestId(4), add }, 13, false));
        let (prompt, input, gappy) = say(&mut thread, (vec![Said::text("tool", "abcd")], None), 7);
        let Prompt::Messages(messages) = prompt else { panic!("messages") };
        assert_eq!((messages.messages.len(), input, gappy), (3, 4, true));
        assert!(matches!(say(&mut thread, said("x"), 8).0, Prompt::Messages(_)), "it does not become plain again");
    }

    #[test]
    fn what_is_plain() {
        let check = |text: &str, expect: Option<&str>| {
            let list: Vec<Value> = serde_json::from_str(text).unwrap();
            assert_eq!(plain(&list).as_deref(), expect);
        };
        check("[{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"user\", \"content\": \"b\"}]", Some("a\n\nb"));
        check("[{\"role\": \"system\", \"content\": \"a\"}]", None);
        check("[{\"role\": \"user\", \"content\": [{\"type\": \"text\"}]}]", None);
    }
}
