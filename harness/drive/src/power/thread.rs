//! A meter whose reading calls drivers or reads the kernel's files, on a thread of its own: a call that hangs holds up nobody.

use super::{Found, NoMeter, Reading, power_samples};
use nomoat_core::backend::{BackendError, BoxFuture, Telemetry};
use nomoat_core::energy::{Meter, Scope};
use nomoat_core::sample::Sample;
use nomoat_core::units::Nanos;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tokio::sync::oneshot;

/// A driver that takes longer is given up for that reading. Less than whoever reads meters waits, so that the reason names the meter.
const PATIENCE: Nanos = Nanos::from_millis(1500);

type Answer = Result<Vec<Sample>, String>;

/// All devices of a meter. Its thread is asked for one reading at a time, and ends when nobody can ask any more and its last call is
/// back; nobody waits for that, because a driver that hangs never comes back.
pub(super) struct Devices {
    meter: Meter,
    ask: SyncSender<oneshot::Sender<Answer>>,
    /// The answer that is still owed, where whoever waited for it has given up.
    owed: Option<oneshot::Receiver<Answer>>,
}

impl Devices {
    /// Starts the thread that reads `all`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn new(meter: Meter, scope: Scope, all: Found) -> Result<Self, NoMeter> {
        let (ask, asked): (_, Receiver<oneshot::Sender<Answer>>) = sync_channel(1);
        let read = move || {
            for answer in asked {
                // Who gave up meanwhile does not hear it.
                let _ = answer.send(reading(meter, scope, &all));
            }
        };
        let thread = std::thread::Builder::new().name(format!("meter-{}", meter.name()));
        thread.spawn(read).map_err(|error| NoMeter::new(format!("starting the thread that reads {}: {error}", meter.words()), ""))?;
        Ok(Self { meter, ask, owed: None })
    }
}

impl Telemetry for Devices {
    fn sample(&mut self) -> BoxFuture<'_, Result<Vec<Sample>, BackendError>> {
        Box::pin(async move {
            let silent = |what: &str| BackendError::Unreachable(format!("reading {}: {what}", self.meter.words()));
            // An answer that comes after it was given up is of a moment that nobody knows, and is no reading.
            if let Some(owed) = &mut self.owed
                && matches!(owed.try_recv(), Err(oneshot::error::TryRecvError::Empty))
            {
                return Err(silent("the driver has not come back from the call before; it is not asked again until it does"));
            }
            let (answer, owed) = oneshot::channel();
            self.owed = None;
            self.ask.try_send(answer).map_err(|_| silent("its thread has ended"))?;
            // Kept in `self`, for this future is dropped where the patience of whoever reads is over.
            let Ok(answer) = tokio::time::timeout(PATIENCE.to_std(), self.owed.insert(owed)).await else {
                return Err(silent(&format!("the driver gave no answer in {PATIENCE}")));
            };
            self.owed = None;
            match answer {
                Ok(answer) => answer.map_err(BackendError::Unreachable),
                Err(_) => Err(silent("its thread has ended")),
            }
        })
    }
}

/// What all devices say now.
fn reading(meter: Meter, scope: Scope, all: &Found) -> Answer {
    let (mut samples, mut failed) = (vec![], None);
    for device in all {
        let name = device.name();
        match device.read() {
            Ok(Reading { watts, joules, range }) => samples.extend(power_samples(scope, meter, &name, watts, joules, range)),
            Err(why) => failed = Some(format!("reading {} of {name}: {why}", meter.words())),
        }
    }
    match failed {
        // One device that says nothing is a gap in its own readings; that nobody says anything is told.
        Some(why) if samples.is_empty() => Err(why),
        _ => Ok(samples),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Device, Meters, watch};
    use super::*;
    use crate::clock::MonotonicClock;
    use std::sync::{Arc, Mutex};

    /// A device whose driver comes back when it is let go.
    struct Hanging(Mutex<Receiver<()>>);

    impl Device for Hanging {
        fn name(&self) -> String {
            "0".into()
        }

        fn read(&self) -> Result<Reading, String> {
            // An error here is a driver that nobody lets go any more.
            self.0.lock().unwrap().recv().map_err(|e| e.to_string())?;
            Ok(Reading { watts: Some(5.0), ..Reading::default() })
        }
    }

    fn hanging() -> (std::sync::mpsc::Sender<()>, Devices) {
        let (go, wait) = std::sync::mpsc::channel();
        (go, Devices::new(Meter::Nvml, Scope::Board, vec![Box::new(Hanging(Mutex::new(wait)))]).unwrap_or_else(|none| panic!("{none:?}")))
    }

    /// One that answers at once.
    struct Steady;

    impl Telemetry for Steady {
        fn sample(&mut self) -> BoxFuture<'_, Result<Vec<Sample>, BackendError>> {
            Box::pin(async { Ok(power_samples(Scope::Package, Meter::Rapl, "package-0", None, Some(1.0), None).collect()) })
        }
    }

    #[test]
    fn a_driver_that_hangs_is_given_up_and_holds_up_no_run() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (go, hung) = hanging();
        let meters = Meters::new(vec![Box::new(hung), Box::new(Steady)]);
        let (kept, _held) = sync_channel(64);
        let (stop, done) = tokio::sync::watch::channel(false);
        let (samples, events) = runtime.block_on(async {
            let (begun, first) = oneshot::channel();
            let task = tokio::spawn(watch(meters, Arc::new(MonotonicClock), done, begun, kept));
            first.await.unwrap();
            stop.send_replace(true);
            task.await.unwrap()
        });
        assert!(samples.len() >= 2, "the other is read at both ends: {samples:?}");
        let told: Vec<&str> = events.iter().map(|event| event.detail.as_str()).collect();
        assert!(matches!(told[..], [one] if one.contains("reading NVML: the driver gave no answer in 1.50 s")), "{told:?}");
        drop(go);
    }

    #[test]
    fn what_comes_after_it_was_given_up_is_no_reading() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (go, mut meter) = hanging();
        runtime.block_on(async {
            let nothing = std::time::Duration::ZERO;
            assert!(tokio::time::timeout(nothing, meter.sample()).await.is_err());
            let error = meter.sample().await.unwrap_err().to_string();
            assert!(error.contains("reading NVML: the driver has not come back"), "{error}");
            go.send(()).unwrap();
            // Until the answer that is owed has come it is not asked again; then one more reading is asked for and let go.
            go.send(()).unwrap();
            while meter.sample().await.is_err() {
                tokio::task::yield_now().await;
            }
            assert!(matches!(go.send(()), Ok(())) && meter.sample().await.unwrap().len() == 1);
            drop(go);
            assert!(meter.sample().await.is_err());
        });
    }
}
