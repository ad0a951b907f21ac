//! Reading meters beside a run, all at the same time and at a pace of their own. What calls drivers does so on a thread of its own.

use crate::collect::Kept;
use nomoat_core::backend::Telemetry;
use nomoat_core::clock::Clock;
use nomoat_core::sample::{RunEvent, Sample};
use nomoat_core::units::Nanos;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{oneshot, watch};

/// How often meters are read. Counters move every few milliseconds to a tenth of a second; the rules ask for three seconds at most.
const EVERY: Nanos = Nanos::from_millis(250);
/// A meter that takes longer than this is given up for that reading.
const PATIENCE: Nanos = Nanos::from_secs(2);
/// Code of the event that a meter said nothing.
const FAILED: &str = "power_failed";

/// Meters that several runs read, one run after the other.
#[derive(Clone, Default)]
pub struct Meters(Arc<Mutex<Vec<Box<dyn Telemetry>>>>);

impl Meters {
    /// Meters to be read together.
    pub fn new(meters: Vec<Box<dyn Telemetry>>) -> Self {
        Self(Arc::new(Mutex::new(meters)))
    }

    /// Whether there is none; a run that reads them has them.
    pub fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn exchange(&self, meters: Vec<Box<dyn Telemetry>>) -> Vec<Box<dyn Telemetry>> {
        std::mem::replace(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), meters)
    }
}

/// A meter, and whether it said nothing the last time.
type Read = (Box<dyn Telemetry>, bool);

/// Reads all meters at the same time: one that is waited for makes no gap in the readings of another.
async fn read_all(meters: Vec<Read>, clock: &Arc<dyn Clock>, last: bool) -> Vec<(Read, Nanos, Result<Vec<Sample>, String>)> {
    let read = |(mut meter, failing): Read| {
        let clock = clock.clone();
        tokio::spawn(async move {
            if last {
                meter.closing();
            }
            let reading = match tokio::time::timeout(PATIENCE.to_std(), meter.sample()).await {
                Ok(reading) => reading.map_err(|e| e.to_string()),
                Err(_) => Err(format!("a power meter gave no answer in {PATIENCE}")),
            };
            ((meter, failing), clock.now(), reading)
        })
    };
    let tasks: Vec<_> = meters.into_iter().map(read).collect();
    let mut all = vec![];
    for task in tasks {
        match task.await {
            Ok(reading) => all.push(reading),
            Err(broken) => std::panic::resume_unwind(broken.into_panic()),
        }
    }
    all
}

/// Reads meters until `done` is set, and once more then. Says so when it has read them for the first time.
pub(crate) async fn watch(
    meters: Meters,
    clock: Arc<dyn Clock>,
    mut done: watch::Receiver<bool>,
    begun: oneshot::Sender<()>,
    kept: SyncSender<Kept>,
) -> (Vec<Sample>, Vec<RunEvent>) {
    let mut all: Vec<Read> = meters.exchange(vec![]).into_iter().map(|meter| (meter, false)).collect();
    let (mut samples, mut events) = (vec![], vec![]);
    let mut begun = Some(begun);
    let mut next = clock.now();
    loop {
        let last = *done.borrow();
        for ((meter, mut failing), at, reading) in read_all(std::mem::take(&mut all), &clock, last).await {
            match reading {
                Ok(reading) => {
                    failing = false;
                    for sample in reading {
                        // When the answer was there: files and libraries answer at once. An exporter's page is waited for until its
                        // devices have moved, and who waits for the last of them has stamped the others.
                        let sample = Sample { at: if sample.at == Nanos::ZERO { at } else { sample.at }, ..sample };
                        // A collector that is behind has records to keep; these readings are kept here too.
                        let _ = kept.try_send(Kept::Sample(sample.clone()));
                        samples.push(sample);
                    }
                }
                // Told of once, until it speaks again.
                Err(detail) if !std::mem::replace(&mut failing, true) => events.push(RunEvent { at, code: FAILED, detail }),
                Err(_) => {}
            }
            all.push((meter, failing));
        }
        if let Some(begun) = begun.take() {
            // Nobody waits any more where the run broke meanwhile.
            let _ = begun.send(());
        }
        if last || all.is_empty() {
            meters.exchange(all.into_iter().map(|(meter, _)| meter).collect());
            return (samples, events);
        }
        next = (next + EVERY).max(clock.now());
        let pause = (next - clock.now()).to_std();
        let _ = tokio::time::timeout(pause, done.wait_for(|done| *done)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MonotonicClock;
    use nomoat_core::backend::{BackendError, BoxFuture};
    use nomoat_core::energy::{Meter, Scope};

    /// Counts, and fails at its second and third reading.
    struct Fake(u32);

    impl Telemetry for Fake {
        fn sample(&mut self) -> BoxFuture<'_, Result<Vec<Sample>, BackendError>> {
            self.0 += 1;
            let reading = match self.0 {
                2 | 3 => Err(BackendError::Unreachable("gone".into())),
                n => Ok(super::super::power_samples(Scope::Wall, Meter::Exporter, "a", Some(f64::from(n)), None, None).collect()),
            };
            Box::pin(async move { reading })
        }
    }

    /// Answers only when the other does: read one after the other, neither would.
    struct Met(Arc<tokio::sync::Barrier>);

    impl Telemetry for Met {
        fn sample(&mut self) -> BoxFuture<'_, Result<Vec<Sample>, BackendError>> {
            Box::pin(async move {
                self.0.wait().await;
                Ok(super::super::power_samples(Scope::Wall, Meter::Exporter, "a", Some(1.0), None, None).collect())
            })
        }
    }

    #[test]
    fn meters_are_read_at_the_same_time() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let barrier = Arc::new(tokio::sync::Barrier::new(2));
        let both: Vec<Read> = (0..2).map(|_| (Box::new(Met(barrier.clone())) as Box<dyn Telemetry>, false)).collect();
        let clock: Arc<dyn Clock> = Arc::new(MonotonicClock);
        let read = runtime.block_on(read_all(both, &clock, true));
        assert_eq!(read.iter().filter(|(_, _, reading)| reading.as_ref().is_ok_and(|samples| samples.len() == 1)).count(), 2);
    }

    #[test]
    fn meters_are_read_first_and_last_and_used_again() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let meters = Meters::new(vec![Box::new(Fake(0))]);
        let (kept, held) = std::sync::mpsc::sync_channel(64);
        let (stop, done) = watch::channel(false);
        let (samples, events) = runtime.block_on(async {
            let (begun, first) = oneshot::channel();
            let task = tokio::spawn(super::watch(meters.clone(), Arc::new(MonotonicClock), done, begun, kept));
            first.await.unwrap();
            assert!(meters.is_empty(), "a run that reads them has them");
            tokio::time::sleep((EVERY * 4).to_std()).await;
            stop.send_replace(true);
            task.await.unwrap()
        });
        let values: Vec<f64> = samples.iter().map(|s| s.value).collect();
        assert_eq!(values[0], 1.0);
        assert!(values.len() >= 2 && values[1] >= 4.0 && values.windows(2).all(|pair| pair[1] > pair[0]), "{values:?}");
        assert!(samples.windows(2).all(|pair| pair[0].at <= pair[1].at));
        let codes: Vec<&str> = events.iter().map(|e| e.code).collect();
        assert_eq!(codes, [FAILED], "twice in a row is told of once");
        assert!(!meters.is_empty() && held.try_iter().count() == samples.len());
    }
}
