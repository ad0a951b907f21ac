//! How fast the engine is without the harness: decode at several batch sizes, prefill, and whole requests.
//!
//! `cargo bench -p nomoat-local -- --quick`. Throughput is in tokens computed per second.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nomoat_local::LocalConfig;
use nomoat_local::capacity::{Load, measure};
use nomoat_local::engine::Engine;
use nomoat_local::kernels::Kernel;
use nomoat_local::scheduler::Ask;
use std::time::{Duration, Instant};

fn engine(kernel: Kernel) -> Engine {
    Engine::new(&LocalConfig { threads: 1, ..LocalConfig::default() }, kernel, || ()).expect("the default can run")
}

fn ask(number: u32, prompt: u32, max_tokens: u32) -> Ask {
    Ask { prompt: (0..prompt).map(|i| 16 + (i * 31 + number * 17) % 2000).collect(), max_tokens, exact: true }
}

/// One step in which `batch` sequences of some 100 tokens get their next token.
fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for kernel in Kernel::available() {
        for batch in [1_u32, 8, 32] {
            group.throughput(Throughput::Elements(batch.into()));
            group.bench_function(BenchmarkId::new(kernel.name(), batch), |bencher| {
                bencher.iter_custom(|iterations| {
                    let mut spent = Duration::ZERO;
                    let mut engine = engine(kernel);
                    for _ in 0..iterations {
                        if engine.is_idle() {
                            for number in 0..batch {
                                engine.submit(ask(number, 64, 72)).expect("it fits");
                            }
                            while engine.produced().len() < batch as usize {
                                engine.step();
                            }
                        }
                        let begin = Instant::now();
                        engine.step();
                        spent += begin.elapsed();
                    }
                    spent
                });
            });
        }
    }
    group.finish();
}

/// A prompt of 256 tokens in one step, with its first token.
fn prefill(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("prefill");
    group.throughput(Throughput::Elements(256));
    for kernel in Kernel::available() {
        let mut engine = engine(kernel);
        group.bench_function(BenchmarkId::new(kernel.name(), 256), |bencher| {
            bencher.iter_batched(
                || ask(1, 256, 1),
                |ask| {
                    engine.submit(ask).expect("it fits");
                    engine.step()
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// Whole requests of 64 tokens in and 24 out, eight at a time. The figure is printed by the probe's own arithmetic, because what
/// matters is the sustained rate and not the time of one call.
fn requests(_: &mut Criterion) {
    for kernel in Kernel::available() {
        for concurrency in [1, 8, 32] {
            let load = Load { budget: Duration::from_secs(1), input_tokens: 64, output_tokens: 24, concurrency };
            let capacity = measure(&mut engine(kernel), load).expect("a second is enough");
            println!(
                "requests/{}/{concurrency}: {:.1} requests/s, {:.0} generated tokens/s",
                kernel.name(),
                capacity.requests_per_s,
                capacity.tokens_per_s
            );
        }
    }
}

criterion_group!(benches, decode, prefill, requests);
criterion_main!(benches);
