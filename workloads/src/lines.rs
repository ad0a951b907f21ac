//! Lines of a file, one at a time, with their numbers, a bound on their length and a running SHA-256 of every byte.

use crate::error::{Place, TraceError};
use nomoat_core::digest::Digest;
use sha2::{Digest as _, Sha256};
use std::io::{BufRead, Read};

/// Longest line that is read: a prompt of eight million recorded token ids fits.
const MAX_LINE_BYTES: u64 = 64 << 20;

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
        let place = Place { file: self.file, line: self.number };
        if read as u64 > MAX_LINE_BYTES {
            return Err(place.line(format!("the line is longer than {MAX_LINE_BYTES} bytes"), "split the file into one record a line"));
        }
        let bytes = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        Ok(Some(Line { place, bytes }))
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
