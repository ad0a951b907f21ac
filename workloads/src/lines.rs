//! Lines of a file, one at a time, with their numbers, a bound on their length and a running SHA-256 of every byte.

use crate::error::{Place, TraceError};
use crate::import::ImportOptions;
use crate::source::Source;
use nomoat_core::digest::Digest;
use sha2::{Digest as _, Sha256};
use std::io::{BufRead, Read};

/// Longest line that is read: a prompt of eight million recorded token ids fits.
pub(crate) const MAX_LINE_BYTES: u64 = 64 << 20;

/// Reads lines and hashes what it reads.
pub(crate) struct Lines<'a> {
    input: &'a mut dyn BufRead,
    file: &'a str,
    buffer: Vec<u8>,
    number: u64,
    hash: Sha256,
}

/// One line without its line end, and where it is.
pub(crate) struct Line<'a> {
    pub place: Place<'a>,
    pub bytes: &'a [u8],
}

impl<'a> Lines<'a> {
    pub fn new(input: &'a mut dyn BufRead, file: &'a str) -> Self {
        Self { input, file, buffer: vec![], number: 0, hash: Sha256::new() }
    }

    /// The next line, or `None` at the end of the file. A carriage return before the line feed belongs to the line end.
    pub fn next(&mut self) -> Result<Option<Line<'_>>, TraceError> {
        self.hash.update(&self.buffer);
        self.buffer.clear();
        let mut bounded = Read::take(&mut *self.input, MAX_LINE_BYTES + 1);
        let read = bounded.read_until(b'\n', &mut self.buffer).map_err(|source| TraceError::Read { file: self.file.into(), source })?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        if read as u64 > MAX_LINE_BYTES {
            let remedy = "split the file into one record a line";
            return Err(self.place().line(format!("the line is longer than {MAX_LINE_BYTES} bytes"), remedy));
        }
        Ok(Some(self.last()))
    }

    /// The line that was read last.
    fn last(&self) -> Line<'_> {
        let bytes = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        Line { place: self.place(), bytes: bytes.strip_suffix(b"\r").unwrap_or(bytes) }
    }

    /// Where the last line is.
    pub fn place(&self) -> Place<'a> {
        Place { file: self.file, line: self.number }
    }

    /// SHA-256 of all bytes before the last line.
    pub fn digest_before(&self) -> Digest {
        Digest(self.hash.clone().finalize().into())
    }

    /// SHA-256 of all bytes read.
    pub fn digest(mut self) -> Digest {
        self.hash.update(&self.buffer);
        Digest(self.hash.finalize().into())
    }
}

/// The records of a file that has one a line. Only the end of the file may be empty lines. Wrong ones are refused, or, if the options are
/// lenient, counted.
pub(crate) struct Rows<'a> {
    lines: Lines<'a>,
    skips: Skips,
    blank: Option<u64>,
}

/// What becomes of records that are wrong.
pub(crate) struct Skips {
    lenient: bool,
    skipped: u64,
    first: Option<String>,
}

impl Skips {
    pub fn new(options: &ImportOptions) -> Self {
        Self { lenient: options.lenient, skipped: 0, first: None }
    }

    /// What became of a record: a wrong one is an error, or is counted and left out.
    pub fn take<T>(&mut self, record: Result<T, TraceError>) -> Result<Option<T>, TraceError> {
        match record {
            Err(TraceError::Field { .. } | TraceError::Line { .. }) if self.lenient => {
                self.skipped += 1;
                let error = record.err().map(|error| error.to_string());
                self.first = self.first.take().or(error);
                Ok(None)
            }
            record => record.map(Some),
        }
    }

    /// What is to be said of records that were left out.
    pub fn finish(self) -> Option<String> {
        let skipped = self.skipped;
        self.first.map(|first| format!("{skipped} wrong rows were left out; the first: {first}"))
    }
}

impl<'a> Rows<'a> {
    pub fn new(source: &'a mut Source<'_>, options: &ImportOptions) -> Self {
        Self { lines: source.lines(), skips: Skips::new(options), blank: None }
    }

    /// The next line that is not empty.
    pub fn next(&mut self) -> Result<Option<Line<'_>>, TraceError> {
        loop {
            let file = self.lines.file;
            let Some(is_blank) = self.lines.next()?.map(|line| line.bytes.iter().all(u8::is_ascii_whitespace)) else { return Ok(None) };
            match (is_blank, self.blank) {
                (true, before) => self.blank = before.or(Some(self.lines.number)),
                (false, Some(line)) => {
                    let remedy = "delete it: only the end of the file may be empty";
                    self.blank = None;
                    self.take::<()>(Err(Place { file, line }.line("the line is empty", remedy)))?;
                    return Ok(Some(self.lines.last()));
                }
                (false, None) => return Ok(Some(self.lines.last())),
            }
        }
    }

    /// What became of a row: a wrong one is an error, or is counted and left out.
    pub fn take<T>(&mut self, row: Result<T, TraceError>) -> Result<Option<T>, TraceError> {
        self.skips.take(row)
    }

    /// SHA-256 of all bytes read, and what is to be said of rows that were left out.
    pub fn finish(self) -> (Digest, Option<String>) {
        (self.lines.digest(), self.skips.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_hashes() {
        let bytes = b"one\r\ntwo\n\nlast";
        let mut input = &bytes[..];
        let mut lines = Lines::new(&mut input, "f");
        let mut seen = vec![];
        while let Some(line) = lines.next().unwrap() {
            seen.push((line.place.line, String::from_utf8(line.bytes.to_vec()).unwrap()));
        }
        assert_eq!(seen, [(1, "one".into()), (2, "two".into()), (3, String::new()), (4, "last".into())]);
        assert_eq!(lines.digest(), Digest::of(bytes));

        let mut input = &bytes[..];
        let mut lines = Lines::new(&mut input, "f");
        lines.next().unwrap();
        lines.next().unwrap();
        assert_eq!(lines.digest_before(), Digest::of(b"one\r\n"));
    }
}
