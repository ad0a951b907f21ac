//! Ways to replay a trace: each makes another trace of it, before anything is scheduled, so that the schedule's digest says what was done.
//!
//! They are applied in this order: slice, mid-session entry, thin, superpose, scale of arrivals, gaps, history. Everything is decided by the
//! trace, the policy and the seed.

mod gaps;
mod history;
mod kept;
mod overlay;
mod scale;
mod slice;
mod superpose;
mod thin;

#[cfg(test)]
mod tests;

pub use gaps::GapPolicy;
pub(crate) use kept::order;
pub use overlay::{ClassShare, Overlay};
pub use slice::Slice;
pub(crate) use slice::groups;

use nomoat_core::trace::Trace;
use std::borrow::Cow;

/// What to do to a trace before it is scheduled.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Policy {
    /// Which part.
    pub slice: Slice,
    /// Enter each session somewhere between these shares of its turns, drawn uniformly; what is before is left out, and its tokens are part
    /// of the first prompt's history.
    pub enter: Option<(f64, f64)>,
    /// Share of sessions (and of requests without one) that stays.
    pub thin: f64,
    /// How many copies run at once, each shifted in time and with blocks of its own.
    pub superpose: u32,
    /// Multiplies the times between arrivals.
    pub arrival_scale: f64,
    /// What becomes of gaps inside sessions.
    pub gaps: GapPolicy,
    /// Prompts continue the answers of this run instead of the recorded ones.
    pub live: bool,
    /// Of the draws.
    pub seed: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            slice: Slice::default(),
            enter: None,
            thin: 1.0,
            superpose: 1,
            arrival_scale: 1.0,
            gaps: GapPolicy::default(),
            live: false,
            seed: 0,
        }
    }
}

impl Policy {
    /// The trace as it is to be replayed. What was done stands in its losses.
    ///
    /// # Errors
    /// What of the policy is impossible, or leaves nothing of this trace.
    pub fn apply<'a>(&self, trace: &'a Trace) -> Result<Cow<'a, Trace>, String> {
        if (Self { seed: self.seed, ..Self::default() }) == *self {
            return Ok(Cow::Borrowed(trace));
        }
        let mut trace = trace.clone();
        if self.slice != Slice::default() {
            self.slice.apply(&mut trace)?;
        }
        if let Some(between) = self.enter {
            slice::enter(&mut trace, between, self.seed)?;
        }
        if self.thin != 1.0 {
            thin::thin(&mut trace, self.thin, self.seed)?;
        }
        if self.superpose != 1 {
            superpose::superpose(&mut trace, self.superpose, self.seed)?;
        }
        if self.arrival_scale != 1.0 {
            scale::arrivals(&mut trace, self.arrival_scale)?;
        }
        self.gaps.apply(&mut trace)?;
        if self.live {
            history::live(&mut trace)?;
        }
        if trace.requests.is_empty() {
            return Err(format!("nothing of trace `{}` is left to replay; widen the slice or thin it less", trace.name));
        }
        Ok(Cow::Owned(trace))
    }
}
