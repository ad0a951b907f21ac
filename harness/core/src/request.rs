//! One request as data: who it belongs to, what it asks, how long the answer shall be.

use crate::prompt::Prompt;
use crate::units::Nanos;

/// Position of a request in its schedule, unique within a run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct RequestId(pub u32);

/// A conversation. (Never a connection: that is a channel.)
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId(pub u32);

/// One load-generating thread.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ShardId(pub u16);

/// One of the C sequences of a closed loop.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LaneId(pub u32);

/// How the length of the answer is decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OutputLength {
    /// Exactly this many tokens are asked for (`ignore_eos`, `min_tokens` = `max_tokens`); a shorter answer is `short`.
    #[default]
    Exact,
    /// At most this many; the engine may stop earlier.
    Cap,
}

/// When the user goes away before the answer is complete: the client closes the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cancel {
    /// This long after the request was sent.
    After(Nanos),
    /// At its first token.
    FirstToken,
    /// When this many tokens of the answer have come.
    Tokens(u32),
}

/// What one request asks.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    /// Its position in the schedule.
    pub id: RequestId,
    /// Its conversation, where it has one.
    pub session: Option<SessionId>,
    /// Position inside the conversation, from 0.
    pub turn: u16,
    /// Index into the trace's list of classes; 0 where there is only one.
    pub class: u16,
    /// As the trace gives it; 0 where it does not.
    pub priority: i32,
    /// The recipe of the prompt.
    pub prompt: Prompt,
    /// Prompt length in tokens, as the trace asks.
    pub input_tokens: u32,
    /// Answer length in tokens, as the trace asks.
    pub output_tokens: u32,
    /// Whether that length is exact or a cap.
    pub length: OutputLength,
    /// Which adapter answers: 0 for none, else a position in the trace's list of adapters plus 1.
    pub adapter: u16,
    /// When the user goes away, if it does.
    pub cancel: Option<Cancel>,
}

impl Request {
    /// A request that stands alone.
    pub fn new(id: RequestId, prompt: Prompt, input_tokens: u32, output_tokens: u32) -> Self {
        Self {
            id,
            session: None,
            turn: 0,
            class: 0,
            priority: 0,
            prompt,
            input_tokens,
            output_tokens,
            length: OutputLength::Exact,
            adapter: 0,
            cancel: None,
        }
    }
}
