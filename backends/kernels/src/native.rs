//! The kernels of the host's processor, one file for each family, and what they share.
//!
//! A function here has the operands of its family in order and spreads its work over the threads of the pool it is given. How work
//! is cut depends on the shape alone, never on the number of threads: the same numbers come out on any machine of the same width of
//! vectors. Loops are written once over `simd::Simd` and compiled for each instruction set.
//!
//! Not here: what is right (the families' references), what is timed.

pub mod decode_attention;
pub mod decode_mla;
pub mod gemm;
pub mod gemv;
pub mod indexer;
pub mod mamba2;
pub mod memory;
pub mod pages;
pub mod prefill_attention;
pub mod sparse_attention;
pub mod top_k;

mod attend;
mod latent;
mod simd;
mod skinny;
mod split;
#[cfg(test)]
mod testing;
mod tile;
