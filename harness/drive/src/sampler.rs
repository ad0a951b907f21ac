//! Readings beside the run: host and harness once a second, the engine's own metrics more often. A thread and a runtime of its own,
//! so that a slow metrics page disturbs no stamp.

use crate::clock::{CLOCK_STEP, MonotonicClock};
use crate::collect::Kept;
use crate::host::HostSampler;
use crate::power::{Meters, watch};
use nomoat_core::backend::{BackendError, Telemetry};
use nomoat_core::clock::Clock;
use nomoat_core::sample::{RunEvent, Sample};
use nomoat_core::units::Nanos;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use tokio::sync::watch;

const HOST_EVERY: Nanos = Nanos::from_secs(1);
/// A metrics page that takes longer than this is given up for that reading.
const READING_TIMEOUT: Nanos = Nanos::from_secs(5);
/// How long after the run its last reading is taken, at most.
const SETTLING: Nanos = Nanos::from_millis(250);

/// A running sampler.
pub(crate) struct Sampler {
    done: watch::Sender<bool>,
    thread: JoinHandle<(Vec<Sample>, Vec<RunEvent>)>,
}

impl Sampler {
    /// Starts reading every `every` (host readings once a second at most). Returns after the first reading: counters are known from
    /// before the first request.
    /// Readings of an endpoint are labelled with its index where there are `several`.
    pub fn start(
        telemetry: Vec<(u16, Box<dyn Telemetry>)>,
        meters: Meters,
        several: bool,
        clock: Arc<dyn Clock>,
        every: Nanos,
        kept: SyncSender<Kept>,
    ) -> std::io::Result<Self> {
        let (done, heard) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (first, read) = std::sync::mpsc::channel();
        let gauges = telemetry.into_iter().map(|(endpoint, of)| Gauge {
            label: if several { format!("endpoint={endpoint}") } else { String::new() },
            of,
            failing: false,
        });
        let gauges = gauges.collect();
        let work = move || runtime.block_on(sample(gauges, meters, &clock, every, (heard, first, kept)));
        let thread = std::thread::Builder::new().name("sample".into()).spawn(work)?;
        // An error means that the thread is gone; its panic surfaces when it is joined.
        let _ = read.recv();
        Ok(Self { done, thread })
    }

    /// Takes a last reading and gives all of them.
    pub fn finish(self) -> (Vec<Sample>, Vec<RunEvent>) {
        self.done.send_replace(true);
        match self.thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Where one endpoint's metrics are read.
struct Gauge {
    /// What marks its readings.
    label: String,
    of: Box<dyn Telemetry>,
    /// Whether the last reading failed: a failure is told of once.
    failing: bool,
}

impl Gauge {
    /// Takes a reading, and the moment it was there. Of the last one more is kept.
    async fn read(mut self, clock: Arc<dyn Clock>, last: bool) -> (Self, Nanos, Result<Vec<Sample>, String>) {
        if last {
            self.of.closing();
        }
        let reading = tokio::time::timeout(READING_TIMEOUT.to_std(), self.of.sample()).await;
        let reading = match reading {
            Ok(reading) => reading.map_err(|e: BackendError| e.to_string()),
            Err(_) => Err(format!("no answer in {READING_TIMEOUT}")),
        };
        (self, clock.now(), reading)
    }
}

/// Reads all of them at the same time, so that none waits for a slow one before it. They come back in their order.
async fn read_all(gauges: Vec<Gauge>, clock: &Arc<dyn Clock>, last: bool) -> Vec<(Gauge, Nanos, Result<Vec<Sample>, String>)> {
    let tasks: Vec<_> = gauges.into_iter().map(|gauge| tokio::spawn(gauge.read(clock.clone(), last))).collect();
    let mut read = vec![];
    for task in tasks {
        match task.await {
            Ok(reading) => read.push(reading),
            Err(broken) => std::panic::resume_unwind(broken.into_panic()),
        }
    }
    read
}

async fn sample(
    mut gauges: Vec<Gauge>,
    meters: Meters,
    clock: &Arc<dyn Clock>,
    every: Nanos,
    (mut done, first, kept): (watch::Receiver<bool>, std::sync::mpsc::Sender<()>, SyncSender<Kept>),
) -> (Vec<Sample>, Vec<RunEvent>) {
    let (mut samples, mut events) = (vec![], vec![]);
    // Meters have a pace of their own: a page that answers slowly makes no gap in the power.
    let (begun, metered) = tokio::sync::oneshot::channel();
    let meters = tokio::spawn(watch(meters, clock.clone(), done.clone(), begun, kept.clone()));
    // Where their task broke, joining it says so.
    let _ = metered.await;
    let mut host = HostSampler::new();
    let mut host_due = clock.now();
    let mut next = clock.now();
    loop {
        let last = *done.borrow();
        if last && !gauges.is_empty() {
            // An engine may count an answer a moment after its client has it: what the last reading is for is told by then.
            tokio::time::sleep(every.min(SETTLING).to_std()).await;
        }
        let known = samples.len();
        if last || clock.now() >= host_due {
            let (_, change) = MonotonicClock::reread_wall();
            if change.0.abs() > CLOCK_STEP.0 {
                let detail = format!("the wall clock was set by {change}: stamps since the reading before may be off by as much");
                events.push(RunEvent { at: clock.now(), code: "clock_step", detail });
            }
        }
        if last || clock.now() >= host_due {
            samples.extend(host.sample(clock.now()));
            host_due += HOST_EVERY;
        }
        for (mut gauge, at, reading) in read_all(std::mem::take(&mut gauges), clock, last).await {
            match reading {
                Ok(reading) => {
                    let labels =
                        |own: String| [own.as_str(), &gauge.label].into_iter().filter(|l| !l.is_empty()).collect::<Vec<_>>().join(",");
                    samples.extend(reading.into_iter().map(|s| Sample { at, labels: labels(s.labels), ..s }));
                    gauge.failing = false;
                }
                Err(detail) => {
                    if !std::mem::replace(&mut gauge.failing, true) {
                        events.push(RunEvent { at, code: "telemetry_failed", detail });
                    }
                }
            }
            events.extend(gauge.of.noticed().into_iter().map(|(code, detail)| RunEvent { at, code, detail }));
            gauges.push(gauge);
        }
        // A collector that is gone has failed and stops the run. One that is behind has records to keep: these readings are kept here too.
        for sample in &samples[known..] {
            let _ = kept.try_send(Kept::Sample(sample.clone()));
        }
        // Nobody listens after the first.
        let _ = first.send(());
        if last {
            match meters.await {
                Ok((power, failures)) => {
                    samples.extend(power);
                    events.extend(failures);
                }
                Err(broken) => std::panic::resume_unwind(broken.into_panic()),
            }
            return (samples, events);
        }
        next = (next + every).max(clock.now());
        let pause = (next - clock.now()).to_std();
        let _ = tokio::time::timeout(pause, done.wait_for(|d| *d)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nomoat_core::backend::BoxFuture;
    use std::sync::Mutex;

    /// Notes what it is asked.
    struct Fake(Arc<Mutex<Vec<&'static str>>>);

    impl Telemetry for Fake {
        fn sample(&mut self) -> BoxFuture<'_, Result<Vec<Sample>, BackendError>> {
            self.0.lock().unwrap().push("reading");
            Box::pin(async { Ok(vec![]) })
        }

        fn noticed(&mut self) -> Vec<(&'static str, String)> {
            self.0.lock().unwrap().push("noticed");
            vec![("counter_fell", "from 2 to 1".into())]
        }

        fn closing(&mut self) {
            self.0.lock().unwrap().push("closing");
        }
    }

    #[test]
    fn the_last_reading_is_announced_and_what_is_noticed_becomes_an_event() {
        let log = Arc::default();
        let (kept, _held) = std::sync::mpsc::sync_channel(1024);
        let telemetry: Vec<(u16, Box<dyn Telemetry>)> = vec![(0, Box::new(Fake(Arc::clone(&log))))];
        let sampler = Sampler::start(telemetry, Meters::default(), false, Arc::new(MonotonicClock), Nanos::from_millis(1), kept).unwrap();
        let (_, events) = sampler.finish();
        let log = log.lock().unwrap().clone();
        assert_eq!(log[..2], ["reading", "noticed"]);
        assert_eq!(log[log.len() - 3..], ["closing", "reading", "noticed"]);
        assert_eq!(log.iter().filter(|l| **l == "closing").count(), 1);
        let fell: Vec<_> = events.iter().filter(|e| e.code == "counter_fell").map(|e| e.detail.as_str()).collect();
        assert_eq!(fell.len(), log.iter().filter(|l| **l == "noticed").count());
        assert!(fell.iter().all(|detail| *detail == "from 2 to 1"));
    }
}
