//! The families of kernels, one file each.

#![allow(clippy::unnecessary_wraps, reason = "steps of all variants have one type, also of those that always fit")]

mod contexts;
mod copy;
mod gemm;
mod gemv;
mod host_copy;
mod indexer;
mod launch;
mod mamba2;
mod memory;
mod pages;
mod prefill_attention;
mod top_k;

use crate::kernel::Kernel;

/// Every family, in the order of tables.
#[rustfmt::skip]
pub const KERNELS: &[&dyn Kernel] = &[
    &copy::Copy,
    &memory::Triad,
    &memory::Read,
    &gemm::Gemm,
    &gemv::Gemv,
    &prefill_attention::PrefillAttention,
    &indexer::Indexer,
    &top_k::TopK,
    &mamba2::Mamba2Step,
    &pages::Gather,
    &pages::Scatter,
    &host_copy::HostCopy,
    &launch::Launch,
];

/// The family of this name.
pub fn find(name: &str) -> Option<&'static dyn Kernel> {
    KERNELS.iter().copied().find(|kernel| kernel.name() == name)
}
