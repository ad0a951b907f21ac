//! What an answer must be read as.

use nomoat_core::record::{CountSource, ErrorCode, FinishReason, RequestRecord, Status};
use std::fmt;

/// The numbers of a request's record that its answer decides. Written and read as one line:
///
/// ```text
/// ok stop | 5 usage | 1,3,1 per_chunk | 1 1 1 3 | 0 | 7 0 - - | {"timings":{"n":5}}
/// ```
///
/// In order: the status (with the code of an error behind a `/`) and the finish reason; output tokens and who counted them; tokens of
/// each chunk and who counted them; in which read, counted from 1, the first byte, the first token, the first token that is no
/// reasoning, and the last token came; how many chunks came in a read with other events (`!` if the first is among them); prompt
/// tokens, those read from a cache, those written to one, and reasoning tokens; the vendor's numbers. `-` is what nobody said; the
/// last two are left out where there is nothing.
#[derive(Clone, PartialEq, Debug)]
pub struct Expect {
    /// Whether it is an answer.
    pub status: Status,
    /// Why it is none.
    pub error: Option<ErrorCode>,
    /// Why the engine stopped.
    pub finish: Option<FinishReason>,
    /// Generated tokens, and who counted them.
    pub output: (Option<u32>, CountSource),
    /// Tokens of each chunk, and who counted them.
    pub chunks: (Vec<u32>, CountSource),
    /// The reads of the first byte, the first token, the first visible token and the last token, counted from 1. They hold where each
    /// piece of the case arrives in a read of its own.
    pub reads: [Option<u32>; 4],
    /// Chunks that came in a read with other events, and whether the first is among them. As `reads`.
    pub coalesced: (u32, bool),
    /// Prompt tokens, cached ones included; of them read from a cache and written to one; reasoning tokens among the output.
    pub tokens: [Option<u32>; 4],
    /// Numbers of the vendor, as JSON.
    pub vendor: Option<String>,
}

const FINISHES: [(FinishReason, &str); 6] = [
    (FinishReason::Stop, "stop"),
    (FinishReason::Length, "length"),
    (FinishReason::Tool, "tool"),
    (FinishReason::ContentFilter, "content_filter"),
    (FinishReason::Abort, "abort"),
    (FinishReason::Other, "other"),
];

/// The sources that an answer can lead to.
const SOURCES: [(CountSource, &str); 5] = [
    (CountSource::Unknown, "unknown"),
    (CountSource::Usage, "usage"),
    (CountSource::PerChunk, "per_chunk"),
    (CountSource::Chunks, "chunks"),
    (CountSource::Estimated, "estimated"),
];

fn named<T: Copy>(list: &[(T, &str)], word: &str) -> Option<T> {
    list.iter().find(|(_, name)| *name == word).map(|(value, _)| *value)
}

/// Numbers, each of which may be `-`.
fn numbers<const N: usize>(words: &str) -> Option<[Option<u32>; N]> {
    let number = |word: &str| if word == "-" { Ok(None) } else { word.parse().map(Some) };
    words.split(' ').map(number).collect::<Result<Vec<_>, _>>().ok()?.try_into().ok()
}

impl Expect {
    /// Reads a line; nothing if it is none.
    pub fn parse(line: &str) -> Option<Self> {
        let mut parts = line.splitn(7, " | ");
        let (outcome, finish) = parts.next()?.split_once(' ')?;
        let (status, error) = outcome.split_once('/').map_or((outcome, None), |(status, error)| (status, Some(error)));
        let (output, output_source) = parts.next()?.split_once(' ')?;
        let (chunks, chunk_source) = parts.next()?.split_once(' ')?;
        let [output] = numbers(output)?;
        let reads = numbers(parts.next()?)?;
        let coalesced = parts.next()?;
        let chunks = if chunks == "-" { vec![] } else { chunks.split(',').map(str::parse).collect::<Result<_, _>>().ok()? };
        Some(Self {
            status: Status::ALL.into_iter().find(|s| s.name() == status)?,
            error: match error {
                Some(word) => Some(ErrorCode::ALL.into_iter().find(|e| e.name() == word)?),
                None => None,
            },
            finish: if finish == "-" { None } else { Some(named(&FINISHES, finish)?) },
            output: (output, named(&SOURCES, output_source)?),
            chunks: (chunks, named(&SOURCES, chunk_source)?),
            reads,
            coalesced: (coalesced.trim_end_matches('!').parse().ok()?, coalesced.ends_with('!')),
            tokens: parts.next().map_or(Some([None; 4]), numbers)?,
            vendor: parts.next().map(str::to_owned),
        })
    }

    /// What a record says. Its moments must be numbers of reads: those of a clock that ticks once, by 1 ns, with each.
    pub fn of(record: &RequestRecord) -> Self {
        let at = &record.at;
        let t = &record.tokens;
        Self {
            status: record.status,
            error: record.error,
            finish: record.finish,
            output: (t.output, t.output_source),
            chunks: (record.chunk_tokens.clone(), t.chunk_source),
            reads: [at.first_byte, at.first_token, at.first_visible, at.last_token].map(|at| at.map(|n| n.0 as u32)),
            coalesced: (record.coalesced, record.first_coalesced),
            tokens: [t.input, t.cache_read, t.cache_write, t.reasoning],
            vendor: record.vendor.clone(),
        }
    }

    /// The same without what depends on how the bytes were cut into reads, which no client can rely on.
    pub fn whatever_the_reads(&self) -> Self {
        Self { reads: [None; 4], coalesced: (0, false), ..self.clone() }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |n: Option<u32>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let joined = |list: &[Option<u32>]| list.iter().map(|n| number(*n)).collect::<Vec<_>>().join(" ");
        let source = |source: CountSource| SOURCES.iter().find(|(s, _)| *s == source).map_or("unknown", |(_, word)| word);
        let finish = |finish| FINISHES.iter().find(|(f, _)| *f == finish).map_or("-", |(_, word)| word);
        let error = self.error.map_or_else(String::new, |e| format!("/{}", e.name()));
        let chunks: Vec<String> = self.chunks.0.iter().map(u32::to_string).collect();
        write!(
            f,
            "{}{error} {} | {} {} | {} {} | {} | {}{}",
            self.status.name(),
            self.finish.map_or("-", finish),
            number(self.output.0),
            source(self.output.1),
            if chunks.is_empty() { "-".to_owned() } else { chunks.join(",") },
            source(self.chunks.1),
            joined(&self.reads),
            self.coalesced.0,
            if self.coalesced.1 { "!" } else { "" },
        )?;
        if self.tokens != [None; 4] || self.vendor.is_some() {
            write!(f, " | {}", joined(&self.tokens))?;
        }
        self.vendor.as_ref().map_or(Ok(()), |vendor| write!(f, " | {vendor}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        for line in [
            "ok stop | 5 usage | 1,3,1 per_chunk | 1 1 1 3 | 0 | 7 0 - - | {\"a | b\":1}",
            "protocol/bad_event - | - unknown | - unknown | 1 - - - | 0",
            "ok content_filter | 2 chunks | 1,1 chunks | 1 2 3 4 | 2! | - - - 7",
        ] {
            assert_eq!(Expect::parse(line).expect(line).to_string(), line);
        }
        for wrong in [
            "",
            "ok | 5 usage | 1 usage | 1 1 1 1 | 0",
            "fine stop | 5 usage | 1 usage | 1 1 1 1 | 0",
            "ok/fine stop | 5 usage | 1 usage | 1 1 1 1 | 0",
            "ok stopped | 5 usage | 1 usage | 1 1 1 1 | 0",
            "ok stop | five usage | 1 usage | 1 1 1 1 | 0",
            "ok stop | 5 guess | 1 usage | 1 1 1 1 | 0",
            "ok stop | 5 usage | 1,x usage | 1 1 1 1 | 0",
            "ok stop | 5 usage | 1 usage | 1 1 1 | 0",
            "ok stop | 5 usage | 1 usage | 1 1 1 1 | some",
            "ok stop | 5 usage | 1 usage | 1 1 1 1 | 0 | 1",
        ] {
            assert_eq!(Expect::parse(wrong), None, "{wrong}");
        }
    }
}
