//! The run's clock: `CLOCK_MONOTONIC`, read in this file only.

use nomoat_core::clock::Clock;
use nomoat_core::units::Nanos;
use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};
use std::time::{SystemTime, UNIX_EPOCH};

/// `CLOCK_MONOTONIC` of this host.
#[derive(Clone, Copy, Debug, Default)]
pub struct MonotonicClock;

impl Clock for MonotonicClock {
    #[inline]
    fn now(&self) -> Nanos {
        nanos(clock_gettime(ClockId::Monotonic))
    }
}

impl MonotonicClock {
    /// The clock's own resolution.
    pub fn resolution() -> Nanos {
        nanos(clock_getres(ClockId::Monotonic))
    }
}

/// The same instant on the run's clock and on the wall, for joining with telemetry of other hosts. Intervals are never taken from
/// wall times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WallAnchor {
    /// On the run's clock.
    pub monotonic: Nanos,
    /// Nanoseconds since 1970 UTC.
    pub unix_ns: i128,
}

impl WallAnchor {
    /// Reads both clocks, the monotonic one on both sides of the other, and takes its middle.
    pub fn now() -> Self {
        let before = MonotonicClock.now();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i128);
        let after = MonotonicClock.now();
        Self { monotonic: before + (after - before) / 2, unix_ns: unix }
    }
}

fn nanos(t: Timespec) -> Nanos {
    Nanos(t.tv_sec * 1_000_000_000 + t.tv_nsec)
}
