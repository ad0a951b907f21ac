//! Power and energy that somebody else recorded: a meter's table, a batch system's page.
//!
//! Pages have wall times; [`WallClock`] puts them on the run's clock by the anchors of the manifest. What has no wall time that can be read
//! without a guess is refused.

mod csv;
mod slurm;
mod time;

pub use csv::{PowerTable, table};
pub use slurm::{JobEnergy, job};

use crate::manifest::WallAnchor;
use nomoat_core::units::Nanos;

/// Most bytes of a page that are read.
pub const MOST_BYTES: u64 = 64 << 20;
/// The most that the wall clock may be set during a run for recorded wall times to be placed in it.
const MOST_STEP: Nanos = Nanos::from_millis(100);

/// The wall clock of a run, by two moments on both clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WallClock {
    first: WallAnchor,
    /// What the wall clock gained on the run's clock up to the last anchor.
    gained: i64,
    /// The time between the anchors, at least one nanosecond.
    lasted: i64,
}

impl WallClock {
    /// The clock between the first and the last of some anchors.
    ///
    /// # Errors
    /// There is none, or the wall clock was set in between.
    pub fn new(anchors: &[WallAnchor]) -> Result<Self, String> {
        let (Some(first), Some(last)) = (anchors.first(), anchors.last()) else {
            return Err("the run has no moment on both clocks".into());
        };
        let lasted = last.mono_ns.saturating_sub(first.mono_ns);
        let gained = last.unix_ns.saturating_sub(first.unix_ns).saturating_sub(lasted);
        if gained.abs() > MOST_STEP.0 {
            return Err(format!(
                "the wall clock was set by {} during the run, so recorded times cannot be placed in it; let time synchronisation settle",
                Nanos(gained)
            ));
        }
        Ok(Self { first: *first, gained, lasted: lasted.max(1) })
    }

    /// A wall time on the run's clock.
    pub fn place(&self, unix_ns: i64) -> Nanos {
        let since = unix_ns.saturating_sub(self.first.unix_ns);
        // Slewing is spread evenly; before and after the anchors the nearer one holds.
        let share = (since as f64 / self.lasted as f64).clamp(0.0, 1.0);
        let gained = (self.gained as f64 * share).round() as i64;
        Nanos(self.first.mono_ns.saturating_add(since.saturating_sub(gained)))
    }
}

#[cfg(test)]
mod tests;
