//! The rule of a schedule: where requests come from, what decides the arrivals, how long the window is.

use crate::arrival::ArrivalProcess;
use crate::request::OutputLength;
use crate::trace::Trace;
use crate::units::Nanos;
use std::sync::Arc;

/// Where requests come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A recorded workload.
    Trace(Arc<Trace>),
    /// Unique prompts of one shape, without end.
    Fixed {
        /// Prompt tokens.
        input_tokens: u32,
        /// Answer tokens.
        output_tokens: u32,
    },
}

/// What decides the arrivals.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Load {
    /// Recorded arrivals, divided by the schedule's speed.
    Replay,
    /// Recorded arrivals scaled so that their mean over the part that is replayed is this rate. Order, lengths and prefixes stay.
    Rescaled {
        /// Requests (roots) per second.
        rate_per_s: f64,
    },
    /// A law of arrivals instead of the recorded ones.
    Arrivals {
        /// The law.
        process: ArrivalProcess,
        /// Requests (roots) per second.
        rate_per_s: f64,
    },
    /// A fixed number of lanes; each takes its next unit when the last one ended and the user has thought.
    Closed {
        /// Lanes.
        concurrency: u32,
        /// From an end to the next due.
        think: Nanos,
    },
}

impl Load {
    /// Whether latency counts from the end of an earlier answer (true) or from a clock (false).
    pub fn is_closed(self) -> bool {
        matches!(self, Self::Closed { .. })
    }
}

/// What comes before the measured window; not part of its duration or its count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Warmup {
    /// A time from the start of the run.
    Time(Nanos),
    /// The first requests of the schedule.
    Requests(u32),
}

/// How long the measured window is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limit {
    /// At most this long.
    pub duration: Option<Nanos>,
    /// At most this many measured requests.
    pub requests: Option<u32>,
}

/// The rule of a schedule: everything that decides it.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Where requests come from.
    pub source: Source,
    /// What decides the arrivals.
    pub load: Load,
    /// Divides recorded arrivals (under [`Load::Replay`]) and the gaps inside conversations.
    pub speed: f64,
    /// What comes before the window.
    pub warmup: Warmup,
    /// How long the window is.
    pub limit: Limit,
    /// Start the trace again when it ends, each pass in a namespace of its own.
    pub repeat: bool,
    /// Overrides the trace's word on how answer lengths are decided.
    pub length: Option<OutputLength>,
    /// The run's seed.
    pub seed: u64,
}
