//! The event sink: the one place that stamps. A backend tells it what happened; it builds the request's record.
//!
//! The sink outlives the future that generates: when a request times out or is cancelled the future is dropped, and what was
//! stamped until then is kept.

use crate::clock::Clock;
use crate::digest::OutputHash;
use crate::record::{Connection, CountSource, ErrorCode, FinishReason, Moments, RequestRecord, StampSource, Status, Tokens};
use crate::units::Nanos;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// When bytes arrived. Only the sink makes these, so that no backend can stamp later than it should.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    at: Nanos,
    read: u32,
}

impl Stamp {
    /// The moment.
    pub fn at(self) -> Nanos {
        self.at
    }
}

/// When bytes came off a socket, by whose word. Made by the socket at the read, before anything looks at the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    at: Nanos,
    kernel: bool,
}

impl Arrival {
    /// By the kernel's receive stamp, already on the run's clock.
    pub const fn kernel(at: Nanos) -> Self {
        Self { at, kernel: true }
    }

    /// By the return of the read.
    pub const fn read(at: Nanos) -> Self {
        Self { at, kernel: false }
    }

    /// The moment.
    pub const fn at(self) -> Nanos {
        self.at
    }
}

/// Which kind of text a token-bearing event carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenKind {
    /// Content or tool arguments: what the user sees.
    Visible,
    /// Reasoning.
    Reasoning,
    /// One event with both; counts for both clocks.
    Both,
}

/// What an event without generated text is to the answer. Other harnesses' clocks start and stop at some of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Silent {
    /// A comment, or an event without data.
    Nothing,
    /// Data beside the answer: usage, an annotation.
    Aside,
    /// A part of the answer: a role, an empty piece, the reason of the end. In OpenAI's dialects, an event with a choice.
    Choice,
    /// The end of the stream.
    Terminator,
}

/// Something arrived that carries generated text.
#[derive(Clone, Copy, Debug)]
pub struct TokenEvent<'a> {
    /// Which kind of text.
    pub kind: TokenKind,
    /// The text (or, for engines that hand over token ids, their bytes); only hashed and measured unless text is kept.
    pub text: &'a [u8],
    /// Tokens in this event, where the endpoint tells per event.
    pub tokens: Option<u32>,
}

/// Token counts as the endpoint reports them. Later reports replace earlier ones, field by field.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Prompt tokens, cached ones included.
    pub input: Option<u32>,
    /// Of them, read from a cache.
    pub cache_read: Option<u32>,
    /// Of them, written to a billed cache.
    pub cache_write: Option<u32>,
    /// Generated tokens, reasoning included.
    pub output: Option<u32>,
    /// Of them, reasoning.
    pub reasoning: Option<u32>,
}

/// The end of a complete answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Finish {
    /// Why the engine stopped, where it said.
    pub reason: Option<FinishReason>,
}

/// Why a request has no complete answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestError {
    /// The kind, for tables.
    pub status: Status,
    /// The code, for diagnosis.
    pub code: ErrorCode,
}

impl RequestError {
    /// An error of a kind and a code.
    pub const fn new(status: Status, code: ErrorCode) -> Self {
        Self { status, code }
    }
}

/// Numbers a shard shows while it runs. Plain counters: read by the progress line, written on the receive path without a lock.
#[derive(Debug, Default)]
pub struct Live {
    /// Requests whose bytes were sent.
    pub sent: AtomicU64,
    /// Requests in flight.
    pub in_flight: AtomicU64,
    /// Tokens received; events, where the endpoint does not tell.
    pub tokens: AtomicU64,
    /// Answers that ended well.
    pub ok: AtomicU64,
    /// Requests that failed, by any cause.
    pub failed: AtomicU64,
    /// Records that had to wait for the collector, their shard with them.
    pub held_up: AtomicU64,
    /// What endpoints said about failures, with how often. For people; no record holds it.
    pub complaints: Mutex<BTreeMap<String, u64>>,
}

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

/// Shares the tokens of an answer out over its chunks.
struct Share<'a> {
    bytes: &'a [u32],
    all_known: bool,
}

impl Share<'_> {
    fn settle(&self, tokens: &mut Tokens, chunks: &mut [u32]) {
        if chunks.is_empty() {
            return;
        }
        if self.all_known {
            let sum = chunks.iter().fold(0, |sum: u32, n| sum.saturating_add(*n));
            // Tokens whose text stayed empty to the end are in the usage but in no chunk: they belong to the answer.
            tokens.output.get_or_insert(sum);
            if tokens.output_source == CountSource::Unknown {
                tokens.output_source = CountSource::PerChunk;
            }
            tokens.chunk_source = CountSource::PerChunk;
            return;
        }
        let n = chunks.len() as u64;
        match tokens.output {
            None => {
                chunks.fill(1);
                tokens.output = Some(n as u32);
                tokens.output_source = CountSource::Chunks;
                tokens.chunk_source = CountSource::Chunks;
            }
            Some(total) if u64::from(total) == n => {
                chunks.fill(1);
                tokens.chunk_source = CountSource::Usage;
            }
            Some(total) => {
                tokens.chunk_source = CountSource::Estimated;
                let bytes: u128 = self.bytes.iter().map(|b| u128::from(*b)).sum::<u128>().max(1);
                // Cumulative rounding: the parts sum to the whole, and none is off by more than one.
                let (mut seen, mut given) = (0_u128, 0_u128);
                for (chunk, size) in chunks.iter_mut().zip(self.bytes) {
                    seen += u128::from(*size);
                    let upto = (seen * u128::from(total) * 2 + bytes) / (2 * bytes);
                    *chunk = (upto - given) as u32;
                    given = upto;
                }
                // The first token is in the first chunk, by definition of both.
                if total > 0 && chunks[0] == 0 {
                    chunks[0] = 1;
                    if let Some(donor) = chunks[1..].iter_mut().max_by_key(|c| **c)
                        && *donor > 0
                    {
                        *donor -= 1;
                    }
                }
            }
        }
    }
}

/// A record for a request that never ran: dropped, or its parent failed.
pub fn unsent(mut record: RequestRecord, status: Status, code: ErrorCode, at: Nanos) -> RequestRecord {
    record.status = status;
    record.error = Some(code);
    record.at = Moments { due: record.at.due, end: Some(at), ..Moments::default() };
    record
}

/// Characters that begin in a piece of UTF-8. A character that is divided between two pieces is counted once, with its first byte.
///
/// Eight bytes at a time, because this is on the receive path and pieces are short: of each byte of a word the lowest bit tells whether it
/// goes on with a character (`10xxxxxx`), and the product adds the eight up in the highest byte.
#[inline]
fn characters(text: &[u8]) -> u32 {
    const LOW: u64 = 0x0101_0101_0101_0101;
    let further = |word: u64| (((word >> 7) & !(word >> 6) & LOW).wrapping_mul(LOW) >> 56) as u32;
    let (words, rest) = text.as_chunks();
    let whole: u32 = words.iter().map(|word| further(u64::from_le_bytes(*word))).sum();
    let last = rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    text.len() as u32 - whole - further(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn sink() -> (EventSink, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        let mut sink = EventSink::new(clock.clone(), Arc::default());
        sink.begin(RequestRecord { tokens: Tokens { wanted: 4, ..Tokens::default() }, ..RequestRecord::default() }, true);
        (sink, clock)
    }

    fn token(text: &str, tokens: Option<u32>) -> TokenEvent<'_> {
        TokenEvent { kind: TokenKind::Visible, text: text.as_bytes(), tokens }
    }

    #[test]
    fn characters_of_every_length() {
        let text = "né à peine, 12 €: 🙂🙂 fin. Ünïcödé ends here …".as_bytes();
        for from in 0..text.len() {
            for to in from..=text.len() {
                let one_by_one = text[from..to].iter().filter(|byte| **byte & 0xC0 != 0x80).count();
                assert_eq!(characters(&text[from..to]) as usize, one_by_one, "{from}..{to}");
            }
        }
    }

    /// Pieces are bytes: a character may be divided between two of them.
    #[test]
    fn characters_are_counted_once() {
        let (mut sink, _) = sink();
        let text = "aé€🙂".as_bytes();
        let stamp = sink.arrived(text.len(), None);
        for piece in [&text[..2], &text[2..5], &text[5..]] {
            sink.token(stamp, TokenEvent { kind: TokenKind::Visible, text: piece, tokens: Some(1) });
        }
        assert_eq!(sink.finish(Ok(Finish::default()), false).0.output_chars, Some(4));
        let (mut sink, _) = self::sink();
        let stamp = sink.handed_over(Nanos::ZERO);
        sink.ids_only();
        sink.token(stamp, token("xy", Some(1)));
        assert_eq!(sink.finish(Ok(Finish::default()), false).0.output_chars, None, "ids are no text");
    }

    #[test]
    fn stamps_follow_the_definitions() {
        let (mut sink, clock) = sink();
        let step = |ms| clock.advance(Nanos::from_millis(ms));
        step(1);
        sink.started();
        step(1);
        sink.connected(Connection::New);
        step(1);
        sink.sent(100, None);
        step(7);
        let read = sink.arrived(50, None);
        sink.headers(read, Some(200));
        sink.silent(read, Silent::Choice); // the role chunk
        step(10);
        let read = sink.arrived(50, None);
        sink.token(read, TokenEvent { kind: TokenKind::Reasoning, text: b"a", tokens: Some(1) });
        step(10);
        let read = sink.arrived(50, None);
        sink.token(read, token("b", Some(2)));
        sink.token(read, token("c", Some(1)));
        step(10);
        let read = sink.arrived(50, None);
        sink.silent(read, Silent::Aside); // usage
        sink.usage(Usage { input: Some(9), output: Some(4), ..Usage::default() }, CountSource::Usage);
        let (record, text) = sink.finish(Ok(Finish::default()), true);
        assert_eq!((record.status, text.as_deref()), (Status::Ok, Some("abc")));
        let ms = |m: Option<Nanos>| m.map(|n| n.0 / 1_000_000);
        let at = record.at;
        assert_eq!([ms(at.start), ms(at.conn_ready), ms(at.sent), ms(at.headers)], [Some(1), Some(2), Some(3), Some(10)]);
        assert_eq!(
            [ms(at.first_byte), ms(at.first_token), ms(at.first_visible), ms(at.last_token), ms(at.end)],
            [Some(10), Some(20), Some(30), Some(30), Some(40)]
        );
        assert_eq!([ms(at.first_choice), ms(at.last_choice), ms(at.last_event), ms(at.terminator)], [Some(10), Some(30), Some(40), None]);
        assert_eq!(record.empty_choices, 1);
        assert_eq!((record.chunk_gaps.as_slice(), record.chunk_tokens.as_slice()), (&[0, 10_000_000, 0][..], &[1, 2, 1][..]));
        assert_eq!((record.coalesced, record.first_coalesced), (2, false));
        assert_eq!(record.tpot(), Some(Nanos(10_000_000 / 3)));
        assert_eq!(ms(record.e2e()), Some(30));
    }

    #[test]
    fn events_without_text_are_told_apart() {
        use Silent::{Aside, Choice, Nothing, Terminator};
        // One event every millisecond; `None` is a token. Expected: first and last choice, last event, terminator, empty choices.
        let check = |events: &[Option<Silent>], expect: [Option<i64>; 4], empty: u32| {
            let (mut sink, clock) = sink();
            for event in events {
                clock.advance(Nanos::from_millis(1));
                let read = sink.arrived(1, None);
                match event {
                    None => sink.token(read, token("x", Some(1))),
                    Some(silent) => sink.silent(read, *silent),
                }
            }
            let (record, _) = sink.finish(Ok(Finish::default()), false);
            let at = record.at;
            let found = [at.first_choice, at.last_choice, at.last_event, at.terminator].map(|m| m.map(|n| n.0 / 1_000_000));
            assert_eq!((found, record.empty_choices), (expect, empty), "{events:?}");
        };
        check(&[], [None; 4], 0);
        check(&[Some(Nothing)], [None; 4], 0);
        check(&[None], [Some(1), Some(1), Some(1), None], 0);
        check(&[None, None], [Some(1), Some(2), Some(2), None], 0);
        check(&[Some(Choice), None, Some(Choice), Some(Aside), Some(Terminator)], [Some(1), Some(3), Some(4), Some(5)], 2);
        // Usage with every event, and before the first: no part of the answer.
        check(&[Some(Aside), Some(Nothing), None, Some(Aside), None], [Some(3), Some(5), Some(5), None], 0);
        check(&[None, Some(Nothing), Some(Terminator)], [Some(1), Some(1), Some(1), Some(3)], 0);
    }

    #[test]
    fn tokens_are_shared_out() {
        let share = |usage: Option<u32>, pieces: &[(&str, Option<u32>)]| {
            let (mut sink, _) = sink();
            let read = sink.arrived(1, None);
            for (text, tokens) in pieces {
                sink.token(read, token(text, *tokens));
            }
            sink.usage(Usage { output: usage, ..Usage::default() }, CountSource::Usage);
            let (record, _) = sink.finish(Ok(Finish::default()), false);
            (record.chunk_tokens, record.tokens.output, record.tokens.chunk_source)
        };
        assert_eq!(share(None, &[("a", None), ("b", None)]), (vec![1, 1], Some(2), CountSource::Chunks));
        assert_eq!(share(Some(2), &[("a", None), ("b", None)]), (vec![1, 1], Some(2), CountSource::Usage));
        assert_eq!(share(Some(6), &[("aa", None), ("bbbb", None)]), (vec![2, 4], Some(6), CountSource::Estimated));
        assert_eq!(share(Some(5), &[("a", Some(1)), ("b", Some(3))]), (vec![1, 3], Some(5), CountSource::PerChunk));
        let (chunks, _, _) = share(Some(3), &[("a", None), ("bbbbbbbbbbbbbbbbbbbbbbb", None)]);
        assert_eq!((chunks[0], chunks.iter().sum::<u32>()), (1, 3), "the first token is in the first chunk");
    }

    #[test]
    fn outcomes() {
        let end = |tokens: u32, outcome, exact| {
            let (mut sink, _) = sink();
            let read = sink.arrived(1, None);
            (0..tokens).for_each(|_| sink.token(read, token("x", Some(1))));
            let (record, _) = sink.finish(outcome, exact);
            (record.status, record.error)
        };
        let done = Ok(Finish::default());
        assert_eq!(end(4, done, true), (Status::Ok, None));
        assert_eq!(end(3, done, true), (Status::Short, Some(ErrorCode::Short)));
        assert_eq!(end(3, done, false), (Status::Ok, None));
        assert_eq!(end(0, done, false), (Status::Protocol, Some(ErrorCode::NoToken)));
        let silent = |output, source| {
            let (mut sink, _) = sink();
            sink.arrived(1, None);
            sink.usage(Usage { output: Some(output), ..Usage::default() }, source);
            let (record, _) = sink.finish(done, false);
            (record.status, record.at.first_token)
        };
        assert_eq!(silent(1, CountSource::Usage), (Status::Ok, None));
        assert_eq!(silent(0, CountSource::Usage), (Status::Protocol, None));
        let broken = Err(RequestError::new(Status::Truncated, ErrorCode::NoTerminator));
        assert_eq!(end(2, broken, true), (Status::Truncated, Some(ErrorCode::NoTerminator)));
    }
}
