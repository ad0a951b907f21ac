//! One request after the fact: its moments, its tokens, what became of it. Failures are rows too.

use crate::digest::OutputHash;
use crate::request::{LaneId, RequestId, SessionId, ShardId};
use crate::units::Nanos;

/// When what happened, on the run's clock. `None` where the moment never came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Moments {
    /// The schedule wanted it. Always known once a request is recorded.
    pub due: Nanos,
    /// The harness began to act on it, before it took or opened a connection.
    pub start: Option<Nanos>,
    /// A connection was there.
    pub conn_ready: Option<Nanos>,
    /// The last request byte was handed to the socket: the moment before that write, because the peer may have it before the write returns.
    pub sent: Option<Nanos>,
    /// The response head was complete.
    pub headers: Option<Nanos>,
    /// The first byte of the response.
    pub first_byte: Option<Nanos>,
    /// The first event that is a part of the answer, with or without text: in OpenAI's dialects, with a choice. Often it holds a
    /// role alone.
    pub first_choice: Option<Nanos>,
    /// The first non-empty generated text of any kind: content, reasoning or tool arguments.
    pub first_token: Option<Nanos>,
    /// The first of it that is not reasoning.
    pub first_visible: Option<Nanos>,
    /// The last of it.
    pub last_token: Option<Nanos>,
    /// The last event that is a part of the answer; it may only say why the engine stopped.
    pub last_choice: Option<Nanos>,
    /// The last event with data, usage included. Comments and the terminator are none.
    pub last_event: Option<Nanos>,
    /// The terminator of the stream.
    pub terminator: Option<Nanos>,
    /// The stream ended, failed or was given up.
    pub end: Option<Nanos>,
}

/// Where in the run a request's due lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Phase {
    /// Before the window.
    Warmup,
    /// In the window.
    #[default]
    Measure,
    /// After the window (only continuations of what began before).
    Drain,
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Status {
    /// Answered in full.
    #[default]
    Ok,
    /// An HTTP status that is not a success.
    Http,
    /// No answer in time.
    Timeout,
    /// No connection, or it broke before the response.
    Connect,
    /// The response is not the dialect.
    Protocol,
    /// The stream ended before it was complete.
    Truncated,
    /// Cancelled by the run (Ctrl-C) or the trace.
    Cancelled,
    /// 429: the endpoint declined.
    Rejected,
    /// The harness could not send it.
    Client,
    /// Over the in-flight bound when due.
    Dropped,
    /// A request it needs failed.
    NotRun,
    /// A complete answer with fewer tokens than were asked for exactly.
    Short,
}

impl Status {
    /// Every status, in the order of its code.
    pub const ALL: [Self; 12] = [
        Self::Ok,
        Self::Http,
        Self::Timeout,
        Self::Connect,
        Self::Protocol,
        Self::Truncated,
        Self::Cancelled,
        Self::Rejected,
        Self::Client,
        Self::Dropped,
        Self::NotRun,
        Self::Short,
    ];

    /// Its name in files and tables.
    pub fn name(self) -> &'static str {
        ["ok", "http", "timeout", "connect", "protocol", "truncated", "cancelled", "rejected", "client", "dropped", "not_run", "short"]
            [self as usize]
    }
}

/// The closed list of error codes. Free text never enters a record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ErrorCode {
    /// The peer refused the connection.
    Refused,
    /// Connecting took too long.
    ConnectTimeout,
    /// The TLS handshake failed.
    Tls,
    /// The connection broke while sending.
    SendFailed,
    /// The connection was reset while reading.
    Reset,
    /// The response head is not HTTP/1.1.
    BadHead,
    /// The chunked framing is wrong.
    BadChunk,
    /// A content encoding nobody asked for.
    Encoded,
    /// An event is not the dialect's JSON.
    BadEvent,
    /// An error object inside the stream.
    StreamError,
    /// The stream ended without its terminator.
    NoTerminator,
    /// A finished stream without a token.
    NoToken,
    /// No first token in time.
    FirstTokenTimeout,
    /// Not complete in time.
    TotalTimeout,
    /// An event or a head larger than the bound.
    TooLarge,
    /// The run was stopped.
    Stopped,
    /// The in-flight bound was reached.
    InFlightBound,
    /// A needed request failed.
    Parent,
    /// The prompt could not be made.
    Prepare,
    /// Too few tokens.
    Short,
    /// The engine refused or gave up.
    Engine,
    /// This host has no descriptor or no port left.
    Exhausted,
    /// An HTTP status of 4xx.
    Http4xx,
    /// An HTTP status of 5xx.
    Http5xx,
    /// Another HTTP status that is no success.
    HttpOther,
    /// The user of the trace went away, as recorded or generated: the client closed the stream on purpose.
    ByTrace,
}

impl ErrorCode {
    /// Every code, in the order of its number.
    pub const ALL: [Self; 26] = [
        Self::Refused,
        Self::ConnectTimeout,
        Self::Tls,
        Self::SendFailed,
        Self::Reset,
        Self::BadHead,
        Self::BadChunk,
        Self::Encoded,
        Self::BadEvent,
        Self::StreamError,
        Self::NoTerminator,
        Self::NoToken,
        Self::FirstTokenTimeout,
        Self::TotalTimeout,
        Self::TooLarge,
        Self::Stopped,
        Self::InFlightBound,
        Self::Parent,
        Self::Prepare,
        Self::Short,
        Self::Engine,
        Self::Exhausted,
        Self::Http4xx,
        Self::Http5xx,
        Self::HttpOther,
        Self::ByTrace,
    ];

    /// Its name in files and tables.
    pub fn name(self) -> &'static str {
        [
            "refused",
            "connect_timeout",
            "tls",
            "send_failed",
            "reset",
            "bad_head",
            "bad_chunk",
            "encoded",
            "bad_event",
            "stream_error",
            "no_terminator",
            "no_token",
            "first_token_timeout",
            "total_timeout",
            "too_large",
            "stopped",
            "in_flight_bound",
            "parent",
            "prepare",
            "short",
            "engine",
            "exhausted",
            "http_4xx",
            "http_5xx",
            "http_other",
            "by_trace",
        ][self as usize]
    }
}

/// Why the engine stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FinishReason {
    /// It chose to.
    Stop,
    /// The asked length was reached.
    Length,
    /// It calls a tool.
    Tool,
    /// A filter.
    ContentFilter,
    /// It was aborted.
    Abort,
    /// A word not in this list.
    Other,
}

/// How the connection of a request came to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Connection {
    /// None was reached, or none is needed.
    #[default]
    None,
    /// Opened for it or, over HTTP/2, awaited by it while it was opened.
    New,
    /// Kept from an earlier request.
    Reused,
    /// A stream of an HTTP/2 connection that was there.
    H2,
}

/// What a stamp is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum StampSource {
    /// The kernel's receive time.
    Kernel,
    /// The return of the read, before parsing.
    #[default]
    Read,
    /// The hand-over from an engine in this process.
    Local,
}

/// Where a token count comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CountSource {
    /// Nobody said.
    #[default]
    Unknown,
    /// The endpoint's usage.
    Usage,
    /// The endpoint's token ids, log probabilities or running usage per chunk.
    PerChunk,
    /// Events counted, because the endpoint reports nothing: a lower or upper bound, flagged.
    Chunks,
    /// The usage total shared out by bytes of text.
    Estimated,
    /// What the trace asked for.
    Trace,
    /// The engine in this process counted.
    Engine,
    /// A tokenizer counted after the run.
    Tokenizer,
}

/// Token counts of one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tokens {
    /// Prompt tokens, cached ones included.
    pub input: Option<u32>,
    /// Of them, read from a prefix cache.
    pub cache_read: Option<u32>,
    /// Of them, written to a billed cache.
    pub cache_write: Option<u32>,
    /// Generated tokens, reasoning included.
    pub output: Option<u32>,
    /// Of them, reasoning.
    pub reasoning: Option<u32>,
    /// Answer length the trace asked for.
    pub wanted: u32,
    /// Prompt length the trace asked for.
    pub wanted_input: u32,
    /// Source of `input`, `cache_read` and `cache_write`.
    pub input_source: CountSource,
    /// Source of `output` and `reasoning`.
    pub output_source: CountSource,
    /// Source of the per-chunk counts.
    pub chunk_source: CountSource,
}

/// One request after the fact.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RequestRecord {
    /// Position in the schedule.
    pub request: RequestId,
    /// Its conversation.
    pub session: Option<SessionId>,
    /// Position inside it.
    pub turn: u16,
    /// Its lane, in a closed loop.
    pub lane: Option<LaneId>,
    /// The shard that sent it.
    pub shard: ShardId,
    /// Where in the run its due lies.
    pub phase: Phase,
    /// Index into the trace's classes.
    pub class: u16,
    /// Recorded priority.
    pub priority: i32,
    /// Index into the run's endpoints.
    pub endpoint: u16,
    /// Attempts; 1 unless retries were asked for, 0 when never sent.
    pub attempts: u16,
    /// When what happened.
    pub at: Moments,
    /// Gaps between token-bearing chunks in ns; the first is 0 (at `first_token`). Same length as `chunk_tokens`.
    pub chunk_gaps: Vec<i64>,
    /// Tokens in each chunk.
    pub chunk_tokens: Vec<u32>,
    /// Events that are a part of the answer and have no text: a role, an empty piece, the reason of the end.
    pub empty_choices: u32,
    /// Token counts.
    pub tokens: Tokens,
    /// How the connection came to be.
    pub connection: Connection,
    /// What the stamps are.
    pub stamp: StampSource,
    /// The first token came in a read that returned more than one event: its stamp is an upper bound.
    pub first_coalesced: bool,
    /// Token-bearing chunks that shared their read with another event.
    pub coalesced: u32,
    /// What became of it.
    pub status: Status,
    /// HTTP status, where there was one.
    pub http_status: Option<u16>,
    /// Which error.
    pub error: Option<ErrorCode>,
    /// Why the engine stopped.
    pub finish: Option<FinishReason>,
    /// Bytes sent for it.
    pub bytes_up: u64,
    /// Bytes received for it.
    pub bytes_down: u64,
    /// Hash of the output text or token ids, where there was output.
    pub output_hash: Option<OutputHash>,
    /// Characters of the output, as UTF-8 has them; `None` where there was none, or the engine handed over token ids.
    pub output_chars: Option<u32>,
    /// Allow-listed numbers of the vendor, as JSON.
    pub vendor: Option<String>,
}

impl RequestRecord {
    /// Whether it counts as answered.
    pub fn is_ok(&self) -> bool {
        self.status == Status::Ok
    }

    /// Whether the trace's user went away from it: neither answered nor failed.
    pub fn is_left(&self) -> bool {
        self.error == Some(ErrorCode::ByTrace)
    }

    /// TTFT = first_token − due. In a closed loop due is the previous end plus the think time.
    pub fn ttft(&self) -> Option<Nanos> {
        self.at.first_token.map(|t| t - self.at.due)
    }

    /// TTFT of the service alone = first_token − sent.
    pub fn ttft_service(&self) -> Option<Nanos> {
        Some(self.at.first_token? - self.at.sent?)
    }

    /// Time to the first visible output = first_visible − due.
    pub fn ttfo(&self) -> Option<Nanos> {
        self.at.first_visible.map(|t| t - self.at.due)
    }

    /// Time to the first byte = first_byte − due.
    pub fn ttfb(&self) -> Option<Nanos> {
        self.at.first_byte.map(|t| t - self.at.due)
    }

    /// TPOT = (last_token − first_token) / (N − n_first), n_first = tokens in the first chunk. Undefined when N − n_first < 1.
    pub fn tpot(&self) -> Option<Nanos> {
        let after_first = i64::from(self.tokens.output?) - i64::from(*self.chunk_tokens.first()?);
        (after_first >= 1).then_some(())?;
        Some((self.at.last_token? - self.at.first_token?) / after_first)
    }

    /// E2E = last_token − due. Usage and terminators never extend it.
    pub fn e2e(&self) -> Option<Nanos> {
        self.at.last_token.map(|t| t - self.at.due)
    }

    /// E2E of the service alone = last_token − sent.
    pub fn e2e_service(&self) -> Option<Nanos> {
        Some(self.at.last_token? - self.at.sent?)
    }

    /// Tokens × ns that its KV cache is known to have held: the prompt from the first to the last token, each generated token from its
    /// chunk to the last. Nothing where the prompt was not counted. Whether prefill or a queue came before the first token cannot
    /// be told from outside, so that time is not in it.
    pub fn kv_token_time(&self) -> Option<i128> {
        let (input, first, last) = (self.tokens.input?, self.at.first_token?, self.at.last_token?);
        let span = i128::from((last - first).0);
        let mut arrived = 0;
        let generated = self.chunk_gaps.iter().zip(&self.chunk_tokens).map(|(gap, tokens)| {
            arrived += i128::from(*gap);
            i128::from(*tokens) * (span - arrived).max(0)
        });
        Some(i128::from(input) * span + generated.sum::<i128>())
    }

    /// Dispatch lag = start − due: our own error.
    pub fn dispatch_lag(&self) -> Option<Nanos> {
        self.at.start.map(|t| t - self.at.due)
    }

    /// Connect = conn_ready − start. Under a cap on concurrency the wait for a free place is in it.
    pub fn connect(&self) -> Option<Nanos> {
        Some(self.at.conn_ready? - self.at.start?)
    }

    /// Upload = sent − conn_ready.
    pub fn upload(&self) -> Option<Nanos> {
        Some(self.at.sent? - self.at.conn_ready?)
    }
}
