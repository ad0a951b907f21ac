//! What one operation of a model costs on the device in front of you.
//!
//! A [`kernel::Kernel`] is one family: its operands, its least cost, its reference in f64 and its variants. A [`device::Device`] runs the
//! steps of a variant. Values of operands come from their index alone ([`fill`]), so host, device and reference never share an array.
//!
//! Not here: tables and files, an engine, a model.

pub mod check;
pub mod device;
pub mod dims;
pub mod fill;
pub mod host;
pub mod kernel;
pub mod kernels;
pub mod native;
pub mod plugin;
pub mod problem;
pub mod scaling;
pub mod selftest;
pub mod suite;
pub mod timing;
