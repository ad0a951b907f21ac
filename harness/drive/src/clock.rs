//! The run's clock: `CLOCK_MONOTONIC`, read in this file only, and how far the wall clock beside it is away.
//!
//! The kernel stamps packets on `CLOCK_REALTIME`. Both clocks tick alike, also while time synchronisation slews them; the wall clock
//! alone can be set. So one offset turns a stamp into a moment, and reading it again tells whether the wall clock was set meanwhile.

use nomoat_core::clock::Clock;
use nomoat_core::units::Nanos;
use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// `CLOCK_MONOTONIC` of this host.
#[derive(Clone, Copy, Debug, Default)]
pub struct MonotonicClock;

impl Clock for MonotonicClock {
    #[inline]
    fn now(&self) -> Nanos {
        nanos(clock_gettime(ClockId::Monotonic))
    }

    #[inline]
    fn of_wall(&self, unix: Nanos) -> Option<Nanos> {
        let known = WALL_AHEAD.load(Ordering::Relaxed);
        let ahead = if known == UNREAD { Self::reread_wall().0 } else { Nanos(known) };
        Some(unix - ahead)
    }
}

/// Wall clock less monotonic clock, a fact of the host and not of a run. [`UNREAD`] until somebody asks.
static WALL_AHEAD: AtomicI64 = AtomicI64::new(UNREAD);
const UNREAD: i64 = i64::MIN;
/// Pairs of readings of which the closest one counts.
const TRIES: usize = 8;

/// V08: a change of the wall clock against the monotonic one that counts as an event. Below it is the error of reading two clocks.
pub const CLOCK_STEP: Nanos = Nanos::from_micros(20);

impl MonotonicClock {
    /// The clock's own resolution.
    pub fn resolution() -> Nanos {
        nanos(clock_getres(ClockId::Monotonic))
    }

    /// Reads anew how far the wall clock is ahead, and gives it with its change since the last time (zero the first time). A change
    /// of 20 µs or less is noise of reading and is not taken over.
    pub fn reread_wall() -> (Nanos, Nanos) {
        let ahead = wall_ahead();
        // Of several threads that read it for the first time at once one is first, and the others have its offset.
        let Err(known) = WALL_AHEAD.compare_exchange(UNREAD, ahead.0, Ordering::Relaxed, Ordering::Relaxed) else {
            return (ahead, Nanos::ZERO);
        };
        let change = ahead - Nanos(known);
        if change.0.abs() > CLOCK_STEP.0 {
            WALL_AHEAD.store(ahead.0, Ordering::Relaxed);
            return (ahead, change);
        }
        (Nanos(known), change)
    }
}

/// The wall clock read between two readings of the other: of several such, the one whose two are closest.
fn wall_ahead() -> Nanos {
    let read = |_| {
        let before = MonotonicClock.now();
        let wall = nanos(clock_gettime(ClockId::Realtime));
        let after = MonotonicClock.now();
        (after - before, wall - (before + (after - before) / 2))
    };
    // TRIES is not zero.
    (0..TRIES).map(read).min().map_or(Nanos::ZERO, |(_, ahead)| ahead)
}

/// CPU time of this process so far.
pub(crate) fn process_cpu() -> Nanos {
    nanos(clock_gettime(ClockId::ProcessCPUTime))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_stamp_of_now_is_now() {
        let before = MonotonicClock.now();
        let wall = nanos(clock_gettime(ClockId::Realtime));
        let after = MonotonicClock.now();
        let at = MonotonicClock.of_wall(wall).expect("this clock knows the wall");
        let slack = CLOCK_STEP + CLOCK_STEP;
        assert!(before - slack <= at && at <= after + slack, "{before:?} {at:?} {after:?}");
    }

    #[test]
    fn noise_is_not_taken_over() {
        let (first, _) = MonotonicClock::reread_wall();
        let (second, change) = MonotonicClock::reread_wall();
        assert!(change.0.abs() > CLOCK_STEP.0 || first == second, "{first:?} {second:?} {change:?}");
    }
}
