//! The built-in CPU engine: a small real transformer with paged KV and continuous batching.
//!
//! It exists so that the harness has something real to measure everywhere: no network, no model download. From the bottom:
//! [`kernels`] compute, [`weights`] and a [`model`] make them a transformer, a [`pool`] keeps the account of the KV
//! [`cache`], a [`scheduler`] forms batches, an [`engine`] is all of it as a state machine, a thread runs that, and [`backend`] is how the
//! harness sees it.
//!
//! Not here: a tokenizer, trained weights, sampling other than greedy, a prefix cache, and any knowledge of when requests are due.

pub mod backend;
pub mod cache;
pub mod capacity;
mod channel;
pub mod config;
pub mod crew;
mod encoder;
pub mod engine;
mod gauges;
pub mod kernels;
pub mod model;
pub mod pool;
pub mod preset;
#[cfg(test)]
mod reference;
pub mod scheduler;
mod telemetry;
mod text;
mod thread;
pub mod weights;

pub use backend::LocalBackend;
pub use capacity::Capacity;
pub use config::LocalConfig;
