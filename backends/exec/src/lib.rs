//! Engines behind an adapter: a process of anybody's that speaks a small framed protocol on a Unix socket (PROTOCOL.md).
//!
//! From the bottom: a [`frame`] is a length and a JSON [`message`], a link is a connection on which the adapter has said hello, a
//! channel is a link that carries one request at a time, and [`backend`] is how the harness sees it. [`conform()`] holds an adapter
//! against the protocol's rules, and [`echo`] tells what of a scripted answer's delay was the adapter's.
//!
//! Not here: starting the adapter, which is for whoever has a command line, and any knowledge of when requests are due.
#![cfg(unix)]

pub mod backend;
mod channel;
pub mod conform;
pub mod echo;
mod encoder;
pub mod frame;
mod link;
pub mod message;
mod telemetry;

pub use backend::{ExecBackend, ExecConfig, Probed};
pub use conform::{Finding, conform};
pub use echo::{Delays, Script, delays};
