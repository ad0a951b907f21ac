//! The canonical format as one of the importers.

use super::{ImportOptions, Importer, first_line};
use crate::canonical::read::read;
use crate::error::TraceError;
use crate::sink::Sink;
use crate::source::Source;
use nomoat_core::trace::Trace;

/// The importer.
pub(crate) struct Canonical;

impl Importer for Canonical {
    fn name(&self) -> &'static str {
        "canonical"
    }

    fn about(&self) -> &'static str {
        "this project's own trace format (JSON Lines), which keeps everything"
    }

    fn sniff(&self, head: &[u8]) -> bool {
        let line = first_line(head);
        let start: Vec<u8> = line.iter().copied().filter(|b| !b.is_ascii_whitespace()).take(11).collect();
        start == b"{\"k\":\"head\""
    }

    fn import(&self, source: &mut Source<'_>, _options: &ImportOptions, sink: &mut dyn Sink) -> Result<Trace, TraceError> {
        read(source, sink)
    }
}
