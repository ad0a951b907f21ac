//! Bytes of an answer in, moments and counts out: the receive path after the framing was taken off.
//!
//! One [`StreamDecoder`] per connection. It cuts events, reads them (by the learnt skeleton where it fits, else by the dialect),
//! and tells the sink: text is a token event, everything else is silent. How many tokens an event carries comes from token ids
//! or from the difference of running counts; where the endpoint tells neither, the sink shares the total out. Stamps come
//! from outside: this file never asks what time it is.

use crate::protocol::{Pieces, Protocol};
use crate::skeleton::{Match, Skeletons};
use crate::sse::{Frame, Item, MAX_EVENT, SseDecoder, SseError};
use nomoat_core::event::{EventSink, Finish, RequestError, Silent, Stamp, TokenEvent, TokenKind, Usage};
use nomoat_core::record::{CountSource, ErrorCode, FinishReason, Status};

const BAD_EVENT: RequestError = RequestError::new(Status::Protocol, ErrorCode::BadEvent);
const STREAM_ERROR: RequestError = RequestError::new(Status::Protocol, ErrorCode::StreamError);
const TOO_LARGE: RequestError = RequestError::new(Status::Protocol, ErrorCode::TooLarge);
const NO_TERMINATOR: RequestError = RequestError::new(Status::Truncated, ErrorCode::NoTerminator);

impl From<SseError> for RequestError {
    fn from(SseError::TooLarge { .. }: SseError) -> Self {
        TOO_LARGE
    }
}

/// Whether an answer goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// It may.
    More,
    /// Its terminator was seen; what follows it is ignored, and read only to keep the connection.
    Done,
}

/// What kind of body an answer has. Told from its first byte that is no white space, not from `content-type`, which servers get
/// wrong: no line of an event stream begins with a brace.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unknown,
    Events,
    Json,
}

/// Reads one answer after the other.
pub struct StreamDecoder {
    sse: SseDecoder,
    reader: Reader,
    kind: Kind,
    /// A body that is no event stream, as far as it came.
    json: Vec<u8>,
    stamp: Option<Stamp>,
    failed: Option<RequestError>,
}

impl StreamDecoder {
    /// A decoder for answers of this dialect.
    pub fn new(protocol: &'static dyn Protocol) -> Self {
        Self {
            sse: SseDecoder::default(),
            reader: Reader {
                protocol,
                names_are_spare: protocol.names_are_spare(),
                learns: true,
                pieces: Pieces::default(),
                skeletons: Skeletons::default(),
                vendor: vec![],
                message: None,
                answer: Answer::default(),
            },
            kind: Kind::Unknown,
            json: vec![],
            stamp: None,
            failed: None,
        }
    }

    /// Takes away the skeleton, so that every event goes through the full parser: what tests and benches compare with.
    pub fn without_skeleton(mut self) -> Self {
        self.reader.learns = false;
        self
    }

    /// Makes ready for the next answer; keeps the memory, and what was learnt: the next answer is one like this.
    pub fn reset(&mut self) {
        self.sse.reset();
        self.reader.pieces.begin();
        self.reader.vendor.clear();
        self.reader.message = None;
        self.reader.answer = Answer::default();
        self.kind = Kind::Unknown;
        self.json.clear();
        self.json.shrink_to(1 << 16);
        (self.stamp, self.failed) = (None, None);
    }

    /// Reads payload that arrived at `stamp`.
    ///
    /// # Errors
    /// `stream_error` for an error the engine reports inside its answer ([`Self::message`] has its words), `bad_event` for what is
    /// not the dialect, `too_large`. What was reported to the sink until then stays.
    #[inline]
    pub fn feed(&mut self, bytes: &[u8], stamp: Stamp, sink: &mut EventSink) -> Result<Flow, RequestError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.reader.answer.done {
            return Ok(Flow::Done);
        }
        self.stamp = Some(stamp);
        let fed = if self.kind == Kind::Events { self.feed_events(bytes, stamp, sink) } else { self.feed_first(bytes, stamp, sink) };
        // What stands behind the terminator cannot spoil the answer.
        if self.reader.answer.done {
            return Ok(Flow::Done);
        }
        self.failed = fed.err();
        self.failed.map_or(Ok(Flow::More), Err)
    }

    /// The body is over: tells whether the answer is complete. A body that was no event stream is read now, as one event that
    /// arrived with its last bytes.
    ///
    /// # Errors
    /// As [`Self::feed`]; `no_terminator` for an answer without an end.
    pub fn end(&mut self, sink: &mut EventSink) -> Result<Finish, RequestError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.kind == Kind::Json
            && let Some(stamp) = self.stamp
        {
            let read = self.reader.body(&self.json, stamp, sink);
            self.failed = read.err();
            read?;
        }
        self.sse.finish();
        let answer = &self.reader.answer;
        if self.reader.protocol.is_complete(answer.done, answer.finish) {
            Ok(Finish { reason: answer.finish })
        } else if self.stamp.is_some() && self.kind != Kind::Json && answer.items == 0 {
            // Bytes, but nothing that an event stream consists of: a page of a proxy, say.
            Err(BAD_EVENT)
        } else {
            Err(NO_TERMINATOR)
        }
    }

    /// Events of this answer that went through the full parser.
    pub fn fallbacks(&self) -> u64 {
        self.reader.answer.fallbacks
    }

    /// Comments in this answer: keep-alives of an endpoint that makes its callers wait.
    pub fn comments(&self) -> u64 {
        self.reader.answer.comments
    }

    /// The words of the error that ended this answer, if there were any. For people; they never enter a record.
    pub fn message(&self) -> Option<&str> {
        self.reader.message.as_deref()
    }

    #[inline]
    fn feed_events(&mut self, bytes: &[u8], stamp: Stamp, sink: &mut EventSink) -> Result<(), RequestError> {
        let Self { sse, reader, .. } = self;
        // One whole event of a known kind, as a server that frames each by itself sends it, needs no cutting: had it a line end inside,
        // it would not match.
        if sse.is_between_events()
            && let Some(data) = bytes.strip_prefix(b"data: ").and_then(|rest| rest.strip_suffix(b"\n\n"))
            && let Some(found) = reader.skeletons.read_line(data)
        {
            reader.answer.items += 1;
            reader.answer.take(&found, data, &mut reader.vendor, stamp, sink);
            return Ok(());
        }
        sse.feed(bytes, &mut |item| reader.item(item, stamp, sink))
    }

    /// The first bytes of a body, and all bytes of one that is not an event stream.
    #[cold]
    fn feed_first(&mut self, bytes: &[u8], stamp: Stamp, sink: &mut EventSink) -> Result<(), RequestError> {
        if self.kind == Kind::Unknown {
            match bytes.iter().position(|b| !b" \t\r\n".contains(b)) {
                Some(at) if bytes[at] == b'{' => {
                    self.kind = Kind::Json;
                    return self.feed_json(&bytes[at..]);
                }
                Some(_) => self.kind = Kind::Events,
                None => {}
            }
            return self.feed_events(bytes, stamp, sink);
        }
        self.feed_json(bytes)
    }

    fn feed_json(&mut self, bytes: &[u8]) -> Result<(), RequestError> {
        if self.json.len() + bytes.len() > MAX_EVENT {
            return Err(TOO_LARGE);
        }
        self.json.extend_from_slice(bytes);
        Ok(())
    }
}

/// Reads events; apart from [`StreamDecoder`] so that the cutter can be borrowed beside it.
struct Reader {
    protocol: &'static dyn Protocol,
    /// As [`Protocol::names_are_spare`].
    names_are_spare: bool,
    learns: bool,
    pieces: Pieces,
    skeletons: Skeletons,
    /// Vendor numbers so far; a later object replaces an earlier one of its key.
    vendor: Vec<(&'static str, String)>,
    message: Option<String>,
    answer: Answer,
}

/// What is known of the answer so far.
#[derive(Default)]
struct Answer {
    done: bool,
    finish: Option<FinishReason>,
    counter: Counter,
    items: u64,
    comments: u64,
    fallbacks: u64,
}

impl Answer {
    /// Takes an event that fitted a skeleton.
    #[inline]
    fn take(&mut self, found: &Match<'_>, data: &[u8], vendor: &mut Vec<(&'static str, String)>, stamp: Stamp, sink: &mut EventSink) {
        self.counter.unreliable |= found.several;
        let kind = found.kind.ok_or(if found.choice { Silent::Choice } else { Silent::Aside });
        self.counter.report(kind, found.text, found.ids, found.usage, stamp, sink);
        self.finish = found.finish.or(self.finish);
        if !found.vendor.is_empty() {
            for (key, at) in found.vendor {
                let json = String::from_utf8_lossy(&data[at.clone()]);
                keep(vendor, key, &json);
            }
            sink.vendor(joined(vendor));
        }
    }
}

impl Reader {
    #[inline]
    fn item(&mut self, item: Item<'_>, stamp: Stamp, sink: &mut EventSink) -> Result<(), RequestError> {
        if self.answer.done {
            return Ok(());
        }
        self.answer.items += 1;
        match item {
            Item::Frame(frame) if self.is_learnable(frame) => {
                if let Some(found) = self.skeletons.read(frame.data) {
                    self.answer.take(&found, frame.data, &mut self.vendor, stamp, sink);
                    return Ok(());
                }
                self.parse(frame, stamp, sink)
            }
            Item::Frame(frame) => self.parse(frame, stamp, sink),
            Item::Comment => {
                self.answer.comments += 1;
                sink.silent(stamp, Silent::Nothing);
                Ok(())
            }
        }
    }

    fn parse(&mut self, frame: Frame<'_>, stamp: Stamp, sink: &mut EventSink) -> Result<(), RequestError> {
        self.pieces.clear();
        if let Err(error) = self.protocol.decode(frame, &mut self.pieces) {
            self.message = Some(error.to_string());
            return Err(BAD_EVENT);
        }
        let done = self.pieces.done;
        if !done {
            self.answer.fallbacks += 1;
            if self.learns && self.is_learnable(frame) && self.skeletons.is_curious(frame.data) {
                self.protocol.unread(frame.data, &mut self.pieces);
                self.skeletons.learn(frame.data, &mut self.pieces);
            }
        }
        let beside = match (done, frame.data.trim_ascii().is_empty()) {
            (true, _) => Silent::Terminator,
            (false, true) => Silent::Nothing,
            (false, false) => Silent::Aside,
        };
        self.act(beside, stamp, sink)?;
        self.answer.done = done;
        Ok(())
    }

    /// Whether an event is a function of its data alone, which is what skeletons compare.
    #[inline]
    fn is_learnable(&self, frame: Frame<'_>) -> bool {
        frame.event.is_empty() || (self.names_are_spare && frame.event != b"error")
    }

    fn body(&mut self, body: &[u8], stamp: Stamp, sink: &mut EventSink) -> Result<(), RequestError> {
        self.pieces.clear();
        if let Err(error) = self.protocol.decode_body(body, &mut self.pieces) {
            self.message = Some(error.to_string());
            return Err(BAD_EVENT);
        }
        self.answer.done = true;
        self.act(Silent::Aside, stamp, sink)
    }

    /// Acts upon what the full parser found. `beside` is what the event is if it is no part of the answer.
    fn act(&mut self, beside: Silent, stamp: Stamp, sink: &mut EventSink) -> Result<(), RequestError> {
        let pieces = &mut self.pieces;
        self.answer.counter.unreliable |= pieces.several;
        let kind = pieces.kind().ok_or(if pieces.choice { Silent::Choice } else { beside });
        self.answer.counter.report(kind, pieces.text.as_bytes(), pieces.ids, pieces.usage, stamp, sink);
        self.answer.finish = pieces.finish.or(self.answer.finish);
        if !pieces.vendor.is_empty() {
            for (key, json) in pieces.vendor.drain(..) {
                keep(&mut self.vendor, key, &json);
            }
            sink.vendor(joined(&self.vendor));
        }
        match pieces.error.take() {
            Some(message) => {
                self.message = Some(message);
                Err(STREAM_ERROR)
            }
            None => Ok(()),
        }
    }
}

/// Keeps vendor numbers; those of the same key give way, and the new ones come last.
fn keep(vendor: &mut Vec<(&'static str, String)>, key: &'static str, json: &str) {
    let mut memory = vendor.iter().position(|(k, _)| *k == key).map_or_else(String::new, |at| vendor.remove(at).1);
    memory.clear();
    memory.push_str(json);
    vendor.push((key, memory));
}

/// All of them, as one JSON object.
fn joined(vendor: &[(&'static str, String)]) -> String {
    let mut json = String::with_capacity(2 + vendor.iter().map(|(key, json)| key.len() + json.len() + 4).sum::<usize>());
    for (key, numbers) in vendor {
        json.push(if json.is_empty() { '{' } else { ',' });
        json.extend(["\"", key, "\":", numbers]);
    }
    json.push('}');
    json
}

/// Tells how many tokens each event carries.
#[derive(Default)]
struct Counter {
    /// Generated tokens reported so far.
    counted: u32,
    /// Tokens whose events had no text: half of a character, say. They belong to the next text.
    waiting: u32,
    /// The stream holds several choices: a running count of one is no count of all. Nor is a count that once went back worth anything.
    unreliable: bool,
    /// Tokens told to the sink with events. Their sum must stay a count of 32 bits, whatever an endpoint claims.
    told: u32,
    any_text: bool,
}

impl Counter {
    /// Reports an event, its counts, and its text if it has any. Both the skeleton and the full parser end here.
    #[inline]
    fn report(
        &mut self,
        kind: Result<TokenKind, Silent>,
        text: &[u8],
        ids: Option<u32>,
        usage: Option<Usage>,
        stamp: Stamp,
        sink: &mut EventSink,
    ) {
        let mut running = None;
        if let Some(usage) = usage {
            sink.usage(usage, CountSource::Usage);
            if let Some(output) = usage.output {
                running = output.checked_sub(self.counted);
                self.unreliable |= running.is_none();
                self.counted = output;
            }
        }
        let tokens = ids.or(if self.unreliable { None } else { running });
        let kind = match kind {
            Ok(kind) => kind,
            Err(silent) => {
                self.waiting = self.waiting.saturating_add(tokens.unwrap_or(0));
                sink.silent(stamp, silent);
                return;
            }
        };
        let waiting = std::mem::take(&mut self.waiting);
        let tokens = tokens.map(|n| n.saturating_add(waiting));
        // The first text holds at least one token. An endpoint that says otherwise sends placeholders until its last event, and its
        // counts per event are worth nothing; saying "unknown" once makes the sink share the total out.
        let tokens = tokens.filter(|n| (*n > 0 || self.any_text) && self.told.checked_add(*n).is_some());
        self.told += tokens.unwrap_or(0);
        self.any_text = true;
        sink.token(stamp, TokenEvent { kind, text, tokens });
    }
}
