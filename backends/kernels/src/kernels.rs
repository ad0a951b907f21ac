//! The families of kernels, one file each.

#![allow(clippy::unnecessary_wraps, reason = "steps of all variants have one type, also of those that always fit")]

mod copy;
mod gemm;
mod gemv;
mod memory;

use crate::kernel::Kernel;

/// Every family, in the order of tables.
pub const KERNELS: &[&dyn Kernel] = &[&copy::Copy, &memory::Triad, &memory::Read, &gemm::Gemm, &gemv::Gemv];

/// The family of this name.
pub fn find(name: &str) -> Option<&'static dyn Kernel> {
    KERNELS.iter().copied().find(|kernel| kernel.name() == name)
}
