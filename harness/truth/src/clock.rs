//! The one place of this crate that reads clocks. (Beside it wall time appears only as `created` in answers.)

use nomoat_core::units::Nanos;
use rustix::time::{ClockId, clock_gettime};
use std::sync::atomic::{AtomicI64, Ordering};

/// Now on `CLOCK_MONOTONIC`: the clock that every process of this host shares, so that a client's stamps can be held against ours.
pub fn now() -> Nanos {
    let t = clock_gettime(ClockId::Monotonic);
    Nanos(t.tv_sec * 1_000_000_000 + t.tv_nsec)
}

/// How old the known offset of the wall clock may get.
const KEEP: Nanos = Nanos::from_secs(1);

/// How far the wall clock is ahead, read again once a second: what turns the kernel's receive stamps into moments.
pub fn wall_ahead() -> Nanos {
    static KNOWN: AtomicI64 = AtomicI64::new(0);
    static READ_AT: AtomicI64 = AtomicI64::new(i64::MIN);
    let at = now();
    if READ_AT.load(Ordering::Acquire).saturating_add(KEEP.0) > at.0 {
        return Nanos(KNOWN.load(Ordering::Relaxed));
    }
    // The tightest of a few brackets: being interrupted between two readings would look like an offset.
    let mut best = (Nanos(i64::MAX), Nanos::ZERO);
    for _ in 0..5 {
        let first = now();
        let wall = clock_gettime(ClockId::Realtime);
        let second = now();
        let middle = Nanos(i64::midpoint(first.0, second.0));
        best = best.min((second - first, Nanos(wall.tv_sec * 1_000_000_000 + wall.tv_nsec) - middle));
    }
    KNOWN.store(best.1.0, Ordering::Relaxed);
    READ_AT.store(at.0, Ordering::Release);
    best.1
}
