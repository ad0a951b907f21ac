//! Waiting for a due moment: on a timerfd with absolute times where the platform has one, never on the runtime's millisecond
//! wheel. Lateness is not made up for: the moment of waking is recorded as it was.
//!
//! Waking an idle core takes tens of microseconds. So the timer is set that much early and the rest is spun, within a budget: a spin
//! steals nothing from stamps, which are the kernel's, and where it would cost a noticeable part of the core there is none.

use nomoat_core::clock::Clock;
use nomoat_core::units::Nanos;

/// How early the timer is set: about what it takes to wake an idle core of a virtual machine.
#[cfg(target_os = "linux")]
const EARLY: Nanos = Nanos::from_micros(60);
/// One part of the elapsed time in so many may be spun.
#[cfg(target_os = "linux")]
const SPIN_SHARE: i64 = 20;

/// Waits for moments of the run's clock.
pub(crate) enum Pacer {
    #[cfg(target_os = "linux")]
    TimerFd(timerfd::TimerFd, Spin),
    /// The runtime's own timer: for simulated time, and for platforms without a better one.
    #[cfg(any(test, not(target_os = "linux")))]
    Runtime,
}

impl Pacer {
    /// The platform's best.
    pub fn precise() -> std::io::Result<Self> {
        #[cfg(target_os = "linux")]
        return Ok(Self::TimerFd(timerfd::TimerFd::new()?, Spin::default()));
        #[cfg(not(target_os = "linux"))]
        Ok(Self::Runtime)
    }

    /// Completes at `at` or as soon after it as the platform wakes us. Safe to drop and call again.
    pub async fn until(&mut self, at: Nanos, clock: &dyn Clock) {
        let left = at - clock.now();
        if left.0 <= 0 {
            return;
        }
        match self {
            #[cfg(target_os = "linux")]
            Self::TimerFd(timer, spin) => {
                if !spin.may(clock.now()) {
                    return timer.until(at).await;
                }
                if left > EARLY {
                    timer.until(at - EARLY).await;
                }
                spin.until(at, clock);
            }
            #[cfg(any(test, not(target_os = "linux")))]
            Self::Runtime => tokio::time::sleep(left.to_std()).await,
        }
    }
}

/// How much was spun, and since when.
#[cfg(target_os = "linux")]
#[derive(Default)]
pub(crate) struct Spin {
    since: Option<Nanos>,
    spun: Nanos,
}

#[cfg(target_os = "linux")]
impl Spin {
    /// Whether another wait may be spun.
    fn may(&mut self, now: Nanos) -> bool {
        let elapsed = now - *self.since.get_or_insert(now);
        self.spun <= elapsed / SPIN_SHARE
    }

    /// Spins what is left of a wait, at most [`EARLY`]; more is left only when the timer could not be set, and then nobody waits.
    fn until(&mut self, at: Nanos, clock: &dyn Clock) {
        let begun = clock.now();
        let (mut now, stop) = (begun, at.min(begun + EARLY));
        while now < stop {
            std::hint::spin_loop();
            now = clock.now();
        }
        self.spun += now - begun;
    }
}

#[cfg(target_os = "linux")]
mod timerfd {
    use nomoat_core::units::Nanos;
    use rustix::fd::OwnedFd;
    use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime};
    use tokio::io::unix::AsyncFd;

    /// A timerfd on `CLOCK_MONOTONIC`.
    pub(crate) struct TimerFd {
        fd: AsyncFd<OwnedFd>,
        armed: Option<Nanos>,
    }

    impl TimerFd {
        pub fn new() -> std::io::Result<Self> {
            let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            // SAFETY: `OwnedFd` owns a valid descriptor and always gives the same one; nothing here closes or replaces it while the
            // `AsyncFd` holds it.
            let fd = unsafe { AsyncFd::register(fd) }?;
            Ok(Self { fd, armed: None })
        }

        pub async fn until(&mut self, at: Nanos) {
            if self.armed != Some(at) {
                let value = Timespec { tv_sec: at.0 / 1_000_000_000, tv_nsec: at.0 % 1_000_000_000 };
                let spec = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
                if timerfd_settime(self.fd.get_ref(), TimerfdTimerFlags::ABSTIME, &spec).is_err() {
                    // A moment the kernel refuses lies in the past or beyond its range; the caller looks at the clock either way.
                    return;
                }
                self.armed = Some(at);
            }
            // The expiry count stays readable until it is read: a dropped wait loses nothing.
            if let Ok(mut ready) = self.fd.readable().await {
                let mut count = [0_u8; 8];
                let read = rustix::io::read(self.fd.get_ref(), &mut count[..]);
                ready.clear_ready();
                if read.is_ok() {
                    self.armed = None;
                }
            }
        }
    }
}
