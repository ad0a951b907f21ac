//! Gaps inside sessions: as recorded, scaled, or cut. A cut gap keeps in an engine's cache what a real user's pause would lose.

use nomoat_core::trace::Trace;
use nomoat_core::units::Nanos;

/// What becomes of gaps between requests that wait for each other.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GapPolicy {
    /// Multiplies them.
    pub scale: f64,
    /// The longest that stays; longer ones are cut to it.
    pub cap: Option<Nanos>,
}

impl Default for GapPolicy {
    fn default() -> Self {
        Self { scale: 1.0, cap: None }
    }
}

impl GapPolicy {
    pub(super) fn apply(&self, trace: &mut Trace) -> Result<(), String> {
        if *self == Self::default() {
            return Ok(());
        }
        if !(self.scale >= 0.0 && self.scale.is_finite()) || self.cap.is_some_and(|cap| cap < Nanos::ZERO) {
            return Err(format!("--gap-scale must be a number from 0, not {}, and --gap-cap a time", self.scale));
        }
        let (mut cut, mut all) = (0, 0);
        for edge in trace.requests.iter_mut().flat_map(|r| &mut r.after) {
            let gap = edge.gap.scale(self.scale);
            all += 1;
            cut += u64::from(self.cap.is_some_and(|cap| gap > cap));
            edge.gap = self.cap.map_or(gap, |cap| gap.min(cap));
        }
        if self.scale != 1.0 {
            trace.losses.push(format!("gaps inside sessions are multiplied by {}", self.scale));
        }
        if let Some(cap) = self.cap {
            trace
                .losses
                .push(format!("{cut} of {all} gaps inside sessions are cut to {cap}: a cache forgets less than it did when recorded"));
        }
        Ok(())
    }
}
