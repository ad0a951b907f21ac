//! Streams that trap naive readers: raw bytes, and what they must be read as. For every dialect, for the tests of this crate and for
//! whoever writes an engine, a proxy or another harness.
//!
//! Each case belongs to one of [`TRAPS`]. It consists of reads: the pieces in which its bytes arrive when nothing gets in between, so
//! that moments can be given as numbers of reads. Whatever else a network makes of them, the other numbers stay.

mod chat;
mod completion;
mod completions;
mod expect;
mod generate;
mod generate_stream;
mod messages;
mod responses;
mod triton;

pub use expect::Expect;

use std::io;
use std::path::Path;

/// What readers fall for, in the order of their numbers, which count from 1. Of 25 no single answer can be an example: it is about
/// what a connection was before.
pub const TRAPS: [&str; 25] = [
    "an event before the first text: the first token is the first text that is not empty, of any kind",
    "reasoning under its several names: the first token and the first visible one are different moments",
    "an event with reasoning and content: it counts for both",
    "several tokens in an event: tokens come from usage or ids, never from the number of events",
    "an event with an empty text: no token, unless it is counted; then it belongs to the next text",
    "an event with usage and nothing else: it ends nothing and is no token",
    "no usage, or cut before it: the answer's length is not zero",
    "usage with every event: the last counts, differences tell the tokens of an event",
    "usage that is cumulative over several kinds of events: the last counts",
    "comments and pings before the first token: they are the first byte, not the first token",
    "an answer that is not streamed, behind blank lines",
    "an error inside a good status: a failure, its tokens kept",
    "no end: an answer that is not complete",
    "data behind the terminator, or no terminator by design",
    "all of the grammar of event streams",
    "several events in a read: they are marked",
    "a compressed answer, although identity was asked for: it is refused",
    "padding: it is no text",
    "numbers of the vendor: they are kept",
    "several choices, tools and their arguments",
    "reasons of the end",
    "a refusal: its status is kept, and the moment of the next attempt is not the request's",
    "a first token, then a stall",
    "usage that contradicts ids: both are kept",
    "a connection that is used again: it is recorded",
];

/// A response, and what it means.
#[derive(Clone, PartialEq, Debug)]
pub struct Case {
    /// Which of [`TRAPS`] it sets, counted from 1.
    pub trap: usize,
    /// What is special about it.
    pub what: &'static str,
    /// The dialect, by its name.
    pub dialect: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// Headers beside those that every response has.
    pub headers: &'static [(&'static str, &'static str)],
    /// The body, in the pieces in which it arrives.
    pub reads: Vec<Vec<u8>>,
    /// What it must be read as.
    pub expect: Expect,
}

/// Writes every case into `folder`, which is made: `NAME.http` as it goes over HTTP/1.1, and `NAME.expect`. Gives their number.
///
/// # Errors
/// What the file system says.
pub fn write(folder: &Path) -> io::Result<usize> {
    let cases = cases();
    std::fs::create_dir_all(folder)?;
    for case in &cases {
        let name = case.name();
        std::fs::write(folder.join(format!("{name}.http")), case.response())?;
        std::fs::write(folder.join(format!("{name}.expect")), format!("{}\n{}\n", case.expect, TRAPS[case.trap - 1]))?;
    }
    Ok(cases.len())
}

impl Case {
    /// Its name: dialect, trap and words, fit for a file.
    pub fn name(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let what: String = self.what.chars().map(plain).collect();
        let words: Vec<&str> = what.split('-').filter(|w| !w.is_empty()).collect();
        format!("{}-{:02}-{}", self.dialect, self.trap, words.join("-"))
    }

    /// The whole response as it goes over HTTP/1.1: a head, and each piece in a chunk of its own. The connection can be kept.
    pub fn response(&self) -> Vec<u8> {
        let json = self.reads.iter().flatten().find(|b| !b.is_ascii_whitespace()) == Some(&b'{');
        let kind = if json { "application/json" } else { "text/event-stream" };
        let mut head = format!("HTTP/1.1 {} Scripted\r\nContent-Type: {kind}\r\n", self.status);
        for (name, value) in self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        let mut bytes = (head + "Transfer-Encoding: chunked\r\n\r\n").into_bytes();
        for piece in self.reads.iter().filter(|piece| !piece.is_empty()) {
            bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            bytes.extend_from_slice(piece);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    }
}

/// A case in short: its trap, what is special, its reads, and a line of [`Expect`].
type Row = (usize, &'static str, Vec<String>, &'static str);

/// Every case, by dialect and trap.
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = vec![];
    let mut add = |dialect: &'static str, status: u16, headers: &'static [(&'static str, &'static str)], rows: Vec<Row>| {
        for (trap, what, reads, line) in rows {
            let reads = reads.into_iter().map(String::into_bytes).collect();
            let expect = Expect::parse(line).expect("a test reads every line of the suite");
            cases.push(Case { trap, what, dialect, status, headers, reads, expect });
        }
    };
    add("chat", 200, &[], chat::rows());
    add("chat", 200, &[("Content-Encoding", "gzip")], chat::compressed());
    add("chat", 429, &[("Retry-After", "1")], chat::rejected());
    add("chat", 503, &[("Retry-After", "1")], chat::asleep());
    add("completions", 200, &[], completions::rows());
    add("responses", 200, &[], responses::rows());
    add("messages", 200, &[], messages::rows());
    add("messages", 429, &[("Retry-After", "1")], messages::rejected());
    add("generate", 200, &[], generate::rows());
    add("completion", 200, &[], completion::rows());
    add("generate_stream", 200, &[], generate_stream::rows());
    add("triton", 200, &[], triton::rows());
    cases.sort_by_key(|case| case.trap);
    cases.sort_by_key(|case| crate::protocol::PROTOCOLS.iter().position(|p| p.name() == case.dialect));
    cases
}

/// The terminator of most dialects.
const DONE: &str = "data: [DONE]\n\n";

fn s(text: &str) -> String {
    text.to_owned()
}

/// An event with a name, which stands in its data too; `members` follow it.
fn typed(name: &str, members: &str) -> String {
    let comma = if members.is_empty() { "" } else { "," };
    format!("event: {name}\ndata: {{\"type\":\"{name}\"{comma}{members}}}\n\n")
}

/// An error as the body of a good answer.
fn error_body() -> Vec<String> {
    vec![s("{\"error\":{\"message\":\"boom\"}}")]
}
