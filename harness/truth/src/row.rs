//! One row of the server's log, and its form as a line of JSON.

use crate::error::TruthError;
use nomoat_core::units::Nanos;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

/// The longest line a log file may have: a row of the longest answer stays well below.
const LONGEST_LINE: u64 = 64 << 20;

/// How the server's side of a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything the request asked for was written.
    Complete,
    /// A scripted fault cut the answer short or broke it. (Faults that a good client sees through leave it complete.)
    Fault,
    /// An error status was written instead of an answer.
    Refused,
    /// The client went away first.
    Disconnected,
    /// The server was stopped first.
    Stopped,
}

/// What the server did with one generation request. Moments are nanoseconds on `CLOCK_MONOTONIC` of the server's host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogRow {
    /// The `x-request-id` header, where it was printable and at most 128 bytes.
    pub request_id: Option<String>,
    /// Position among the server's generation requests, from 0, in the order in which they were complete.
    pub ordinal: u64,
    /// The connection was accepted, which may be after its first request arrived. Requests on one connection share it.
    pub accepted: Nanos,
    /// Arrival of the request's last byte: the kernel's receive stamp, else the return of the read.
    pub request_complete: Nanos,
    /// Immediately before the write that carried the first token; absent when there was none.
    pub first_write: Option<Nanos>,
    /// Immediately before the write that carried the last token.
    pub last_token_write: Option<Nanos>,
    /// Immediately before the write that ends the answer: `[DONE]`, the error, the one body; or the close or the end of the body
    /// where nothing else ends it. The row can be had from then on, so a client that has seen the end finds it.
    pub end: Nanos,
    /// Token-bearing events with their tokens. Events that shared a write share its moment.
    pub writes: Vec<(Nanos, u32)>,
    /// Prompt tokens as the server counts them: ids, or words between white space. Absent when the request could not be read.
    pub prompt_tokens: Option<u32>,
    /// Tokens written: the sum over `writes`.
    pub output_tokens: u32,
    /// HTTP status written, or 0 when nothing was.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
}

impl LogRow {
    /// Scripted TTFT as it really was = first_write − request_complete.
    pub fn ttft(&self) -> Option<Nanos> {
        self.first_write.map(|at| at - self.request_complete)
    }

    /// E2E as it really was = last_token_write − request_complete.
    pub fn e2e(&self) -> Option<Nanos> {
        self.last_token_write.map(|at| at - self.request_complete)
    }

    /// TPOT as it really was = (last_token_write − first_write) / (output_tokens − tokens of the first event), where that is at least 1.
    pub fn tpot(&self) -> Option<Nanos> {
        let after_first = i64::from(self.output_tokens) - i64::from(self.writes.first()?.1);
        (after_first >= 1).then_some(())?;
        Some((self.last_token_write? - self.first_write?) / after_first)
    }

    /// One line of JSON with its line feed. Moments are whole numbers.
    pub(crate) fn to_line(&self) -> String {
        let line = Line {
            request_id: self.request_id.clone(),
            ordinal: self.ordinal,
            accepted: self.accepted.0,
            request_complete: self.request_complete.0,
            first_write: self.first_write.map(|at| at.0),
            last_token_write: self.last_token_write.map(|at| at.0),
            end: self.end.0,
            writes: self.writes.iter().map(|(at, tokens)| (at.0, *tokens)).collect(),
            prompt_tokens: self.prompt_tokens,
            output_tokens: self.output_tokens,
            status: self.status,
            outcome: self.outcome,
        };
        let mut text = serde_json::to_string(&line).expect("numbers and texts always serialise");
        text.push('\n');
        text
    }

    fn from_line(text: &str) -> Result<Self, String> {
        let line: Line = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let sum: u64 = line.writes.iter().map(|(_, tokens)| u64::from(*tokens)).sum();
        if sum != u64::from(line.output_tokens) {
            return Err(format!("output_tokens is {} but writes carry {sum}", line.output_tokens));
        }
        Ok(Self {
            request_id: line.request_id,
            ordinal: line.ordinal,
            accepted: Nanos(line.accepted),
            request_complete: Nanos(line.request_complete),
            first_write: line.first_write.map(Nanos),
            last_token_write: line.last_token_write.map(Nanos),
            end: Nanos(line.end),
            writes: line.writes.into_iter().map(|(at, tokens)| (Nanos(at), tokens)).collect(),
            prompt_tokens: line.prompt_tokens,
            output_tokens: line.output_tokens,
            status: line.status,
            outcome: line.outcome,
        })
    }
}

/// A row as it is stored, apart from the row in memory so that neither binds the other.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    request_id: Option<String>,
    ordinal: u64,
    accepted: i64,
    request_complete: i64,
    first_write: Option<i64>,
    last_token_write: Option<i64>,
    end: i64,
    writes: Vec<(i64, u32)>,
    prompt_tokens: Option<u32>,
    output_tokens: u32,
    status: u16,
    outcome: Outcome,
}

/// Reads a log file: JSON lines as the server appends them, or as `GET /truth/log` gives them.
///
/// A last line without its line feed is what a killed server leaves behind: it is dropped when it does not read.
///
/// # Errors
/// [`TruthError::LogFile`] when it cannot be read, [`TruthError::LogLine`] with the line's number when a line is not a row.
pub fn read_log(path: &Path) -> Result<Vec<LogRow>, TruthError> {
    let failed = |source| TruthError::LogFile { path: path.to_owned(), source };
    let mut file = BufReader::new(File::open(path).map_err(failed)?);
    let mut rows = Vec::new();
    let mut text = String::new();
    for line in 1.. {
        text.clear();
        if file.by_ref().take(LONGEST_LINE).read_line(&mut text).map_err(failed)? == 0 {
            break;
        }
        let whole = text.ends_with('\n');
        if text.trim().is_empty() {
            continue;
        }
        match LogRow::from_line(&text) {
            Ok(row) => rows.push(row),
            Err(_) if !whole && (text.len() as u64) < LONGEST_LINE => break,
            Err(reason) => return Err(TruthError::LogLine { path: path.to_owned(), line, reason }),
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn row() -> LogRow {
        LogRow {
            request_id: Some("a \"quoted\" id".to_owned()),
            ordinal: 7,
            accepted: Nanos(1),
            request_complete: Nanos(10),
            first_write: Some(Nanos(30)),
            last_token_write: Some(Nanos(90)),
            end: Nanos(95),
            writes: vec![(Nanos(30), 2), (Nanos(60), 2), (Nanos(90), 1)],
            prompt_tokens: Some(4),
            output_tokens: 5,
            status: 200,
            outcome: Outcome::Complete,
        }
    }

    fn none() -> LogRow {
        LogRow {
            request_id: None,
            first_write: None,
            last_token_write: None,
            writes: vec![],
            output_tokens: 0,
            prompt_tokens: None,
            status: 400,
            outcome: Outcome::Refused,
            ..row()
        }
    }

    #[test]
    fn times_follow_their_definitions() {
        assert_eq!((row().ttft(), row().e2e(), row().tpot()), (Some(Nanos(20)), Some(Nanos(80)), Some(Nanos(20))));
        assert_eq!((none().ttft(), none().e2e(), none().tpot()), (None, None, None));
        let single = LogRow { writes: vec![(Nanos(30), 5)], ..row() };
        assert_eq!(single.tpot(), None);
    }

    #[test]
    fn files_read_as_they_were_written() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "{}\n{}", row().to_line(), none().to_line()).unwrap();
        assert_eq!(read_log(file.path()).unwrap(), [row(), none()]);
        write!(file, "{}", &row().to_line()[..40]).unwrap();
        assert_eq!(read_log(file.path()).unwrap().len(), 2, "a torn last line is dropped");
    }

    #[test]
    fn bad_lines_are_named() {
        let check = |line: &str, needle: &str| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            write!(file, "{}{line}\n{}", row().to_line(), row().to_line()).unwrap();
            let error = read_log(file.path()).unwrap_err().to_string();
            assert!(error.contains("line 2") && error.contains(needle), "{error}");
        };
        check("{", "EOF");
        check(&row().to_line().trim().replace("\"ordinal\":7", "\"ordinal\":\"x\""), "invalid type");
        check(&row().to_line().trim().replace("\"output_tokens\":5", "\"output_tokens\":6"), "writes carry 5");
        check(&row().to_line().trim().replace("\"status\":200", "\"status\":200,\"new\":1"), "unknown field");
        let missing = read_log(Path::new("no/such/file")).unwrap_err().to_string();
        assert!(missing.contains("no/such/file"), "{missing}");
    }
}
