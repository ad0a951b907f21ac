//! Operands and comparisons for the tests of kernels.

use super::simd::Isa;
use crate::dims::Dtype;
use crate::fill::{from_bf16, to_bf16, uniform};
use crate::host::Host;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Calls `check` for every instruction set of this CPU with one, two and three threads.
pub(super) fn everywhere(check: impl Fn(Isa, &ThreadPool)) {
    for threads in 1..=3 {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        Isa::available().into_iter().for_each(|isa| check(isa, &pool));
    }
}

/// Singles uniform in (−1, 1).
pub(super) fn singles(len: usize, seed: u32) -> Host {
    let mut host = Host::new(Dtype::F32, len);
    host.f32_mut().iter_mut().enumerate().for_each(|(i, value)| *value = uniform(i as u64, seed, 1.0));
    host
}

/// bf16 uniform in (−1, 1).
pub(super) fn halves(len: usize, seed: u32) -> Host {
    let mut host = Host::new(Dtype::Bf16, len);
    host.bf16_mut().iter_mut().enumerate().for_each(|(i, value)| *value = to_bf16(uniform(i as u64, seed, 1.0)));
    host
}

/// These integers.
pub(super) fn ints(values: &[i32]) -> Host {
    let mut host = Host::new(Dtype::I32, values.len());
    host.i32_mut().copy_from_slice(values);
    host
}

/// Room that holds what no kernel may leave there.
pub(super) fn poison(dtype: Dtype, len: usize) -> Host {
    let mut host = Host::new(dtype, len);
    host.bytes_mut().fill(0xFF);
    host
}

/// An operand's elements as numbers.
pub(super) fn numbers(host: &Host) -> Vec<f64> {
    match host.dtype {
        Dtype::Bf16 => host.bf16().iter().map(|bits| f64::from(from_bf16(*bits))).collect(),
        Dtype::F32 => host.f32().iter().map(|value| f64::from(*value)).collect(),
        Dtype::I32 => host.i32().iter().map(|value| f64::from(*value)).collect(),
    }
}

/// Holds numbers against the right ones by the L2 norm of their difference.
pub(super) fn close(what: &str, got: &[f64], right: &[f64], tolerance: f64) {
    assert_eq!(got.len(), right.len(), "{what}");
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
    let error = square(&mut got.iter().zip(right).map(|(got, right)| got - right));
    let norm = square(&mut right.iter().copied());
    assert!(error <= tolerance * tolerance * norm, "{what}: relative error {} (limit {tolerance})", (error / norm).sqrt());
}
