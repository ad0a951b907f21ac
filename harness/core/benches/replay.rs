//! What a replay costs before it starts and off the measured path: prompts from identity, the schedule, what a prefix cache finds.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nomoat_core::arrival::ArrivalProcess;
use nomoat_core::prompt::{Alphabet, BlockPrompt, BlockRange, Prompt};
use nomoat_core::request::ShardId;
use nomoat_core::reuse::{Recency, Unbounded, pieces};
use nomoat_core::schedule::{Limit, Load, Rule, Schedule, Source, Warmup};
use nomoat_core::trace::{Trace, TraceRequest};
use nomoat_core::units::Nanos;
use std::hint::black_box;
use std::sync::Arc;

/// A prompt of an hour's trace: one shared block, then a run of its own.
fn prompt(index: u64, blocks: u32) -> Prompt {
    let own = BlockRange { first: 1 + index * 40, count: blocks - 1 };
    Prompt::Blocks(BlockPrompt {
        namespace: 0,
        block_tokens: 512,
        blocks: [BlockRange { first: 0, count: 1 }, own].into(),
        tokens: 512 * blocks,
        unshared: index,
    })
}

fn expand(c: &mut Criterion) {
    let mut group = c.benchmark_group("prompt");
    group.throughput(Throughput::Elements(24 * 512));
    let prompt = prompt(7, 24);
    let mut ids = Vec::with_capacity(24 * 512);
    group.bench_function("ids", |b| {
        b.iter(|| {
            ids.clear();
            black_box(&prompt).expand(1, Alphabet { first: 300, size: 1024 }, &mut ids);
            ids.len()
        });
    });
    group.finish();
}

fn reuse(c: &mut Criterion) {
    // As many block references as the published conversation trace has in an hour.
    let trace = Trace::default();
    let prompts: Vec<_> = (0..12_000).map(|i| pieces(&trace, &prompt(i % 9_000, 24)).expect("by identity")).collect();
    let mut group = c.benchmark_group("reuse");
    group.sample_size(10);
    group.throughput(Throughput::Elements(12_000 * 24));
    group.bench_function("every size of a cache", |b| {
        b.iter(|| {
            let mut cache = Recency::new(512);
            prompts.iter().map(|p| cache.look_up(p).leading(10_000)).sum::<u64>()
        });
    });
    group.bench_function("blocks of 16", |b| {
        b.iter(|| {
            let mut cache = Unbounded::new(16);
            prompts.iter().map(|p| cache.look_up(p)).sum::<u64>()
        });
    });
    group.finish();
}

fn schedule(c: &mut Criterion) {
    const N: usize = 1_000_000;
    let one = |i: usize| TraceRequest {
        at: Some(Nanos::from_micros(1_000 * i as i64)),
        ..TraceRequest::new(Prompt::Blocks(BlockPrompt::unique(0, i as u64, 100)), 100, 10)
    };
    let trace = Arc::new(Trace { requests: (0..N).map(one).collect(), ..Trace::default() });
    let mut group = c.benchmark_group("schedule of a million");
    group.sample_size(10);
    group.throughput(Throughput::Elements(N as u64));
    for (name, load) in [("recorded", Load::Replay), ("poisson", Load::Arrivals { process: ArrivalProcess::Poisson, rate_per_s: 1_000.0 })]
    {
        let rule = Rule {
            source: Source::Trace(trace.clone()),
            load,
            speed: 1.0,
            warmup: Warmup::Time(Nanos::ZERO),
            limit: Limit::default(),
            repeat: false,
            length: None,
            seed: 1,
        };
        group.bench_function(name, |b| {
            b.iter(|| {
                let schedule = Schedule::new(rule.clone()).expect("it has arrivals");
                schedule.streams(ShardId(0), 1).into_iter().flatten().count()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, expand, reuse, schedule);
criterion_main!(benches);
