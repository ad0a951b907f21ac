//! A scripted OpenAI-compatible streaming server that logs when it really wrote each token.
//!
//! What the harness reports is held against what happened here. So that one bug cannot cancel itself, nothing is shared with
//! the measuring side: own request parsing, own encoder, own timers, own log; of the rest of the project it knows only
//! [`nomoat_core::units::Nanos`] and, for [`compare`], the request record.
//!
//! It generates no language, enforces no KV capacity, batches nothing and queues nothing: a [`Script`] says when each token
//! leaves, a [`Fault`] what goes wrong, and [`LogRow`]s say what was done. HTTP/1.1 and HTTP/2 are spoken on the same port, plain or
//! under TLS. Pipelining and chunked request bodies are left out on purpose.
//!
//! ```no_run
//! # fn main() -> Result<(), nomoat_truth::TruthError> {
//! use nomoat_truth::{Config, Script, Truth};
//! let script = Script::parse("ttft=20ms,itl=5ms,jitter=uniform:0.2")?;
//! let truth = Truth::start(Config { script, ..Config::default() })?;
//! let url = format!("http://{}", truth.addr());
//! // … drive load against `url` …
//! let rows = truth.log();
//! # Ok(())
//! # }
//! ```

pub mod audit;

mod answer;
mod arrival;
mod ask;
mod clock;
mod compare;
mod conn;
mod encode;
mod error;
mod fault;
mod gauges;
mod generate;
mod http2;
mod instant;
mod jitter;
mod line;
mod log;
mod pause;
mod peer;
mod play;
#[cfg(target_os = "linux")]
mod raw;
mod routes;
mod row;
mod script;
mod server;
mod sleep;
mod text;
mod timeline;
mod timer;
mod tls;

pub use compare::{ErrorReport, Errors, Split, compare};
pub use error::TruthError;
pub use fault::Fault;
pub use instant::{Instant, Writes};
pub use jitter::Jitter;
pub use log::LogState;
pub use pause::{Freeze, Stall};
pub use play::{Cut, Play};
#[cfg(target_os = "linux")]
pub use raw::{RawCount, take};
pub use row::{LogRow, Outcome, read_log};
pub use script::{ReasoningField, Script};
pub use server::{Config, Truth};
pub use sleep::Sleep;
pub use tls::CERTIFICATE_PEM;
