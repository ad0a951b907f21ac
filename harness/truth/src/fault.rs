//! What can be made to go wrong: the stream traps that real endpoints were seen to set, each as one switch.
//!
//! A fault changes what is written, never when: timing trouble (stalls, jitter) belongs to the script.

use std::fmt;
use std::str::FromStr;

/// The most tokens, comments or events a fault counts by.
const MOST: u32 = 1_000_000;
/// The largest event that can be asked for, in bytes.
const LARGEST_EVENT: u32 = 64 << 20;

/// One way to misbehave. A fault "after k tokens" comes before the first chunk that starts at or after token k; an answer of k or fewer
/// tokens never reaches it and is complete. Faults of the stream leave answers that are not streamed alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// An error object `{"error":{…}}` inside the 200 stream after so many tokens, then the usual end.
    ErrorAfter(u32),
    /// The same in the older flat form `{"object":"error",…}`.
    FlatErrorAfter(u32),
    /// The connection closes after so many tokens: no finish reason, no `[DONE]`, no last HTTP chunk. Over HTTP/2 with everything on it.
    CloseAfter(u32),
    /// The body ends well as HTTP after so many tokens, but without finish reason and `[DONE]`.
    EndAfter(u32),
    /// The connection is reset after so many tokens; over HTTP/2 the stream is.
    ResetAfter(u32),
    /// This HTTP status (400 to 599) instead of an answer; 429 and 503 with `retry-after: 1`.
    Status(u16),
    /// A redirect (307) instead of an answer.
    Redirect,
    /// A 400 to every request that forces a length by `ignore_eos` or `min_tokens`.
    RejectLength,
    /// No usage, although it was asked for.
    NoUsage,
    /// Running usage on every chunk, although nobody asked.
    UsageEveryChunk,
    /// Usage that counts so many output tokens too many.
    WrongUsage(u32),
    /// A chunk with empty text after so many tokens, halfway to the next one; it carries no token.
    EmptyChunk(u32),
    /// So many comment lines, spread evenly before the first token.
    Comments(u32),
    /// A further chunk with text after `[DONE]`; it is no token of the answer.
    AfterDone,
    /// No `[DONE]`; the rest is complete.
    NoDone,
    /// Lines end with CR LF.
    Crlf,
    /// `data:` without the space.
    NoSpace,
    /// Each event's data on two `data:` lines.
    MultiLine,
    /// A byte order mark before the first event.
    Bom,
    /// `event:` and `id:` lines beside the data.
    EventLines,
    /// Every byte in a write of its own.
    Dribble,
    /// So many token events share one write, at the time of the last of them.
    Coalesce(u32),
    /// A `content-encoding: gzip` header over a plain body.
    Gzip,
    /// An event that is no JSON after so many tokens.
    BadJson(u32),
    /// A chunk whose size is no number after so many tokens, then the connection closes. HTTP/2 has no chunks: the stream is reset.
    BadChunkSize(u32),
    /// One JSON body although a stream was asked for.
    NotStreaming,
    /// Blank lines before a JSON body, streamed or not: implies [`Self::NotStreaming`].
    BlankLines,
    /// The first token event has so many bytes of text.
    HugeEvent(u32),
    /// The answer stops after so many tokens with finish reason `stop`, whatever was asked.
    Short(u32),
}

impl Fault {
    /// One of each, as an example of how it is written.
    pub const EXAMPLES: [Self; 29] = [
        Self::ErrorAfter(3),
        Self::FlatErrorAfter(3),
        Self::CloseAfter(3),
        Self::EndAfter(3),
        Self::ResetAfter(3),
        Self::Status(429),
        Self::Redirect,
        Self::RejectLength,
        Self::NoUsage,
        Self::UsageEveryChunk,
        Self::WrongUsage(2),
        Self::EmptyChunk(2),
        Self::Comments(3),
        Self::AfterDone,
        Self::NoDone,
        Self::Crlf,
        Self::NoSpace,
        Self::MultiLine,
        Self::Bom,
        Self::EventLines,
        Self::Dribble,
        Self::Coalesce(4),
        Self::Gzip,
        Self::BadJson(2),
        Self::BadChunkSize(2),
        Self::NotStreaming,
        Self::BlankLines,
        Self::HugeEvent(1_000_000),
        Self::Short(3),
    ];

    /// Its name and, where it has one, its number.
    fn parts(self) -> (&'static str, Option<u32>) {
        match self {
            Self::ErrorAfter(k) => ("error_after", Some(k)),
            Self::FlatErrorAfter(k) => ("flat_error_after", Some(k)),
            Self::CloseAfter(k) => ("close_after", Some(k)),
            Self::EndAfter(k) => ("end_after", Some(k)),
            Self::ResetAfter(k) => ("reset_after", Some(k)),
            Self::Status(code) => ("status", Some(code.into())),
            Self::Redirect => ("redirect", None),
            Self::RejectLength => ("reject_length", None),
            Self::NoUsage => ("no_usage", None),
            Self::UsageEveryChunk => ("usage_every_chunk", None),
            Self::WrongUsage(k) => ("wrong_usage", Some(k)),
            Self::EmptyChunk(k) => ("empty_chunk", Some(k)),
            Self::Comments(k) => ("comments", Some(k)),
            Self::AfterDone => ("after_done", None),
            Self::NoDone => ("no_done", None),
            Self::Crlf => ("crlf", None),
            Self::NoSpace => ("no_space", None),
            Self::MultiLine => ("multi_line", None),
            Self::Bom => ("bom", None),
            Self::EventLines => ("event_lines", None),
            Self::Dribble => ("dribble", None),
            Self::Coalesce(k) => ("coalesce", Some(k)),
            Self::Gzip => ("gzip", None),
            Self::BadJson(k) => ("bad_json", Some(k)),
            Self::BadChunkSize(k) => ("bad_chunk_size", Some(k)),
            Self::NotStreaming => ("not_streaming", None),
            Self::BlankLines => ("blank_lines", None),
            Self::HugeEvent(bytes) => ("huge_event", Some(bytes)),
            Self::Short(k) => ("short", Some(k)),
        }
    }

    /// The same fault with another number; faults without one stay as they are.
    fn with(self, number: u32) -> Self {
        match self {
            Self::ErrorAfter(_) => Self::ErrorAfter(number),
            Self::FlatErrorAfter(_) => Self::FlatErrorAfter(number),
            Self::CloseAfter(_) => Self::CloseAfter(number),
            Self::EndAfter(_) => Self::EndAfter(number),
            Self::ResetAfter(_) => Self::ResetAfter(number),
            // Out of the allowed range when it does not fit, and refused there.
            Self::Status(_) => Self::Status(u16::try_from(number).unwrap_or(0)),
            Self::WrongUsage(_) => Self::WrongUsage(number),
            Self::EmptyChunk(_) => Self::EmptyChunk(number),
            Self::Comments(_) => Self::Comments(number),
            Self::Coalesce(_) => Self::Coalesce(number),
            Self::BadJson(_) => Self::BadJson(number),
            Self::BadChunkSize(_) => Self::BadChunkSize(number),
            Self::HugeEvent(_) => Self::HugeEvent(number),
            Self::Short(_) => Self::Short(number),
            Self::Redirect
            | Self::RejectLength
            | Self::NoUsage
            | Self::UsageEveryChunk
            | Self::AfterDone
            | Self::NoDone
            | Self::Crlf
            | Self::NoSpace
            | Self::MultiLine
            | Self::Bom
            | Self::EventLines
            | Self::Dribble
            | Self::Gzip
            | Self::NotStreaming
            | Self::BlankLines => self,
        }
    }

    /// Whether its number is one it can be played with.
    pub(crate) fn check(self) -> Result<(), String> {
        let allowed = match self {
            Self::Status(_) => 400..=599,
            Self::Short(_) | Self::WrongUsage(_) => 1..=MOST,
            Self::Coalesce(_) => 2..=MOST,
            Self::Comments(_) => 1..=1_000,
            Self::HugeEvent(_) => 1..=LARGEST_EVENT,
            _ => 0..=MOST,
        };
        match self.parts() {
            (name, Some(number)) if !allowed.contains(&number) => {
                Err(format!("fault `{name}` takes a number from {} to {}, not {number}", allowed.start(), allowed.end()))
            }
            _ => Ok(()),
        }
    }

    /// Whether a request for a stream is answered with one body.
    pub(crate) fn unstreams(self) -> bool {
        matches!(self, Self::NotStreaming | Self::BlankLines)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            (name, Some(number)) => write!(f, "{name}:{number}"),
            (name, None) => f.write_str(name),
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, number) = text.split_once(':').map_or((text, None), |(name, number)| (name, Some(number)));
        let Some(example) = Self::EXAMPLES.into_iter().find(|f| f.parts().0 == name) else {
            let all: Vec<String> = Self::EXAMPLES.iter().map(ToString::to_string).collect();
            return Err(format!("unknown fault `{name}`; there are {}", all.join(", ")));
        };
        let fault = match (example.parts().1, number) {
            (None, None) => example,
            (Some(_), Some(number)) => example.with(number.parse().map_err(|_| format!("`{number}` in fault `{text}` is not a number"))?),
            (Some(_), None) => return Err(format!("fault `{name}` needs a number, such as `{example}`")),
            (None, Some(_)) => return Err(format!("fault `{name}` takes no number")),
        };
        fault.check()?;
        Ok(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_reads_as_it_prints() {
        for fault in Fault::EXAMPLES {
            assert_eq!(fault.to_string().parse(), Ok(fault), "{fault}");
        }
        let names: std::collections::BTreeSet<_> = Fault::EXAMPLES.iter().map(|f| f.parts().0).collect();
        assert_eq!(names.len(), Fault::EXAMPLES.len());
    }

    #[test]
    fn bad_faults_say_why() {
        let check = |text: &str, needle: &str| {
            let error = text.parse::<Fault>().unwrap_err();
            assert!(error.contains(needle), "{text}: {error}");
        };
        check("explode", "there are error_after:3");
        check("short", "such as `short:3`");
        check("crlf:1", "takes no number");
        check("short:x", "is not a number");
        check("short:0", "from 1");
        check("coalesce:1", "from 2");
        check("status:200", "from 400 to 599");
        check("status:66000", "from 400 to 599");
        check("huge_event:99999999999", "is not a number");
        check("huge_event:999999999", "from 1 to 67108864");
    }
}
