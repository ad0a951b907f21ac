//! Readings beside the run: host and harness once a second, the engine's own metrics more often. A thread and a runtime of its own,
//! so that a slow metrics page disturbs no stamp.

use crate::clock::{CLOCK_STEP, MonotonicClock};
use crate::collect::Kept;
use crate::host::HostSampler;
use nomoat_core::backend::Telemetry;
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

/// A running sampler.
pub(crate) struct Sampler {
    done: watch::Sender<bool>,
    thread: JoinHandle<(Vec<Sample>, Vec<RunEvent>)>,
}

impl Sampler {
    /// Starts reading every `every` (host readings once a second at most). Returns after the first reading: counters are known from
    /// before the first request.
    pub fn start(
        telemetry: Option<Box<dyn Telemetry>>,
        clock: Arc<dyn Clock>,
        every: Nanos,
        kept: SyncSender<Kept>,
    ) -> std::io::Result<Self> {
        let (done, heard) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (first, read) = std::sync::mpsc::channel();
        let work = move || runtime.block_on(sample(telemetry, &*clock, every, (heard, first, kept)));
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

async fn sample(
    mut telemetry: Option<Box<dyn Telemetry>>,
    clock: &dyn Clock,
    every: Nanos,
    (mut done, first, kept): (watch::Receiver<bool>, std::sync::mpsc::Sender<()>, SyncSender<Kept>),
) -> (Vec<Sample>, Vec<RunEvent>) {
    let (mut samples, mut events) = (vec![], vec![]);
    let mut host = HostSampler::new();
    let mut host_due = clock.now();
    let mut next = clock.now();
    let mut failing = false;
    loop {
        let last = *done.borrow();
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
        if let Some(telemetry) = &mut telemetry {
            let reading = tokio::time::timeout(READING_TIMEOUT.to_std(), telemetry.sample()).await;
            let at = clock.now();
            let problem = match reading {
                Ok(Ok(reading)) => {
                    samples.extend(reading.into_iter().map(|s| Sample { at, ..s }));
                    None
                }
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("no answer in {READING_TIMEOUT}")),
            };
            if let (Some(problem), false) = (&problem, failing) {
                events.push(RunEvent { at, code: "telemetry_failed", detail: problem.clone() });
            }
            failing = problem.is_some();
        }
        // A collector that is gone has failed and stops the run. One that is behind has records to keep: these readings are kept here too.
        for sample in &samples[known..] {
            let _ = kept.try_send(Kept::Sample(sample.clone()));
        }
        // Nobody listens after the first.
        let _ = first.send(());
        if last {
            return (samples, events);
        }
        next = (next + every).max(clock.now());
        let pause = (next - clock.now()).to_std();
        let _ = tokio::time::timeout(pause, done.wait_for(|d| *d)).await;
    }
}
