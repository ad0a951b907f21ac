//! The event sink: the one place that stamps. A backend tells it what happened; it builds the request's record.
//!
//! The sink outlives the future that generates: when a request times out or is cancelled the future is dropped, and what was
//! stamped until then is kept.

mod pieces;
mod sink;

pub use sink::{EventSink, unsent};

use crate::record::{ErrorCode, FinishReason, Status};
use crate::units::Nanos;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

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
