//! Turns a schedule and a backend into request records: one OS thread per shard with its own runtime, pacer and channels; a
//! preparer ahead of due; a collector behind bounded channels; a sampler beside.
//!
//! Not here: which engine it talks to, what a metric is, where files live.

mod clock;
mod collect;
pub mod conform;
mod endpoints;
mod flight;
mod host;
mod pacer;
pub mod power;
mod priority;
mod run;
mod sampler;
mod shard;
mod stop;
mod supply;
mod waiting;
mod window;

pub use clock::{MonotonicClock, WallAnchor};
pub use collect::{Progress, RecordSink};
pub use flight::Timeouts;
pub use host::{HostFacts, Make, peak_resident};
pub use run::{DriveError, Outcome, Plan, run};
pub use stop::{Stop, StopHandle};

#[cfg(test)]
mod simulated;
