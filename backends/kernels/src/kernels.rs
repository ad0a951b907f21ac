//! The families of kernels, one file each.

#![allow(clippy::unnecessary_wraps, reason = "steps of all variants have one type, also of those that always fit")]

mod contexts;
mod copy;
mod decode_attention;
mod decode_mla;
mod gemm;
mod gemv;
mod host_copy;
mod indexer;
mod latent;
mod launch;
mod mamba2;
mod memory;
mod pages;
mod prefill_attention;
mod sparse_attention;
mod split;
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
    &decode_attention::DecodeAttention,
    &decode_mla::DecodeMla,
    &sparse_attention::SparseAttention,
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
