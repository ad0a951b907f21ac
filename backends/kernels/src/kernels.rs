//! The families of kernels, one file each.

#![allow(clippy::unnecessary_wraps, reason = "steps of all variants have one type, also of those that always fit")]

mod contexts;
mod copy;
mod gemm;
mod gemv;
mod indexer;
mod memory;
mod top_k;

use crate::kernel::Kernel;

/// Every family, in the order of tables.
pub const KERNELS: &[&dyn Kernel] =
    &[&copy::Copy, &memory::Triad, &memory::Read, &gemm::Gemm, &gemv::Gemv, &indexer::Indexer, &top_k::TopK];

/// The family of this name.
pub fn find(name: &str) -> Option<&'static dyn Kernel> {
    KERNELS.iter().copied().find(|kernel| kernel.name() == name)
}
