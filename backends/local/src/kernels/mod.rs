//! CPU kernels, batch-invariant: the order in which an output element is reduced depends on its own length and on nothing else.
//!
//! Every kernel is written once, over arrays of [`LANES`] numbers, and compiled several times with different CPU features; the
//! compiler turns the arrays into registers. Lanes always run along *outputs* (rows of a matrix, keys of a block, dimensions of
//! a value), never along the reduced dimension, so a sum is one chain from first to last term whatever the width of the registers.
//! With fused multiply-add the variants therefore agree bit for bit; a CPU without it rounds twice and agrees within tolerance.
//!
//! One variant is chosen per process ([`Kernel::detect`]). Not here: threads, memory for results, any idea of a request.

pub mod attention;
pub mod gemm;
pub mod lanes;
pub mod pointwise;

pub use lanes::LANES;

/// Arithmetic of a variant.
pub trait Arith: Copy {
    /// Whether a multiply-add rounds once.
    const FUSED: bool;
    /// Tokens of a full tile of the matrix product, at most 8.
    const TILE_TOKENS: usize;
    /// Panels of weights per tile for 1, for 2 and 3, and for more tokens: as many sums as the registers hold, because
    /// fewer cannot hide the latency of one.
    const TILE_PANELS: [usize; 3];

    /// a · b + c.
    #[inline(always)]
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        if Self::FUSED { a.mul_add(b, c) } else { a * b + c }
    }
}

/// Arithmetic of the features the crate itself was compiled with.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Arith for Plain {
    // Without the feature at compile time `mul_add` is a call into a library: correct, and a hundred times too slow.
    const FUSED: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));
    const TILE_TOKENS: usize = 2;
    const TILE_PANELS: [usize; 3] = [2, 1, 1];
}

/// Arithmetic with fused multiply-add in registers of eight.
#[derive(Clone, Copy, Debug)]
pub struct Wide8;

impl Arith for Wide8 {
    const FUSED: bool = true;
    const TILE_TOKENS: usize = 6;
    const TILE_PANELS: [usize; 3] = [4, 2, 1];
}

/// Arithmetic with fused multiply-add in registers of sixteen.
#[derive(Clone, Copy, Debug)]
pub struct Wide16;

impl Arith for Wide16 {
    const FUSED: bool = true;
    const TILE_TOKENS: usize = 8;
    const TILE_PANELS: [usize; 3] = [8, 4, 2];
}

/// A piece of computing that can be compiled for any variant.
///
/// Implementations and everything they call are `#[inline(always)]`: a function that is not inlined into the variant's
/// entry is compiled without the variant's features.
pub trait Work {
    /// Does it.
    fn run<A: Arith>(self);
}

/// A variant that this CPU can run. Only [`Kernel::detect`] and [`Kernel::available`] make one, which is what makes running it sound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kernel(Variant);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Variant {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Kernel {
    /// The fastest variant of this CPU: the same answer every time within a process.
    pub fn detect() -> Self {
        Self::available().pop().expect("the portable variant is always there")
    }

    /// Every variant of this CPU, slowest first.
    pub fn available() -> Vec<Self> {
        #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "other variants exist on x86-64 only"))]
        let mut all = vec![Self(Variant::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if avx2 {
                all.push(Self(Variant::Avx2));
            }
            if avx2 && ["f", "vl", "bw", "dq"].iter().all(|part| has_avx512(part)) {
                all.push(Self(Variant::Avx512));
            }
        }
        all
    }

    /// Its name in versions and reports.
    pub fn name(self) -> &'static str {
        match self.0 {
            Variant::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Variant::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Variant::Avx512 => "avx512",
        }
    }

    /// Whether a multiply-add of this variant rounds once.
    pub fn fused(self) -> bool {
        match self.0 {
            Variant::Portable => Plain::FUSED,
            #[cfg(target_arch = "x86_64")]
            Variant::Avx2 | Variant::Avx512 => true,
        }
    }

    /// Does a piece of work with this variant.
    pub(crate) fn run<W: Work>(self, work: W) {
        match self.0 {
            Variant::Portable => work.run::<Plain>(),
            // SAFETY: a `Kernel` of this variant exists only if `available` found these features on this CPU.
            #[cfg(target_arch = "x86_64")]
            Variant::Avx2 => unsafe { x86::avx2(work) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Variant::Avx512 => unsafe { x86::avx512(work) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx512(part: &str) -> bool {
    match part {
        "f" => is_x86_feature_detected!("avx512f"),
        "vl" => is_x86_feature_detected!("avx512vl"),
        "bw" => is_x86_feature_detected!("avx512bw"),
        "dq" => is_x86_feature_detected!("avx512dq"),
        _ => false,
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! The entries that carry CPU features. Everything inlined below them is compiled with these.

    use super::{Wide8, Wide16, Work};

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn avx2<W: Work>(work: W) {
        work.run::<Wide8>();
    }

    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
    pub(super) fn avx512<W: Work>(work: W) {
        work.run::<Wide16>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_is_stable_and_the_last_of_the_list() {
        let all = Kernel::available();
        assert_eq!(all[0].name(), "portable");
        assert_eq!(Kernel::detect(), all[all.len() - 1]);
        assert_eq!(Kernel::detect(), Kernel::detect());
    }
}
