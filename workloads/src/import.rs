//! Foreign files to traces: one importer a file, one line in [`IMPORTERS`].

pub(crate) mod azure;
pub(crate) mod canonical;
pub(crate) mod mooncake;

use crate::error::{TraceError, file_error};
use nomoat_core::suggest::nearest;
use nomoat_core::trace::Trace;
use nomoat_core::units::Nanos;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Reads one format.
pub trait Importer: Sync {
    /// Name as typed after `--trace-format`.
    fn name(&self) -> &'static str;

    /// One line for lists.
    fn about(&self) -> &'static str;

    /// Whether a file that starts with `head` (a few kilobytes, perhaps less than a line) looks like this format.
    fn sniff(&self, head: &[u8]) -> bool;

    /// Reads a trace to its end. `file` is the path for messages; the trace is named after its stem where the format has no
    /// name of its own.
    ///
    /// # Errors
    /// What is wrong, on which line, in which field, and what it should be.
    fn import(&self, input: &mut dyn BufRead, file: &str, options: &ImportOptions) -> Result<Trace, TraceError>;
}

/// What an importer may be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImportOptions {
    /// The run's seed, from which an importer names its streams.
    pub seed: u64,
    /// Spread arrivals that a coarse clock rounded to ticks uniformly inside their tick; the trace's losses say so.
    pub spread_ticks: bool,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self { seed: 0, spread_ticks: true }
    }
}

/// Every format, in the order in which a file is tried.
pub const IMPORTERS: &[&dyn Importer] = &[&canonical::Canonical, &azure::AzureCsv, &mooncake::MooncakeJsonl];

/// Longest prompt or answer, in tokens: beyond every context window there is, and small enough to expand in memory.
pub(crate) const MAX_TOKENS: u64 = 1 << 24;
/// Largest block id: what every JSON reader holds exactly.
pub(crate) const MAX_BLOCK_ID: u64 = (1 << 53) - 1;
/// Latest arrival and longest gap: a century, far from the end of the nanosecond clock.
pub(crate) const MAX_TIME: Nanos = Nanos::from_secs(100 * 366 * 86_400);
/// Most requests: their ids are 32 bits wide.
pub(crate) const MAX_REQUESTS: usize = u32::MAX as usize - 1;

/// Opens a trace: in the named `format`, else in the first one of [`IMPORTERS`] that knows the file's beginning.
///
/// # Errors
/// An unknown format name (with the nearest known one), an unreadable file, or what the importer found wrong.
pub fn open(path: &Path, format: Option<&str>, options: &ImportOptions) -> Result<Trace, TraceError> {
    let file = path.display().to_string();
    let named = format.map(by_name).transpose()?;
    let read = |source| TraceError::Read { file: file.clone(), source };
    let mut input = BufReader::with_capacity(1 << 18, File::open(path).map_err(read)?);
    let head = input.fill_buf().map_err(read)?;
    let importer = match named {
        Some(importer) => importer,
        None => sniff(head, &file)?,
    };
    importer.import(&mut input, &file, options)
}

fn by_name(name: &str) -> Result<&'static dyn Importer, TraceError> {
    let names = || IMPORTERS.iter().map(|i| i.name());
    IMPORTERS.iter().copied().find(|i| i.name() == name).ok_or_else(|| TraceError::UnknownFormat {
        name: name.into(),
        nearest: nearest(name, names()).unwrap_or_default().into(),
        known: names().collect::<Vec<_>>().join(", "),
    })
}

fn sniff(head: &[u8], file: &str) -> Result<&'static dyn Importer, TraceError> {
    let known = || IMPORTERS.iter().map(|i| i.name()).collect::<Vec<_>>().join(", ");
    if head.is_empty() {
        return Err(file_error(file, "the file is empty", "give a file with at least one request"));
    }
    // The first bytes of gzip and of zstd: the two that traces are passed around in.
    if head.starts_with(&[0x1f, 0x8b]) || head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Err(file_error(file, "the file is compressed", "decompress it first (gzip -d or zstd -d)"));
    }
    IMPORTERS.iter().copied().find(|i| i.sniff(head)).ok_or_else(|| {
        file_error(
            file,
            "its first line looks like none of the known formats",
            format!("name the format with --trace-format ({})", known()),
        )
    })
}

/// The first line of a file's beginning, without a byte-order mark or a line end.
pub(crate) fn first_line(head: &[u8]) -> &[u8] {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let end = head.iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(head.len());
    &head[..end]
}

/// The name of a trace that has none: the stem of its file.
pub(crate) fn stem(file: &str) -> String {
    Path::new(file).file_stem().map_or_else(|| file.to_owned(), |stem| stem.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sample_is_known_by_one_importer() {
        for (sample, name) in [
            (include_str!("../samples/chat.jsonl"), "canonical"),
            (include_str!("../samples/azure.csv"), "azure-csv"),
            (include_str!("../samples/mooncake.jsonl"), "mooncake-jsonl"),
        ] {
            let knowing: Vec<_> = IMPORTERS.iter().filter(|i| i.sniff(sample.as_bytes())).map(|i| i.name()).collect();
            assert_eq!(knowing, [name]);
        }
    }

    #[test]
    fn wrong_files_say_what_to_do() {
        let dir = std::env::temp_dir();
        let missing = dir.join("nomoat-no-such-trace.jsonl");
        let check = |error: TraceError, expect: &str| {
            let text = error.to_string();
            assert!(text.contains(expect), "{text}");
        };
        check(open(&missing, None, &ImportOptions::default()).unwrap_err(), "check the path");
        check(
            open(&missing, Some("azure"), &ImportOptions::default()).unwrap_err(),
            "did you mean `azure-csv`? (known: canonical, azure-csv",
        );
        check(sniff(b"", "f").err().unwrap(), "is empty");
        check(sniff(b"\x28\xb5\x2f\xfd....", "f").err().unwrap(), "zstd -d");
        check(sniff(b"hello", "f").err().unwrap(), "--trace-format");
    }
}
