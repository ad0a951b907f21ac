//! What a trace is like: size, arrivals, lengths, sessions, and how much of its prompts a prefix cache would find.

mod arrivals;
mod sharing;

pub use arrivals::ArrivalStats;
pub use sharing::{Sharing, SharingOptions};

use crate::error::TraceError;
use crate::sink::{Sink, replay};
use arrivals::Arrivals;
use nomoat_core::prompt::Prompt;
use nomoat_core::request::SessionId;
use nomoat_core::trace::{Trace, TraceRequest};
use sharing::Shares;
use std::collections::HashMap;

/// Lengths in tokens. Percentiles are nearest-rank: each is a length that occurs.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct LengthStats {
    /// Arithmetic mean.
    pub mean: f64,
    /// Half are at most this long.
    pub p50: u32,
    /// 95 of 100 are at most this long.
    pub p95: u32,
    /// 99 of 100 are at most this long.
    pub p99: u32,
    /// The longest.
    pub max: u32,
}

/// Conversations.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SessionStats {
    /// How many.
    pub count: usize,
    /// Requests of one.
    pub turns: LengthStats,
}

/// How many requests have a prompt of each kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Contents {
    /// By identity: which tokens stand there is made up.
    pub synthetic: u64,
    /// Recorded token ids.
    pub ids: u64,
    /// Recorded text or conversations.
    pub text: u64,
}

/// What a trace is like.
#[derive(Clone, PartialEq, Debug)]
pub struct TraceStats {
    /// Requests.
    pub rows: usize,
    /// Of them, those that wait for others.
    pub waiting: usize,
    /// Of them, those whose user goes away.
    pub cancelled: usize,
    /// Conversations, where there are any.
    pub sessions: Option<SessionStats>,
    /// Arrivals of those that arrive by themselves.
    pub arrivals: ArrivalStats,
    /// Prompts.
    pub input: LengthStats,
    /// Answers.
    pub output: LengthStats,
    /// Tokens of all prompts.
    pub input_tokens: u64,
    /// Tokens of all answers.
    pub output_tokens: u64,
    /// Prompts by what they are made of.
    pub contents: Contents,
    /// What a prefix cache finds; `None` when no two prompts can share.
    pub sharing: Option<Sharing>,
}

/// Computes the statistics of a trace.
pub fn stats(trace: &Trace, options: &SharingOptions) -> TraceStats {
    let mut gathered = StatsSink::new(options.clone());
    // A sink that only counts takes everything.
    let taken: Result<(), TraceError> = replay(trace, &mut gathered);
    debug_assert!(taken.is_ok());
    gathered.finish()
}

/// Computes statistics of requests as they come.
pub struct StatsSink {
    waiting: usize,
    cancelled: usize,
    sessions: HashMap<SessionId, u32>,
    arrivals: Arrivals,
    input: Vec<u32>,
    output: Vec<u32>,
    contents: Contents,
    shares: Shares,
}

impl StatsSink {
    /// Of nothing yet.
    pub fn new(options: SharingOptions) -> Self {
        Self {
            waiting: 0,
            cancelled: 0,
            sessions: HashMap::new(),
            arrivals: Arrivals::default(),
            input: vec![],
            output: vec![],
            contents: Contents::default(),
            shares: Shares::new(options),
        }
    }

    /// The statistics of what came.
    pub fn finish(self) -> TraceStats {
        let sum = |lengths: &[u32]| lengths.iter().map(|n| u64::from(*n)).sum();
        TraceStats {
            rows: self.input.len(),
            waiting: self.waiting,
            cancelled: self.cancelled,
            sessions: (!self.sessions.is_empty())
                .then(|| SessionStats { count: self.sessions.len(), turns: lengths(self.sessions.into_values().collect()) }),
            arrivals: self.arrivals.finish(),
            input_tokens: sum(&self.input),
            output_tokens: sum(&self.output),
            input: lengths(self.input),
            output: lengths(self.output),
            contents: self.contents,
            sharing: self.shares.finish(),
        }
    }
}

impl Sink for StatsSink {
    fn request(&mut self, request: TraceRequest) -> Result<(), TraceError> {
        self.waiting += usize::from(!request.after.is_empty());
        self.cancelled += usize::from(request.cancel.is_some());
        if let Some(session) = request.session {
            *self.sessions.entry(session).or_default() += 1;
        }
        if request.after.is_empty() {
            self.arrivals.add(request.at);
        }
        self.input.push(request.input_tokens);
        self.output.push(request.output_tokens);
        match contents(&request.prompt) {
            Prompt::Ids(_) => self.contents.ids += 1,
            Prompt::Text(_) | Prompt::Messages(_) => self.contents.text += 1,
            _ => self.contents.synthetic += 1,
        }
        self.shares.add(&request);
        Ok(())
    }
}

/// What a prompt consists of in the end.
fn contents(prompt: &Prompt) -> &Prompt {
    match prompt {
        Prompt::Live { add, .. } => contents(add),
        other => other,
    }
}

fn lengths(mut values: Vec<u32>) -> LengthStats {
    values.sort_unstable();
    let Some(max) = values.last().copied() else { return LengthStats::default() };
    let n = values.len();
    let rank = |percent: usize| values[(n * percent).div_ceil(100).max(1) - 1];
    let mean = values.iter().map(|v| u64::from(*v)).sum::<u64>() as f64 / n as f64;
    LengthStats { mean, p50: rank(50), p95: rank(95), p99: rank(99), max }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let check = |values: Vec<u32>, expect: (u32, u32, u32, u32)| {
            let l = lengths(values);
            assert_eq!((l.p50, l.p95, l.p99, l.max), expect);
        };
        check((1..=100).collect(), (50, 95, 99, 100));
        check(vec![7], (7, 7, 7, 7));
        check(vec![3, 1, 2], (2, 3, 3, 3));
        check(vec![], (0, 0, 0, 0));
    }
}
