//! Dialects: what a request looks like on the wire, and what an event of its answer means. One file each.
//!
//! Pure: no clock, no socket, no async. A new dialect is one file and one line in [`PROTOCOLS`]; lists, golden tests, split
//! tests and fuzzing iterate the slice.

mod body;
mod chat;
mod completion;
mod completions;
mod fields;
mod generate;
mod generate_stream;
mod messages;
mod openai;
mod responses;
mod so_far;
mod triton;
mod unread;
mod value;

pub use chat::Chat;
pub use completion::Completion;
pub use completions::Completions;
pub use fields::{Fields, LengthFields, StreamFields};
pub use generate::Generate;
pub use generate_stream::GenerateStream;
pub use messages::Messages;
pub use responses::Responses;
pub use triton::Triton;
pub use value::error_message;

use crate::sse::Frame;
use nomoat_core::event::{TokenKind, Usage};
use nomoat_core::record::FinishReason;
use serde_json::{Map, Value};
use so_far::SoFar;
use std::ops::Range;

/// Every dialect.
pub const PROTOCOLS: &[&dyn Protocol] = &[&Chat, &Completions, &Responses, &Messages, &Generate, &Completion, &GenerateStream, &Triton];

/// The dialects that an endpoint of which nothing is known is asked in.
pub const COMMON: &[&dyn Protocol] = &[&Chat, &Completions];

/// The dialect of this name, one of [`PROTOCOLS`].
pub fn by_name(name: &str) -> Option<&'static dyn Protocol> {
    PROTOCOLS.iter().copied().find(|p| p.name() == name)
}

/// What stands for the model in a path.
const MODEL: &str = "{model}";

/// `path` with the model's name in its place, as a part of a path must be written.
pub fn route(path: &str, model: &str) -> String {
    if !path.contains(MODEL) {
        return path.to_owned();
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let part = |byte: u8| if plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") };
    let name: Vec<String> = model.bytes().map(part).collect();
    path.replace(MODEL, &name.concat())
}

/// Whether `path` ends in `route`, in which `{model}` stands for any one part of a path.
pub(crate) fn ends_in(path: &str, route: &str) -> bool {
    if !route.contains(MODEL) {
        return path.ends_with(route);
    }
    let (mut path, mut route) = (path.rsplit('/'), route.rsplit('/').filter(|part| !part.is_empty()));
    route.all(|part| path.next().is_some_and(|found| found == part || (part == MODEL && !found.is_empty())))
}

/// A dialect.
pub trait Protocol: Send + Sync + 'static {
    /// Its name in flags and tables.
    fn name(&self) -> &'static str;
    /// Where its requests go, from the root of the server (`/v1/…` for most). `{model}` stands for the model: see [`route`].
    fn path(&self) -> &'static str;
    /// Headers that its requests must have, name and value.
    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }
    /// The names of the fields that ask for lengths and counts, where nobody names others.
    fn fields(&self) -> &'static Fields;
    /// Whether prompts may go out as token ids.
    fn takes_ids(&self) -> bool;
    /// Whether a conversation may go out as it was recorded.
    fn takes_recorded(&self) -> bool {
        false
    }
    /// Appends the JSON body of a request to `out`. The same ask gives the same bytes.
    ///
    /// # Errors
    /// What this dialect cannot say.
    fn encode(&self, ask: &Ask<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError>;
    /// Reads one event of a stream into `pieces`, which come cleared.
    ///
    /// # Errors
    /// The event is not this dialect's.
    fn decode(&self, frame: Frame<'_>, pieces: &mut Pieces) -> Result<(), DecodeError>;
    /// Reads the body of an answer that was not streamed. White space around it is allowed.
    ///
    /// # Errors
    /// The body is not this dialect's.
    fn decode_body(&self, body: &[u8], pieces: &mut Pieces) -> Result<(), DecodeError>;
    /// Adds to `pieces` where values lie in an event, read by [`Self::decode`] just before, that the dialect does not read and that
    /// change: an id, a total. What is not named here is expected to stay the same from event to event. Only speed depends on it.
    fn unread(&self, _data: &[u8], _pieces: &mut Pieces) {}
    /// Whether its events have names that say nothing which their data does not say too, but for the name `error`. Then events with
    /// names are learnt like others. Only speed depends on it.
    fn names_are_spare(&self) -> bool {
        false
    }
    /// Whether an answer is complete that showed these signs of an end before its body was over. The default fits the OpenAI
    /// dialects: `[DONE]` or a finish reason, because transformers' server sends the reason and no `[DONE]`.
    fn is_complete(&self, done: bool, finish: Option<FinishReason>) -> bool {
        done || finish.is_some()
    }
}

/// What a request asks, before it is put into a dialect.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The model's name as the endpoint knows it.
    pub model: &'a str,
    /// The prompt.
    pub prompt: Input<'a>,
    /// A recorded conversation instead of it, for dialects that take one.
    pub recorded: Option<&'a nomoat_core::prompt::Messages>,
    /// Answer length in tokens.
    pub max_tokens: u32,
    /// Whether that length is asked for exactly (`ignore_eos`, `min_tokens`), which not every endpoint accepts, and which not every
    /// dialect can say.
    pub exact: bool,
    /// Names of the fields that ask for lengths and counts, where the engine's differ from the dialect's.
    pub fields: Option<&'a Fields>,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Whether a stream shall report its token counts at the end.
    pub include_usage: bool,
    /// Whether it shall report them with every event, which not every endpoint accepts.
    pub continuous_usage: bool,
    /// Sampling temperature; the endpoint's default where there is none.
    pub temperature: Option<f64>,
    /// Further fields of the body. They replace fields of the same name, whole; of an object that holds the dialect's parameters they
    /// replace the members.
    pub extra: Option<&'a Map<String, Value>>,
}

/// A prompt, ready for the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Input<'a> {
    /// Text.
    Text(&'a str),
    /// Token ids.
    Ids(&'a [u32]),
    /// A conversation, oldest message first.
    Messages(&'a [Message<'a>]),
}

/// One message of a conversation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    /// Who said it.
    pub role: Role,
    /// What was said.
    pub text: &'a str,
}

/// Who says something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The instructions.
    System,
    /// The user.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        ["system", "user", "assistant"][self as usize]
    }
}

/// What a dialect cannot say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EncodeError {
    /// Token ids for a dialect of texts.
    #[error("`{protocol}` requests take no token ids; send text, or use the completions endpoint")]
    Ids {
        /// The dialect.
        protocol: &'static str,
    },
}

/// Why an event or a body is not of the dialect.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not the JSON that was expected.
    #[error("an event is not the JSON of a `{protocol}` answer: {reason}")]
    Malformed {
        /// The dialect.
        protocol: &'static str,
        /// What the JSON parser said.
        reason: String,
    },
}

/// What one event holds. Reused from event to event.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Pieces {
    /// Generated text of every kind, in the order reasoning, content, tool arguments.
    pub text: String,
    /// Some of it is content or tool arguments.
    pub visible: bool,
    /// Some of it is reasoning.
    pub reasoning: bool,
    /// Token counts of the answer so far.
    pub usage: Option<Usage>,
    /// How many tokens came with the event: token ids, or log probabilities where there are no ids.
    pub ids: Option<u32>,
    /// The event speaks of another choice than the first, or of several: running counts of one are not counts of all.
    pub several: bool,
    /// The event is a part of the answer, whether or not it holds text; usage alone is not.
    pub choice: bool,
    /// Why the engine stopped.
    pub finish: Option<FinishReason>,
    /// The stream's terminator.
    pub done: bool,
    /// An error the engine reports inside its answer.
    pub error: Option<String>,
    /// Allow-listed numbers of the vendor: their key and their JSON.
    pub vendor: Vec<(&'static str, String)>,
    /// Where the parts lie that change from event to event, if the event is as plain as can be: see [`Hole`].
    pub(crate) holes: Vec<Hole>,
    /// How many texts were added that are not empty.
    pub(crate) texts: u32,
    /// What the event says depends on events before it, or cannot come again: its bytes teach nothing.
    pub(crate) bound: bool,
    /// What the dialect remembers of the answer, from event to event.
    pub(crate) so_far: SoFar,
}

/// The longest vendor object kept.
pub(crate) const MAX_VENDOR: usize = 4 << 10;

/// A part of an event that changes while the rest of the event stays the same, byte for byte. The JSON grammar guarantees that
/// another value of the same kind in its place leaves the meaning of everything around it untouched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Hole {
    /// Where in the event's data.
    pub at: Range<usize>,
    /// What it holds.
    pub kind: HoleKind,
}

/// What a [`Hole`] holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HoleKind {
    /// The inside of a JSON string: generated text of this kind. One that is not visible may not become empty.
    Text(TokenKind),
    /// An array of integers: token ids.
    Ids,
    /// An array of anything, one for each token, which may not become empty.
    Entries,
    /// A whole number of 32 bits of the usage.
    Count(Count),
    /// A value that nobody reads and that changes from event to event: a total, log probabilities.
    Unread,
    /// A value that nobody reads and that changes from answer to answer: an id, a time of day.
    Steady,
    /// Empty: the JSON of vendor numbers of this key begins here.
    Vendor(&'static str),
    /// A number among them.
    Number,
    /// Empty: they end here.
    VendorEnd,
}

/// A field of [`Usage`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Count {
    Input,
    CacheRead,
    CacheWrite,
    Output,
    Reasoning,
}

impl Pieces {
    /// Makes ready for another answer.
    pub fn begin(&mut self) {
        self.clear();
        self.so_far.clear();
    }

    /// Forgets the event, not what is remembered of its answer.
    pub fn clear(&mut self) {
        self.text.clear();
        self.vendor.clear();
        self.holes.clear();
        self.texts = 0;
        (self.visible, self.reasoning, self.several, self.choice, self.done, self.bound) = (false, false, false, false, false, false);
        (self.usage, self.ids, self.finish, self.error) = (None, None, None, None);
    }

    /// Which kind of text the event carries, if it carries any.
    pub fn kind(&self) -> Option<TokenKind> {
        match (self.visible, self.reasoning) {
            (true, true) => Some(TokenKind::Both),
            (true, false) => Some(TokenKind::Visible),
            (false, true) => Some(TokenKind::Reasoning),
            (false, false) => None,
        }
    }

    /// Adds a generated text; an empty one is none. `data` is what was parsed: a text that is a slice of it (one without
    /// escapes) leaves a hole. So does an empty one of a visible kind, because the same kind of event may hold a text the next time.
    pub(crate) fn push_text(&mut self, kind: TokenKind, text: &str, data: &[u8]) {
        if text.is_empty() {
            if kind == TokenKind::Visible {
                self.push_hole(HoleKind::Text(kind), text.as_bytes(), data);
            }
            return;
        }
        self.text.push_str(text);
        self.texts += 1;
        self.visible |= kind != TokenKind::Reasoning;
        self.reasoning |= kind != TokenKind::Visible;
        self.push_hole(HoleKind::Text(kind), text.as_bytes(), data);
    }

    /// Leaves one hole of a text: that of the text which is not empty, else the first. The others stay as empty as they are.
    pub(crate) fn settle_text(&mut self) {
        let is_text = |hole: &Hole| matches!(hole.kind, HoleKind::Text(_));
        let filled = self.holes.iter().position(|h| is_text(h) && !h.at.is_empty());
        let kept = filled.or_else(|| self.holes.iter().position(is_text)).filter(|_| self.texts == 0 || filled.is_some());
        let mut at = 0;
        self.holes.retain(|hole| {
            at += 1;
            !is_text(hole) || Some(at - 1) == kept
        });
    }

    /// Notes where `part` lies, if it is a slice of `data`.
    pub(crate) fn push_hole(&mut self, kind: HoleKind, part: &[u8], data: &[u8]) {
        if let Some(at) = place(part, data) {
            self.holes.push(Hole { at, kind });
        }
    }
}

/// Where `part` lies in `data`, by address; nothing if it is not a slice of it.
fn place(part: &[u8], data: &[u8]) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(data.as_ptr() as usize)?;
    let end = start.checked_add(part.len())?;
    (end <= data.len()).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for (i, protocol) in PROTOCOLS.iter().enumerate() {
            assert!(PROTOCOLS[..i].iter().all(|p| p.name() != protocol.name() && p.path() != protocol.path()));
            assert_eq!(by_name(protocol.name()).map(Protocol::path), Some(protocol.path()));
            assert!(protocol.path().starts_with('/') && !protocol.path().ends_with('/'));
            assert!(protocol.headers().iter().all(|(name, value)| !name.is_empty() && !value.is_empty()));
        }
        assert!(by_name("telepathy").is_none());
    }

    #[test]
    fn a_model_in_a_path() {
        assert_eq!(route("/v1/completions", "a b"), "/v1/completions");
        assert_eq!(route("/v2/models/{model}/generate_stream", "org/a b-1.0"), "/v2/models/org%2Fa%20b-1.0/generate_stream");
        for (path, expect) in [
            ("/v2/models/m/generate_stream", true),
            ("/behind/a/proxy/v2/models/m/generate_stream", true),
            ("/v2/models/{model}/generate_stream", true),
            ("/v2/models//generate_stream", false),
            ("/generate_stream", false),
            ("/v2/models/m/generate", false),
        ] {
            assert_eq!(ends_in(path, Triton.path()), expect, "{path}");
        }
        assert!(ends_in("/v1/chat/completions", "/completions"));
    }

    #[test]
    fn places() {
        let data = b"abcdef";
        assert_eq!(place(&data[1..3], data), Some(1..3));
        assert_eq!(place(&data[6..], data), Some(6..6));
        assert_eq!(place(data, &data[1..]), None);
        assert_eq!(place(data, &data[..3]), None);
        assert_eq!(place(&[0; 64], data), None);
    }
}
