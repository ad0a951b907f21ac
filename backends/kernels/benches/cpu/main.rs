//! What the kernels of the host's processor do, with the bytes or operations that a run costs at least.
//!
//! `cargo bench -p nomoat-kernels --bench cpu -- --quick`. One thread for each core, operands beyond the last cache.

mod cases;

use cases::{ALL, Case, Cost};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rayon::ThreadPool;
use std::time::Duration;

fn run(criterion: &mut Criterion, pool: &ThreadPool, case: Case) {
    let Case { kernel, dims, native, mut operands, cost } = case;
    let cost = match cost {
        Cost::Bytes(bytes) => Throughput::Bytes(bytes),
        Cost::Operations(operations) => Throughput::Elements(operations),
    };
    let mut group = criterion.benchmark_group(kernel);
    group.throughput(cost).sample_size(10).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(300));
    group.bench_function(BenchmarkId::from_parameter(dims.to_string()), |bencher| bencher.iter(|| native(&dims, &mut operands, pool)));
    group.finish();
}

fn all(criterion: &mut Criterion) {
    let pool = rayon::ThreadPoolBuilder::new().build().expect("the system gives a thread for each core");
    ALL.iter().flat_map(|make| make()).for_each(|case| run(criterion, &pool, case));
}

criterion_group!(cpu, all);
criterion_main!(cpu);
