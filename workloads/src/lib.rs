//! Trace format, importers and generators: from files and laws to [`nomoat_core::trace::Trace`], and back to a file.
//!
//! [`open`] reads a trace in any format of [`IMPORTERS`]; [`write_canonical`] writes the one format that keeps everything
//! (FORMAT.md beside this crate's manifest); [`GENERATORS`] make traces from laws; [`SUITES`] name workloads with their loads; [`stats`] says
//! what a trace is like.
//!
//! Not here: when requests are sent ([`nomoat_core::schedule`]), what tokens a prompt is made of ([`nomoat_core::prompt`]),
//! clocks, sockets, and any random number without a named stream from a seed.

mod canonical;
mod diagnose;
mod error;
mod export;
mod generate;
mod import;
mod lines;
mod policy;
mod sample;
mod sink;
mod source;
mod stats;
mod suite;

pub use canonical::{CanonicalWriter, Survey, write_canonical};
pub use error::TraceError;
pub use export::{EXPORTERS, Exporter, exporter};
pub use generate::chat::{ChatOptions, chat};
pub use generate::mlperf::LOADGEN_SEEDS;
pub use generate::servegen::{ServeGenOptions, servegen};
pub use generate::{GENERATORS, Generator, OptionDef, Settings, generate, generator};
pub use import::{Gaps, IMPORTERS, ImportOptions, Importer, from_bytes, open, read};
pub use policy::{ClassShare, GapPolicy, Overlay, Policy, Slice};
pub use sample::{CHAT_SAMPLE, bundled_chat};
pub use sink::{Both, Sink, replay};
pub use source::Source;
pub use stats::{ArrivalStats, Contents, LengthStats, SessionStats, Sharing, SharingOptions, StatsSink, TraceStats, stats};
pub use suite::{Requires, SUITES, Suite, SuiteLoad, suite, suites};
