//! What other harnesses would have printed of the same records, and why it differs from what we print.
//!
//! A tool is data: its metrics, each with a walk from our definition to its own that changes one thing at a time. The mean after
//! each step less the mean before it is what that one change is worth, so the causes of a difference sum to it. What a tool
//! counts that our records do not hold (a tokenizer's counts, its own lateness) is named and left out, never guessed.
//!
//! Definitions are read from the sources named with each tool. Nothing here says how wrong a tool's clock is: these are its
//! definitions with our stamps.

mod aiperf;
mod guidellm;
mod inference_perf;
mod reconcile;
mod sglang;
mod steps;
#[cfg(test)]
mod tests;
mod values;
mod vllm;

use crate::record::RequestRecord;
use crate::units::Nanos;

pub use reconcile::{Cause, Compared, Rated, Reconciler, Reconciliation};

/// Another harness.
#[derive(Debug)]
pub struct Tool {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it calls itself.
    pub title: &'static str,
    /// Where its definitions were read.
    pub source: &'static str,
    /// Its latencies, in the order it prints them.
    pub metrics: &'static [Metric],
    /// Its throughputs.
    pub rates: &'static [Rate],
    /// The statistics it prints, first the mean.
    pub stats: &'static [Stat],
    /// How it takes percentiles.
    pub percentiles: Percentiles,
    /// What it divides by for a throughput.
    pub span: Span,
    /// What it does that these records cannot show.
    pub cannot: &'static [&'static str],
}

/// Every tool.
pub const TOOLS: &[Tool] = &[vllm::TOOL, sglang::TOOL, aiperf::TOOL, guidellm::TOOL, inference_perf::TOOL];

impl Tool {
    /// The tool of a name.
    pub fn find(name: &str) -> Option<&'static Self> {
        TOOLS.iter().find(|t| t.name == name)
    }
}

/// Takes a value and its weight.
pub type Push<'a> = &'a mut dyn FnMut(f64, f64);
/// The values in ns that an answered request has under a definition: none, one, or one per gap.
pub type Pick = fn(&RequestRecord, Push<'_>);

/// One of a tool's latencies.
#[derive(Debug)]
pub struct Metric {
    /// What the tool calls it.
    pub name: &'static str,
    /// The metric of ours it is compared with; `None` where we have none like it.
    pub ours: Option<&'static str>,
    /// The tool's definition, in our moments.
    pub about: &'static str,
    /// Our definition, where the walk begins; the tool's own where there is none of ours.
    pub from: Pick,
    /// What changes on the way to the tool's definition. The last step is the tool's definition.
    pub walk: &'static [Step],
}

/// One change of a definition.
#[derive(Debug)]
pub struct Step {
    /// What changes.
    pub cause: &'static str,
    /// The definition after it.
    pub pick: Pick,
}

/// A number of a distribution, as a tool calls it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Stat {
    /// What the tool calls it.
    pub name: &'static str,
    /// Which number.
    pub of: StatOf,
}

/// Which number of a distribution.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum StatOf {
    /// The arithmetic mean, by weight.
    Mean,
    /// The smallest value.
    Min,
    /// The largest value.
    Max,
    /// A percentile, from 0 to 100.
    Percentile(f64),
}

const MEAN: Stat = Stat { name: "mean", of: StatOf::Mean };
const AVG: Stat = Stat { name: "avg", of: StatOf::Mean };
const MIN: Stat = Stat { name: "min", of: StatOf::Min };
const MAX: Stat = Stat { name: "max", of: StatOf::Max };
const MEDIAN: Stat = Stat { name: "median", of: StatOf::Percentile(50.0) };
const P50: Stat = Stat { name: "p50", of: StatOf::Percentile(50.0) };
const P90: Stat = Stat { name: "p90", of: StatOf::Percentile(90.0) };
const P95: Stat = Stat { name: "p95", of: StatOf::Percentile(95.0) };
const P99: Stat = Stat { name: "p99", of: StatOf::Percentile(99.0) };

/// How a tool takes percentiles.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Percentiles {
    /// Between the two neighbours of q(n − 1): numpy's default.
    Linear,
    /// The first value at which the weights so far reach the share q.
    Weighted,
}

impl Percentiles {
    /// How, in words.
    pub fn about(self) -> &'static str {
        match self {
            Self::Linear => "interpolated between the two neighbours of q(n − 1), as numpy does; ours are nearest-rank",
            Self::Weighted => "the first value at which the weights reach q; ours are nearest-rank",
        }
    }
}

/// What a throughput is divided by: the time from the first beginning to the last end of the measured requests.
#[derive(Debug)]
pub struct Span {
    /// In words.
    pub about: &'static str,
    /// When a request begins; `None` begins with the measured window.
    pub from: Option<fn(&RequestRecord) -> Option<Nanos>>,
    /// When it ends.
    pub to: fn(&RequestRecord) -> Option<Nanos>,
    /// Whether failed requests stretch it.
    pub failed: bool,
}

/// One of a tool's throughputs: a sum over answered requests by the span.
#[derive(Debug)]
pub struct Rate {
    /// What the tool calls it.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// The metric of ours it is compared with; `None` where we have none like it.
    pub ours: Option<&'static str>,
    /// What each answered request adds; `None` where it is not known.
    pub adds: fn(&RequestRecord) -> Option<f64>,
}
