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
    /// Measured requests yet to come, where only the run can count them: a closed loop after a timed warm-up.
    left: Option<AtomicI64>,
}

impl WindowState {
    pub fn new(start: Nanos, warmup: Warmup, limit: Limit, closed_loop: bool) -> Self {
        let counts = closed_loop && matches!(warmup, Warmup::Time(t) if t > Nanos::ZERO);
        let left = limit.requests.filter(|_| counts).map(|n| AtomicI64::new(n.into()));
        Self { start, warmup, limit, opened: AtomicI64::new(i64::MAX), left }
    }

    /// Whether the window has closed by `now`: what comes after is its drain.
    pub fn is_over(&self, now: Nanos) -> bool {
        self.ends().is_some_and(|end| now >= end)
    }

    /// When the window closes; only a duration closes it by itself. Later than every moment while nothing has opened it.
    pub fn ends(&self) -> Option<Nanos> {
        let opens = match self.warmup {
            Warmup::Time(t) => self.start + t,
            Warmup::Requests(_) => Nanos(self.opened.load(Ordering::Relaxed)),
        };
        self.limit.duration.map(|d| opens + d)
    }

    /// The phase of a request that is due at `due`; `None` when the window has closed before it. To be asked once per request: it may
    /// count.
    pub fn phase(&self, id: RequestId, due: Nanos) -> Option<Phase> {
        let opens = match self.warmup {
            Warmup::Time(t) => self.start + t,
            Warmup::Requests(n) if id.0 < n => return Some(Phase::Warmup),
            Warmup::Requests(_) => Nanos(self.opened.fetch_min(due.0, Ordering::Relaxed).min(due.0)),
        };
        if due < opens {
            return Some(Phase::Warmup);
        }
        let late = self.limit.duration.is_some_and(|d| due >= opens + d);
        let full = !late && self.left.as_ref().is_some_and(|left| left.fetch_sub(1, Ordering::Relaxed) <= 0);
        (!late && !full).then_some(Phase::Measure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases() {
        let s = Nanos::from_secs;
        let limit = Limit { duration: Some(s(10)), requests: None };
        let timed = WindowState::new(s(100), Warmup::Time(s(2)), limit, false);
        for (due, phase) in [(100, Some(Phase::Warmup)), (102, Some(Phase::Measure)), (111, Some(Phase::Measure)), (112, None)] {
            assert_eq!(timed.phase(RequestId(0), s(due)), phase, "due {due}");
        }
        let counted = WindowState::new(s(100), Warmup::Requests(2), limit, true);
        for (id, due, phase) in [
            (0, 100, Some(Phase::Warmup)),
            (1, 109, Some(Phase::Warmup)),
            (2, 110, Some(Phase::Measure)),
            (3, 119, Some(Phase::Measure)),
            (4, 120, None),
        ] {
            assert_eq!(counted.phase(RequestId(id), s(due)), phase, "request {id}");
        }
    }

    #[test]
    fn a_closed_loop_is_counted_after_a_timed_warm_up() {
        let limit = Limit { duration: None, requests: Some(2) };
        let window = WindowState::new(Nanos::ZERO, Warmup::Time(Nanos::from_secs(1)), limit, true);
        let phases: Vec<_> = [0, 1, 2, 3].map(|i| window.phase(RequestId(i as u32), Nanos::from_secs(i))).into();
        assert_eq!(phases, [Some(Phase::Warmup), Some(Phase::Measure), Some(Phase::Measure), None]);
    }
}
