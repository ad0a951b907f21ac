//! The one place of this crate that reads the monotonic clock. (Wall time appears only as `created` in answers.)

use nomoat_core::units::Nanos;
use rustix::time::{ClockId, clock_gettime};

/// Now on `CLOCK_MONOTONIC`: the clock that every process of this host shares, so that a client's stamps can be held against ours.
pub fn now() -> Nanos {
    let t = clock_gettime(ClockId::Monotonic);
    Nanos(t.tv_sec * 1_000_000_000 + t.tv_nsec)
}
