//! Copy, triad and read: the ceilings of everything bound by memory.

use super::simd::{Isa, Simd, Work};
use crate::dims::Dims;
use crate::host::Host;
use rayon::ThreadPool;
use rayon::prelude::*;

/// Elements of one task, and of one sum that [`read`] writes.
const STRETCH: usize = 1 << 16;
/// Bytes between what is read and what is asked for: the processor's own prefetching stops at every page.
const AHEAD: usize = 4096;

/// `copy`: operand 0 onto operand 1.
pub fn copy(_: &Dims, operands: &mut [Host], pool: &ThreadPool) {
    let [a, b] = operands else { unreachable!("two operands") };
    let isa = Isa::detect();
    let (a, b) = (a.f32(), b.f32_mut());
    pool.install(|| b.par_chunks_mut(STRETCH).zip(a.par_chunks(STRETCH)).for_each(|(to, from)| isa.run(Copy { from, to })));
}

/// `triad`: operand 2 becomes operand 0 plus half of operand 1.
pub fn triad(_: &Dims, operands: &mut [Host], pool: &ThreadPool) {
    triad_on(Isa::detect(), operands, pool);
}

fn triad_on(isa: Isa, operands: &mut [Host], pool: &ThreadPool) {
    let [a, b, c] = operands else { unreachable!("three operands") };
    let (a, b, c) = (a.f32(), b.f32(), c.f32_mut());
    let stretches = c.par_chunks_mut(STRETCH).zip(a.par_chunks(STRETCH)).zip(b.par_chunks(STRETCH));
    pool.install(|| stretches.for_each(|((c, a), b)| isa.run(Triad { a, b, c })));
}

/// `read`: operand 1 becomes the sum of each stretch of 65536 elements of operand 0.
pub fn read(_: &Dims, operands: &mut [Host], pool: &ThreadPool) {
    read_on(Isa::detect(), operands, pool);
}

fn read_on(isa: Isa, operands: &mut [Host], pool: &ThreadPool) {
    let [a, sums] = operands else { unreachable!("two operands") };
    let (a, sums) = (a.f32(), sums.f32_mut());
    pool.install(|| sums.par_iter_mut().zip(a.par_chunks(STRETCH)).for_each(|(sum, a)| *sum = isa.run(Sum(a))));
}

/// Copies past the caches: the target is not read first, and what the caches hold stays.
pub(super) struct Copy<'a> {
    pub from: &'a [f32],
    /// As long as `from`.
    pub to: &'a mut [f32],
}

impl Work for Copy<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let (to, from) = (self.to, self.from);
        let len = to.len().min(from.len());
        let mut at = 0;
        while at + S::LANES <= len {
            S::stream(S::load(&from[at..at + S::LANES]), &mut to[at..at + S::LANES]);
            at += S::LANES;
        }
        S::fence();
        to[at..len].copy_from_slice(&from[at..len]);
    }
}

struct Triad<'a> {
    a: &'a [f32],
    b: &'a [f32],
    c: &'a mut [f32],
}

impl Work for Triad<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { a, b, c } = self;
        let half = S::splat(0.5);
        let len = c.len().min(a.len()).min(b.len());
        let mut at = 0;
        while at + S::LANES <= len {
            let sum = S::fma(S::load(&b[at..at + S::LANES]), half, S::load(&a[at..at + S::LANES]));
            S::stream(sum, &mut c[at..at + S::LANES]);
            at += S::LANES;
        }
        S::fence();
        for at in at..len {
            c[at] = 0.5 * b[at] + a[at];
        }
    }
}

struct Sum<'a>(&'a [f32]);

impl Work for Sum<'_> {
    type Out = f32;

    #[inline(always)]
    fn run<S: Simd>(self) -> f32 {
        let values = self.0;
        let mut sums = [S::splat(0.0); 8];
        let mut at = 0;
        while at + 8 * S::LANES <= values.len() {
            for (u, sum) in sums.iter_mut().enumerate() {
                let from = &values[at + u * S::LANES..at + (u + 1) * S::LANES];
                *sum = S::add(*sum, S::load(from));
                S::prefetch_ahead(from, AHEAD);
            }
            at += 8 * S::LANES;
        }
        S::sums(sums).iter().chain(&values[at..]).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dims::Dtype;
    use crate::native::testing::*;

    const SIZES: [usize; 4] = [1, 4, 333, STRETCH * 2 + 21];

    #[test]
    fn copies_and_triads_are_exact() {
        everywhere(|isa, pool| {
            for n in SIZES {
                let mut operands = [singles(n, 1), singles(n, 2), poison(Dtype::F32, n)];
                triad_on(isa, &mut operands, pool);
                let right: Vec<f64> = numbers(&operands[0]).iter().zip(numbers(&operands[1])).map(|(a, b)| a + 0.5 * b).collect();
                assert_eq!(numbers(&operands[2]), right, "{isa:?} {n}");
                let mut to = poison(Dtype::F32, n);
                isa.run(Copy { from: operands[0].f32(), to: to.f32_mut() });
                assert_eq!(to.f32(), operands[0].f32());
            }
        });
    }

    #[test]
    fn sums_of_stretches_are_exact() {
        everywhere(|isa, pool| {
            for n in SIZES {
                let mut operands = [singles(n, 3), poison(Dtype::F32, n.div_ceil(STRETCH))];
                read_on(isa, &mut operands, pool);
                let right: Vec<f64> = numbers(&operands[0]).chunks(STRETCH).map(|stretch| stretch.iter().sum()).collect();
                assert_eq!(numbers(&operands[1]), right, "{isa:?} {n}");
            }
        });
    }
}
