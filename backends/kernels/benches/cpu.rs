//! What the kernels of the host's processor do, with the bytes or operations that a run costs at least.
//!
//! `cargo bench -p nomoat-kernels --bench cpu -- --quick`. One thread for each core, operands beyond the last cache.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nomoat_kernels::dims::Dims;
use nomoat_kernels::dims::Dtype::{self, Bf16, F32, I32};
use nomoat_kernels::fill::{to_bf16, uniform};
use nomoat_kernels::host::Host;
use nomoat_kernels::kernel::Native;
use nomoat_kernels::native::{gemv, memory};
use rayon::ThreadPool;
use std::time::Duration;

/// One shape of one kernel.
struct Case {
    kernel: &'static str,
    dims: Dims,
    native: Native,
    operands: Vec<Host>,
    cost: Throughput,
}

/// Random numbers of a type in (−1, 1).
fn random(dtype: Dtype, len: usize) -> Host {
    let mut host = Host::new(dtype, len);
    // Repeated: making them must not take longer than measuring.
    let values: Vec<f32> = (0..len.min(1 << 16)).map(|i| uniform(i as u64, 7, 1.0)).collect();
    match dtype {
        Bf16 => host.bf16_mut().iter_mut().zip(values.iter().cycle()).for_each(|(to, value)| *to = to_bf16(*value)),
        F32 => host.f32_mut().iter_mut().zip(values.iter().cycle()).for_each(|(to, value)| *to = *value),
        I32 => unreachable!("integers are given one by one"),
    }
    host
}

/// Room for a result.
fn room(dtype: Dtype, len: usize) -> Host {
    Host::new(dtype, len)
}

fn bytes(operands: &[Host]) -> Throughput {
    Throughput::Bytes(operands.iter().map(|operand| operand.bytes().len() as u64).sum())
}

fn memories(n: usize) -> Vec<Case> {
    let dims = Dims::new(F32, &[("N", n)]);
    let case = |kernel, native, operands: Vec<Host>| Case { kernel, dims: dims.clone(), native, cost: bytes(&operands), operands };
    vec![
        case("copy", memory::copy, vec![random(F32, n), room(F32, n)]),
        case("triad", memory::triad, vec![random(F32, n), random(F32, n), room(F32, n)]),
        case("read", memory::read, vec![random(F32, n), room(F32, n.div_ceil(1 << 16))]),
    ]
}

fn gemv(b: usize, n: usize, k: usize) -> Case {
    let operands = vec![random(Bf16, b * k), random(Bf16, n * k), room(F32, b * n)];
    let dims = Dims::new(Bf16, &[("B", b), ("N", n), ("K", k)]);
    Case { kernel: "gemv", dims, native: gemv::native, cost: bytes(&operands), operands }
}

fn run(criterion: &mut Criterion, pool: &ThreadPool, case: Case) {
    let Case { kernel, dims, native, mut operands, cost } = case;
    let mut group = criterion.benchmark_group(kernel);
    group.throughput(cost).sample_size(10).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(300));
    group.bench_function(BenchmarkId::from_parameter(dims.to_string()), |bencher| bencher.iter(|| native(&dims, &mut operands, pool)));
    group.finish();
}

fn all(criterion: &mut Criterion) {
    let pool = rayon::ThreadPoolBuilder::new().build().expect("the system gives a thread for each core");
    let cases: Vec<fn() -> Vec<Case>> = vec![|| memories(32 << 20), || [1, 4, 16].map(|b| gemv(b, 10240, 8192)).into()];
    // One after the other: together they need more memory than small machines have.
    cases.into_iter().flat_map(|make| make()).for_each(|case| run(criterion, &pool, case));
}

criterion_group!(cpu, all);
criterion_main!(cpu);
