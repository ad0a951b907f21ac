//! What the functions of metrics are given and what they give back.

use super::energy::Told;
use super::gauges::Gauges;
use super::host::HostUse;
use super::server::Server;
use super::window::{Arrived, Ended};
use crate::cost::Bill;
use crate::report::{Counts, Interval, MetricRow, Population, RunFacts, Scope, Stat, Window};
use crate::units::Nanos;

/// Everything the numbers of a whole run are made of. Sums are integers, so that the order of records does not matter.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    pub facts: &'a RunFacts,
    pub window: Window,
    pub ended: Ended,
    pub counts: Counts,
    /// The measured phase in small.
    pub tally: Tally,
    /// What arrived in the window, of every phase.
    pub arrived: Arrived,
    /// What measured requests are billed for.
    pub bill: Bill,
    /// The end of the last record of any phase.
    pub last_end: Option<Nanos>,
    pub gauges: Gauges,
    pub server: Server,
    pub host: HostUse,
    /// The energy of every scope that was read, the headline first; at least one.
    pub energy: Vec<Told>,
}

/// Sums over the measured requests of a run or of one class.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    pub measured: u64,
    pub ok: u64,
    /// Requests that met the service level.
    pub good: u64,
    /// Token-bearing chunks of answered requests.
    pub chunks: u64,
    /// Of them, those that shared a read.
    pub coalesced: u64,
    /// Answered requests whose first token shared a read.
    pub first_coalesced: u64,
    /// Answered requests of which it is known how many tokens they held, and when.
    pub kv_requests: u64,
    /// Tokens held × ns, over these.
    pub kv_token_ns: i128,
    /// Characters of answered requests whose tokens were counted.
    pub chars: u64,
    /// The tokens of those.
    pub chars_tokens: u64,
}

impl Tally {
    /// The tally of all classes.
    pub fn sum(classes: &[Self]) -> Self {
        classes.iter().fold(Self::default(), |a, b| Self {
            measured: a.measured + b.measured,
            ok: a.ok + b.ok,
            good: a.good + b.good,
            chunks: a.chunks + b.chunks,
            coalesced: a.coalesced + b.coalesced,
            first_coalesced: a.first_coalesced + b.first_coalesced,
            kv_requests: a.kv_requests + b.kv_requests,
            kv_token_ns: a.kv_token_ns + b.kv_token_ns,
            chars: a.chars + b.chars,
            chars_tokens: a.chars_tokens + b.chars_tokens,
        })
    }
}

/// One number or the reason why there is none.
#[derive(Clone, PartialEq, Debug)]
pub struct Cell {
    pub value: Option<f64>,
    pub n: u64,
    pub n_eff: Option<f64>,
    pub ci: Option<Interval>,
    pub method: &'static str,
    pub reason: Option<String>,
}

impl Cell {
    /// A number from `n` observations. Infinities and NaN are no numbers: they become a reason.
    pub fn of(value: f64, n: u64, method: &'static str) -> Self {
        if value.is_finite() {
            Self { value: Some(value), n, n_eff: None, ci: None, method, reason: None }
        } else {
            Self::none(method, n, "not a finite number; look at what it is divided by")
        }
    }

    /// No number, and why.
    pub fn none(method: &'static str, n: u64, reason: impl Into<String>) -> Self {
        Self { value: None, n, n_eff: None, ci: None, method, reason: Some(reason.into()) }
    }

    /// Adds what a reader should know about the number.
    pub fn note(mut self, note: Option<String>) -> Self {
        self.reason = match (self.reason, note) {
            (Some(reason), Some(note)) => Some(format!("{reason}; {note}")),
            (reason, note) => reason.or(note),
        };
        self
    }

    /// The row of this cell.
    pub fn row(self, name: &'static str, unit: &'static str, stat: Stat, population: Population, scope: &Scope) -> MetricRow {
        let Self { value, n, n_eff, ci, method, reason } = self;
        MetricRow { name, unit, stat, population, scope: scope.clone(), value, n, n_eff, ci, method, reason }
    }
}
