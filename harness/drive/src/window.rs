//! Which phase a due belongs to, and when no further request starts.

use nomoat_core::record::Phase;
use nomoat_core::request::RequestId;
use nomoat_core::schedule::{Limit, Warmup};
use nomoat_core::units::Nanos;
use std::sync::atomic::{AtomicI64, Ordering};

/// The window of a run, shared by its shards.
#[derive(Debug)]
pub(crate) struct WindowState {
    start: Nanos,
    warmup: Warmup,
    limit: Limit,
    /// First measured due, for a warm-up that is a count.
    opened: AtomicI64,
}

impl WindowState {
    pub fn new(start: Nanos, warmup: Warmup, limit: Limit) -> Self {
        Self { start, warmup, limit, opened: AtomicI64::new(i64::MAX) }
    }

    /// The phase of a request that is due at `due`; `None` when the window has closed before it.
    pub fn phase(&self, id: RequestId, due: Nanos) -> Option<Phase> {
        let opens = match self.warmup {
            Warmup::Time(t) => self.start + t,
            Warmup::Requests(n) if id.0 < n => return Some(Phase::Warmup),
            Warmup::Requests(_) => Nanos(self.opened.fetch_min(due.0, Ordering::Relaxed).min(due.0)),
        };
        if due < opens {
            return Some(Phase::Warmup);
        }
        let closed = self.limit.duration.is_some_and(|d| due >= opens + d);
        (!closed).then_some(Phase::Measure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases() {
        let s = Nanos::from_secs;
        let limit = Limit { duration: Some(s(10)), requests: None };
        let timed = WindowState::new(s(100), Warmup::Time(s(2)), limit);
        for (due, phase) in [(100, Some(Phase::Warmup)), (102, Some(Phase::Measure)), (111, Some(Phase::Measure)), (112, None)] {
            assert_eq!(timed.phase(RequestId(0), s(due)), phase, "due {due}");
        }
        let counted = WindowState::new(s(100), Warmup::Requests(2), limit);
        for (id, due, phase) in [(0, 100, Some(Phase::Warmup)), (1, 109, Some(Phase::Warmup)), (2, 110, Some(Phase::Measure)), (3, 119, Some(Phase::Measure)), (4, 120, None)] {
            assert_eq!(counted.phase(RequestId(id), s(due)), phase, "request {id}");
        }
    }
}
