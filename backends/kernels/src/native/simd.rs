//! Vectors of single precision, chosen while the program runs: one text of a loop, compiled for each instruction set.
//!
//! A loop is a [`Work`], generic over [`Simd`]; [`Isa::run`] enters it through a function that carries the CPU's features. What it
//! calls on the way is `#[inline(always)]`: a function that is not inlined into that entry is compiled without the features. Iterators of
//! the standard library are inlined only if the compiler likes to; loops over vectors therefore count by hand.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

/// A vector of singles and what is done with it.
pub(super) trait Simd: Copy + Send + Sync + 'static {
    /// The vector.
    type V: Copy;
    /// Singles in it.
    const LANES: usize;
    /// Rows of a register tile two vectors wide: as many as sums fit into registers.
    const ROWS: usize;

    /// All lanes this value.
    fn splat(value: f32) -> Self::V;
    /// The first singles of a slice that has enough.
    fn load(from: &[f32]) -> Self::V;
    /// To the first singles of a slice that has enough.
    fn store(value: Self::V, to: &mut [f32]);
    /// As [`Simd::store`], past the caches where the address is aligned to the vector; [`Simd::fence`] follows the last one.
    fn stream(value: Self::V, to: &mut [f32]);
    /// Makes what was streamed visible in order.
    fn fence();
    /// The first bf16 of a slice that has enough, as singles.
    fn widen(from: &[u16]) -> Self::V;
    /// Asks for the cache line of the first element, to be read soon.
    #[inline(always)]
    fn prefetch<T>(from: &[T]) {
        Self::prefetch_ahead(from, 0);
    }
    /// As [`Simd::prefetch`], into the second cache.
    fn prefetch_second<T>(from: &[T]);
    /// Asks for the cache line so many bytes after the first element, whatever lies there.
    fn prefetch_ahead<T>(from: &[T], bytes: usize);
    /// Lane by lane.
    fn add(a: Self::V, b: Self::V) -> Self::V;
    /// Lane by lane.
    fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// Lane by lane.
    fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// a · b + c, lane by lane, rounded once where the CPU can.
    fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger, lane by lane; not for NaN.
    fn max(a: Self::V, b: Self::V) -> Self::V;
    /// Whether any lane is at least this value.
    fn reaches(value: Self::V, bound: f32) -> bool;
    /// Whether any lane of `a` is larger than that of `b`.
    fn exceeds(a: Self::V, b: Self::V) -> bool;
    /// `value` · 2ⁿ, where n is the low bits of `shifted`; the product must be a normal number.
    fn scale(value: Self::V, shifted: Self::V) -> Self::V;
    /// The sums of all lanes of eight vectors.
    fn sums(vectors: [Self::V; 8]) -> [f32; 8];

    /// As [`Simd::load`] of a slice that may end early: zeros follow.
    #[inline(always)]
    fn load_part(from: &[f32]) -> Self::V {
        if from.len() >= Self::LANES {
            return Self::load(from);
        }
        let mut whole = [0.0; MOST];
        whole[..from.len()].copy_from_slice(from);
        Self::load(&whole)
    }

    /// As [`Simd::widen`] of a slice that may end early: zeros follow.
    #[inline(always)]
    fn widen_part(from: &[u16]) -> Self::V {
        if from.len() >= Self::LANES {
            return Self::widen(from);
        }
        let mut whole = [0; MOST];
        whole[..from.len()].copy_from_slice(from);
        Self::widen(&whole)
    }

    /// eˣ for x ≤ 0, within two units in the last place; below −87 it stays at e⁻⁸⁷, which is nothing beside one.
    ///
    /// Range reduction by ln 2 in two parts (Cody and Waite) and the series to degree 6, enough on |r| ≤ ln 2 / 2.
    #[inline(always)]
    fn exp(x: Self::V) -> Self::V {
        // Adding 1.5·2²³ leaves the nearest integer in the low bits of the sum.
        const ROUND: f32 = 12_582_912.0;
        let x = Self::max(x, Self::splat(-87.0));
        let shifted = Self::fma(x, Self::splat(std::f32::consts::LOG2_E), Self::splat(ROUND));
        let n = Self::sub(shifted, Self::splat(ROUND));
        let r = Self::fma(n, Self::splat(-0.693_359_4), x);
        let r = Self::fma(n, Self::splat(2.121_944_4e-4), r);
        let mut p = Self::splat(1.0 / 720.0);
        for coefficient in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            p = Self::fma(p, r, Self::splat(coefficient));
        }
        Self::scale(p, shifted)
    }
}

/// The widest vector of all.
pub(super) const MOST: usize = 16;

/// A loop that can be compiled for any instruction set.
pub(super) trait Work {
    /// What it gives back.
    type Out;
    /// Does it.
    fn run<S: Simd>(self) -> Self::Out;
}

/// An instruction set that this CPU has. Only [`Isa::available`] makes one, which is what makes running it sound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Isa(Which);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Which {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// The widest of this CPU.
    pub(super) fn detect() -> Self {
        *Self::available().last().unwrap_or(&Self(Which::Portable))
    }

    /// Every one of this CPU, the plainest first.
    pub(super) fn available() -> Vec<Self> {
        #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "others exist on x86-64 only"))]
        let mut all = vec![Self(Which::Portable)];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            all.push(Self(Which::Avx2));
            if is_x86_feature_detected!("avx512f") {
                all.push(Self(Which::Avx512));
            }
        }
        all
    }

    /// Does a piece of work with it.
    #[inline]
    pub(super) fn run<W: Work>(self, work: W) -> W::Out {
        match self.0 {
            Which::Portable => work.run::<portable::Four>(),
            // SAFETY: an `Isa` of this kind exists only if `available` found these features on this CPU.
            #[cfg(target_arch = "x86_64")]
            Which::Avx2 => unsafe { x86::avx2(work) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Which::Avx512 => unsafe { x86::avx512(work) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls each operation on known numbers; gives the name of the first that is wrong.
    struct Operations;

    impl Work for Operations {
        type Out = Result<(), String>;

        #[inline(always)]
        fn run<S: Simd>(self) -> Self::Out {
            let numbers: [f32; MOST] = std::array::from_fn(|i| i as f32 - 5.5);
            let (a, b) = (S::load(&numbers), S::splat(2.0));
            let check = |name: &str, value: S::V, expect: &dyn Fn(f32) -> f32| {
                let mut got = [f32::NAN; MOST];
                S::store(value, &mut got);
                let right = numbers.iter().zip(got).take(S::LANES).all(|(number, got)| (got - expect(*number)).abs() <= 1e-6 * got.abs());
                if right { Ok(()) } else { Err(format!("{name}: {got:?}")) }
            };
            check("load", a, &|x| x)?;
            check("add", S::add(a, b), &|x| x + 2.0)?;
            check("sub", S::sub(a, b), &|x| x - 2.0)?;
            check("mul", S::mul(a, b), &|x| x * 2.0)?;
            check("fma", S::fma(a, a, b), &|x| x * x + 2.0)?;
            check("max", S::max(a, b), &|x| x.max(2.0))?;
            let negative = S::sub(a, S::splat(20.0));
            check("exp", S::exp(negative), &|x| (f64::from(x) - 20.0).exp() as f32)?;
            let halves: [u16; MOST] = numbers.map(|number| (number.to_bits() >> 16) as u16);
            check("widen", S::widen(&halves), &|x| x)?;
            check("part of bf16", S::widen_part(&halves[..3]), &|x| if x < -3.0 { x } else { 0.0 })?;
            check("part", S::load_part(&numbers[..3]), &|x| if x < -3.0 { x } else { 0.0 })?;
            let mut streamed = [f32::NAN; MOST + 1];
            S::stream(a, &mut streamed[1..]);
            S::fence();
            check("stream", S::load(&streamed[1..]), &|x| x)?;
            if !S::reaches(a, numbers[S::LANES - 1]) || S::reaches(a, numbers[S::LANES - 1] + 0.5) {
                return Err("reaches".into());
            }
            if S::exceeds(a, a) || !S::exceeds(a, S::splat(numbers[S::LANES - 1] - 0.5)) {
                return Err("exceeds".into());
            }
            let sums = S::sums(std::array::from_fn(|i| S::mul(a, S::splat(i as f32))));
            let sum: f32 = numbers[..S::LANES].iter().sum();
            for (i, got) in sums.iter().enumerate() {
                if *got != sum * i as f32 {
                    return Err(format!("sums: {sums:?} of {sum}"));
                }
            }
            Ok(())
        }
    }

    #[test]
    fn every_operation_of_every_instruction_set() {
        for isa in Isa::available() {
            isa.run(Operations).unwrap_or_else(|wrong| panic!("{isa:?} {wrong}"));
        }
    }

    struct Exp(Vec<f32>);

    impl Work for Exp {
        type Out = Vec<f32>;

        #[inline(always)]
        fn run<S: Simd>(mut self) -> Vec<f32> {
            for lanes in self.0.chunks_exact_mut(S::LANES) {
                S::store(S::exp(S::load(lanes)), lanes);
            }
            self.0
        }
    }

    #[test]
    fn exp_agrees_with_the_library() {
        let inputs: Vec<f32> = (0..16_000).map(|i| -86.9 * i as f32 / 15_999.0).collect();
        for isa in Isa::available() {
            for (x, got) in inputs.iter().zip(isa.run(Exp(inputs.clone()))) {
                let want = f64::from(*x).exp();
                assert!((f64::from(got) / want - 1.0).abs() < 3e-7, "{isa:?}: exp({x}) = {got}, not {want}");
            }
            let edge = isa.run(Exp([0.0, -0.0, -1e30, f32::NEG_INFINITY, -1.0, -2.0, -3.0, -100.0].repeat(2)));
            assert_eq!((edge[0], edge[1]), (1.0, 1.0));
            assert!(edge.iter().all(|y| y.is_finite() && *y > 0.0), "{edge:?}");
        }
    }
}
