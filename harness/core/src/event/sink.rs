//! The sink itself: from events to a record.

use super::pieces::{Share, characters};
use super::{Arrival, Finish, Live, RequestError, Silent, Stamp, TokenEvent, TokenKind, Usage};
use crate::clock::Clock;
use crate::digest::OutputHash;
use crate::record::{Connection, CountSource, ErrorCode, Moments, RequestRecord, StampSource, Status};
use crate::units::Nanos;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

/// Most different complaints that are kept.
const COMPLAINTS: usize = 32;
/// Longest complaint that is kept, in characters.
const COMPLAINT_LENGTH: usize = 300;

/// Stamps and collects the events of one request at a time; reused from request to request.
pub struct EventSink {
    clock: Arc<dyn Clock>,
    live: Arc<Live>,
    /// Told to whoever watches deadlines, who cannot look into a sink that the future has borrowed.
    first_token_seen: Arc<AtomicBool>,
    record: RequestRecord,
    hash: OutputHash,
    chars: u32,
    no_text: bool,
    any_output: bool,
    chunk_bytes: Vec<u32>,
    unknown_chunks: bool,
    previous: Nanos,
    read: Read,
    text: Option<String>,
    /// Tokens until the trace's user goes away.
    stay: Option<u32>,
    /// Told to whoever flies the request, who cannot look into a sink that the future has borrowed.
    enough: Arc<AtomicBool>,
    notify_first: Option<Box<dyn FnOnce(Nanos) + Send>>,
}

/// The read being decoded.
#[derive(Clone, Copy, Default)]
struct Read {
    number: u32,
    events: u32,
    tokens: u32,
    /// As the progress line counts: what the endpoint tells, else events.
    counted: u64,
    has_first: bool,
}

impl EventSink {
    /// A sink that stamps by `clock` and counts into `live`.
    pub fn new(clock: Arc<dyn Clock>, live: Arc<Live>) -> Self {
        Self {
            clock,
            live,
            first_token_seen: Arc::default(),
            record: RequestRecord::default(),
            hash: OutputHash::default(),
            chars: 0,
            no_text: false,
            any_output: false,
            chunk_bytes: vec![],
            unknown_chunks: false,
            previous: Nanos::ZERO,
            read: Read::default(),
            text: None,
            stay: None,
            enough: Arc::default(),
            notify_first: None,
        }
    }

    /// Starts a new request. `record` carries its identity and due; `keep_text` keeps the output for a later request.
    pub fn begin(&mut self, record: RequestRecord, keep_text: bool) {
        let wanted = record.tokens.wanted as usize;
        self.record = record;
        self.record.chunk_gaps.reserve(wanted.min(1 << 16));
        self.record.chunk_tokens.reserve(wanted.min(1 << 16));
        self.hash = OutputHash::default();
        self.chars = 0;
        self.no_text = false;
        self.any_output = false;
        self.chunk_bytes.clear();
        self.unknown_chunks = false;
        self.read = Read::default();
        self.text = keep_text.then(String::new);
        self.stay = None;
        self.enough.store(false, Ordering::Relaxed);
        self.notify_first = None;
        self.first_token_seen.store(false, Ordering::Relaxed);
    }

    /// The user of the request that was begun goes away after this many tokens of its answer.
    pub fn leave_after(&mut self, tokens: u32) {
        self.stay = Some(tokens);
    }

    /// Is true once the user of a request has had enough, until the beginning of the next.
    pub fn enough_flag(&self) -> Arc<AtomicBool> {
        self.enough.clone()
    }

    /// Is true from the first token of a request to the beginning of the next.
    pub fn first_token_flag(&self) -> Arc<AtomicBool> {
        self.first_token_seen.clone()
    }

    /// The clock, for what a backend must time beside its events.
    pub fn now(&self) -> Nanos {
        self.clock.now()
    }

    /// The harness begins to act on the request: the moment given with [`Self::begin`], else now. Once per attempt; the moment is
    /// that of the first.
    pub fn started(&mut self) {
        let now = self.clock.now();
        self.record.at.start.get_or_insert(now);
        self.record.attempts += 1;
    }

    /// The attempt was declined before any token, and another one follows: its connection, its answer's head and their moments are
    /// forgotten. Its start stays, and so do its bytes.
    pub fn again(&mut self) {
        let at = &mut self.record.at;
        (at.conn_ready, at.sent, at.headers, at.first_byte) = (None, None, None, None);
        self.record.http_status = None;
    }

    /// Calls `notify` with the moment of the first token: other requests wait for it.
    pub fn on_first_token(&mut self, notify: Box<dyn FnOnce(Nanos) + Send>) {
        self.notify_first = Some(notify);
    }

    /// A connection is there.
    pub fn connected(&mut self, connection: Connection) {
        self.record.at.conn_ready = Some(self.clock.now());
        self.record.connection = connection;
    }

    /// The last request byte was handed over, at the moment the socket says (before its write); without one, now. `bytes` in all.
    pub fn sent(&mut self, bytes: u64, at: Option<Nanos>) {
        self.record.at.sent = Some(at.unwrap_or_else(|| self.clock.now()));
        self.record.bytes_up += bytes;
        self.live.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// `bytes` arrived, at the moment their socket says; without one, now. To be called before anything looks at them.
    #[inline]
    pub fn arrived(&mut self, bytes: usize, arrival: Option<Arrival>) -> Stamp {
        let Arrival { at, kernel } = arrival.unwrap_or_else(|| Arrival::read(self.clock.now()));
        // One read without a kernel stamp, and the record as a whole cannot claim them.
        let first = self.record.at.first_byte.is_none();
        self.record.stamp =
            if kernel && (first || self.record.stamp == StampSource::Kernel) { StampSource::Kernel } else { StampSource::Read };
        self.arrived_at(bytes, at)
    }

    #[inline]
    fn arrived_at(&mut self, bytes: usize, at: Nanos) -> Stamp {
        self.settle_read();
        self.read = Read { number: self.read.number.wrapping_add(1), ..Read::default() };
        self.record.at.first_byte.get_or_insert(at);
        self.record.bytes_down += bytes as u64;
        Stamp { at, read: self.read.number }
    }

    /// More plaintext of a read that was stamped before (TLS: one read of ciphertext may hold several records).
    #[inline]
    pub fn continued(&mut self, bytes: usize) {
        self.record.bytes_down += bytes as u64;
    }

    /// The engine in this process handed something over.
    #[inline]
    pub fn handed_over(&mut self, at: Nanos) -> Stamp {
        self.record.stamp = StampSource::Local;
        self.arrived_at(0, at)
    }

    /// The response head is complete.
    pub fn headers(&mut self, stamp: Stamp, status: Option<u16>) {
        self.record.at.headers = Some(stamp.at);
        self.record.http_status = status;
    }

    /// An event without generated text. It is no token; it tells that the read held more than one event, and where clocks that are
    /// not ours start and stop.
    #[inline]
    pub fn silent(&mut self, stamp: Stamp, what: Silent) {
        self.read.events += 1;
        let at = &mut self.record.at;
        match what {
            Silent::Nothing => {}
            Silent::Aside => at.last_event = Some(stamp.at),
            Silent::Choice => {
                at.first_choice.get_or_insert(stamp.at);
                at.last_choice = Some(stamp.at);
                self.record.empty_choices += 1;
            }
            Silent::Terminator => at.terminator = Some(stamp.at),
        }
    }

    /// Generated text.
    #[inline]
    pub fn token(&mut self, stamp: Stamp, event: TokenEvent<'_>) {
        // Of the read at hand; of an earlier one only for a body that is not streamed, which is read when later reads told its end.
        debug_assert!(stamp.read <= self.read.number, "a stamp was minted before it is used");
        let at = stamp.at;
        self.read.events += 1;
        self.read.tokens += 1;
        if self.record.at.first_token.is_none() {
            self.record.at.first_token = Some(at);
            self.record.at.first_choice.get_or_insert(at);
            self.read.has_first = true;
            self.previous = at;
            self.first_token_seen.store(true, Ordering::Relaxed);
            if let Some(notify) = self.notify_first.take() {
                notify(at);
            }
        }
        if event.kind != TokenKind::Reasoning {
            self.record.at.first_visible.get_or_insert(at);
        }
        self.record.at.last_token = Some(at);
        self.record.chunk_gaps.push((at - self.previous).0);
        self.previous = at;
        self.unknown_chunks |= event.tokens.is_none();
        self.record.chunk_tokens.push(event.tokens.unwrap_or(0));
        self.chunk_bytes.push(event.text.len() as u32);
        self.hash.update(event.text);
        self.chars = self.chars.saturating_add(characters(event.text));
        self.any_output = true;
        if let Some(text) = &mut self.text {
            text.push_str(&String::from_utf8_lossy(event.text));
        }
        self.read.counted += u64::from(event.tokens.unwrap_or(1));
        if let Some(stay) = &mut self.stay {
            *stay = stay.saturating_sub(event.tokens.unwrap_or(1));
            if *stay == 0 {
                self.enough.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Token counts, as the endpoint reports them so far.
    #[inline]
    pub fn usage(&mut self, usage: Usage, source: CountSource) {
        let t = &mut self.record.tokens;
        if usage.input.is_some() {
            t.input = usage.input;
            t.input_source = source;
        }
        t.cache_read = usage.cache_read.or(t.cache_read);
        t.cache_write = usage.cache_write.or(t.cache_write);
        if usage.output.is_some() {
            t.output = usage.output;
            t.output_source = source;
        }
        t.reasoning = usage.reasoning.or(t.reasoning);
    }

    /// What the endpoint said about a failure, in its own words. Kept once per wording and bounded; whoever calls has taken secrets out.
    pub fn complaint(&mut self, words: &str) {
        let words: String = words.chars().filter(|c| !c.is_control()).take(COMPLAINT_LENGTH).collect();
        let mut kept = self.live.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < COMPLAINTS || kept.contains_key(&words) {
            *kept.entry(words).or_default() += 1;
        }
    }

    /// What is handed over are token ids, whose bytes are no text: its characters are not known.
    pub fn ids_only(&mut self) {
        self.no_text = true;
    }

    /// Allow-listed vendor numbers, as JSON.
    pub fn vendor(&mut self, json: String) {
        self.record.vendor = Some(json);
    }

    /// Ends the request and gives its record and, if it was asked for, the text.
    ///
    /// A complete answer without a token is a failure; one that is shorter than asked for exactly is `short`. Tokens that the endpoint
    /// counts are tokens, also where they show no text (a part of a character, reasoning that is not streamed): such an answer is
    /// complete, and has no first token.
    pub fn finish(&mut self, outcome: Result<Finish, RequestError>, exact: bool) -> (RequestRecord, Option<String>) {
        self.settle_read();
        let end = self.clock.now();
        let record = &mut self.record;
        record.at.end = Some(end);
        // Text is a part of the answer, and that is an event with data. Joined here, so that a token stays one store cheaper.
        record.at.last_choice = record.at.last_choice.max(record.at.last_token);
        record.at.last_event = record.at.last_event.max(record.at.last_choice);
        record.output_hash = self.any_output.then_some(self.hash);
        record.output_chars = (self.any_output && !self.no_text).then_some(self.chars);
        let share = Share { bytes: &self.chunk_bytes, all_known: !self.unknown_chunks };
        share.settle(&mut record.tokens, &mut record.chunk_tokens);
        match outcome {
            Ok(finish) => {
                record.finish = finish.reason;
                let got = record.tokens.output.unwrap_or(0);
                let counted = got > 0 && crate::cost::counted(record.tokens.output_source);
                (record.status, record.error) = if record.at.first_token.is_none() && !counted {
                    (Status::Protocol, Some(ErrorCode::NoToken))
                } else if exact && record.tokens.output_source != CountSource::Chunks && got < record.tokens.wanted {
                    (Status::Short, Some(ErrorCode::Short))
                } else {
                    (Status::Ok, None)
                };
            }
            Err(error) => {
                record.status = error.status;
                record.error = Some(error.code);
            }
        }
        if !record.is_left() {
            let counter = if record.is_ok() { &self.live.ok } else { &self.live.failed };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        (std::mem::take(record), self.text.take())
    }

    fn settle_read(&mut self) {
        if self.read.events > 1 {
            self.record.coalesced += self.read.tokens;
            self.record.first_coalesced |= self.read.has_first;
        }
        // Once per read: an addition that all shards share costs as much as the rest of a token.
        if self.read.counted > 0 {
            self.live.tokens.fetch_add(self.read.counted, Ordering::Relaxed);
        }
        (self.read.events, self.read.tokens, self.read.counted) = (0, 0, 0);
    }
}

/// A record for a request that never ran: dropped, or its parent failed.
pub fn unsent(mut record: RequestRecord, status: Status, code: ErrorCode, at: Nanos) -> RequestRecord {
    record.status = status;
    record.error = Some(code);
    record.at = Moments { due: record.at.due, end: Some(at), ..Moments::default() };
    record
}

#[cfg(test)]
mod tests;
