//! Copy, triad and read: the ceilings of everything bound by memory.

use super::simd::{Isa, Simd, Work};
use crate::dims::Dims;
use crate::host::Host;
use rayon::ThreadPool;
use rayon::prelude::*;

/// Elements of one task, and of one sum that [`read`] writes.
const STRETCH: usize = 1 << 16;
/// Elements between what is read and what is asked for.
const AHEAD: usize = 1024;

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
        let (mut to, mut from) = (self.to.chunks_exact_mut(S::LANES), self.from.chunks_exact(S::LANES));
        for (to, from) in to.by_ref().zip(from.by_ref()) {
            S::stream(S::load(from), to);
        }
        S::fence();
        to.into_remainder().copy_from_slice(from.remainder());
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
        let half = S::splat(0.5);
        let (mut a, mut b, mut c) = (self.a.chunks_exact(S::LANES), self.b.chunks_exact(S::LANES), self.c.chunks_exact_mut(S::LANES));
        for ((c, a), b) in c.by_ref().zip(a.by_ref()).zip(b.by_ref()) {
            S::stream(S::fma(S::load(b), half, S::load(a)), c);
        }
        S::fence();
        for ((c, a), b) in c.into_remainder().iter_mut().zip(a.remainder()).zip(b.remainder()) {
            *c = 0.5 * b + a;
        }
    }
}

struct Sum<'a>(&'a [f32]);

impl Work for Sum<'_> {
    type Out = f32;

    #[inline(always)]
    fn run<S: Simd>(self) -> f32 {
        let mut sums = [S::splat(0.0); 8];
        let mut eights = self.0.chunks_exact(8 * S::LANES);
        for (at, eight) in eights.by_ref().enumerate() {
            for (u, sum) in sums.iter_mut().enumerate() {
                // Stretches are read side by side by several threads: each asks far ahead.
                S::prefetch(&self.0[(at * 8 * S::LANES + u * S::LANES + AHEAD).min(self.0.len() - 1)..]);
                *sum = S::add(*sum, S::load(&eight[u * S::LANES..(u + 1) * S::LANES]));
            }
        }
        S::sums(sums).iter().chain(eights.remainder()).sum()
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
