//! Where moments come from. The only clock in this crate is one that tests move by hand.

use crate::units::Nanos;
use std::sync::atomic::{AtomicI64, Ordering};

/// A source of moments. One clock per run; everything that stamps is handed it.
pub trait Clock: Send + Sync {
    /// Now, in nanoseconds of `CLOCK_MONOTONIC` (or of the test's own time).
    fn now(&self) -> Nanos;

    /// The moment on this clock at which this host's wall clock (`CLOCK_REALTIME`) showed `unix`, nanoseconds since 1970: what the
    /// kernel stamps packets with. `None` from a clock that has no wall clock beside it.
    fn of_wall(&self, unix: Nanos) -> Option<Nanos> {
        let _ = unix;
        None
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `at`.
    pub fn new(at: Nanos) -> Self {
        Self(AtomicI64::new(at.0))
    }

    /// Moves the clock forward by `by`.
    pub fn advance(&self, by: Nanos) {
        self.0.fetch_add(by.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Nanos {
        Nanos(self.0.load(Ordering::SeqCst))
    }
}
