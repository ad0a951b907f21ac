//! The fold of one million records with sixteen gaps each, in schedule order as a stored run has them. It should stay below one
//! second; a run that drifts may take longer.

use criterion::{Criterion, criterion_group, criterion_main};
use nomoat_core::fold::fold;
use nomoat_core::record::{Connection, CountSource, Moments, Phase, RequestRecord, Tokens};
use nomoat_core::report::RunFacts;
use nomoat_core::request::{RequestId, ShardId};
use nomoat_core::rng::Stream;
use nomoat_core::schedule::Limit;
use nomoat_core::slo::Slo;
use nomoat_core::units::Nanos;
use std::hint::black_box;

const RECORDS: u32 = 1_000_000;
const CHUNKS: usize = 17;

/// Answers at 1,000 requests per second, 50 ms to the first token and 10 ms from chunk to chunk, both with exponential noise.
fn records() -> Vec<RequestRecord> {
    let mut random = Stream::new(1, "bench");
    let mut noisy = |ms: f64| Nanos::from_secs_f64((ms / 2.0 + ms / 2.0 * random.exponential()) / 1e3);
    let record = |id: u32| {
        let due = Nanos::from_millis(i64::from(id));
        let start = due + noisy(0.05);
        let first = start + noisy(50.0);
        let gaps: Vec<i64> = (0..CHUNKS).map(|i| if i == 0 { 0 } else { noisy(10.0).0 }).collect();
        let last = first + Nanos(gaps.iter().sum());
        let at = Moments {
            due,
            start: Some(start),
            conn_ready: Some(start),
            sent: Some(start + Nanos(20_000)),
            headers: Some(first),
            first_byte: Some(first),
            first_token: Some(first),
            first_visible: Some(first),
            last_token: Some(last),
            end: Some(last + Nanos(50_000)),
            ..Moments::default()
        };
        let tokens = Tokens {
            input: Some(1_000),
            output: Some(CHUNKS as u32),
            wanted: CHUNKS as u32,
            wanted_input: 1_000,
            input_source: CountSource::Usage,
            output_source: CountSource::Usage,
            chunk_source: CountSource::Usage,
            ..Tokens::default()
        };
        RequestRecord {
            request: RequestId(id),
            shard: ShardId((id % 4) as u16),
            phase: if id < 10_000 { Phase::Warmup } else { Phase::Measure },
            at,
            chunk_gaps: gaps,
            chunk_tokens: vec![1; CHUNKS],
            tokens,
            connection: Connection::Reused,
            ..RequestRecord::default()
        }
    };
    (0..RECORDS).map(record).collect()
}

fn bench(c: &mut Criterion) {
    let mut records = records();
    let slo = Slo { ttft: Some(Nanos::from_millis(200)), tpot: Some(Nanos::from_millis(20)), e2e: None };
    let facts = RunFacts { scheduled: u64::from(RECORDS), slo, ..RunFacts::default() };
    let mut group = c.benchmark_group("fold/1M records");
    group.sample_size(10);
    for (name, limit) in [
        ("by duration", Limit { duration: Some(Nanos::from_secs(1_000)), requests: None }),
        ("by count", Limit { duration: None, requests: Some(RECORDS - 10_000) }),
    ] {
        let facts = RunFacts { limit, warmup: nomoat_core::schedule::Warmup::Requests(10_000), ..facts.clone() };
        group.bench_function(name, |b| b.iter(|| fold(&facts, black_box(&records), &[], &[])));
    }
    // An endpoint that falls behind: every indicator stays correlated up to the longest lag.
    for (i, record) in records.iter_mut().enumerate() {
        let behind = Nanos(i as i64 * 10_000);
        for at in [&mut record.at.first_token, &mut record.at.first_visible, &mut record.at.first_byte, &mut record.at.last_token] {
            *at = at.map(|at| at + behind);
        }
    }
    group.bench_function("falling behind", |b| b.iter(|| fold(&facts, black_box(&records), &[], &[])));
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
