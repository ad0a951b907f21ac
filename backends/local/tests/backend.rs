//! The engine behind the traits of the harness, with its real threads.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use nomoat_core::backend::{Backend, BackendError, Channel, Prepared};
use nomoat_core::clock::ManualClock;
use nomoat_core::event::EventSink;
use nomoat_core::prompt::{BlockPrompt, Prompt};
use nomoat_core::record::{FinishReason, RequestRecord, Status, Tokens};
use nomoat_core::request::{Request, RequestId, ShardId};
use nomoat_core::sample::names;
use nomoat_local::{LocalBackend, LocalConfig};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

fn micro() -> LocalConfig {
    LocalConfig { preset: "micro".into(), pool_blocks: 64, threads: 1, max_batch_tokens: 32, max_running: 16, ..LocalConfig::default() }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn prepared(backend: &LocalBackend, number: u32, input_tokens: u32, output_tokens: u32) -> Prepared {
    let request =
        Request::new(RequestId(number), Prompt::Blocks(BlockPrompt::unique(1, number.into(), input_tokens)), input_tokens, output_tokens);
    let payload = backend.encoder(&nomoat_core::backend::Offer::default()).encode(&request, &[]).unwrap();
    Prepared { request, payload }
}

fn sink(wanted: u32) -> EventSink {
    let mut sink = EventSink::new(Arc::new(ManualClock::default()), Arc::default());
    sink.begin(RequestRecord { tokens: Tokens { wanted, ..Tokens::default() }, ..RequestRecord::default() }, true);
    sink
}

async fn record(channel: &mut dyn Channel, prepared: &Prepared) -> (RequestRecord, String) {
    let mut events = sink(prepared.request.output_tokens);
    let outcome = channel.generate(prepared, &mut events).await;
    let (record, text) = events.finish(outcome, true);
    (record, text.unwrap())
}

async fn gauge(backend: &LocalBackend, name: &str) -> f64 {
    let samples = backend.telemetry().unwrap().sample().await.unwrap();
    samples.iter().find(|sample| sample.metric == name).unwrap_or_else(|| panic!("{name} is missing")).value
}

#[test]
fn a_request_is_answered_in_full_and_counted() {
    block_on(async {
        let backend = LocalBackend::new(micro()).unwrap();
        let mut channel = backend.open(ShardId(0)).await.unwrap();
        let (first, text) = record(&mut *channel, &prepared(&backend, 1, 20, 24)).await;
        assert_eq!((first.status, first.finish), (Status::Ok, Some(FinishReason::Length)));
        assert_eq!((first.tokens.input, first.tokens.output), (Some(20), Some(24)));
        assert_eq!((first.chunk_tokens.len(), text.chars().count()), (24, 24));
        let (again, _) = record(&mut *channel, &prepared(&backend, 1, 20, 24)).await;
        let (other, _) = record(&mut *channel, &prepared(&backend, 2, 20, 24)).await;
        assert_eq!(first.output_hash, again.output_hash);
        assert_ne!(first.output_hash, other.output_hash);
        assert_eq!(gauge(&backend, names::PROMPT_TOKENS).await, 60.0);
        assert_eq!(gauge(&backend, names::GENERATION_TOKENS).await, 72.0);
        assert_eq!(gauge(&backend, names::KV_USED_BYTES).await, 0.0);
        assert_eq!(gauge(&backend, names::KV_CAPACITY_TOKENS).await, 1024.0);
        assert_eq!(gauge(&backend, names::KV_CAPACITY_BYTES).await, backend.preset().geometry().bytes_in_blocks(1024, 16));
        assert_eq!(backend.pool().peak_blocks, 3, "43 tokens of one request at a time");
    });
}

#[test]
fn many_requests_in_a_short_pool_are_all_answered_and_each_token_is_counted_once() {
    block_on(async {
        let backend = LocalBackend::new(LocalConfig { pool_blocks: 9, ..micro() }).unwrap();
        let requests: Vec<Prepared> = (0..12).map(|n| prepared(&backend, n, 10 + n * 7, 5 + n * 3)).collect();
        let mut alone = vec![];
        let mut channel = backend.open(ShardId(0)).await.unwrap();
        for request in &requests {
            alone.push(record(&mut *channel, request).await.0.output_hash);
        }
        let mut waiting = vec![];
        for request in requests.clone() {
            let mut channel = backend.open(ShardId(0)).await.unwrap();
            waiting.push(Box::pin(async move { record(&mut *channel, &request).await.0 }));
        }
        let mut done: Vec<Option<RequestRecord>> = requests.iter().map(|_| None).collect();
        poll_fn(|context| {
            for (future, done) in waiting.iter_mut().zip(&mut done) {
                if done.is_none()
                    && let Poll::Ready(record) = future.as_mut().poll(context)
                {
                    *done = Some(record);
                }
            }
            if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        for ((request, record), alone) in requests.iter().zip(done.iter().flatten()).zip(&alone) {
            assert_eq!((record.status, record.tokens.output), (Status::Ok, Some(request.request.output_tokens)));
            assert_eq!(record.output_hash, *alone, "together as alone");
        }
        let sum = |of: fn(&Request) -> u32| requests.iter().map(|one| 2.0 * f64::from(of(&one.request))).sum::<f64>();
        assert_eq!(gauge(&backend, names::GENERATION_TOKENS).await, sum(|request| request.output_tokens));
        assert_eq!(gauge(&backend, names::PROMPT_TOKENS).await, sum(|request| request.input_tokens));
        assert_eq!(gauge(&backend, names::KV_USED_FRACTION).await, 0.0);
    });
}

#[test]
fn dropping_the_future_cancels_in_the_engine() {
    block_on(async {
        let backend = LocalBackend::new(micro()).unwrap();
        let mut channel = backend.open(ShardId(0)).await.unwrap();
        let long = prepared(&backend, 1, 30, 220);
        for _ in 0..3 {
            let mut events = sink(220);
            let seen = events.first_token_flag();
            let mut generating = channel.generate(&long, &mut events);
            // Wakes with every token, and is dropped at the first.
            poll_fn(|context| {
                let ended = generating.as_mut().poll(context).is_ready();
                if ended || seen.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            drop(generating);
            // The engine lets go of the abandoned before it computes anything else.
            let (next, _) = record(&mut *channel, &prepared(&backend, 2, 5, 2)).await;
            assert_eq!(next.status, Status::Ok);
            assert_eq!(gauge(&backend, names::KV_USED_BYTES).await, 0.0);
            assert_eq!(gauge(&backend, names::RUNNING).await + gauge(&backend, names::WAITING).await, 0.0);
        }
    });
}

#[test]
fn it_says_what_it_is() {
    block_on(async {
        let backend = LocalBackend::new(micro()).unwrap();
        let info = backend.info();
        assert_eq!((info.kind, info.dialect.as_str(), info.shares_host), ("local", "nomoat-cpu", true));
        let version = backend.version().await.unwrap();
        assert!(version.version.starts_with(concat!(env!("CARGO_PKG_VERSION"), " micro ")), "{version:?}");
        let can = backend.probe().await.unwrap();
        assert_eq!((can.model.as_str(), can.context_tokens, can.geometry), ("micro", Some(256), Some(backend.preset().geometry())));
        assert!(can.exact_length && can.token_ids && can.usage);
    });
}

#[test]
fn a_wrong_preset_is_a_setting_to_correct() {
    let wrong = LocalBackend::new(LocalConfig { preset: "tinny".into(), ..LocalConfig::default() });
    let Err(BackendError::Config(message)) = wrong else { panic!("an unknown preset was accepted") };
    assert!(message.contains("did you mean `tiny`"), "{message}");
}

#[test]
fn capacity_is_found_and_leaves_the_counters_alone() {
    let backend = LocalBackend::new(micro()).unwrap();
    let capacity = backend.probe_capacity(Duration::from_millis(100), (20, 4), 4).unwrap();
    assert!(capacity.requests_per_s > 0.0 && capacity.tokens_per_s > capacity.requests_per_s);
    assert!(matches!(backend.probe_capacity(Duration::from_millis(10), (200, 100), 4), Err(BackendError::Config(_))));
    block_on(async {
        for name in [names::PROMPT_TOKENS, names::GENERATION_TOKENS, names::PREEMPTIONS, names::KV_USED_BYTES] {
            assert_eq!(gauge(&backend, name).await, 0.0, "{name}");
        }
    });
}
