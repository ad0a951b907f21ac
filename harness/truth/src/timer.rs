//! Waiting for absolute moments, precise to tens of microseconds: one timerfd and one ordered queue per runtime.
//!
//! The runtime's own wheel ticks in milliseconds and is never used here. A timerfd has no slack, and an absolute deadline does
//! not drift with what came before it.

use crate::clock::now;
use nomoat_core::units::Nanos;
use rustix::fd::OwnedFd;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Deadlines in order. The second part of the key tells equal moments apart.
type Queue = BTreeMap<(Nanos, u64), Waker>;

/// The timers of one runtime.
pub struct Timers {
    fd: AsyncFd<OwnedFd>,
    /// Only this runtime's thread locks it, so it is never waited for; a mutex and no cell because tasks must be `Send`.
    queue: Mutex<(Queue, u64)>,
}

impl Timers {
    /// Timers of the runtime whose context this is called in. [`Self::run`] must be spawned there.
    pub fn new() -> io::Result<Arc<Self>> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        // SAFETY: the descriptor is open, and an `OwnedFd` moved in stays open and the same until the `AsyncFd` drops it.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
        Ok(Arc::new(Self { fd, queue: Mutex::default() }))
    }

    /// Resolves at `at` or, when that has passed, at once.
    pub fn until(self: &Arc<Self>, at: Nanos) -> Until {
        Until { timers: self.clone(), at, key: None }
    }

    /// Wakes whoever is due, for as long as the runtime lives.
    pub async fn run(self: Arc<Self>) {
        loop {
            // Fails only when the runtime is going away, and then there is nobody left to wake.
            let Ok(mut ready) = self.fd.readable().await else { return };
            let mut expirations = [0_u8; 8];
            // Nothing to read means only that it was re-armed since; a firing after this read is a new edge and comes back here.
            let _ = rustix::io::read(&self.fd, &mut expirations[..]);
            ready.clear_ready();
            self.wake();
        }
    }

    fn wake(&self) {
        let now = now();
        let mut queue = self.lock();
        let later = queue.0.split_off(&(Nanos(now.0 + 1), 0));
        let due = std::mem::replace(&mut queue.0, later);
        let next = queue.0.keys().next().copied();
        drop(queue);
        due.into_values().for_each(Waker::wake);
        if let Some((at, _)) = next {
            self.arm(at);
        }
    }

    fn arm(&self, at: Nanos) {
        // Zero would disarm; a moment that has passed fires at once.
        let ns = at.0.max(1);
        let moment = Timespec { tv_sec: ns / 1_000_000_000, tv_nsec: ns % 1_000_000_000 };
        let once = Itimerspec { it_interval: Timespec::default(), it_value: moment };
        timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &once).expect("a timerfd takes every absolute time within its range");
    }

    fn lock(&self) -> MutexGuard<'_, (Queue, u64)> {
        // Nothing inside can be left half-done by a panic: each use is one map operation.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait for a moment; dropping it leaves nothing behind.
pub struct Until {
    timers: Arc<Timers>,
    at: Nanos,
    key: Option<(Nanos, u64)>,
}

impl Future for Until {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if now() >= self.at {
            return Poll::Ready(());
        }
        let timers = self.timers.clone();
        let mut queue = timers.lock();
        let key = self.key.unwrap_or_else(|| {
            queue.1 += 1;
            (self.at, queue.1)
        });
        self.key = Some(key);
        let waker = context.waker().clone();
        queue.0.insert(key, waker);
        let earliest = queue.0.keys().next() == Some(&key);
        drop(queue);
        if earliest {
            timers.arm(self.at);
        }
        Poll::Pending
    }
}

impl Drop for Until {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.timers.lock().0.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_timers<F: Future<Output = ()>>(body: impl FnOnce(Arc<Timers>) -> F) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let timers = Timers::new().unwrap();
            tokio::spawn(timers.clone().run());
            body(timers).await;
        });
    }

    #[test]
    fn waits_end_in_order_and_never_early() {
        with_timers(|timers| async move {
            let start = now();
            let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
            for ms in [9, 3, 6, 3, 0] {
                let (timers, tell) = (timers.clone(), tell.clone());
                tokio::spawn(async move {
                    let at = start + Nanos::from_millis(ms);
                    timers.until(at).await;
                    assert!(now() >= at);
                    tell.send(ms).unwrap();
                });
            }
            drop(tell);
            let mut order = vec![];
            while let Some(ms) = told.recv().await {
                order.push(ms);
            }
            assert_eq!(order, [0, 3, 3, 6, 9]);
            assert!(timers.lock().0.is_empty());
        });
    }

    #[test]
    fn a_dropped_wait_leaves_nothing() {
        with_timers(|timers| async move {
            let mut far = Box::pin(timers.until(now() + Nanos::from_secs(1_000)));
            let near = timers.until(now() + Nanos::from_millis(1));
            tokio::select! { biased; () = &mut far => unreachable!("a thousand seconds have not passed"), () = near => {} }
            assert_eq!(timers.lock().0.len(), 1);
            drop(far);
            assert!(timers.lock().0.is_empty());
        });
    }
}
