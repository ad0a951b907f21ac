//! JSON documents of a file: one a line, or a single one over many lines.

use crate::error::{Place, TraceError};
use crate::import::ImportOptions;
use crate::lines::Rows;
use crate::source::Source;
use nomoat_core::digest::Digest;
use serde::de::{DeserializeOwned, IgnoredAny};

/// Longest document over many lines.
const MAX_DOCUMENT_BYTES: usize = 256 << 20;

/// Reads documents, one by one.
pub(crate) struct Documents<'a> {
    rows: Rows<'a>,
    file: &'a str,
    first: bool,
}

impl<'a> Documents<'a> {
    /// `file` is the source's name.
    pub fn new(source: &'a mut Source<'_>, file: &'a str, options: &ImportOptions) -> Self {
        Self { rows: Rows::new(source, options), file, first: true }
    }

    /// Parses the next document and hands it to `each`; `false` at the end of the file. What `explain` says of a document that does not
    /// parse, or `each` of one that does, ends the import, or is counted if the options are lenient.
    pub fn next<T: DeserializeOwned>(
        &mut self,
        explain: impl Fn(&[u8], Place<'_>, &serde_json::Error) -> TraceError,
        each: impl FnOnce(T, Place<'_>) -> Result<(), TraceError>,
    ) -> Result<bool, TraceError> {
        let Some(line) = self.rows.next()? else { return Ok(false) };
        let place = Place { file: self.file, line: line.place.line };
        let mut parsed = serde_json::from_slice::<T>(line.bytes);
        let row = match &parsed {
            // A first line that ends too early begins a document over many lines.
            Err(_) if self.first && is_open(line.bytes) => {
                let mut whole = line.bytes.to_vec();
                while let Some(line) = self.rows.next()? {
                    whole.push(b'\n');
                    whole.extend_from_slice(line.bytes);
                    if whole.len() > MAX_DOCUMENT_BYTES {
                        return Err(place.line(format!("the record is longer than {MAX_DOCUMENT_BYTES} bytes"), "split the file"));
                    }
                }
                parsed = serde_json::from_slice::<T>(&whole);
                parsed.map_err(|error| explain(&whole, place, &error))
            }
            _ => parsed.map_err(|error| explain(line.bytes, place, &error)),
        };
        self.first = false;
        let done = row.and_then(|document| each(document, place));
        self.rows.take(done)?;
        Ok(true)
    }

    /// SHA-256 of the file, and what is to be said of documents that were left out.
    pub fn finish(self) -> (Digest, Option<String>) {
        self.rows.finish()
    }
}

/// Whether `line` is the beginning of a JSON value.
fn is_open(line: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(line).is_err_and(|error| error.is_eof())
}
