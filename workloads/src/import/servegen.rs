//! ServeGen's folders of client parameters, made into the trace of their first hour: what the clients of one model would send.
//!
//! They are laws and not records, so another seed makes another trace. Other hours, some clients only and other rates are options of
//! [`crate::servegen`].

use super::{ImportOptions, Importer};
use crate::error::{TraceError, file_error};
use crate::generate::servegen::{ServeGenOptions, servegen};
use crate::sink::{Sink, replay};
use crate::source::Source;
use nomoat_core::trace::Trace;
use std::path::Path;

/// The importer.
pub(crate) struct ServeGen;

impl Importer for ServeGen {
    fn name(&self) -> &'static str {
        "servegen"
    }

    fn about(&self) -> &'static str {
        "ServeGen client parameters (a folder of chunk-N-trace.csv and chunk-N-dataset.json): their first hour, drawn with the seed"
    }

    fn sniff(&self, _head: &[u8]) -> bool {
        false
    }

    fn sniff_folder(&self, names: &[String]) -> bool {
        let is = |ending: &str| names.iter().any(|name| name.starts_with("chunk-") && name.ends_with(ending));
        is("-trace.csv") && is("-dataset.json")
    }

    fn import(&self, source: &mut Source<'_>, options: &ImportOptions, sink: &mut dyn Sink) -> Result<Trace, TraceError> {
        if source.names().is_none() {
            return Err(file_error(source.name(), "it is a file", "give the folder that holds chunk-N-trace.csv and chunk-N-dataset.json"));
        }
        let made = servegen(Path::new(source.name()), &ServeGenOptions { seed: options.seed, ..ServeGenOptions::default() })?;
        replay(&made, sink)?;
        Ok(Trace { requests: vec![], ..made })
    }
}
