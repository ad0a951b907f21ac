//! Traces made from laws: one generator a file, one line in [`GENERATORS`].

pub(crate) mod chat;
pub(crate) mod servegen;

use crate::error::TraceError;
use nomoat_core::trace::Trace;

/// Makes traces of one kind.
pub trait Generator: Sync {
    /// Name as typed after `trace make`.
    fn name(&self) -> &'static str;

    /// One line for lists.
    fn about(&self) -> &'static str;

    /// Makes the trace with default options under `seed`. The same seed makes the same trace everywhere.
    ///
    /// # Errors
    /// What an option is and what it should be.
    fn generate(&self, seed: u64) -> Result<Trace, TraceError>;
}

/// Every generator.
pub const GENERATORS: &[&dyn Generator] = &[&chat::Chat];
