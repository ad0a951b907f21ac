//! One to sixteen tokens through a weight matrix in bf16.

use super::simd::Isa;
use super::skinny;
use crate::dims::Dims;
use crate::fill::from_bf16;
use crate::host::Host;
use rayon::ThreadPool;

/// `gemv`: x\[B,K\] and w\[N,K\] in bf16, y\[B,N\].
pub fn native(dims: &Dims, operands: &mut [Host], pool: &ThreadPool) {
    run(Isa::detect(), dims, operands, pool);
}

fn run(isa: Isa, dims: &Dims, operands: &mut [Host], pool: &ThreadPool) {
    let [x, w, y] = operands else { unreachable!("three operands") };
    let x: Vec<f32> = x.bf16().iter().map(|bits| from_bf16(*bits)).collect();
    skinny::product(isa, dims.get("K"), &x, w.bf16(), y.f32_mut(), pool);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dims::Dtype;
    use crate::native::testing::*;

    #[test]
    fn agrees_with_sums_in_f64() {
        everywhere(|isa, pool| {
            for (b, n, k) in [(1, 1, 1), (1, 9, 40), (2, 5, 33), (3, 300, 7), (5, 13, 2100), (7, 11, 64), (16, 70, 130)] {
                let dims = Dims::new(Dtype::Bf16, &[("B", b), ("N", n), ("K", k)]);
                let mut operands = [halves(b * k, 1), halves(n * k, 2), poison(Dtype::F32, b * n)];
                run(isa, &dims, &mut operands, pool);
                let (x, w) = (numbers(&operands[0]), numbers(&operands[1]));
                let dot = |i: usize| (0..k).map(|at| x[i / n * k + at] * w[i % n * k + at]).sum();
                let right: Vec<f64> = (0..b * n).map(dot).collect();
                close(&format!("{isa:?} {dims}"), &numbers(&operands[2]), &right, 1e-6);
            }
        });
    }
}
