//! A run from its plan to its outcome.

use crate::clock::{MonotonicClock, WallAnchor, process_cpu};
use crate::collect::{Collector, Progress, RecordSink, SPARE_RECORDS};
use crate::endpoints::Endpoints;
use crate::flight::Timeouts;
use crate::pacer::Pacer;
use crate::power::Meters;
use crate::priority;
use crate::sampler::Sampler;
use crate::shard::{Opening, Shard, ShardConfig, ShardEnd, waits_for_first_tokens};
use crate::stop::{Stop, StopHandle};
use crate::supply::{Maker, Supply, is_small};
use crate::window::WindowState;
use nomoat_core::backend::{Backend, Offer};
use nomoat_core::clock::Clock;
use nomoat_core::energy::MAX_GAP;
use nomoat_core::event::Live;
use nomoat_core::request::ShardId;
use nomoat_core::sample::{RunEvent, Sample};
use nomoat_core::schedule::{Load, Schedule};
use nomoat_core::units::Nanos;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Barrier, Mutex, OnceLock, PoisonError};

/// From "every shard is ready" to the first due: time to make the first requests ready.
const LEAD: Nanos = Nanos::from_millis(5);
/// Tasks a shard runs between two looks at its sockets and its timer. Fewer than the usual 61: a due request should not wait for so many.
const TASKS_PER_LOOK: u32 = 16;

/// What to run.
#[derive(Clone)]
pub struct Plan {
    /// The schedule.
    pub schedule: Schedule,
    /// Load-generating threads.
    pub shards: u16,
    /// Requests in flight above which a due request is dropped, over all shards.
    pub max_in_flight: u32,
    /// Requests in flight above which a due request waits, its clock running, over all shards.
    pub max_concurrency: Option<u32>,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// How often the engine's own metrics are read.
    pub sample_every: Nanos,
    /// What tells this run's requests from another's.
    pub offer: Offer,
    /// Power meters that are read beside it.
    pub meters: Meters,
}

impl Plan {
    /// Shards that have something to do: no more than lanes, and no more than the bounds can be divided by.
    fn used_shards(&self) -> u16 {
        let lanes = if let Load::Closed { concurrency, .. } = self.schedule.rule().load { concurrency } else { u32::MAX };
        let bound = lanes.min(self.max_in_flight).min(self.max_concurrency.unwrap_or(u32::MAX)).max(1);
        self.shards.clamp(1, u16::try_from(bound).unwrap_or(u16::MAX))
    }
}

/// What came of it, beside the records.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Start of the schedule on the run's clock.
    pub start: Nanos,
    /// When the last record was in.
    pub stop: Nanos,
    /// Requests whose due came.
    pub scheduled: u64,
    /// Records kept.
    pub recorded: u64,
    /// Sum of digests of the bytes offered: equal for equal offers, in any order.
    pub offered: u64,
    /// Readings of host, harness and engine.
    pub samples: Vec<Sample>,
    /// What happened to the run.
    pub events: Vec<RunEvent>,
    /// Both clocks before and after.
    pub anchors: [WallAnchor; 2],
    /// Whether a stop took something of it away.
    pub interrupted: bool,
    /// CPU time of this process, all threads, from the opening to the end of the last shard.
    pub cpu: Nanos,
}

/// Why a run broke, which is our own failure.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// A thread, timer or runtime could not be made.
    #[error("starting {what}: {source}")]
    Start {
        /// Which.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// Records could not be kept.
    #[error("writing records: {0}; the disk may be full")]
    Records(std::io::Error),
}

/// Runs a plan against the endpoints of one engine, at least one; a record's `endpoint` is an index into them. Every record goes to `sink` as it completes; `live` and `progress` may be read meanwhile.
/// `opened` hears when the schedule starts, before its first request: what a killed run leaves behind must tell it.
///
/// # Errors
/// Our own failures only: what the engine does wrong is in the records.
pub fn run(
    plan: &Plan,
    backends: &[Arc<dyn Backend>],
    sink: Box<dyn RecordSink>,
    live: &Arc<Live>,
    progress: Arc<Mutex<Progress>>,
    stopping: (&StopHandle, Stop),
    opened: impl FnOnce(Nanos),
) -> Result<Outcome, DriveError> {
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock);
    let failed = |what: &str| {
        let what = what.to_owned();
        move |source| DriveError::Start { what, source }
    };
    let (stopper, stop) = stopping;
    let endpoints = Arc::new(Endpoints::new(backends, &plan.schedule, &plan.offer));
    let shards = plan.used_shards();
    let (returns, spare): (Vec<_>, Vec<_>) = (0..shards).map(|_| sync_channel(SPARE_RECORDS)).unzip();
    let (collector, records) = Collector::start(sink, progress, stopper.clone(), returns).map_err(failed("the collector"))?;
    let sampler =
        Sampler::start(endpoints.telemetry(), plan.meters.clone(), backends.len() > 1, clock.clone(), plan.sample_every, records.clone())
            .map_err(failed("the sampler"))?;
    let before = WallAnchor::now();
    let rule = plan.schedule.rule();
    let gate = Arc::new(Gate {
        ready: Barrier::new(usize::from(shards) + 1),
        open: Barrier::new(usize::from(shards) + 1),
        opening: OnceLock::new(),
    });
    let mut threads = vec![];
    let small = is_small(&plan.schedule);
    for (index, spare) in (0..shards).zip(spare) {
        let streams = plan.schedule.streams(ShardId(index), shards);
        let config = ShardConfig {
            shard: ShardId(index),
            endpoints: endpoints.clone(),
            clock: clock.clone(),
            records: records.clone(),
            spare,
            live: live.clone(),
            timeouts: plan.timeouts,
            max_in_flight: share(plan.max_in_flight, index, shards),
            max_concurrency: plan.max_concurrency.map_or(usize::MAX, |c| share(c, index, shards)),
            stop: stop.clone(),
            uses_live: plan.schedule.uses_live(),
            uses_first_token: waits_for_first_tokens(&plan.schedule),
            lanes: if matches!(rule.load, Load::Closed { .. }) { streams.len() } else { 0 },
        };
        let gate = gate.clone();
        let body = move || -> std::io::Result<ShardEnd> {
            // What can fail is made before the gate, and every shard passes it either way: nobody waits for one that broke.
            priority::wake_soon();
            let made = tokio::runtime::Builder::new_current_thread().enable_all().event_interval(TASKS_PER_LOOK).build();
            let local = tokio::task::LocalSet::new();
            let maker = Maker::new(streams, config.endpoints.clone());
            let supply = if small { Supply::beside(&local, maker) } else { Supply::threaded(index, maker) };
            let opening = gate.pass();
            let (runtime, supply) = (made?, supply?);
            local.block_on(&runtime, async move { Ok(Shard::run(config, opening, supply, Pacer::precise()?).await) })
        };
        threads.push(std::thread::Builder::new().name(format!("shard-{index}")).spawn(body).map_err(failed("a shard"))?);
    }
    gate.ready.wait();
    let start = clock.now() + LEAD;
    let window = Arc::new(WindowState::new(start, rule.warmup, rule.limit, rule.load.is_closed()));
    // Only this thread sets it, once.
    let _ = gate.opening.set(Opening { start, window: window.clone() });
    let cpu_before = process_cpu();
    gate.open.wait();
    opened(start);
    drop(records);
    let (mut scheduled, mut offered, mut interrupted) = (0, 0_u64, false);
    let mut broken = None;
    for thread in threads {
        match thread.join() {
            Ok(Ok(end)) => {
                scheduled += end.scheduled;
                offered = offered.wrapping_add(end.offered);
                interrupted |= end.cut;
            }
            Ok(Err(error)) => broken = Some(error),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    let stop_at = clock.now();
    let cpu = process_cpu() - cpu_before;
    if !interrupted && !plan.meters.is_empty() {
        // The last answer may come before the window's end. Power must be read after it, or there is no energy.
        let rest = window.ends().map_or(Nanos::ZERO, |end| end - clock.now());
        if rest <= MAX_GAP {
            std::thread::sleep(rest.to_std());
        }
    }
    let (samples, mut events) = sampler.finish();
    let recorded = collector.finish().map_err(DriveError::Records)?;
    if let Some(error) = broken {
        return Err(failed("a shard's runtime")(error));
    }
    let complaints = std::mem::take(&mut *live.complaints.lock().unwrap_or_else(PoisonError::into_inner));
    events.extend(complaints.into_iter().map(|(words, n)| RunEvent {
        at: stop_at,
        code: "endpoint_said",
        detail: format!("{n} × {words}"),
    }));
    let held_up = live.held_up.load(std::sync::atomic::Ordering::Relaxed);
    if held_up > 0 {
        events.push(RunEvent {
            at: stop_at,
            code: "collector_full",
            detail: format!("{held_up} records made their shard wait for the collector"),
        });
    }
    if interrupted {
        events.push(RunEvent { at: stop_at, code: "stopped", detail: "the run was stopped before its schedule ended".into() });
    }
    Ok(Outcome {
        start,
        stop: stop_at,
        scheduled,
        recorded,
        offered,
        samples,
        events,
        anchors: [before, WallAnchor::now()],
        interrupted,
        cpu,
    })
}

/// Holds the shards until all are there, so that no first request is late because a thread was not.
struct Gate {
    ready: Barrier,
    open: Barrier,
    opening: OnceLock<Opening>,
}

impl Gate {
    fn pass(&self) -> Opening {
        self.ready.wait();
        self.open.wait();
        self.opening.get().cloned().expect("set before the second barrier is passed")
    }
}

/// One shard's part of a bound, at least one.
fn share(total: u32, index: u16, shards: u16) -> usize {
    let (total, index, shards) = (total as usize, usize::from(index), usize::from(shards.max(1)));
    (total / shards + usize::from(index < total % shards)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nomoat_core::schedule::{Limit, Rule, Source, Warmup};

    #[test]
    fn no_shard_is_without_work() {
        let used = |load, shards, max_concurrency| {
            let source = Source::Fixed { input_tokens: 1, output_tokens: 1 };
            let limit = Limit { duration: None, requests: Some(1) };
            let rule = Rule { source, load, speed: 1.0, warmup: Warmup::Requests(0), limit, repeat: false, length: None, seed: 0 };
            let timeouts = Timeouts { total: Nanos::from_secs(1), first_token: None };
            let schedule = Schedule::new(rule).unwrap();
            let plan = Plan {
                schedule,
                shards,
                max_in_flight: 100,
                max_concurrency,
                timeouts,
                sample_every: Nanos::from_secs(1),
                offer: Offer::default(),
                meters: Meters::default(),
            };
            plan.used_shards()
        };
        let closed = |concurrency| Load::Closed { concurrency, think: Nanos::ZERO };
        let open = Load::Arrivals { process: nomoat_core::arrival::ArrivalProcess::Constant, rate_per_s: 1.0 };
        for (load, shards, cap, expect) in
            [(closed(1), 3, None, 1), (closed(8), 3, None, 3), (open, 3, None, 3), (open, 3, Some(1), 1), (open, 0, None, 1)]
        {
            assert_eq!(used(load, shards, cap), expect, "{load:?} {shards} {cap:?}");
        }
    }
}
