//! Foreign files to traces: one importer a file, one line in [`IMPORTERS`].

pub(crate) mod aiperf;
pub(crate) mod azure;
pub(crate) mod bailian;
pub(crate) mod burstgpt;
pub(crate) mod canonical;
mod classes;
mod clock;
pub(crate) mod conversation;
mod csv;
pub(crate) mod decimal;
mod documents;
mod gaps;
pub(crate) mod lengths;
pub(crate) mod lmcache;
pub(crate) mod messages;
pub(crate) mod mooncake;
pub(crate) mod otel;
pub(crate) mod ragpulse;
mod records;
mod runs;
pub(crate) mod servegen;
pub(crate) mod sharegpt;
mod thread;
mod ticks;
mod tracelab;
pub(crate) mod tracelab_csv;
pub(crate) mod tracelab_jsonl;
pub(crate) mod vllm;
mod weka;

use crate::error::{TraceError, file_error};
use crate::sink::{Collect, Sink};
use crate::source::Source;
use nomoat_core::suggest::nearest;
use nomoat_core::trace::Trace;
use nomoat_core::units::Nanos;
use std::path::Path;

/// Reads one format.
pub trait Importer: Sync {
    /// Name as typed after `--trace-format`.
    fn name(&self) -> &'static str;

    /// One line for lists.
    fn about(&self) -> &'static str;

    /// Whether a file that starts with `head` (a few kilobytes, perhaps less than a line) looks like this format.
    fn sniff(&self, head: &[u8]) -> bool;

    /// Whether a folder of files with these names looks like this format; few formats are folders.
    fn sniff_folder(&self, names: &[String]) -> bool {
        let _ = names;
        false
    }

    /// Reads a trace to its end and hands its requests to `sink`, in order. What is returned is everything about the trace but its
    /// requests. It is named after its file where the format has no name of its own.
    ///
    /// The same source and options give the same requests every time: writing a trace reads its source twice.
    ///
    /// # Errors
    /// What is wrong, on which line, in which field, and what it should be; or what the sink says.
    fn import(&self, source: &mut Source<'_>, options: &ImportOptions, sink: &mut dyn Sink) -> Result<Trace, TraceError>;
}

/// How the gaps between the turns of a recorded session are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Gaps {
    /// From the recorded end of the turn before to this turn: what user and tools took. The engine's own time is measured, not copied.
    #[default]
    Think,
    /// From the recorded start of the turn before to this turn's, whatever the engine does now: as an open loop.
    Recorded,
}

/// What an importer may be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImportOptions {
    /// The run's seed, from which an importer names its streams.
    pub seed: u64,
    /// Spread arrivals that a coarse clock rounded to ticks uniformly inside their tick; the trace's losses say so.
    pub spread_ticks: bool,
    /// Leave out rows that are wrong, count them, and say so in the trace's losses, instead of refusing the file.
    pub lenient: bool,
    /// How gaps inside sessions are taken, where the format records more than one way.
    pub gaps: Gaps,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self { seed: 0, spread_ticks: true, lenient: false, gaps: Gaps::Think }
    }
}

/// Every format, in the order in which a file is tried.
pub const IMPORTERS: &[&dyn Importer] = &[
    &canonical::Canonical,
    &aiperf::AiPerf,
    &azure::AzureCsv,
    &bailian::Bailian,
    &burstgpt::BurstGpt,
    &lengths::LengthsCsv,
    &lmcache::LmCache,
    &messages::MessagesJson,
    &mooncake::MooncakeJsonl,
    &otel::OtelGenAi,
    &ragpulse::RagPulse,
    &servegen::ServeGen,
    &sharegpt::ShareGpt,
    &tracelab_csv::TraceLabCsv,
    &tracelab_jsonl::TraceLabJsonl,
    &vllm::VllmCustom,
    &weka::Weka,
];

/// How much of a file is looked at to find its format.
const HEAD_BYTES: usize = 1 << 14;
/// Longest prompt or answer, in tokens: beyond every context window there is, and small enough to expand in memory.
pub(crate) const MAX_TOKENS: u64 = 1 << 24;
/// Largest block id: what every JSON reader holds exactly.
pub(crate) const MAX_BLOCK_ID: u64 = (1 << 53) - 1;
/// Latest arrival and longest gap: a century, far from the end of the nanosecond clock.
pub(crate) const MAX_TIME: Nanos = Nanos::from_secs(100 * 366 * 86_400);
/// Most requests: their ids are 32 bits wide.
pub(crate) const MAX_REQUESTS: usize = u32::MAX as usize - 1;

/// Opens a trace, a file or a folder: in the named `format`, else in the first one of [`IMPORTERS`] that knows its beginning. Files may be
/// compressed by gzip or zstd.
///
/// # Errors
/// An unknown format name (with the nearest known one), an unreadable file, or what the importer found wrong.
pub fn open(path: &Path, format: Option<&str>, options: &ImportOptions) -> Result<Trace, TraceError> {
    let mut collected = Collect::default();
    let head = read(path, format, options, &mut collected)?;
    Ok(Trace { requests: collected.requests, ..head })
}

/// As [`open`], but hands the requests to `sink` one by one, so that a trace of any length passes through little memory. What is returned
/// has no requests.
///
/// # Errors
/// As [`open`], or what the sink says.
pub fn read(path: &Path, format: Option<&str>, options: &ImportOptions, sink: &mut dyn Sink) -> Result<Trace, TraceError> {
    let named = format.map(by_name).transpose()?;
    read_source(&mut Source::open(path)?, named, options, sink)
}

/// As [`open`], of bytes in memory, under a name for messages.
///
/// # Errors
/// As [`open`].
pub fn from_bytes(name: &str, bytes: &[u8], format: Option<&str>, options: &ImportOptions) -> Result<Trace, TraceError> {
    let mut collected = Collect::default();
    let named = format.map(by_name).transpose()?;
    let head = read_source(&mut Source::bytes(name, bytes), named, options, &mut collected)?;
    Ok(Trace { requests: collected.requests, ..head })
}

fn read_source(
    source: &mut Source<'_>,
    named: Option<&'static dyn Importer>,
    options: &ImportOptions,
    sink: &mut dyn Sink,
) -> Result<Trace, TraceError> {
    let importer = match named {
        Some(importer) => importer,
        None => sniff(source)?,
    };
    let mut counted = Counted { sink, requests: 0 };
    let head = importer.import(source, options, &mut counted)?;
    if counted.requests == 0 {
        return Err(file_error(source.name(), "there is no request in it", "give a file with at least one request"));
    }
    Ok(head)
}

/// Holds what every importer must: at least one request, and no more than there are ids.
struct Counted<'a> {
    sink: &'a mut dyn Sink,
    requests: usize,
}

impl Sink for Counted<'_> {
    fn request(&mut self, request: nomoat_core::trace::TraceRequest) -> Result<(), TraceError> {
        self.requests += 1;
        if self.requests > MAX_REQUESTS {
            return Err(file_error("the trace", format!("there are more than {MAX_REQUESTS} requests in it"), "split it"));
        }
        self.sink.request(request)
    }
}

fn by_name(name: &str) -> Result<&'static dyn Importer, TraceError> {
    let names = || IMPORTERS.iter().map(|i| i.name());
    IMPORTERS.iter().copied().find(|i| i.name() == name).ok_or_else(|| TraceError::UnknownFormat {
        name: name.into(),
        nearest: nearest(name, names()).unwrap_or_default().into(),
        known: names().collect::<Vec<_>>().join(", "),
    })
}

fn sniff(source: &mut Source<'_>) -> Result<&'static dyn Importer, TraceError> {
    let known = || IMPORTERS.iter().map(|i| i.name()).collect::<Vec<_>>().join(", ");
    let name = source.name().to_owned();
    let remedy = || format!("name the format with --trace-format ({})", known());
    if let Some(names) = source.names() {
        let found = IMPORTERS.iter().copied().find(|i| i.sniff_folder(names));
        return found.ok_or_else(|| file_error(&name, "it is a folder whose files look like none of the known formats", remedy()));
    }
    let head = source.head()?;
    if head.is_empty() {
        return Err(file_error(&name, "the file is empty", "give a file with at least one request"));
    }
    let head = &head[..head.len().min(HEAD_BYTES)];
    let found = IMPORTERS.iter().copied().find(|i| i.sniff(head));
    found.ok_or_else(|| file_error(&name, "its first line looks like none of the known formats", remedy()))
}

/// The first line of a file's beginning, without a byte-order mark or a line end.
pub(crate) fn first_line(head: &[u8]) -> &[u8] {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let end = head.iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(head.len());
    &head[..end]
}

/// The name of a trace that has none: that of its file, without endings.
pub(crate) fn stem(file: &str) -> String {
    let name = Path::new(file).file_name().map_or_else(|| file.to_owned(), |name| name.to_string_lossy().into_owned());
    let plain = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
    plain.rsplit_once('.').map_or(plain, |(stem, _)| stem).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sample_is_known_by_one_importer() {
        for (sample, name) in [
            (include_str!("../samples/chat.jsonl"), "canonical"),
            (include_str!("../samples/aiperf_dag.jsonl"), "aiperf"),
            (include_str!("../samples/aiperf_rows.jsonl"), "aiperf"),
            (include_str!("../samples/azure.csv"), "azure-csv"),
            (include_str!("../samples/bailian.jsonl"), "bailian"),
            (include_str!("../samples/burstgpt.csv"), "burstgpt"),
            (include_str!("../samples/lengths.csv"), "lengths-csv"),
            (include_str!("../samples/lmcache.jsonl"), "lmcache-jsonl"),
            (include_str!("../samples/messages.jsonl"), "messages"),
            (include_str!("../samples/mooncake.jsonl"), "mooncake-jsonl"),
            (include_str!("../samples/otel.json"), "otel"),
            (include_str!("../samples/ragpulse/0_trace.jsonl"), "ragpulse"),
            (include_str!("../samples/sharegpt.json"), "sharegpt"),
            (include_str!("../samples/tracelab.csv"), "tracelab-csv"),
            (include_str!("../samples/tracelab.jsonl"), "tracelab-jsonl"),
            (include_str!("../samples/vllm_custom.jsonl"), "vllm-custom"),
            (include_str!("../samples/weka.json"), "weka"),
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
        check(open(&missing, Some("azure"), &ImportOptions::default()).unwrap_err(), "did you mean `azure-csv`? (known: canonical, ");
        check(sniff(&mut Source::bytes("f", b"")).err().unwrap(), "is empty");
        check(sniff(&mut Source::bytes("f", b"hello")).err().unwrap(), "--trace-format");
    }
}
