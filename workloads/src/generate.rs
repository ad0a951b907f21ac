//! Traces made from laws: one generator a file, one line in [`GENERATORS`].

pub(crate) mod agentic;
pub(crate) mod chat;
mod law;
pub(crate) mod mlperf;
pub(crate) mod multi_turn;
pub(crate) mod project_text;
pub(crate) mod random;
pub(crate) mod resample;
pub(crate) mod servegen;
mod settings;
pub(crate) mod shared_prefix;

#[cfg(test)]
mod tests;

pub use settings::{OptionDef, Settings};

use crate::error::TraceError;
use crate::import::MAX_REQUESTS;
use nomoat_core::suggest::nearest;
use nomoat_core::trace::{Origin, Trace};

/// Makes traces of one kind.
pub trait Generator: Sync {
    /// Name as typed after `trace make`.
    fn name(&self) -> &'static str;

    /// One line for lists.
    fn about(&self) -> &'static str;

    /// What it may be told.
    fn options(&self) -> &'static [OptionDef];

    /// Makes the trace under `seed`. The same seed and settings make the same trace everywhere. Every random number is of a stream named
    /// `gen/NAME/what`, and times are whole microseconds.
    ///
    /// # Errors
    /// What an option is and what it should be.
    fn generate(&self, seed: u64, settings: &Settings) -> Result<Trace, TraceError>;
}

/// Every generator.
pub const GENERATORS: &[&dyn Generator] = &[
    &chat::Chat,
    &random::Random,
    &shared_prefix::SharedPrefix,
    &multi_turn::MultiTurn,
    &agentic::Agentic,
    &mlperf::MlPerf,
    &resample::Resample,
    &servegen::ServeGen,
    &project_text::ProjectText,
];

/// Most requests that are made: they are held in memory, and their ids are 32 bits wide.
const MOST_REQUESTS: u64 = 100_000_000;
const _: () = assert!(MOST_REQUESTS < MAX_REQUESTS as u64);

/// The generator called `name`.
///
/// # Errors
/// That there is none, with the nearest.
pub fn generator(name: &str) -> Result<&'static dyn Generator, TraceError> {
    let names = || GENERATORS.iter().map(|generator| generator.name());
    GENERATORS.iter().copied().find(|generator| generator.name() == name).ok_or_else(|| TraceError::UnknownGenerator {
        name: name.into(),
        nearest: nearest(name, names()).unwrap_or_default().into(),
        known: names().collect::<Vec<_>>().join(", "),
    })
}

/// Makes a trace: generator, seed, options as `key=value`.
///
/// # Errors
/// An unknown generator or option, with the nearest known; a value that cannot be.
pub fn generate<T: AsRef<str>>(name: &str, seed: u64, given: &[T]) -> Result<Trace, TraceError> {
    let generator = generator(name)?;
    generator.generate(seed, &Settings::parse(generator, given)?)
}

/// A trace without requests, with everything that its settings tell. `version` is that of the law: another one makes other traces.
fn made(settings: &Settings, version: u32, seed: u64) -> Trace {
    Trace {
        name: settings.name(),
        source: settings.digest(version, seed),
        origin: Origin { licence: Some("Apache-2.0".into()), ..Origin::default() },
        ..Trace::default()
    }
}
