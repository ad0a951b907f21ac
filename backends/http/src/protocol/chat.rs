//! `/v1/chat/completions`.

use super::body::{Body, json};
use super::openai::{self, FIELDS, Place};
use super::{Ask, DecodeError, EncodeError, Fields, Input, Message, Pieces, Protocol, Role, unread};
use crate::sse::Frame;

/// Chat completions: messages in, `delta`s out.
#[derive(Clone, Copy, Debug)]
pub struct Chat;

impl Protocol for Chat {
    fn name(&self) -> &'static str {
        "chat"
    }

    fn path(&self) -> &'static str {
        "/v1/chat/completions"
    }

    fn takes_ids(&self) -> bool {
        false
    }

    fn takes_recorded(&self) -> bool {
        true
    }

    fn fields(&self) -> &'static Fields {
        &FIELDS
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
        let mut body = Body::new(ask, &FIELDS, out);
        body.field("model", ask.model);
        match ask.recorded {
            None => body.with("messages", |out| conversation(messages, out)),
            Some(recorded) => {
                body.with("messages", |out| {
                    out.push(b'[');
                    for (index, message) in recorded.messages.iter().enumerate() {
                        out.extend_from_slice(if index > 0 { b"," } else { b"" });
                        out.extend_from_slice(message.as_bytes());
                    }
                    out.push(b']');
                });
                if let Some(tools) = &recorded.tools {
                    body.with("tools", |out| out.extend_from_slice(tools.as_bytes()));
                }
            }
        }
        body.length();
        body.temperature();
        body.stream();
        body.finish();
        Ok(())
    }

    fn decode(&self, frame: Frame<'_>, pieces: &mut Pieces) -> Result<(), DecodeError> {
        openai::decode(self.name(), Place::Message, frame, pieces)
    }

    fn unread(&self, data: &[u8], pieces: &mut Pieces) {
        unread::places(data, pieces);
    }

    fn decode_body(&self, body: &[u8], pieces: &mut Pieces) -> Result<(), DecodeError> {
        openai::decode_body(self.name(), Place::Message, body, pieces)
    }
}

/// Appends the messages of a conversation.
pub(super) fn conversation(messages: &[Message<'_>], out: &mut Vec<u8>) {
    for (i, message) in messages.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b"[{\"role\":" } else { b",{\"role\":" });
        json(out, message.role.name());
        out.extend_from_slice(b",\"content\":");
        json(out, message.text);
        out.push(b'}');
    }
    out.extend_from_slice(if messages.is_empty() { b"[]" } else { b"]" });
}
