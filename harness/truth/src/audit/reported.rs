//! What a harness says of its load, whatever its file looks like.

use super::law::{Law, Rank};
use nomoat_core::units::Nanos;
use std::path::PathBuf;

/// What is measured of a request, in the order of tables.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Quantity {
    /// Time to the first token.
    Ttft,
    /// Between tokens, or what a harness calls so.
    Itl,
    /// Time per output token, or what a harness calls so.
    Tpot,
    /// To the last token.
    E2e,
}

impl Quantity {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ttft, Self::Itl, Self::Tpot, Self::E2e];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ttft => "TTFT",
            Self::Itl => "ITL",
            Self::Tpot => "TPOT",
            Self::E2e => "E2E",
        }
    }
}

/// One quantity as a harness states it. Values are nanoseconds; `None` where the harness gives none.
#[derive(Clone, PartialEq, Debug)]
pub struct Stated {
    /// What it is.
    pub quantity: Quantity,
    /// What the harness calls it.
    pub name: &'static str,
    /// The same of a row of the log, by the harness's own definition as far as the log knows its moments.
    pub law: Law,
    /// How the harness takes percentiles.
    pub rank: Rank,
    /// Arithmetic mean.
    pub mean: Option<f64>,
    /// Median.
    pub p50: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// The harness's definition in words.
    pub definition: &'static str,
}

/// The clock on which a harness says when requests started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum StartClock {
    /// It does not say when.
    #[default]
    None,
    /// Nanoseconds since 1970.
    Wall,
    /// `CLOCK_MONOTONIC` of the host, as the log.
    Monotonic,
}

/// One answered request as a harness states it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Each {
    /// What names it: the `x-request-id` it was sent with, or the number at the end of that.
    pub id: Option<String>,
    /// When the harness began it, on the clock of [`Reported::clock`].
    pub start: Option<Nanos>,
    /// Time to first token.
    pub ttft: Option<Nanos>,
    /// What it calls ITL, where that is one value per request.
    pub itl: Option<Nanos>,
    /// What it calls TPOT.
    pub tpot: Option<Nanos>,
    /// To the end.
    pub e2e: Option<Nanos>,
    /// Gaps between its tokens, where ITL is made of them; empty where the harness keeps none.
    pub gaps: Vec<Nanos>,
    /// Tokens of the answer.
    pub tokens: Option<u64>,
}

/// All that a result says.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Reported {
    /// The harness.
    pub tool: String,
    /// Its version, where the file has it.
    pub version: Option<String>,
    /// The files that were read.
    pub files: Vec<PathBuf>,
    /// Requests it counts as answered.
    pub completed: Option<u64>,
    /// Requests it counts as failed, cancelled or left over.
    pub failed: Option<u64>,
    /// Its statistics.
    pub stated: Vec<Stated>,
    /// Answered requests one by one, in the order of the file; empty where it has none.
    pub requests: Vec<Each>,
    /// What [`Each::start`] counts on.
    pub clock: StartClock,
    /// What else there is to know.
    pub notes: Vec<String>,
}

impl Reported {
    /// What it states of a quantity.
    pub fn stated(&self, quantity: Quantity) -> Option<&Stated> {
        self.stated.iter().find(|stated| stated.quantity == quantity)
    }
}
