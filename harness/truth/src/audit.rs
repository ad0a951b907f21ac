//! How wrong another harness is: what it says of a load, held against what this server did under it.
//!
//! A harness leaves a result file. A [`Reader`] (one file each, listed in [`READERS`]) makes it [`Reported`]; the log says which rows
//! those are (`matching`) and what the same statistics, by the same definitions, really were (`law`); the difference is the
//! harness's error. [`Side`] holds all of it for one harness, ours among them.
//!
//! The readers live beside the log and not with our own stored forms: what they read is compared with rows and with nothing else,
//! and they need no more of the project than this crate already knows. Nothing here starts a process, judges a limit or prints.

mod aiperf;
mod arrivals;
mod document;
mod error;
mod guidellm;
mod inference_perf;
mod law;
mod matching;
mod nomoat;
mod reader;
mod reported;
mod sglang;
mod side;
mod vllm;

pub use arrivals::{Arrivals, AskedLoad, Ks, Lateness};
pub use document::Document;
pub use error::AuditError;
pub use law::{Law, Rank};
pub use matching::How;
pub use nomoat::of_records;
pub use reader::{READERS, Reader, find, named};
pub use reported::{Each, Quantity, Reported, StartClock, Stated};
pub use side::{Seen, Side, Stat, StatRow, wall_offset};
