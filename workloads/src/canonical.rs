//! The canonical trace format, version 1: JSON Lines that keep all a [`nomoat_core::trace::Trace`] holds. FORMAT.md says it in
//! words.
//!
//! The types of the wire are here and nowhere else; memory's types never see `serde`. A file is read in one pass, a record
//! refers backwards only, and the last line proves that all the others are there.

mod blocks;
mod inputs;
mod outputs;
pub(crate) mod read;
mod survey;
pub(crate) mod wire;
mod write;

pub use survey::Survey;
pub use write::{CanonicalWriter, write_canonical};

/// The version this crate reads and writes.
pub(crate) const VERSION: u64 = 1;

/// Most block ranges in all prompts of one trace, spelled out (16 bytes each): `keep` could else multiply a small file's.
pub(crate) const MAX_RANGES: usize = 1 << 26;

#[cfg(test)]
mod tests;
