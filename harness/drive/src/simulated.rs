//! Whole runs in simulated time, with answers that are known beforehand.

use crate::collect::{Kept, RecordSink};
use crate::endpoints::Endpoints;
use crate::flight::Timeouts;
use crate::pacer::Pacer;
use crate::shard::{Opening, Shard, ShardConfig};
use crate::stop::StopHandle;
use crate::supply::{Maker, Supply};
use crate::window::WindowState;
use nomoat_core::arrival::ArrivalProcess;
use nomoat_core::backend::{
    Backend, BackendError, BackendInfo, BoxFuture, Capabilities, Channel, Encoder, EngineVersion, LiveTurn, Offer, Payload, Prepared,
    Telemetry,
};
use nomoat_core::clock::Clock;
use nomoat_core::event::{EventSink, Finish, Live, RequestError, TokenEvent, TokenKind};
use nomoat_core::fold::fold;
use nomoat_core::record::{Connection, ErrorCode, Phase, RequestRecord, Status};
use nomoat_core::report::{Population, RunFacts, RunReport, Stat};
use nomoat_core::request::{Cancel, Request, RequestId, SessionId, ShardId};
use nomoat_core::schedule::{Limit, Load, Rule, Schedule, Source, Warmup};
use nomoat_core::trace::{Cause, Edge, Moment, Trace, TraceRequest};
use nomoat_core::units::Nanos;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

/// The runtime's paused time as the run's clock.
struct PausedClock(tokio::time::Instant);

impl Clock for PausedClock {
    fn now(&self) -> Nanos {
        Nanos((tokio::time::Instant::now() - self.0).as_nanos() as i64)
    }
}

#[derive(Clone)]
struct SimBackend(Arc<Sim>);

/// Serves every request in a fixed time, but takes up nothing while it is stalled; fails those it is told to.
struct Sim {
    clock: Arc<PausedClock>,
    service: Nanos,
    stall: (Nanos, Nanos),
    fails: Vec<u32>,
    /// Between tokens; none of them waits where it is zero.
    pace: Nanos,
}

impl Backend for SimBackend {
    fn info(&self) -> BackendInfo {
        BackendInfo { kind: "sim", dialect: "sim".into(), target: "sim".into(), shares_host: false, stamps: "simulated" }
    }
    fn version(&self) -> BoxFuture<'_, Result<EngineVersion, BackendError>> {
        Box::pin(async { Ok(EngineVersion::default()) })
    }
    fn probe(&self) -> BoxFuture<'_, Result<Capabilities, BackendError>> {
        Box::pin(async { Ok(Capabilities::default()) })
    }
    fn encoder(&self, _: &Offer) -> Arc<dyn Encoder> {
        Arc::new(Nothing)
    }
    fn open(&self, _: ShardId) -> BoxFuture<'_, Result<Box<dyn Channel>, BackendError>> {
        let sim = self.clone();
        Box::pin(async move { Ok(Box::new(sim) as Box<dyn Channel>) })
    }
    fn telemetry(&self) -> Option<Box<dyn Telemetry>> {
        None
    }
}

struct Nothing;

impl Encoder for Nothing {
    fn encode(&self, _: &Request, _: &[LiveTurn]) -> Result<Payload, String> {
        Ok(Payload::Ids(vec![]))
    }
}

impl Channel for SimBackend {
    fn generate<'a>(&'a mut self, request: &'a Prepared, events: &'a mut EventSink) -> BoxFuture<'a, Result<Finish, RequestError>> {
        Box::pin(async move {
            events.started();
            events.connected(Connection::New);
            events.sent(0, None);
            let Sim { clock, service, stall: (from, to), fails, pace } = &*self.0;
            let (now, from, to) = (clock.now(), *from, *to);
            // What comes inside the stall is served after it.
            let done = if now >= from && now < to { to + *service } else { now + *service };
            tokio::time::sleep((done - now).to_std()).await;
            if fails.contains(&request.request.id.0) {
                return Err(RequestError::new(Status::Http, ErrorCode::Http5xx));
            }
            let mut stamp = events.arrived(1, None);
            for token in 0..request.request.output_tokens {
                if token > 0 && *pace > Nanos::ZERO {
                    tokio::time::sleep(pace.to_std()).await;
                    stamp = events.arrived(1, None);
                }
                events.token(stamp, TokenEvent { kind: TokenKind::Visible, text: b"x", tokens: Some(1) });
            }
            Ok(Finish::default())
        })
    }
}

struct Case {
    rule: Rule,
    service: Nanos,
    stall: (Nanos, Nanos),
    fails: Vec<u32>,
    pace: Nanos,
    endpoints: usize,
    max_in_flight: usize,
    max_concurrency: usize,
    timeout: Nanos,
    stop_at: Option<Nanos>,
}

impl Case {
    fn new(source: Source, load: Load, limit: Limit) -> Self {
        let rule = Rule { source, load, speed: 1.0, warmup: Warmup::Time(Nanos::ZERO), limit, repeat: false, length: None, seed: 1 };
        Self {
            rule,
            service: Nanos::from_millis(50),
            stall: (Nanos::MAX, Nanos::MAX),
            fails: vec![],
            pace: Nanos::ZERO,
            endpoints: 1,
            max_in_flight: usize::MAX,
            max_concurrency: usize::MAX,
            timeout: Nanos::from_secs(100),
            stop_at: None,
        }
    }

    /// Runs the case on one shard and gives its records, in order of requests.
    fn run(self) -> Vec<RequestRecord> {
        self.run_to_the_end().0
    }

    /// The same, and whether a stop took something away.
    fn run_to_the_end(self) -> (Vec<RequestRecord>, bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let local = Rc::new(tokio::task::LocalSet::new());
        let (records, received) = sync_channel(1 << 16);
        let (stop_handle, stop) = StopHandle::new();
        let rule = self.rule.clone();
        let schedule = Schedule::new(self.rule).unwrap();
        let beside = local.clone();
        let end = local.block_on(&runtime, async move {
            let clock = Arc::new(PausedClock(tokio::time::Instant::now()));
            let sim = SimBackend(Arc::new(Sim {
                clock: clock.clone(),
                service: self.service,
                stall: self.stall,
                fails: self.fails,
                pace: self.pace,
            }));
            let backend: Arc<dyn Backend> = Arc::new(sim);
            let endpoints = Arc::new(Endpoints::new(&vec![backend; self.endpoints], &schedule, &Offer::default()));
            let streams = schedule.streams(ShardId(0), 1);
            let config = ShardConfig {
                shard: ShardId(0),
                endpoints: endpoints.clone(),
                clock,
                records,
                spare: sync_channel(0).1,
                live: Arc::new(Live::default()),
                timeouts: Timeouts { total: self.timeout, first_token: None },
                max_in_flight: self.max_in_flight,
                max_concurrency: self.max_concurrency,
                stop,
                uses_live: false,
                uses_first_token: crate::shard::waits_for_first_tokens(&schedule),
                lanes: if rule.load.is_closed() { streams.len() } else { 0 },
            };
            let supply = Supply::beside(&beside, Maker::new(streams, endpoints)).unwrap();
            let window = Arc::new(WindowState::new(Nanos::ZERO, rule.warmup, rule.limit, rule.load.is_closed()));
            tokio::task::spawn_local(async move {
                match self.stop_at {
                    Some(at) => {
                        tokio::time::sleep(at.to_std()).await;
                        stop_handle.stop();
                    }
                    // A handle that is gone could not be asked: it is kept.
                    None => std::future::pending().await,
                }
            });
            Shard::run(config, Opening { start: Nanos::ZERO, window }, supply, Pacer::Runtime).await
        });
        let mut records: Vec<RequestRecord> =
            received.into_iter().filter_map(|kept| if let Kept::Record(record) = kept { Some(*record) } else { None }).collect();
        records.sort_by_key(|r| r.request);
        assert_eq!(records.len() as u64, end.scheduled, "every request whose due came has a record");
        (records, end.cut)
    }
}

fn report(records: Vec<RequestRecord>, limit: Limit) -> RunReport {
    let facts = RunFacts {
        stop: Nanos::from_secs(200),
        limit,
        scheduled: records.len() as u64,
        offered_rate_per_s: Some(100.0),
        exact_length: true,
        classes: vec!["default".into()],
        ..RunFacts::default()
    };
    fold(&facts, records, &[], &[])
}

fn fixed() -> Source {
    Source::Fixed { input_tokens: 8, output_tokens: 2 }
}

fn seconds(s: i64) -> Limit {
    Limit { duration: Some(Nanos::from_secs(s)), requests: None }
}

/// A stall of ten seconds in a run of a hundred: whoever counts from the moment of sending, or waits before sending, sees almost
/// nothing of it. 10 % of the requests are due in the stall and wait between 10.05 and 0.05 s, so p95 = 5.05 s and p99 = 9.05 s.
#[test]
fn a_stall_is_seen_in_full() {
    let load = Load::Arrivals { process: ArrivalProcess::Constant, rate_per_s: 100.0 };
    let mut case = Case::new(fixed(), load, seconds(100));
    case.stall = (Nanos::from_secs(40), Nanos::from_secs(50));
    let records = case.run();
    assert_eq!(records.len(), 10_000);
    let report = report(records, seconds(100));
    let ttft = |stat| report.get("ttft", stat, Population::Ok).and_then(|r| r.value).unwrap() / 1e9;
    // The runtime's timer has steps of a millisecond.
    for (stat, expect) in [(Stat::P50, 0.050), (Stat::P95, 5.05), (Stat::P99, 9.05)] {
        assert!((ttft(stat) - expect).abs() < 0.02, "{stat:?}: {} instead of {expect}", ttft(stat));
    }
    let lag = report.get("dispatch_lag", Stat::P99, Population::Ok).and_then(|r| r.value).unwrap();
    assert!(lag < 2e6, "nothing was held back: lag p99 {lag} ns");
}

#[test]
fn over_the_bound_requests_are_dropped_and_recorded() {
    let load = Load::Arrivals { process: ArrivalProcess::Constant, rate_per_s: 100.0 };
    let mut case = Case::new(fixed(), load, seconds(1));
    case.service = Nanos::from_millis(500);
    case.max_in_flight = 10;
    let records = case.run();
    let dropped = records.iter().filter(|r| r.status == Status::Dropped).count();
    assert_eq!((records.len(), dropped), (100, 80), "two batches of ten are served in a second");
    assert!(
        records.iter().filter(|r| r.status == Status::Dropped).all(|r| r.at.start.is_none() && r.error == Some(ErrorCode::InFlightBound))
    );
}

#[test]
fn every_record_tells_its_endpoint() {
    let load = Load::Arrivals { process: ArrivalProcess::Constant, rate_per_s: 100.0 };
    let mut case = Case::new(fixed(), load, seconds(1));
    case.service = Nanos::from_millis(500);
    (case.max_in_flight, case.endpoints) = (10, 3);
    let records = case.run();
    assert!(records.iter().any(|r| r.status == Status::Dropped), "also those that were not sent");
    assert!(records.iter().all(|r| u32::from(r.endpoint) == r.request.0 % 3));
}

#[test]
fn a_cap_makes_requests_wait_with_their_clock_running() {
    let load = Load::Arrivals { process: ArrivalProcess::Constant, rate_per_s: 100.0 };
    let mut case = Case::new(fixed(), load, seconds(1));
    case.service = Nanos::from_millis(100);
    case.max_concurrency = 5;
    let records = case.run();
    assert!(records.iter().all(RequestRecord::is_ok), "nothing is dropped");
    let last = records.last().unwrap().ttft().unwrap();
    // 100 requests at 50 a second take two seconds; the last was due after one.
    assert!((last.as_secs_f64() - 1.01).abs() < 0.05, "{last}");
    assert!(records.iter().all(|r| r.dispatch_lag().unwrap() < Nanos::from_millis(3)), "waiting is not our lag");
}

#[test]
fn lanes_go_on_after_an_end_and_after_a_failure() {
    let load = Load::Closed { concurrency: 2, think: Nanos::from_millis(30) };
    let mut case = Case::new(fixed(), load, Limit { duration: None, requests: Some(8) });
    case.fails = vec![2];
    let records = case.run();
    assert_eq!(records.len(), 8);
    let due = |i: usize| (records[i].at.due.0 + 500_000) / 1_000_000;
    assert_eq!(records.iter().map(|r| r.lane.unwrap().0).collect::<Vec<_>>(), [0, 1, 0, 1, 0, 1, 0, 1]);
    let near = |i: usize, ms: i64| assert!((due(i) - ms).abs() <= 3, "request {i} is due at {} ms, not {ms}", due(i));
    [(0, 0), (1, 0), (2, 80), (3, 80), (5, 160), (7, 240)].into_iter().for_each(|(i, ms)| near(i, ms));
    // Request 2 failed at 130 ms: its lane goes on 100 ms later, not after the 30 ms of thinking.
    near(4, 230);
}

#[test]
fn timeouts_are_rows() {
    let load = Load::Arrivals { process: ArrivalProcess::Constant, rate_per_s: 10.0 };
    let mut case = Case::new(fixed(), load, seconds(1));
    case.stall = (Nanos::ZERO, Nanos::from_secs(50));
    case.timeout = Nanos::from_secs(2);
    let records = case.run();
    assert_eq!(records.len(), 10);
    assert!(records.iter().all(|r| r.status == Status::Timeout && r.error == Some(ErrorCode::TotalTimeout) && r.at.sent.is_some()));
}

#[test]
fn a_stop_cuts_only_what_it_takes_away() {
    let cut = |service_ms, stop_ms| {
        let load = Load::Arrivals { process: ArrivalProcess::Constant, rate_per_s: 10.0 };
        let mut case = Case::new(fixed(), load, seconds(2));
        case.service = Nanos::from_millis(service_ms);
        case.stop_at = Some(Nanos::from_millis(stop_ms));
        let (records, cut) = case.run_to_the_end();
        (records.iter().filter(|r| r.is_ok()).count(), records.iter().filter(|r| r.status == Status::Cancelled).count(), cut)
    };
    assert_eq!(cut(500, 1_050), (11, 0, true), "in the window: what was in flight ends within the grace");
    assert_eq!(cut(500, 2_050), (20, 0, false), "in the drain, and all of it ends");
    assert_eq!(cut(5_000, 2_050), (0, 20, true), "in the drain, but it would take longer than the grace");
}

fn conversation() -> Arc<Trace> {
    let request = |at_ms: i64, session: u32, turn: u16, after: Vec<Edge>| TraceRequest {
        at: Some(Nanos::from_millis(at_ms)),
        after,
        session: Some(SessionId(session)),
        turn,
        ..TraceRequest::new(nomoat_core::prompt::Prompt::Ids(Arc::new([1, 2])), 2, 2)
    };
    let edge = |request: u32, on| Edge { on, ..Edge::after_end(RequestId(request), Nanos::from_millis(20), Cause::Think) };
    let requests = vec![
        request(0, 0, 0, vec![]),
        request(10, 1, 0, vec![]),
        request(70, 0, 1, vec![edge(0, Moment::End)]),
        request(80, 1, 1, vec![edge(1, Moment::End)]),
        request(140, 1, 2, vec![edge(3, Moment::End)]),
        request(150, 0, 2, vec![edge(2, Moment::FirstToken)]),
    ];
    Arc::new(Trace { name: "made up".into(), requests, ..Trace::default() })
}

#[test]
fn users_go_away_when_the_trace_says() {
    let leaves = |cancel| TraceRequest {
        at: Some(Nanos::ZERO),
        cancel,
        ..TraceRequest::new(nomoat_core::prompt::Prompt::Ids(Arc::new([1])), 1, 10)
    };
    let waits = TraceRequest { after: vec![Edge::after_end(RequestId(1), Nanos::ZERO, Cause::Think)], ..leaves(None) };
    let requests = vec![
        leaves(None),
        leaves(Some(Cancel::After(Nanos::from_millis(20)))),
        leaves(Some(Cancel::FirstToken)),
        leaves(Some(Cancel::Tokens(4))),
        leaves(Some(Cancel::After(Nanos::from_secs(9)))),
        waits,
    ];
    let source = Source::Trace(Arc::new(Trace { requests, ..Trace::default() }));
    let mut case = Case::new(source, Load::Replay, Limit::default());
    case.pace = Nanos::from_millis(10);
    let records = case.run();
    // The first token comes after 50 ms, the tenth after 140.
    let seen: Vec<_> = records.iter().map(|r| (r.status, r.error, r.at.end.unwrap().0 / 1_000_000, r.chunk_tokens.len())).collect();
    let left = (Status::Cancelled, Some(ErrorCode::ByTrace));
    assert_eq!(
        seen,
        [
            (Status::Ok, None, 140, 10),
            (left.0, left.1, 20, 0),
            (left.0, left.1, 50, 1),
            (left.0, left.1, 80, 4),
            (Status::Ok, None, 140, 10),
            (Status::NotRun, Some(ErrorCode::Parent), 20, 0),
        ]
    );
    let report = report(records, Limit::default());
    let counts = &report.counts;
    assert_eq!((counts.measured, counts.ok, counts.failed, counts.left), (6, 2, 1, 3));
}

/// A session that forks and joins, twice, in one lane.
#[test]
fn lanes_run_branches_beside_each_other() {
    let request = |session: u32, after: &[(u32, i64)]| TraceRequest {
        session: Some(SessionId(session)),
        after: after.iter().map(|(of, ms)| Edge::after_end(RequestId(*of), Nanos::from_millis(*ms), Cause::Tool)).collect(),
        ..TraceRequest::new(nomoat_core::prompt::Prompt::Ids(Arc::new([1])), 1, 1)
    };
    let session = |session: u32, base: u32| {
        [
            request(session, &[]),
            request(session, &[(base, 300)]),
            request(session, &[(base, 10)]),
            request(session, &[(base + 1, 5), (base + 2, 5)]),
        ]
    };
    let requests: Vec<_> = session(0, 0).into_iter().chain(session(1, 4)).collect();
    let source = Source::Trace(Arc::new(Trace { requests, ..Trace::default() }));
    let records = Case::new(source, Load::Closed { concurrency: 1, think: Nanos::from_millis(7) }, Limit::default()).run();
    let starts: Vec<_> = records.iter().map(|r| r.at.start.unwrap().0 / 1_000_000).collect();
    // 50 ms each: the second branch does not wait for the first, which a tool holds up.
    assert_eq!(starts, [0, 350, 60, 405, 462, 812, 522, 867]);
    assert!(records.iter().all(RequestRecord::is_ok));
}

#[test]
fn turns_follow_their_turns_and_pass_on_failure() {
    let mut case = Case::new(Source::Trace(conversation()), Load::Replay, Limit::default());
    case.fails = vec![1];
    let records = case.run();
    let status: Vec<Status> = records.iter().map(|r| r.status).collect();
    assert_eq!(status, [Status::Ok, Status::Http, Status::Ok, Status::NotRun, Status::NotRun, Status::Ok]);
    assert!(records.iter().all(|r| r.phase == Phase::Measure));
    for (child, parent) in [(2, 0), (5, 2)] {
        let gap = records[child].at.due - records[parent].at.first_token.unwrap();
        assert!((gap - Nanos::from_millis(20)).0.abs() <= 3_000_000, "request {child} came {gap} after");
    }
}

/// Keeps nothing; for the trait's sake.
struct Null;

impl RecordSink for Null {
    fn push(&mut self, _: &RequestRecord) -> std::io::Result<()> {
        Err(std::io::Error::other("disk full"))
    }
    fn push_sample(&mut self, _: &nomoat_core::sample::Sample) -> std::io::Result<()> {
        Ok(())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_sink_that_fails_stops_the_run() {
    let (handle, stop) = StopHandle::new();
    let (collector, records) = crate::collect::Collector::start(Box::new(Null), Arc::default(), handle, vec![]).unwrap();
    records.send(Kept::Record(Box::default())).unwrap();
    drop(records);
    assert!(collector.finish().unwrap_err().to_string().contains("disk full"));
    assert!(stop.asked());
}
