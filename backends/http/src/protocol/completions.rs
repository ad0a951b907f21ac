//! `/v1/completions`.

use super::body::Body;
use super::openai::{self, FIELDS, Place};
use super::{Ask, DecodeError, EncodeError, Fields, Pieces, Protocol, unread};
use crate::sse::Frame;

/// Completions: a text or token ids in, `text` out. A conversation is its texts, one after the other: there is no template.
#[derive(Clone, Copy, Debug)]
pub struct Completions;

impl Protocol for Completions {
    fn name(&self) -> &'static str {
        "completions"
    }

    fn path(&self) -> &'static str {
        "/v1/completions"
    }

    fn takes_ids(&self) -> bool {
        true
    }

    fn fields(&self) -> &'static Fields {
        &FIELDS
    }

    fn encode(&self, ask: &Ask<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut body = Body::new(ask, &FIELDS, out);
        body.field("model", ask.model);
        body.prompt("prompt");
        body.length();
        body.temperature();
        body.stream();
        body.finish();
        Ok(())
    }

    fn decode(&self, frame: Frame<'_>, pieces: &mut Pieces) -> Result<(), DecodeError> {
        openai::decode(self.name(), Place::Text, frame, pieces)
    }

    fn unread(&self, data: &[u8], pieces: &mut Pieces) {
        unread::places(data, pieces);
    }

    fn decode_body(&self, body: &[u8], pieces: &mut Pieces) -> Result<(), DecodeError> {
        openai::decode_body(self.name(), Place::Text, body, pieces)
    }
}
